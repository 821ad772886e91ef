//! The versions of a module.

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use super::super::whole::MAX_LISTED_VERSIONS;
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
        if names.len() > MAX_LISTED_VERSIONS {
            let text =
                format!("module {module} has more than {MAX_LISTED_VERSIONS} stored versions");
            return Err(Error::new(ErrorKind::Storage, text));
        }
        if names.is_empty() {
            self.root_is_there()?;
        }
        let mut versions = Vec::with_capacity(names.len());
        for version in names.iter().filter_map(|name| Version::parse(name).ok()) {
            let path = directory.join(version.as_str());
            let found = VersionDirectory::new(path, &version);
            if self.remembered.whole(module, &found)?.is_some() {
                versions.push(version);
            }
        }
        Ok(versions)
    }
}
