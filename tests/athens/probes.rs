//! The questions that are put to both programs, and why the answers differ where they do.

use http::Method;

/// One request, in one configuration.
pub(crate) struct Probe {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Why the answers differ; empty where they must be the same.
    pub(crate) why: &'static str,
}

/// One configuration of both programs, and its requests.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) variables: &'static [(&'static str, &'static str)],
    pub(crate) probes: Vec<Probe>,
}

const fn get(path: &'static str, why: &'static str) -> Probe {
    Probe { method: Method::GET, path, headers: &[], why }
}

const fn ask(method: Method, path: &'static str, why: &'static str) -> Probe {
    Probe { method, path, headers: &[], why }
}

const CACHING: &str =
    "immutable files say so, with an ETag and ranges; Athens sends no caching headers";
const TEXT: &str = "a refusal says in one line what was refused; the go command shows it";
const ESCAPE: &str = "a path that cannot name a module does not exist: 404, in one line of text";
const LIST: &str = "a list is text, so it is served as text, and its last line is ended";
const LATEST: &str =
    "upstream's own bytes, served as JSON; Athens writes an object with empty fields as text";
const GONE: &str =
    "the same 404; the text names what is missing, and outer caches may keep it for a minute";
const CLEAN: &str = "no Go client sends such a path: it is refused; Athens redirects to a guess";
const METHOD: &str = "a 405 says which methods there are";
const NUMBERS: &str = "the same 400; the text says which parameter is wrong, and how";
const MOVED: &str = "302 that may not be cached: clients keep Athens's bare 301 for ever";
const ELSEWHERE: &str = "the same status and place; there is no page for people in it";
const QUERY: &str = "upstream's own bytes, marked as changeable; a branch moves";

/// Every configuration with its requests.
pub(crate) fn groups() -> Vec<Group> {
    vec![sync(), none(), offline(), redirect(), guarded(), prefixed()]
}

fn sync() -> Group {
    let probes = vec![
        get("/example.com/lib/@v/v1.0.0.info", CACHING),
        get("/example.com/lib/@v/v1.0.0.mod", CACHING),
        get("/example.com/lib/@v/v1.0.0.zip", CACHING),
        ask(Method::HEAD, "/example.com/lib/@v/v1.0.0.zip", CACHING),
        get("/github.com/!burnt!sushi/!toml/@v/v1.3.2.mod", CACHING),
        get("/github.com/%21burnt%21sushi/%21toml/@v/v1.3.2.mod", CACHING),
        get("/example.com/lib/v2/@v/v2.0.0.mod", CACHING),
        get("/example.com/old/@v/v3.1.0+incompatible.mod", CACHING),
        get("/example.com/lib/@v/main.info", QUERY),
        get("/example.com/lib/@v/list", LIST),
        get(
            "/example.com/empty/@v/list",
            "a module without versions has an empty list: 404 would say that there is no such module",
        ),
        get("/example.com/pseudo/@v/list", LIST),
        get("/example.com/lib/@latest", LATEST),
        get("/example.com/pseudo/@latest", LATEST),
        get("/example.com/lib/@v/v9.9.9.info", TEXT),
        get("/example.com/lib/@v/v9.9.9.mod", TEXT),
        get("/example.com/lib/@v/v9.9.9.zip", TEXT),
        get("/example.com/lib/@v/v1.9.9.info", TEXT),
        get("/example.com/unknown/@v/list", "the same 404, without the output of a child process"),
        get("/example.com/unknown/@latest", TEXT),
        get("/github.com/BurntSushi/toml/@v/list", ESCAPE),
        get("/github.com/BurntSushi/toml/@v/v1.3.2.info", ESCAPE),
        get("/example.com/a!!b/@v/v1.0.0.mod", ESCAPE),
        get("/example.com/lib/@v/V1.0.0.info", ESCAPE),
        get(
            "/-x/@v/list",
            "a path is never handed to a command as a flag: Athens's child prints its usage",
        ),
        get("/example.com//lib/@v/list", CLEAN),
        get("/example.com/../lib/@v/list", CLEAN),
        get("/example.com/lib/@v/v1.0.0.ziphash", GONE),
        get("/example.com/lib/@v/", GONE),
        get("/no/such/page", GONE),
        ask(Method::POST, "/example.com/lib/@v/v1.0.0.info", METHOD),
        ask(Method::POST, "/example.com/lib/@v/list", "only GET and HEAD read; a POST is refused"),
        ask(Method::HEAD, "/example.com/lib/@v/v1.0.0.info", "HEAD is allowed wherever GET is"),
        ask(Method::DELETE, "/example.com/lib/@v/v1.0.0.zip", METHOD),
        get("/healthz", ""),
        get("/readyz", "the same status; the body says which part is not ready, and why"),
        get("/version", "JSON is served as JSON; a build always knows its version"),
        get("/robots.txt", GONE),
        get("/index", ""),
        get("/index?since=yesterday", NUMBERS),
        get("/index?limit=0", NUMBERS),
        get("/index?limit=x", NUMBERS),
        get(
            "/catalog?pagesize=2",
            "asking for the branch main stored v1.1.0 in Athens; here it stores nothing, a file of v1.1.0 does",
        ),
        get("/catalog?pagesize=x", "a client's mistake is a 400, not a 500"),
        get("/catalog?token=nonsense", NUMBERS),
        get("/debug/pprof/", GONE),
        get(
            "/sumdb/sum.golang.org/supported",
            "the same 200; caches are told not to keep a setting of this gateway",
        ),
        get("/sumdb/other.example/supported", GONE),
        get("/", "its own home page; HomeTemplatePath works as in Athens"),
    ];
    Group { name: "mode sync", variables: &[], probes }
}

fn none() -> Group {
    let probes = vec![
        get("/example.com/lib/@v/v1.0.0.info", CACHING),
        get("/example.com/lib/@v/v1.1.0.info", TEXT),
        get("/example.com/lib/@v/v1.1.0.mod", TEXT),
        get("/example.com/lib/@v/v1.1.0.zip", TEXT),
        get("/example.com/lib/@v/list", LIST),
        get("/example.com/lib/@latest", LATEST),
    ];
    Group { name: "mode none", variables: &[("ATHENS_DOWNLOAD_MODE", "none")], probes }
}

fn offline() -> Group {
    let probes = vec![
        get("/example.com/lib/@v/v1.0.0.mod", CACHING),
        get("/example.com/lib/@v/v1.1.0.mod", "offline means offline: Athens fetches on a miss"),
        get(
            "/example.com/lib/@v/list",
            "offline means offline: Athens fetched v1.1.0 for the request above; and the list is text",
        ),
        get("/example.com/pseudo/@v/list", LIST),
        get("/example.com/unknown/@v/list", LIST),
        get(
            "/example.com/lib/@latest",
            "the newest stored version is a good answer offline; Athens has none",
        ),
    ];
    Group { name: "offline", variables: &[("ATHENS_NETWORK_MODE", "offline")], probes }
}

fn redirect() -> Group {
    const VARIABLES: &[(&str, &str)] = &[
        ("ATHENS_DOWNLOAD_MODE", "redirect"),
        ("ATHENS_DOWNLOAD_URL", "https://elsewhere.example/"),
    ];
    let probes = vec![
        get("/example.com/lib/@v/v1.0.0.info", CACHING),
        get("/example.com/lib/@v/v1.1.0.info", MOVED),
        get("/example.com/lib/@v/v1.1.0.zip", MOVED),
        get("/github.com/!burnt!sushi/!toml/@v/v1.3.1.mod", MOVED),
    ];
    Group { name: "mode redirect", variables: VARIABLES, probes }
}

fn guarded() -> Group {
    const VARIABLES: &[(&str, &str)] = &[
        ("ATHENS_FILTER_FILE", "{filter}"),
        ("ATHENS_GLOBAL_ENDPOINT", "https://elsewhere.example/"),
        ("BASIC_AUTH_USER", "user"),
        ("BASIC_AUTH_PASS", "word"),
    ];
    const RIGHT: &[(&str, &str)] = &[("authorization", "Basic dXNlcjp3b3Jk")];
    let as_user = |path, why| Probe { headers: RIGHT, ..get(path, why) };
    let probes = vec![
        get("/example.com/lib/@v/v1.0.0.mod", TEXT),
        get("/healthz", ""),
        get("/metrics", TEXT),
        as_user("/example.com/lib/@v/v1.0.0.mod", CACHING),
        as_user("/example.com/denied/@v/v1.0.0.mod", TEXT),
        as_user("/example.com/denied/@v/list", TEXT),
        as_user("/example.com/direct/@v/v1.0.0.mod", ELSEWHERE),
        as_user("/example.com/direct/@v/list", ELSEWHERE),
    ];
    Group { name: "filter file and basic auth", variables: VARIABLES, probes }
}

fn prefixed() -> Group {
    let probes = vec![
        get("/p/example.com/lib/@v/v1.0.0.mod", CACHING),
        get("/example.com/lib/@v/v1.0.0.mod", GONE),
        get("/", ""),
        get("/p/healthz", ""),
        get("/healthz", GONE),
        get("/p", GONE),
        get("/p/catalog?pagesize=1", ""),
    ];
    Group { name: "path prefix /p", variables: &[("ATHENS_PATH_PREFIX", "/p")], probes }
}
