use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::Error;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult};
use dipylon_middleware::request::RequestContext;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tokio::time::Instant;

use super::*;
use crate::config::LoadArgs;

/// A store whose server takes every question and answers none.
struct BlackHole {
    wants_retries: bool,
}

impl Storage for BlackHole {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn list<'a>(&'a self, _: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(std::future::pending())
    }

    fn read<'a>(
        &'a self,
        _: &'a ModulePath,
        _: &'a Version,
        _: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(std::future::pending())
    }

    fn save(&self, _: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(std::future::pending())
    }

    fn catalog<'a>(
        &'a self,
        _: Option<&'a str>,
        _: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        Box::pin(std::future::pending())
    }

    fn read_extra<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(std::future::pending())
    }

    fn write_extra<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::pending())
    }

    fn remove_extra<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::pending())
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::pending())
    }

    fn wants_retries(&self) -> bool {
        self.wants_retries
    }
}

fn stack_of(timeout: Duration, wants_retries: bool) -> StorageHandle {
    let nothing = std::collections::BTreeMap::<String, String>::new();
    let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
    let config = Config { timeout, ..Config::load(args, &nothing).unwrap().config };
    let telemetry = Telemetry::new().unwrap();
    let breaker = BreakerLayer::storage("test", &telemetry);
    storage_stack(&config, Arc::new(BlackHole { wants_retries }), breaker, &telemetry)
}

/// Whatever `Timeout` is, and whatever is asked for, by callers who wait as long as that or longer.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_left_alone_after_five_calls() {
    const SECOND: Duration = Duration::from_secs(1);
    let module = ModulePath::parse("example.com/a").unwrap();
    let version = Version::parse("v1.0.0").unwrap();
    for (timeout, caller, most) in [
        (SECOND, SECOND, SECOND),
        (SECOND, 900 * SECOND, SECOND),
        (8 * SECOND, 8 * SECOND, 8 * SECOND),
        (10 * SECOND, 900 * SECOND, 10 * SECOND),
        (300 * SECOND, 300 * SECOND, 10 * SECOND),
    ] {
        for (asks_for_lists, wants_retries) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let stack = stack_of(timeout, wants_retries);
            let ask = async || {
                let context = RequestContext::detached(Instant::now() + caller);
                match asks_for_lists {
                    true => stack.list(&context, &module).await.map(drop),
                    false => stack.read(&context, &module, &version, FileKind::Mod).await.map(drop),
                }
            };
            let what = format!("{timeout:?}, {caller:?}, {asks_for_lists}, {wants_retries}");
            for _ in 0..5 {
                let begun = Instant::now();
                let error = ask().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{what}: {error}");
                assert!(error.message().starts_with("test storage cannot"), "{what}: {error}");
                assert!(begun.elapsed() <= most, "{what}: {:?}", begun.elapsed());
            }
            let begun = Instant::now();
            let error = ask().await.unwrap_err();
            assert!(error.message().contains("is left alone for a while"), "{what}: {error}");
            assert_eq!(begun.elapsed(), Duration::ZERO, "{what}");
        }
    }
}
