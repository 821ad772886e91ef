//! Cases 8 to 15: an upstream whose answers are not what was asked for.

use std::time::Duration;

use bytes::Bytes;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};

use crate::raw_upstream::RawUpstream;
use crate::world::{MODULE, Setup, VERSION, World, file, large, outcome};
use crate::zips::{Entry, zip};

const MIB: usize = 1024 * 1024;

/// Nothing of the version is kept, neither under Athens's names nor under ours.
async fn assert_nothing_kept(world: &World) {
    world.until_idle().await;
    assert_eq!(world.stored_files().len(), 0, "{:?}", world.stored_files());
    assert_eq!(world.our_files().len(), 0, "{:?}", world.our_files());
}

/// No zip and no spool of the version is kept; its `.info` and `.mod`, which are right, may be, and so
/// may the record of why the zip was refused.
async fn assert_no_zip_kept(world: &World) {
    world.until_idle().await;
    assert_eq!(world.stored_files().len(), 0, "{:?}", world.stored_files());
    let spools: Vec<_> =
        world.our_files().into_iter().filter(|name| name.contains("/staging/")).collect();
    assert!(spools.is_empty(), "{spools:?}");
}

#[tokio::test]
async fn case_08_an_info_of_another_version_is_refused() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.upstream.fault(file("info").as_str(), Fault::WrongVersion);
    let refused = world.get_refused(&file("info"), 502, &[VERSION, "v9.9.9"]).await;
    assert_eq!(outcome(&refused), "upstream_bad_content");
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(world.asked(&file("info")), 1);
    assert_nothing_kept(&world).await;

    world.upstream.clear_faults();
    world.get_ok(&file("info")).await;
}

#[tokio::test]
async fn case_09_a_login_page_is_no_file() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.upstream.fault(When::prefix(&format!("/{MODULE}/")), Fault::HtmlLogin);
    let paths = [
        file("info"),
        file("mod"),
        file("zip"),
        format!("/{MODULE}/@v/list"),
        format!("/{MODULE}/@latest"),
        format!("/{MODULE}/@v/master.info"),
    ];
    for path in &paths {
        let refused = world.get_refused(path, 502, &[MODULE]).await;
        assert_eq!(outcome(&refused), "upstream_bad_content", "{path}");
        assert!(!refused.text().contains("Sign in"), "{}", refused.text());
        assert_eq!(world.asked(path), 1, "{path}");
    }
    assert_nothing_kept(&world).await;
}

#[tokio::test]
async fn case_10_a_zip_that_breaks_off_is_asked_for_once_more() {
    let world = Setup::disk().start().await;
    let module = world.add(large(3 * MIB));
    let cut = module.zip().len() - module.zip().len() / 100;
    world.upstream.fault(When::path(&file("zip")).times(1), Fault::TruncateAt(cut));
    let whole = world.get_ok(&file("zip")).await;
    assert!(whole.body == module.zip(), "{} bytes", whole.body.len());
    assert_eq!(world.asked(&file("zip")), 2);
    world.until_stored(MODULE, VERSION).await;
}

#[tokio::test]
async fn case_10_a_zip_that_keeps_breaking_off_is_never_stored() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_IDLE_TIMEOUT", "1").start().await;
    let zip = world.add(large(3 * MIB)).zip();
    // Silence before the end, so that the body has begun for certain when it is given up.
    world.upstream.fault(file("zip").as_str(), Fault::StallAfter(zip.len() - 1000));
    let cut = world.get(&file("zip")).await;
    assert_eq!((cut.status.as_u16(), cut.truncated), (200, true), "the body has begun: it is cut");
    assert!(cut.body.len() < zip.len() && zip.starts_with(&cut.body), "{} bytes", cut.body.len());
    assert_eq!(world.asked(&file("zip")), 2);
    assert_no_zip_kept(&world).await;
    assert!(world.logged("not stored"));

    // A small one has not begun when it breaks off: a status still says so.
    let small = FakeModule::new(MODULE, "v1.0.0");
    world.add(small.clone());
    let path = format!("/{MODULE}/@v/v1.0.0.zip");
    world.upstream.fault(path.as_str(), Fault::TruncateAt(small.zip().len() / 2));
    let refused = world.get_refused(&path, 502, &[]).await;
    assert_eq!(outcome(&refused), "upstream_error");
    assert_eq!(world.asked(&path), 2);
    assert_no_zip_kept(&world).await;
}

#[tokio::test]
async fn case_10_a_zip_that_stalls_near_its_end_is_asked_for_once_more_and_then_given_up() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_IDLE_TIMEOUT", "1").start().await;
    let module = world.add_module();
    let near_end = module.zip().len() * 99 / 100;
    world.upstream.fault(file("zip").as_str(), Fault::StallAfter(near_end));
    let refused = world.get_refused(&file("zip"), 504, &[]).await;
    assert_eq!(outcome(&refused), "upstream_timeout");
    assert_eq!(world.asked(&file("zip")), 2);
    assert_no_zip_kept(&world).await;

    world.upstream.clear_faults();
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    world.until_stored(MODULE, VERSION).await;
}

#[tokio::test]
async fn case_11_a_zip_that_breaks_the_rules_is_refused_with_its_reason() {
    let world = Setup::disk().env("GOSUMDB", "off").start().await;
    let inside = |name: &str| format!("{MODULE}@{VERSION}/{name}");
    let go_mod = || Entry::file(&inside("go.mod"), &format!("module {MODULE}\n"));
    let source = |name: &str| Entry::file(&inside(name), "package text\n");
    let cases: [(&str, Vec<Entry>, &str); 8] = [
        (
            "foreign prefix",
            vec![go_mod(), Entry::file("example.com/other@v1.0.0/a.go", "package a\n")],
            "does not begin with",
        ),
        ("outside", vec![go_mod(), source("../../a.go")], "bad file name"),
        ("case clash", vec![go_mod(), source("read.go"), source("READ.go")], "in case"),
        ("symlink", vec![go_mod(), Entry::link(&inside("l"), "/etc/passwd")], "symbolic link"),
        ("nested go.mod", vec![go_mod(), source("sub/go.mod")], "root of the module only"),
        ("declared bomb", vec![go_mod(), Entry::zeros(&inside("b"), 1000, 600 << 20)], "too large"),
        ("hidden bomb", vec![go_mod(), Entry::zeros(&inside("b"), 8 * MIB, 1000)], "declared size"),
        ("twice", vec![go_mod(), source("a.go"), source("a.go")], "two files"),
    ];
    for (number, (what, entries, reason)) in cases.into_iter().enumerate() {
        let version = format!("v1.{number}.0");
        let entries: Vec<Entry> =
            entries.into_iter().map(|entry| entry.renamed(VERSION, &version)).collect();
        world.add(FakeModule::new(MODULE, &version).raw_zip(zip(&entries)));
        let path = format!("/{MODULE}/@v/{version}.zip");
        let refused = world.get_refused(&path, 502, &[MODULE, &version, reason]).await;
        assert_eq!(outcome(&refused), "upstream_bad_content", "{what}");
        assert_eq!(world.asked(&path), 1, "{what}");
        world.until(what, || world.logged(reason)).await;
    }
    assert_no_zip_kept(&world).await;
    let metrics = world.metrics().await;
    let refused = metrics.metric("dipylon_http_server_requests_total").label("route", "zip");
    assert_eq!(refused.label("outcome", "upstream_bad_content").value(), Some(8.0));
}

#[tokio::test]
async fn case_11_a_zip_over_500_mib_is_refused_by_its_announced_length() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\nContent-Length: 524288001\r\n\r\n";
    let answer = [head.as_bytes(), b"PK\x03\x04"].concat();
    let upstream = RawUpstream::start(answer).await;
    let world = Setup::disk().env("GOPROXY", &upstream.url).env("GOSUMDB", "off").start().await;
    let refused = world.get_refused(&file("zip"), 502, &["524288000"]).await;
    assert_eq!(outcome(&refused), "upstream_bad_content");
    assert_eq!(upstream.connections(), 1);
    assert_nothing_kept(&world).await;
}

#[tokio::test]
async fn case_12_a_small_zip_with_the_wrong_checksum_is_refused_and_quarantined() {
    let mut world = Setup::disk().start().await;
    world.add_module();
    let wrong = FakeModule::new(MODULE, VERSION).file("other.go", "package other\n").h1();
    world.database.lie(MODULE, VERSION, &wrong);
    let refused = world.get_refused(&file("zip"), 403, &["checksum mismatch", &wrong]).await;
    assert_eq!(outcome(&refused), "checksum_mismatch");
    world.until_idle().await;
    assert!(world.stored_files().is_empty());
    let record = ".dipylon/quarantine/example.com/lib/text/@/v1.2.3.json";
    assert!(world.our_files().contains(record), "{:?}", world.our_files());
    assert!(world.logged("SECURITY"));

    // Remembered by this process, and by the next one, without another download.
    world.get_refused(&file("zip"), 403, &["checksum mismatch"]).await;
    assert_eq!(world.asked(&file("zip")), 1);
    world.restart().await;
    world.get_refused(&file("zip"), 403, &["checksum mismatch"]).await;
    assert_eq!(world.asked(&file("zip")), 1);
    // What is right is served all the same.
    world.get_ok(&file("mod")).await;
}

#[tokio::test]
async fn case_12_a_large_zip_with_the_wrong_checksum_is_cut_before_its_tail() {
    let world = Setup::disk().start().await;
    let module = world.add(large(3 * MIB));
    world.database.lie(MODULE, VERSION, &FakeModule::new(MODULE, VERSION).h1());
    // Nothing is shown before the database has answered, so the body must last longer than that.
    let trickle = Fault::Trickle { bytes_per_tick: 128 * 1024, tick: Duration::from_millis(20) };
    world.upstream.fault(file("zip").as_str(), trickle);
    let cut = world.get(&file("zip")).await;
    assert_eq!((cut.status.as_u16(), cut.truncated), (200, true));
    let withheld = module.zip().len() - cut.body.len();
    assert!(withheld >= MIB, "only {withheld} bytes were withheld");
    world.until_idle().await;
    let refused = world.get_refused(&file("zip"), 403, &["checksum mismatch"]).await;
    assert_eq!(outcome(&refused), "checksum_mismatch");
    assert_eq!(world.asked(&file("zip")), 1);
    assert!(world.stored_files().is_empty());
    let metrics = world.metrics().await;
    let mismatches =
        metrics.metric("dipylon_stash_verifications_total").label("result", "mismatch");
    assert_eq!(mismatches.value(), Some(1.0));
}

#[tokio::test]
async fn case_13_a_module_without_go_mod_has_one_all_the_same() {
    let world = Setup::disk().start().await;
    let module = world.add(FakeModule::new(MODULE, VERSION).no_go_mod());
    let go_mod = world.get_ok(&file("mod")).await;
    assert_eq!(go_mod.body, format!("module {MODULE}\n"));
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    world.until_stored(MODULE, VERSION).await;
    let stored = std::fs::read(world.root().join(MODULE).join(VERSION).join("go.mod")).unwrap();
    assert_eq!(stored, go_mod.body);
    let metrics = world.metrics().await;
    let verified = metrics.metric("dipylon_stash_verifications_total").label("result", "verified");
    assert_eq!(verified.value(), Some(2.0), "the .mod on its own, and the zip");
}

#[tokio::test]
async fn case_13_a_synthesised_go_mod_is_verified_on_its_own() {
    let world = Setup::disk().start().await;
    world.add(FakeModule::new(MODULE, VERSION).no_go_mod());
    let changed = Bytes::from(format!("module {MODULE}\n\nrequire evil.test/x v1.0.0\n"));
    world.upstream.fault(file("mod").as_str(), Fault::Body(changed));
    world.get_refused(&file("mod"), 403, &["checksum mismatch", "/go.mod"]).await;
    // The zip is right, but a version is stored whole or not at all.
    world.get(&file("zip")).await;
    world.until_idle().await;
    assert!(world.stored_files().is_empty(), "{:?}", world.stored_files());
}

#[tokio::test]
async fn case_14_a_list_is_cleaned_before_it_is_passed_on() {
    let world = Setup::disk().start().await;
    let list = format!("/{MODULE}/@v/list");
    let messy = "v1.0.0\r\nv1.2.0 2024-01-02T03:04:05Z\nv1.1.1-0.20240102030405-abcdefabcdef\n\
        v2.0.0\nv1.9\n<b>\n../x\n\nv1.0.0\nv3.0.0+incompatible\nv1.3.0-rc1";
    world.upstream.fault(list.as_str(), Fault::Body(Bytes::from(messy)));
    let cleaned = world.get_ok(&list).await;
    assert_eq!(cleaned.text(), "v1.0.0\nv1.2.0\nv3.0.0+incompatible\nv1.3.0-rc1\n");
    assert_eq!(cleaned.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(cleaned.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
}

#[tokio::test]
async fn case_14_a_list_of_200_000_lines_is_served_and_one_without_end_is_refused() {
    let world = Setup::disk().start().await;
    let list = format!("/{MODULE}/@v/list");
    let lines: String = (0..200_000).map(|number| format!("v0.1.{number}\n")).collect();
    world.upstream.fault(list.as_str(), Fault::Body(Bytes::from(lines.clone())));
    let before = world.gateway.rss_kib();
    assert!(world.get_ok(&list).await.text() == lines, "200,000 versions in their order");
    let grown = world.gateway.rss_kib().saturating_sub(before);
    assert!(grown < 200 * 1024, "{grown} KiB for a list of {} bytes", lines.len());

    let endless = "/example.com/endless/@v/list";
    let body = Bytes::from("v1.0.0\n".repeat(10 * MIB));
    world.upstream.fault(endless, Fault::Body(body));
    let refused = world.get_refused(endless, 502, &["67108864"]).await;
    assert_eq!(outcome(&refused), "upstream_bad_content");
}

#[tokio::test]
async fn case_15_an_empty_list_is_an_answer_and_a_missing_latest_is_not() {
    let world = Setup::disk().start().await;
    world.upstream.add_path(MODULE);
    let list = world.get_ok(&format!("/{MODULE}/@v/list")).await;
    assert!(list.body.is_empty());
    assert_eq!(list.header("content-length"), Some("0"));
    let latest = world.get_refused(&format!("/{MODULE}/@latest"), 404, &["not found"]).await;
    assert_eq!(outcome(&latest), "upstream_not_found");
    assert_eq!(latest.header("cache-control"), Some("public, max-age=60"));
    assert!(latest.total < Duration::from_secs(5));
}
