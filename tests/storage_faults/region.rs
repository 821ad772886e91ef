//! A region that is not the server's.

use dipylon_testkit::gateway::Gateway;

/// The start is refused, with what to look at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs versitygw: run by cargo xtask test"]
async fn s3_names_a_wrong_region() {
    let backend = crate::backend::s3_of_versitygw().await;
    let mut builder =
        Gateway::builder(env!("CARGO_BIN_EXE_dipylon")).env("GO_BINARY_PATH", "no-go-command");
    for (name, value) in backend.settings(&backend.server) {
        builder = builder.env(name, &value);
    }
    let said = builder.env("AWS_REGION", "eu-west-9").try_start().await;
    let said = said.expect_err("a gateway that signs for another region does not start");
    assert!(said.contains("s3 storage cannot list"), "{said}");
    assert!(said.contains("check the region"), "{said}");
}
