use dipylon_protocol::route::FileKind;

use super::service::quarantined;
use crate::explain::{Ending, Foretold, Tells, file_of};
use crate::ports::BoxFuture;
use crate::request::ModuleRequest;
use crate::storage_io::StorageHandle;

/// Foretells what a stash refuses without a fetch: zips in quarantine.
#[derive(Clone, Debug)]
pub struct Refusals(StorageHandle);

impl Refusals {
    /// Those that this storage keeps.
    pub fn new(storage: StorageHandle) -> Self {
        Self(storage)
    }
}

impl Tells for Refusals {
    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        Box::pin(async {
            let file = file_of(request).filter(|file| file.kind == FileKind::Zip);
            let Some(file) = file else { return Foretold::Passes };
            let Some(version) = file.version.canonical() else { return Foretold::Passes };
            match quarantined(&self.0, &file.context, &file.module, version).await {
                Ok(Some(wrong)) => Foretold::Ends(Ending::with(&wrong)),
                // Storage's troubles are told where it is looked at first.
                Ok(None) | Err(_) => Foretold::Passes,
            }
        })
    }
}
