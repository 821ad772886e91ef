//! The whole program with a near tier whose disk is full.

use std::os::unix::fs::PermissionsExt as _;

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

/// Makes a file system of 600 KiB where the near tier lies, for this process alone, and becomes the program.
const WRAPPER: &str = "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c \
                       'mount -t tmpfs -o size=600k tmpfs \"$NEAR\" && exec \"$PROGRAM\" \"$@\"' sh \"$@\"\n";

fn module(number: usize) -> FakeModule {
    FakeModule::new(&format!("example.com/m{number}"), "v1.0.0").filler(150_000)
}

#[tokio::test]
#[ignore = "needs small file systems: run by cargo xtask test"]
async fn a_full_disk_costs_hits_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (wrapper, near) = (folder.path().join("gateway"), folder.path().join("near"));
    std::fs::create_dir(&near).unwrap();
    std::fs::write(&wrapper, WRAPPER).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let upstream = Upstream::start().await;
    for number in 0..8 {
        upstream.add(module(number));
    }
    let near = near.to_str().unwrap();
    let gateway = Gateway::builder(&wrapper)
        .env("PROGRAM", env!("CARGO_BIN_EXE_dipylon"))
        .env("NEAR", near)
        .env("DIPYLON_TIERED_DIRECTORY", near)
        .env("DIPYLON_TIERED_MAX_BYTES", "67108864")
        .env("GOPROXY", &upstream.url())
        .env("GOSUMDB", "off")
        .env("GO_BINARY_PATH", "no-go-command")
        .env("ATHENS_LOG_LEVEL", "info")
        .start()
        .await;
    assert!(gateway.stdout().contains("may grow beyond"), "{}", gateway.stdout());
    for round in 0..3 {
        for number in 0..8 {
            let module = module(number);
            let path = format!("/{}/@v/v1.0.0.zip", module.path());
            let answer = gateway.get(&path).await;
            assert_eq!(answer.status, 200, "{round}: {}", gateway.stdout());
            assert!(answer.body == module.zip(), "{round} {path}");
        }
    }
    let metrics = gateway.metrics().await;
    let fills =
        |result: &str| metrics.metric("dipylon_tier_fills_total").label("result", result).sum();
    assert!(fills("full") >= 1.0 && fills("filled") >= 1.0, "{}", gateway.stdout());
    assert_eq!(metrics.metric("dipylon_tier_paused").sum(), 1.0);
    let log = gateway.stdout();
    assert_eq!(log.matches("the far store serves alone").count(), 1, "{log}");
}
