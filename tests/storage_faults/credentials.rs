//! Credentials that are not the server's; what the other kinds do is with their own tests.

use crate::backend::Settings;
use crate::world::builder;

/// The start is refused, and says so without the password, which is `let-me-in`.
async fn refused(settings: &Settings) -> String {
    let said = builder(env!("CARGO_BIN_EXE_dipylon"), settings, "off").try_start().await;
    let said = said.expect_err("a gateway that the store refuses does not start");
    assert!(!said.contains("let-me-in"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_names_wrong_credentials_without_telling_them() {
    let backend = crate::backend::external().await;
    let url = format!("http://robot:let-me-in@{}", backend.server);
    let said = refused(&vec![
        ("ATHENS_STORAGE_TYPE", "external".to_owned()),
        ("ATHENS_EXTERNAL_STORAGE_URL", url),
    ])
    .await;
    assert!(said.contains("external storage cannot look at the server"), "{said}");
    assert!(said.contains("check the user and password"), "{said}");
}

/// The server has no users and refuses whoever names one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_names_refused_credentials_without_telling_them() {
    let backend = crate::backend::mongo().await;
    let mut settings = backend.settings(&backend.server);
    let url = format!("mongodb://robot:let-me-in@{}", backend.server);
    settings.push(("ATHENS_MONGO_STORAGE_URL", url));
    let said = refused(&settings).await;
    assert!(said.contains("mongo storage cannot make the collection in "), "{said}");
    assert!(said.contains("check the user and password in Storage.Mongo.URL"), "{said}");
}
