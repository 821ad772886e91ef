//! The download-mode file while the gateway runs: what changes it, what does not, and what is ours in it.

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Upstream, When};
use rustix::process::Signal;

use crate::world::{
    MODULE, Setup, VERSION, World, file, latest, list, outcome, path_of, sick, until,
};

/// Refuses every module that is not stored.
const REFUSES: &str = "mode = \"none\"\ndownloadURL = \"\"\n";
/// Fetches every module.
pub(crate) const FETCHES: &str = "mode = \"sync\"\ndownloadURL = \"\"\n";

pub(crate) async fn started(text: &str) -> World {
    with_file(Setup::disk(), text).start().await
}

pub(crate) fn with_file(setup: Setup, text: &str) -> Setup {
    setup.with_file("mode.hcl", text).env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")
}

fn write(world: &World, text: &str) {
    std::fs::write(world.file("mode.hcl"), text).expect("the file is written");
}

/// How often the file was read again with this result.
async fn reloads(world: &World, result: &str) -> f64 {
    let metrics = world.metrics().await;
    metrics.metric("dipylon_policy_reloads_total").label("result", result).sum()
}

/// SIGHUP, until it has this result once more.
async fn hang_up(world: &mut World, result: &str) {
    let before = reloads(world, result).await;
    world.gateway.signal(Signal::HUP);
    until(result, async || reloads(world, result).await > before).await;
}

/// Writes the file and sends SIGHUP, until there is this result once more. A look may come between the two.
pub(crate) async fn rewrite(world: &mut World, text: &str, result: &str) {
    let before = reloads(world, result).await;
    write(world, text);
    world.gateway.signal(Signal::HUP);
    until(result, async || reloads(world, result).await > before).await;
}

async fn until_reloads(world: &World, result: &str, count: f64) {
    until(result, async || reloads(world, result).await >= count).await;
}

async fn is_refused(world: &World) -> bool {
    world.metrics().await.metric("dipylon_policy_file_refused").sum() == 1.0
}

/// The reasons of all refusals in the log.
fn refusals(world: &World) -> Vec<String> {
    let reason = |event: &serde_json::Value| Some(event["reason"].as_str()?.to_owned());
    world.events().iter().filter_map(reason).collect()
}

/// Whether a version of this module that is not stored is fetched, by its own name each time.
pub(crate) async fn fetches(world: &World, name: &str) -> bool {
    let module = format!("example.com/{name}");
    world.add(FakeModule::new(&module, VERSION));
    world.get(&path_of(&module, VERSION, "mod")).await.status == 200
}

// === What is wrong with a file ===

/// A file, where it is wrong, and what is said of it.
const MALFORMED: &[(&str, &str, &str)] = &[
    ("", "1:1", "mode is missing at the top level"),
    ("mode = \"none\"\n", "1:1", "downloadURL is missing"),
    ("mode = \"none\ndownloadURL = \"\"\n", "1:8", "this text is not closed"),
    ("mode = \"none\"\ndownloadURL = \"\"\n}\n", "3:1", "unexpected token"),
    (
        "mode = \"none\"\ndownloadURL = \"\"\ndownload \"a {\n  mode = \"none\"\n}\n",
        "3:10",
        "not closed",
    ),
    ("mode \"none\"\ndownloadURL = \"\"\n", "1:12", "expected `{`"),
    ("mode = none\ndownloadURL = \"\"\n", "1:8", "there is no variable none"),
    ("mode = \"nöne\"\ndownloadURL = \"\"\n", "1:8", "is no mode"),
    ("mode = 1\ndownloadURL = \"\"\n", "1:8", "mode is a number"),
    ("mode = \"none\"\ndownloadURL = \"h.test\"\n", "2:15", "downloadURL is no base URL"),
    ("mode = \"redirect\"\ndownloadURL = \"\"\n", "1:8", "there is no downloadURL"),
    ("mode = \"none\"\ndownloadURL = \"\"\nmode = \"sync\"\n", "3:1", "unique attribute key"),
    ("mode = \"none\"\ndownloadURL = \"\"\nmodes = 1\n", "3:1", "no attribute \"modes\""),
    (
        "mode = \"none\"\ndownloadURL = \"\"\n\n  down \"a\" {\n}\n",
        "4:3",
        "there is no block \"down\"",
    ),
    ("mode = \"none\"\ndownloadURL = \"\"\ndownload {\n}\n", "3:1", "needs its pattern"),
    ("mode = \"none\"\ndownloadURL = \"\"\ndownload \"a\" \"b\" {\n}\n", "3:14", "one pattern"),
    ("mode = \"none\"\ndownloadURL = \"\"\ndownload \"a\" {\n}\n", "3:1", "mode is missing"),
    (
        "mode = \"none\"\ndownloadURL = \"\"\ndownload \"ä\" { mode = 2 }\n",
        "3:23",
        "mode is a number",
    ),
    ("mode = \"none\"\r\ndownloadURL = \"\"\r\nlist = \"x\"\r\n", "3:8", "list cannot be \"x\""),
    ("mode = \"none\"\ndownloadURL = \"\"\nlatest = 3\n", "3:10", "latest is a number"),
    ("mode = \"none\"\ndownloadURL = \"\"\nfreshFor = \"1d\"\n", "3:12", "freshFor cannot be"),
    ("mode = \"none\"\ndownloadURL = \"\"\nnegativeTTL = \"-1s\"\n", "3:15", "negativeTTL cannot"),
    ("mode = \"none\"\ndownloadURL = \"\"\nupstreams = []\n", "3:13", "upstreams is empty"),
    (
        "mode = \"none\"\ndownloadURL = \"\"\nupstreams = [\n  \"direct\",\n  \"ftp://h\",\n]\n",
        "5:3",
        "\"ftp://h\" is refused",
    ),
    (
        "mode = \"none\"\ndownloadURL = \"\"\ndownload \"a\" {\n  mode = \"none\"\n",
        "4:17",
        "expected `}`",
    ),
    (
        "mode = \"none\"\ndownloadURL = \"\"\nrateClass = \"slow\"\n",
        "3:13",
        "no rate class \"slow\"",
    ),
    (
        "mode = \"none\"\ndownloadURL = \"\"\nrate \"a\" {\n  perSecond = 0\n  burst = 1\n}\n",
        "4:15",
        "want a whole number from 1 to 10000",
    ),
];

#[tokio::test]
async fn each_malformed_file_is_refused_where_it_is_wrong_and_the_policy_in_force_stays() {
    assert!(MALFORMED.len() >= 20);
    // More at once than the log has room for.
    for some in MALFORMED.chunks(10) {
        let mut world = started(FETCHES).await;
        let path = world.file("mode.hcl").display().to_string();
        for (number, (text, place, reason)) in some.iter().enumerate() {
            rewrite(&mut world, text, "refused").await;
            let said = refusals(&world).pop().expect("a refusal in the log");
            let begins = format!("{path}:{place}: ");
            assert!(said.starts_with(&begins), "{text:?}, want {place}: {said}");
            assert!(said.contains(reason), "{text:?}, want {reason:?}: {said}");
            assert!(fetches(&world, &format!("m{number}")).await, "{text:?} has changed it");
            assert!(is_refused(&world).await, "{text:?}");
        }
        assert_eq!(refusals(&world).len(), some.len(), "each is said once");
        rewrite(&mut world, REFUSES, "applied").await;
        assert!(!fetches(&world, "last").await);
        assert!(!is_refused(&world).await);
    }
}

#[tokio::test]
async fn what_is_refused_is_said_once_and_what_is_unchanged_says_so() {
    let mut world = started(FETCHES).await;
    hang_up(&mut world, "unchanged").await;
    assert!(world.logged("is unchanged, and in force"));
    rewrite(&mut world, "mode = \"snyc\"\n", "refused").await;
    hang_up(&mut world, "unchanged").await;
    assert!(world.logged("is unchanged since it was refused"));
    // The same again, as an editor writes it that does not look.
    rewrite(&mut world, "mode = \"snyc\"\n", "unchanged").await;
    assert_eq!(refusals(&world).len(), 1);
    // What is in force is put in force again: a person who takes a mistake back sees that.
    rewrite(&mut world, FETCHES, "applied").await;
    assert!(fetches(&world, "a").await && !is_refused(&world).await);
}

// === What changes it without a signal ===

#[tokio::test]
async fn a_file_that_is_written_is_in_force_soon() {
    let world = started(FETCHES).await;
    assert!(fetches(&world, "a").await);
    write(&world, REFUSES);
    until_reloads(&world, "applied", 1.0).await;
    assert!(!fetches(&world, "b").await);
    write(&world, "mode = 5\n");
    until_reloads(&world, "refused", 1.0).await;
    assert!(!fetches(&world, "c").await && is_refused(&world).await);
}

#[tokio::test]
async fn a_config_map_that_is_swapped_is_noticed() {
    // As Kubernetes lays it out: the file is reached through a link to a folder, and the link is replaced.
    let volume = tempfile::tempdir().expect("a folder");
    for (name, text) in [("first", FETCHES), ("second", REFUSES)] {
        std::fs::create_dir(volume.path().join(name)).expect("a folder");
        std::fs::write(volume.path().join(name).join("mode.hcl"), text).expect("a file");
    }
    let (data, new) = (volume.path().join("..data"), volume.path().join("..data_tmp"));
    std::os::unix::fs::symlink("first", &data).expect("a link");
    std::os::unix::fs::symlink("..data/mode.hcl", volume.path().join("mode.hcl")).expect("a link");
    let path = format!("file:{}", volume.path().join("mode.hcl").display());
    let world = Setup::disk().env("ATHENS_DOWNLOAD_MODE", &path).start().await;
    assert!(fetches(&world, "a").await);
    std::os::unix::fs::symlink("second", &new).expect("a link");
    std::fs::rename(new, data).expect("the link is replaced");
    until_reloads(&world, "applied", 1.0).await;
    assert!(!fetches(&world, "b").await);
}

#[tokio::test]
async fn a_file_that_is_gone_is_refused_until_it_is_back() {
    let mut world = started(REFUSES).await;
    std::fs::remove_file(world.file("mode.hcl")).expect("removed");
    until_reloads(&world, "refused", 1.0).await;
    assert!(!fetches(&world, "a").await && is_refused(&world).await);
    let said = refusals(&world);
    assert!(
        said.len() == 1 && said[0].contains("mode.hcl: cannot be read: No such file"),
        "{said:?}"
    );
    hang_up(&mut world, "unchanged").await;
    write(&world, FETCHES);
    until_reloads(&world, "applied", 1.0).await;
    assert!(fetches(&world, "b").await && !is_refused(&world).await);
    assert_eq!(refusals(&world).len(), 1);
}

#[tokio::test]
async fn without_a_file_sighup_ends_nothing() {
    let mut world = Setup::disk().start().await;
    world.gateway.signal(Signal::HUP);
    until("it is said", async || world.logged("there is nothing to read again")).await;
    assert!(fetches(&world, "a").await);
    assert_eq!(world.metrics().await.metric("dipylon_policy_file_refused").sum(), 0.0);
}

// === What is ours in the file ===

#[tokio::test]
async fn a_pattern_has_upstreams_of_its_own_for_whatever_is_asked() {
    let (private, spare) = (Upstream::start().await, Upstream::start().await);
    let text = format!(
        "{FETCHES}download \"example.com/lib\" {{\n  mode = \"sync\"\n  upstreams = [{:?}, {:?}]\n}}\n",
        private.url(),
        spare.url()
    );
    let mut world = started(&text).await;
    let module = FakeModule::new(MODULE, VERSION);
    private.add(module.clone());
    world.database.register(&module);
    for kind in ["info", "mod", "zip"] {
        world.get_ok(&file(kind)).await;
    }
    assert_eq!(world.get_ok(&list()).await.text(), format!("{VERSION}\n"));
    assert!(world.get_ok(&latest()).await.text().contains(VERSION));
    assert_eq!((world.module_requests(), spare.total()), (0, 0));
    // "Does not exist" goes on to the next one, as with a comma; the gateway's own is not among them.
    world.get_refused(&path_of(MODULE, "v1.9.0", "mod"), 404, &["v1.9.0"]).await;
    assert!(spare.total() > 0 && world.module_requests() == 0);
    // All others are asked for where they were before.
    assert!(fetches(&world, "other").await);
    assert!(world.module_requests() > 0);
    // With the next file the module is the gateway's own upstream's again.
    rewrite(&mut world, FETCHES, "applied").await;
    private.clear_requests();
    world.add(FakeModule::new(MODULE, "v1.4.0"));
    world.get_ok(&path_of(MODULE, "v1.4.0", "mod")).await;
    assert_eq!(private.total(), 0);
}

/// What says that no upstream may see the module's name.
pub(crate) fn secret() -> String {
    format!(
        "{FETCHES}download \"example.com/lib\" {{\n  mode = \"none\"\n  list = \"storage\"\n  \
         latest = \"storage\"\n}}\n"
    )
}

#[tokio::test]
async fn a_private_name_is_never_asked_of_an_upstream() {
    let world = started(&secret()).await;
    world.add_module();
    for kind in ["info", "mod", "zip"] {
        let refused = world.get_refused(&file(kind), 404, &[VERSION]).await;
        assert_eq!(outcome(&refused), "not_stored");
    }
    assert!(world.get_ok(&list()).await.body.is_empty());
    world.get_refused(&latest(), 404, &["no version", "is stored"]).await;
    world.get_refused(&path_of(MODULE, "master", "info"), 404, &["master"]).await;
    assert_eq!((world.upstream.total(), world.database.requests().len()), (0, 0));
    assert!(fetches(&world, "other").await);
}

#[tokio::test]
async fn a_pattern_has_times_of_its_own() {
    let text = format!(
        "{FETCHES}download \"example.com/lib\" {{\n  mode = \"sync\"\n  freshFor = \"0s\"\n  \
         negativeTTL = \"0s\"\n}}\n"
    );
    let setup = Setup::disk().env("DIPYLON_STALE_WHILE_REVALIDATE", "0");
    let world = with_file(setup, &text).start().await;
    world.add_module();
    world.add(FakeModule::new("example.com/other", VERSION));
    for (module, asked) in [(MODULE, 2), ("example.com/other", 1)] {
        let (list, absent) = (format!("/{module}/@v/list"), path_of(module, "v1.9.0", "info"));
        for _ in 0..2 {
            world.get_ok(&list).await;
            world.get_refused(&absent, 404, &["v1.9.0"]).await;
        }
        assert_eq!((world.asked(&list), world.asked(&absent)), (asked, asked), "{module}");
    }
}

#[tokio::test]
async fn a_reload_holds_for_what_waits_in_the_background() {
    let setup = Setup::disk().env("DIPYLON_QUEUE_DIRECTORY", "{folder}/queue");
    let mut world = with_file(setup, "mode = \"async\"\ndownloadURL = \"\"\n").start().await;
    world.add_module();
    world.upstream.fault(When::prefix("/"), sick());
    world.get_refused(&file("mod"), 404, &["is being fetched"]).await;
    let queue = async |world: &World| -> serde_json::Value {
        serde_json::from_slice(&world.get_ok("/-/queue").await.body).expect("JSON")
    };
    until("it waits for its second attempt", async || {
        queue(&world).await["entries"][0]["state"] == "paused"
    })
    .await;
    rewrite(&mut world, REFUSES, "applied").await;
    world.upstream.clear_faults();
    let asked = world.module_requests();
    until("its turn has come", async || queue(&world).await["held"] == 1).await;
    assert_eq!((&queue(&world).await["queued"], world.module_requests()), (&0.into(), asked));
    // It waits for a policy that allows it, and for no start.
    rewrite(&mut world, FETCHES, "applied").await;
    until("it is stored", async || world.is_stored(MODULE, VERSION)).await;
    until("it has ended", async || {
        let queue = queue(&world).await;
        (&queue["held"], &queue["queued"], &queue["running"]) == (&0.into(), &0.into(), &0.into())
    })
    .await;
    assert!(world.logged("policy allows them again"));
    // Nor is it there after the next start.
    world.restart().await;
    assert_eq!(
        (&queue(&world).await["held"], &queue(&world).await["queued"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_pattern_that_names_direct_is_warned_about_where_there_is_no_go_command() {
    let block = |name: &str| {
        format!("download \"{name}\" {{\n  mode = \"sync\"\n  upstreams = \"direct\"\n}}\n")
    };
    let mut world = started(&format!("{FETCHES}{}", block("git.one.example"))).await;
    let warned = |world: &World| -> Vec<String> {
        let events = world.events().into_iter();
        let about = events.filter(|event| event.to_string().contains("names direct"));
        about.map(|event| event["pattern"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(warned(&world), ["git.one.example"]);
    rewrite(&mut world, &format!("{FETCHES}{}", block("git.two.example")), "applied").await;
    assert_eq!(warned(&world), ["git.one.example", "git.two.example"]);
}
