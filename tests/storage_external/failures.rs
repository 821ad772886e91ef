//! A server that is wrong, torn, slow or gone: an error that names operation, place and cause; never a
//! wrong byte, never a false "absent".

use dipylon_middleware::error::ErrorKind;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;

use crate::bench::{client, is_stored, names, try_client, try_read};
use crate::foreign_server::{Fault, Foreign};

fn small() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0").filler(300_000)
}

#[tokio::test]
async fn any_status_but_200_is_an_error_that_repeats_the_servers_first_line() {
    let foreign = Foreign::start().await;
    let subject = Subject::new(client(&foreign.url()).await);
    foreign.lay_out(&small());
    for status in [201, 202, 400, 401, 403, 429, 500, 502, 503] {
        foreign.fault(".mod", Fault::Status(status, "the disk is full\nsecond line"));
        let error = try_read(subject.storage(), &small(), FileKind::Mod).await.unwrap_err();
        let may_pass = [429, 502, 503].contains(&status);
        let kind = if may_pass { ErrorKind::StorageUnavailable } else { ErrorKind::Storage };
        assert_eq!(error.kind(), kind, "{status}");
        let cause = error.cause().map_or("", |cause| cause);
        assert!(!cause.contains("example.com") && !cause.contains("disk"), "{cause}");
        assert_eq!(cause.contains(&format!("it answered {status}")), may_pass, "{cause}");
        let place = format!("{}/example.com/a/@v/v1.0.0.mod", foreign.url());
        let want = format!(
            "external storage cannot read the .mod of example.com/a@v1.0.0 at {place}: it answered \
             {status}"
        );
        assert!(error.message().starts_with(&want), "{error}");
        assert!(error.message().contains("the disk is full"), "{error}");
        assert!(!error.message().contains("second line"), "{error}");
    }
    let other = FakeModule::new("example.com/a", "v1.1.0");
    for status in [201, 400, 404, 413, 507] {
        foreign.fault(".save", Fault::Status(status, "no"));
        let error = subject.save(&other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{status}");
        let want = format!("cannot save example.com/a@v1.1.0 at {}", foreign.url());
        assert!(error.message().contains(&want), "{error}");
    }
    foreign.fault("/list", Fault::Status(500, "no"));
    let (module, _) = names(&small());
    assert_eq!(subject.storage().list(&module).await.unwrap_err().kind(), ErrorKind::Storage);
}

#[tokio::test]
async fn an_answer_that_is_cut_is_an_error_and_no_file() {
    for kind in FileKind::ALL {
        let foreign = Foreign::start().await;
        let storage = client(&foreign.url()).await;
        foreign.lay_out(&small());
        foreign.fault(
            match kind {
                FileKind::Info => ".info",
                FileKind::Mod => ".mod",
                FileKind::Zip => ".zip",
            },
            Fault::Cut,
        );
        let error = try_read(&storage, &small(), kind).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
        assert!(error.message().contains("broke off"), "{kind}: {error}");
        foreign.mend();
        assert!(is_stored(&storage, &small()).await);
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_before_an_answer_is_tried_once_more() {
    let foreign = Foreign::start().await;
    let subject = Subject::new(client(&foreign.url()).await);
    foreign.lay_out(&small());
    foreign.fault(".info", Fault::Hangup(1));
    assert!(is_stored(subject.storage(), &small()).await);
    foreign.fault(".info", Fault::Hangup(9));
    let error = try_read(subject.storage(), &small(), FileKind::Info).await.unwrap_err();
    assert!(error.message().contains("is the server up"), "{error}");
}

/// The server may have it: sent again, it would meet itself, and pass for somebody else's.
#[tokio::test]
async fn a_save_whose_answer_is_lost_is_not_sent_again() {
    let foreign = Foreign::start().await;
    let subject = Subject::new(client(&foreign.url()).await);
    foreign.fault(".save", Fault::Hangup(1));
    let error = subject.save(&small()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{error}");
    let sent = foreign.requests().into_iter().filter(|one| one.method == "POST").count();
    assert_eq!(sent, 1);
    subject.save(&small()).await.unwrap();
    assert!(is_stored(subject.storage(), &small()).await);
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_and_is_found_again() {
    let (root, served) = crate::bench::served_disk().await;
    let subject = Subject::new(client(&served.url()).await);
    subject.save(&small()).await.unwrap();
    let address = served.address;
    drop(served.stop);
    served.task.await.unwrap().unwrap();
    let error = try_read(subject.storage(), &small(), FileKind::Info).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
    assert!(error.message().contains("is the server up"), "{error}");
    assert!(subject.storage().check().await.is_err());
    assert!(subject.save(&FakeModule::new("example.com/a", "v1.1.0")).await.is_err());

    let disk = dipylon::storage::disk(root.path().into()).await.unwrap();
    let listener = dipylon::http::Listener::tcp(&address.to_string()).await.unwrap();
    let options = dipylon::external_storage::Options::default();
    let again = dipylon::external_storage::serve(disk, listener, options, std::future::pending());
    let again = tokio::spawn(again);
    assert!(is_stored(subject.storage(), &small()).await);
    subject.storage().check().await.unwrap();
    again.abort();
}

#[tokio::test]
async fn a_server_that_is_down_at_start_is_no_reason_not_to_start() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let storage = client(&format!("http://user:hush@{gone}")).await;
    let error = storage.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
    assert!(!error.message().contains("hush"), "{error}");
    assert!(error.message().contains(&format!("http://{gone}/")), "{error}");
}

#[tokio::test]
async fn a_url_that_cannot_be_is_refused_without_repeating_it() {
    for url in ["ftp://u:hush@h", "http://u:hush@h/?x=1", "http://u:hush@"] {
        let error = try_client(url).await.map(drop).unwrap_err();
        assert!(error.message().starts_with("Storage.External.URL cannot be used"), "{error}");
        assert!(!error.message().contains("hush"), "{error}");
    }
}

/// 20 s of silence end a body.
#[tokio::test]
#[ignore = "slow: waits for a timeout"]
async fn slow_a_body_that_stalls_is_given_up() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::Stall);
    let error = try_read(&storage, &small(), FileKind::Zip).await.unwrap_err();
    assert!(error.message().contains("sent nothing for 20s"), "{error}");
}
