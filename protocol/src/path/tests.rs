use super::*;

fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap()
}

fn accepts(path: &str, version: &str) -> bool {
    module(path).accepts(&Version::parse(version).unwrap()).is_ok()
}

#[test]
fn a_raw_capital_is_refused() {
    let error = ModulePath::from_escaped("github.com/Azure/go").unwrap_err();
    assert_eq!(error.reason(), &PathReason::NotEscaped);
    assert_eq!(module("github.com/Azure/go").escaped(), "github.com/!azure/go");
}

#[test]
fn a_path_with_another_case_is_another_path() {
    assert_ne!(module("github.com/Sirupsen/logrus"), module("github.com/sirupsen/logrus"));
}

#[test]
fn the_major_suffix_is_split_off() {
    assert_eq!(module("a.io/m/v2").split_major(), ("a.io/m", "/v2"));
    assert_eq!(module("a.io/m").split_major(), ("a.io/m", ""));
    assert_eq!(module("gopkg.in/yaml.v2").split_major(), ("gopkg.in/yaml", ".v2"));
    assert_eq!(module("gopkg.in/x.v1-unstable").split_major(), ("gopkg.in/x", ".v1-unstable"));
}

#[test]
fn a_version_must_fit_the_major_suffix() {
    assert!(accepts("a.io/m", "v1.0.0") && accepts("a.io/m", "v2.0.0+incompatible"));
    assert!(!accepts("a.io/m", "v2.0.0"));
    assert!(accepts("a.io/m/v2", "v2.1.0") && !accepts("a.io/m/v2", "v3.0.0"));
    assert!(accepts("gopkg.in/yaml.v2", "v2.0.0") && !accepts("gopkg.in/yaml.v2", "v1.0.0"));
}

#[test]
fn incompatible_is_refused_for_a_path_with_a_major_suffix() {
    assert!(!accepts("a.io/m/v2", "v2.0.0+incompatible"));
    assert!(!accepts("gopkg.in/yaml.v2", "v2.0.0+incompatible"));
}

#[test]
fn gopkg_in_v1_takes_the_old_pseudo_versions() {
    assert!(accepts("gopkg.in/check.v1", "v0.0.0-20161208181325-20d25e280405"));
    assert!(!accepts("gopkg.in/check.v1", "v0.1.0"));
    assert!(!accepts("gopkg.in/check.v2", "v0.0.0-20161208181325-20d25e280405"));
}

#[test]
fn a_forge_has_no_module_near_its_root() {
    for path in ["github.com", "github.com/owner", "gitlab.com/group", "gopkg.in"] {
        assert!(module(path).impossible().is_some(), "{path}");
    }
    for path in
        ["github.com/o/r", "golang.org", "k8s.io", "gopkg.in/yaml.v2", "github.company.io/x"]
    {
        assert!(module(path).impossible().is_none(), "{path}");
    }
}

#[test]
fn tildes_dots_and_a_git_suffix_are_accepted() {
    for path in ["git.sr.ht/~user/mod", "gitlab.com/x/y.git", "a.io/x_y", "a.io/b/c.d.e"] {
        module(path);
    }
}

#[test]
fn a_path_over_the_limit_is_refused_and_its_error_is_short() {
    let long = format!("a.io/{}", "x".repeat(MAX_MODULE_PATH_BYTES));
    let error = ModulePath::parse(&long).unwrap_err();
    assert!(error.to_string().len() < 400);
    assert_eq!(error.reason(), &PathReason::TooLong(long.len()));
}

#[test]
fn an_error_is_one_printable_line() {
    let error = ModulePath::parse("a.io/\u{1b}[0m\r\nx").unwrap_err().to_string();
    assert!(!error.chars().any(char::is_control), "{error}");
}

#[test]
fn file_paths_take_letters_of_every_script_and_no_marks() {
    for path in ["a b/ü.go", "日本/x.txt", "-x", ".git/config", "a+b@{c}"] {
        assert!(check_file_path(path).is_ok(), "{path}");
    }
    // U+0301 is a mark and U+2160 a number: alphabetic, but no letters to Go.
    for path in
        ["e\u{301}", "\u{2160}", "a:b", "a\\b", "a//b", "/a", "a/", "com1.txt", "a/..", "x."]
    {
        assert!(check_file_path(path).is_err(), "{path}");
    }
}
