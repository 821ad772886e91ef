//! `IndexType = "none"`, the default: nothing is kept and `/index` is empty.

use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, Index, IndexEntry};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use time::OffsetDateTime;

/// An index that is always empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIndex;

impl Index for NoIndex {
    fn add<'a>(&'a self, _: &'a ModulePath, _: &'a Version) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn since(&self, _: OffsetDateTime, _: usize) -> BoxFuture<'_, Result<Vec<IndexEntry>, Error>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_added_is_not_kept() {
        let module = ModulePath::parse("example.com/a").unwrap();
        let version = Version::parse("v1.0.0").unwrap();
        NoIndex.add(&module, &version).await.unwrap();
        assert!(NoIndex.since(OffsetDateTime::UNIX_EPOCH, 10).await.unwrap().is_empty());
    }
}
