//! A password that is not the server's; what the other kinds do is with their own tests.

use dipylon_testkit::gateway::Gateway;

/// The start is refused, with what to look at and without the password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_names_wrong_credentials_without_telling_them() {
    let backend = crate::backend::external().await;
    let url = format!("http://robot:let-me-in@{}", backend.server);
    let said = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GO_BINARY_PATH", "no-go-command")
        .env("ATHENS_STORAGE_TYPE", "external")
        .env("ATHENS_EXTERNAL_STORAGE_URL", &url)
        .try_start()
        .await;
    let said = said.expect_err("a gateway that the store refuses does not start");
    assert!(said.contains("external storage cannot look at the server"), "{said}");
    assert!(said.contains("check the user and password"), "{said}");
    assert!(!said.contains("let-me-in"), "{said}");
}
