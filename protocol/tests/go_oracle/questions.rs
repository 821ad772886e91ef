//! The questions: each kind's cases made by hand, and random ones of the same material.

/// How many random questions of each kind.
const RANDOM_PER_KIND: usize = 400;

/// Any seed gives a valid run; a fixed one gives the same run every time.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

#[rustfmt::skip]
const PATHS: &[&str] = &[
    "", "/", ".", "..", "a", "a.b", "A.b", "a.b/", "/a.b", "a.b//c", "a.b/.c", "a.b/c.", "a.b/..",
    "a.b/-c", "-a.b/c", "a_b.c/d", "github.com", "github.com/Azure/x", "a.b/v0", "a.b/v1", "a.b/v2",
    "a.b/v02", "a.b/v2.1", "a.b/v2.", "a.b/v.2", "a.b/c/v10", "a.b/v", "v2", "/v2", "a.b/cv2",
    "gopkg.in", "gopkg.in/yaml.v2", "gopkg.in/yaml.v0", "gopkg.in/yaml.v01", "gopkg.in/yaml",
    "gopkg.in/yaml.v", "gopkg.in/yaml.v-unstable", "gopkg.in/yaml.v1-unstable", "gopkg.in/v2",
    "gopkg.in/yaml.v0-unstable", "gopkg.in/a/b.v3", "gopkg.in/yaml.v2/v2", "gopkg.in/.v1",
    "a.b/con", "a.b/Con.x", "a.b/x.con", "a.b/com1", "a.b/com0", "a.b/lpt9.a.b", "a.b/c~1",
    "a.b/c~1.d", "a.b/c~", "a.b/~1", "a.b/c~1a", "a.b/c.d~1", "git.sr.ht/~u/m", "a.b/c d",
    "a.b/c@v1", "a.b/c!d", "a.b/c+d", "a.b/é", "a.b/c\\d", "a.b/c\u{0}d", "0.0/1", "a.b/1", "a.b.",
    ".a.b",
];
#[rustfmt::skip]
const PATH_PIECES: &[&str] = &[
    "a", "b.c", "/", "/", ".", "-", "~", "1", "2", "v", "/v2", "/v1", ".v3", "gopkg.in/", "Con",
    "aux", "com1", "A", "_", "!", "@", "-unstable", "example.com/", "é", "0", " ", "..", "x.y/",
];
#[rustfmt::skip]
const FILES: &[&str] = &[
    "a", ".a", "..a", "a.", "a b", " a", "a ", "-a", "a/b", "a//b", "/a", "a/", "a/../b", "nul",
    "NUL.txt", "a/aux", "aux1", "com1.tar.gz", "a~1", "!#$%&()+,-.=@[]^_{}~ ", "a\"b", "a*b", "a:b",
    "a<b", "a>b", "a?b", "a`b", "a'b", "a|b", "a;b", "a\\b", "a\tb", "ü", "日本", "e\u{301}",
    "\u{2160}", "\u{aa}", "😀", "\u{feff}a", "", "...", "a\u{7f}", "LPT1 ", "con ", "ſ", "\u{345}",
];
#[rustfmt::skip]
const VERSIONS: &[&str] = &[
    "", "v", "v1", "v1.2", "v1.2.3", "1.2.3", "V1.2.3", "v01.2.3", "v1.02.3", "v1.2.03", "v1.2.3.4",
    "v1.2.3-", "v1.2.3+", "v1.2.3-+", "v1.2.3-a", "v1.2.3-a.", "v1.2.3-.a", "v1.2.3-a..b",
    "v1.2.3-01", "v1.2.3-0", "v1.2.3-1", "v1.2.3-2", "v1.2.3-10", "v1.2.3-01a", "v1.2.3-a-b",
    "v1.2.3+a", "v1.2.3+a.b", "v1.2.3+a+b", "v1.2.3-a+b", "v1.2.3+01", "v1.2.3-é", "v1-a", "v1.2-a",
    "v1+a", "v2.0.0+incompatible", "v2.0.0-a+incompatible", "v2+incompatible", "v1.2.3-RC1",
    "v0.0.0", "v10.0.0", "v9.0.0", "v99999999999999999999.0.0", "v1.2.3-99999999999999999999",
    "v1.2.3-100000000000000000000", "v1.2.3-A", "v1.2.3-Z", "v1.2.3-a.1", "v1.2.3-a.b", "v1.2.3--",
    "v0.0.0-20190718012654-fb15b899a751", "v2.0.0-20190718012654-fb15b899a751",
    "v1.2.4-0.20190718012654-fb15b899a751", "v1.2.3-pre.0.20190718012654-fb15b899a751",
    "v1.2.3-0.0.20190718012654-fb15b899a751", "v1.2.0-0.20190718012654-fb15b899a751",
    "v1.2.10-0.20190718012654-fb15b899a751", "v1.2.100-0.20190718012654-fb15b899a751",
    "v1.2.1-0.20190718012654-fb15b899a751+incompatible", "v1.2.3-20190718012654-fb15b899a751",
    "v2.0.0-20190718012654-fb15b899a751+incompatible", "v0.0.0-2019071801265-fb15b899a751",
    "v0.0.0-201907180126540-fb15b899a751", "v0.0.0-20190718012654-", "v0.0.0-20190718012654-FB",
    "v0.0.0-20190718012654-a-b", "v0.0.0-20190718012654-a+b.c", "v0.1.0-20190718012654-abc",
    "v0.0.0-00010101000000-000000000000", "v0.0.0-20191318012654-abc", "v0.0.0-20190230012654-abc",
    "v0.0.0-20190718252654-abc", "v1.2.3-a.0.20190718012654-abc", "v1.2.3-a0.20190718012654-abc",
    "v1.2.3-a.00.20190718012654-abc", "v0.0.0-0.20190718012654-abc", "v1.0.0-0.20190718012654-abc",
    "v1.2.1000-0.20190718012654-abc", "v1.2.20-0.20190718012654-abc",
];
#[rustfmt::skip]
const VERSION_PIECES: &[&str] = &[
    "v", "0", "1", "2", "10", "01", ".", ".", "-", "+", "a", "B", "rc", "v1.2.3", "v0.0.0-", "-0.",
    ".0.", "20190718012654-", "20190718012654", "abc", "+incompatible", "v1.2.3-", "9", "99",
];
#[rustfmt::skip]
const ESCAPED: &[&str] = &[
    "github.com/!azure/x", "github.com/!Azure/x", "github.com/Azure/x", "github.com/!!a/x",
    "a.b/c!", "a.b/!1", "a.b/!é", "a.b/!", "!a.b/c", "a.b/!a!b!c", "v1.0.0-!r!c1", "v1.0.0-RC1",
    "!m!a!i!n", "!head", "HEAD", "!", "a!", "é",
];
#[rustfmt::skip]
const QUERIES: &[&str] = &[
    "master", "HEAD", "v1", "v1.2", "a/b", "a!b", "con", "CON.x", "a.", ".", "..", "...", "a b",
    "a%b", "a#b", "a:b", "é", "日", "", "fb15b899a751", "release-1.2", ".a", "a~1", "a\\b",
    "v1.0.0+meta",
];
const PATH_MAJORS: &[&str] =
    &["", "/v2", "/v3", "/v10", ".v0", ".v1", ".v2", ".v1-unstable", ".v2-unstable", ".v-unstable"];
#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "", "*", "**", "a", "a*", "*a", "a*b", "*a*b", "?", "??", "*?", "*???", "[a]", "[a-c]", "[^a]",
    "[^a-c]*", "[", "[]", "[]a]", "[^]", "[a", "[a-", "[a-]", "[-a]", "[\\-a]", "[\\]]", "\\",
    "\\*", "a\\", "[a\\", "*[", "a[", "a*[", "[^", "[*]", "[*", "[]*]", "[a-]*]", "[[]", "[a]]",
    "[é-ü]", "[^/]", "[/]", "a/*", "*/a", "*/*", "a?b", "a[/]b", "a[^x]b", "a,b", "a/,b", ",",
    "*.b/c", "{a,b}", "a/b/c", "a//b", "/a", "a/*/c", "x*[,a", "\\a", "a\\b", "*\u{e9}", "?\u{e9}",
    "[\u{fffd}]",
];
#[rustfmt::skip]
const PATTERN_PIECES: &[&str] = &[
    "a", "b", "c", "*", "*", "?", "[", "]", "^", "-", "\\", "/", "/", ",", "é", "[a-c]", "[^b]",
    "😀",
];
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "", "a", "b", "ab", "abc", "aab", "a/b", "a/b/c", "/a", "a/", "a//b", "*", "]", "-", "[", "\\",
    "é", "ü", "aé", "😀", "a😀b", "x.b/c/d", "a*b", ",", "a,b", "{a", "{a,b}", "日本",
];
const NAME_PIECES: &[&str] = &["a", "b", "c", "/", "é", "😀", "*", "-"];
#[rustfmt::skip]
const TILES: &[&str] = &[
    "tile/8/0/000", "tile/8/0/x001/234.p/5", "tile/8/data/067", "tile/8/data/067.p/255",
    "tile/8/63/001", "tile/8/64/001", "tile/8/0/000.p/256", "tile/8/0/000.p/0", "tile/8/0/0",
    "tile/8/0/x000/001", "tile/8/0/001/002", "tile/8/0/x001", "tile/4/0/000", "tile/8/-1/000",
    "tile/8/+1/000", "tile/8/01/000", "tile/8/0/000.p/05", "tile/8/0/x001/x234/067", "tile/8/0/-01",
    "tile/8/0/+01", "tile/8/0/xx01", "tile/8/0/000.p/5/", "tile/8/0/x999/x999/x999/x999/x999/999",
    "", "tile", "tile/8", "tile/8/0", "tile/8/0/", "tile/8/0/000.p", "tile/8/0/000.p/",
    "tile/8//000",
];
const TILE_PIECES: &[&str] =
    &["tile/8/", "0/", "data/", "1/", "x001/", "x000/", "234", "067", ".p/", "5"];
#[rustfmt::skip]
const GO_MODS: &[&str] = &[
    "", "module a.b/c\n", "module a.b/c", "module \"a.b/c\"\n", "module a.b/c // x\n",
    "module a b\n", "module\n", "// Deprecated: x\nmodule a.b\n",
    "// Deprecated: x\n\nmodule a.b\n", "module a.b // Deprecated: y\n",
    "// a\n//\n// Deprecated:   x\n// z\n//\n// w\nmodule a.b\n",
    "// Deprecated: x\nmodule (\n\ta.b\n)\n",
    "// Deprecated: x\nmodule (\n// Deprecated: y\n\ta.b\n)\n", "module a.b\nretract v1.0.0\n",
    "module a.b\nretract v1.0.0 // why\n", "module a.b\n// why\nretract v1.0.0\n",
    "module a.b\n// why\n\nretract v1.0.0\n",
    "module a.b\n// why\nretract (\n\tv1.0.0\n\n\tv1.1.0\n\t// own\n\n\tv1.2.0 // more\n)\n",
    "module a.b\n// why\nretract ( // note\n\n\tv1.0.0\n\t[v1.1.0, v1.2.0]\n)\n",
    "module a.b\nretract [v1.0.0,v1.1.0] x y\nretract [v1.0.0\nretract [v1.0.0, v1.1.0\nretract (\n)\n",
    "module a.b\nretract ( )\nretract ( v1.0.0 )\nretract []\nretract \"v1.0.0\"\nretract `v1.0.0`\n",
    "module a.b\nretract bad\nretract [bad, worse]\nretract v1\nretract v1.2.3, v1.2.4\n",
    "go 1.21\nmodule a.b\n", "go 1.21.3\nmodule a.b\n", "go v1.13.x\nmodule a.b\n",
    "go 1.13.x\nmodule a.b\n", "go 1.21rc1\nmodule a.b\n", "go 1.9.x1\nmodule a.b\n",
    "go (\n1.21\n)\nmodule a.b\n", "go 1.010\nmodule a.b\n", "go 1.01\nmodule a.b\n",
    "go 1.21.03\nmodule a.b\n", "go 1.21-x\nmodule a.b\n",
    "module a.b\r\n\r\n// why\r\nretract v1.0.0\r\n",
    "module a.b\nunknown x y z\nunknown (\nretract v1.0.0\n)\n",
    "module a.b\nretract x (\nv1.0.0\n)\nrequire c.d v1.0.0\n", "module a.b//x\n",
    "module a//b\nretract v1.0.0//why\n",
    "module a.b\nretract v1.0.0 // a\n// b\nretract v1.1.0\n// c\n",
    "module a.b\n(\nretract v1.0.0\n)\n", "module a.b\nretract(\nv1.0.0\n)\n",
    "module a.b\nretract[v1.0.0,v1.1.0]\n", "module a.b\nretract {v1.0.0}\n",
    "module a.b\n\t// why\n\tretract v1.0.0\n", "module é.b/ü\n", "// Deprecated:\nmodule a.b\n",
    "// x Deprecated: y\nmodule a.b\n", "//Deprecated: y\nmodule a.b\n",
    "/// Deprecated: y\nmodule a.b\n",
];
#[rustfmt::skip]
const GO_MOD_PIECES: &[&str] = &[
    "// Deprecated: x\n", "// why\n", "//\n", "\n", "\n", "retract v1.0.0\n",
    "retract v1.1.0 // because\n", "retract [v1.2.0, v1.3.0]\n", "retract (\n", "\tv1.4.0\n",
    "\t[v1.5.0, v1.6.0] // range\n", ")\n", "go 1.21\n", "\t// inner\n", "unknown (\n",
    "unknown x\n", "module (\n", "\ta.b/d // Deprecated: z\n", "retract ( )\n", "\"v1.7.0\"\n",
];
#[rustfmt::skip]
const INFOS: &[&str] = &[
    "{}", "[]", "null", "", "{", "{\"Version\":\"v1.0.0\"}", "{\"version\":\"v1.0.0\"}",
    "{\"Version\":\"v1.0.0\"} x", "{\"Version\":1}", "{\"Version\":null}",
    "{\"Version\":\"v1.0.0\",\"Version\":null}",
    "{\"Version\":\"v1.0.0\",\"ver\u{17f}ion\":\"v2.0.0\"}",
    "{\"Version\":\"v1.0.0\",\"VERSION\":\"v1.1.0\",\"x\":[1,{}]}",
    "{\"Version\":\"v1.0.0\",\"Time\":null}",
    "{\"Version\":\"v1.0.0\",\"Ver\\u0073ion\":\"v1.5.0\"}",
];
#[rustfmt::skip]
const TIMES: &[&str] = &[
    "2019-07-18T01:26:54Z", "2019-07-18T01:26:54.1Z", "2019-07-18T01:26:54.123456789Z",
    "2019-07-18T01:26:54.1234567890123Z", "2019-07-18T01:26:54+02:00", "2019-07-18T01:26:54-23:59",
    "2019-07-18T01:26:54+24:00", "2019-07-18T01:26:54+02:60", "2019-07-18T01:26:54", "2019-07-18",
    "2019-07-18T1:26:54Z", "2019-07-18t01:26:54Z", "2019-07-18T01:26:54z", "2019-07-18 01:26:54Z",
    "2019-02-29T01:26:54Z", "2020-02-29T01:26:54Z", "1900-02-29T01:26:54Z", "2000-02-29T01:26:54Z",
    "2019-00-18T01:26:54Z", "2019-13-18T01:26:54Z", "2019-07-00T01:26:54Z", "2019-07-32T01:26:54Z",
    "2019-06-31T01:26:54Z", "2019-07-18T24:26:54Z", "2019-07-18T01:60:54Z", "2019-07-18T01:26:60Z",
    "2019-07-18T01:26:54.Z", "2019-07-18T01:26:54,5Z", "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "12019-07-18T01:26:54Z", "", "now",
    "2019-07-18T01:26:54+0200", "2019-07-18T01:26:54Zx", "2019-07-18T01:26:54.5+02:00",
    "2019-07-18T01:26:54+2:00", "0001-01-01T00:00:00.0Z", "0001-01-01T01:00:00+01:00",
];

/// Every question, each a kind and one or two texts.
pub(crate) fn all() -> Vec<Vec<String>> {
    let mut list = List { random: Random(SEED), questions: Vec::new() };
    list.one("path", PATHS, PATH_PIECES);
    list.one("file", FILES, FILES);
    list.one("file", PATHS, PATH_PIECES);
    list.one("unescape path", ESCAPED, PATH_PIECES);
    list.one("unescape version", ESCAPED, ESCAPED);
    list.one("escape version", QUERIES, PATH_PIECES);
    list.one("escape version", VERSIONS, VERSION_PIECES);
    list.one("semver", VERSIONS, VERSION_PIECES);
    list.one("pseudo", VERSIONS, VERSION_PIECES);
    list.two("compare", (VERSIONS, VERSION_PIECES), (VERSIONS, VERSION_PIECES));
    list.two("major", (VERSIONS, VERSION_PIECES), (PATH_MAJORS, &[]));
    list.two("match", (PATTERNS, PATTERN_PIECES), (NAMES, NAME_PIECES));
    list.two("prefix", (PATTERNS, PATTERN_PIECES), (NAMES, NAME_PIECES));
    list.one("tile", TILES, TILE_PIECES);
    list.one("go.mod", GO_MODS, &[]);
    for _ in 0..4 * RANDOM_PER_KIND {
        let head = list.random.text(GO_MOD_PIECES);
        let tail = list.random.text(GO_MOD_PIECES);
        list.push("go.mod", &[format!("{head}module a.b/c\n{tail}")]);
    }
    list.one("info", INFOS, &[]);
    for time in TIMES {
        list.push("info", &[format!("{{\"Version\":\"v1.0.0\",\"Time\":\"{time}\"}}")]);
    }
    for block in (0..0x11_0000_u32).step_by(0x1000) {
        list.push("file characters", &[format!("{block:x}")]);
    }
    list.questions
}

struct List {
    random: Random,
    questions: Vec<Vec<String>>,
}

impl List {
    fn push(&mut self, kind: &str, texts: &[String]) {
        let mut question = vec![kind.to_owned()];
        question.extend_from_slice(texts);
        self.questions.push(question);
    }

    fn one(&mut self, kind: &str, cases: &[&str], pieces: &[&str]) {
        for case in cases {
            self.push(kind, &[(*case).to_owned()]);
        }
        if !pieces.is_empty() {
            for _ in 0..RANDOM_PER_KIND {
                let text = self.random.text(pieces);
                self.push(kind, &[text]);
            }
        }
    }

    /// Every pair of cases, and random pairs.
    fn two(&mut self, kind: &str, left: (&[&str], &[&str]), right: (&[&str], &[&str])) {
        for first in left.0 {
            for second in right.0 {
                self.push(kind, &[(*first).to_owned(), (*second).to_owned()]);
            }
        }
        for _ in 0..RANDOM_PER_KIND {
            let first = self.random.text(left.1);
            let second = match right.1 {
                [] => self.random.pick(right.0).to_owned(),
                pieces => self.random.text(pieces),
            };
            self.push(kind, &[first, second]);
        }
    }
}

/// Xorshift: enough to mix pieces.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn text(&mut self, pieces: &[&str]) -> String {
        let count = 1 + self.below(8);
        (0..count).map(|_| self.pick(pieces)).collect()
    }
}
