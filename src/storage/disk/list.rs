//! The versions of a module.

use dipylon_middleware::error::Error;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use super::super::whole::{Listing, MAX_LISTED_VERSIONS};
use super::Store;
use super::failure::failed;
use super::layout::module_directory;
use super::names::{Begin, directories};
use super::whole::VersionDirectory;

impl Store {
    /// The whole versions, in lexical order: what is listed can be read. Sub-directories that are
    /// nested modules have no version's name. A version that was found whole before costs three looks.
    pub(super) fn list(&self, module: &ModulePath) -> Result<Vec<Version>, Error> {
        let directory = module_directory(&self.root, module)?;
        let is_version = |name: &str| Version::parse(name).is_ok();
        let names = directories(&directory, Begin::Start, MAX_LISTED_VERSIONS + 1, is_version)
            .map_err(|error| failed("list", &directory, &error))?;
        if names.is_empty() {
            self.root_is_there()?;
        }
        let mut listing = Listing::default();
        for version in names.iter().filter_map(|name| Version::parse(name).ok()) {
            let path = directory.join(version.as_str());
            let found = VersionDirectory::new(path, &version);
            if self.remembered.whole(module, &found)?.is_some() {
                listing.push(version, "disk", module)?;
            }
        }
        Ok(listing.sorted())
    }
}
