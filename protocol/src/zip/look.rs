//! A look at the end of a zip that is whole: what its directory tells without inflating anything.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::directory::is_of_its_type;
use super::fields::{self, signature};
use super::names::{Names, Role};
use super::record::{self, Central, Method};
use super::{
    MAX_ALL_NAMES_BYTES, MAX_CONTENT_BYTES, MAX_ENTRIES, MAX_GO_MOD_BYTES, MAX_LICENSE_BYTES,
    MAX_ZIP_BYTES, end,
};
use crate::path::ModulePath;
use crate::version::Version;

/// The longest directory that is looked at, in bytes: it is read at once.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;
/// An end record without its comment.
const END_BYTES: usize = 22;
/// As much of a zip's end as an end record without a comment, which `go` writes, and a short one need.
const TAIL_BYTES: usize = 4 << 10;
/// A local header without its name and its extra fields.
const LOCAL_BYTES: u64 = 30;
/// Room for the extra fields of a local header.
const EXTRA_BYTES: usize = 4 << 10;

/// What a zip says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Number of entries.
    pub entries: usize,
    /// Content of `go.mod` in the root, if there is one.
    pub go_mod: Option<Vec<u8>>,
}

/// Looks at the zip of `module` at `version`, which is `length` bytes long and read with `read` (offset, bytes).
///
/// `None` where this cannot tell, or sees anything that is not as `go` writes it: then [`super::ZipCheck`] has to say
/// what it is. What is found here: that the zip is whole, that its names are a module's, that what its entries are said
/// to be is within the limits, that they lie one behind the other, and the `go.mod`. What is not: whether the content
/// is what the directory says.
///
/// # Errors
/// Those of `read`.
pub fn look<B: AsRef<[u8]>, E>(
    module: &ModulePath,
    version: &Version,
    length: u64,
    mut read: impl FnMut(u64, usize) -> Result<B, E>,
) -> Result<Option<Look>, E> {
    let tail_bytes = usize::try_from(length).unwrap_or(usize::MAX).min(TAIL_BYTES);
    let tail_at = length - tail_bytes as u64;
    let tail = read(tail_at, tail_bytes)?;
    let Some((start, size)) = directory_of(tail.as_ref(), tail_at, length) else { return Ok(None) };
    let directory = read(start, size)?;
    let names = Names::new(format!("{}@{}/", module.as_str(), version.as_str()));
    let Some(Listed { entries, go_mod }) = listed(directory.as_ref(), start, names) else {
        return Ok(None);
    };
    let Some(central) = go_mod else { return Ok(Some(Look { entries, go_mod: None })) };
    let header = usize::try_from(LOCAL_BYTES).unwrap_or(usize::MAX);
    let most = start - central.offset;
    let wanted = header + central.local.name.len() + EXTRA_BYTES;
    let wanted = usize::try_from(most).unwrap_or(usize::MAX).min(wanted);
    let head = read(central.offset, wanted)?;
    let Some(content_at) = content_at(head.as_ref(), &central) else { return Ok(None) };
    if content_at + central.local.compressed > start {
        return Ok(None);
    }
    let Ok(compressed) = usize::try_from(central.local.compressed) else { return Ok(None) };
    let content = read(content_at, compressed)?;
    let go_mod = inflated(content.as_ref(), &central);
    Ok(go_mod.map(|go_mod| Look { entries, go_mod: Some(go_mod) }))
}

/// Where the directory begins, and its length: it reaches to the end record, and that to the end.
fn directory_of(tail: &[u8], tail_at: u64, length: u64) -> Option<(u64, usize)> {
    if length > MAX_ZIP_BYTES {
        return None;
    }
    let last = tail.len().checked_sub(END_BYTES)?;
    let found = (0..=last)
        .rev()
        .find(|at| tail.get(*at..).is_some_and(|record| signature(record) == Some(fields::END)))?;
    let record = tail.get(found..)?;
    let at = tail_at + found as u64;
    let (told, used) = end::end(record, at).ok()??;
    let is_last = used == record.len();
    let fits = told.offset.checked_add(told.size) == Some(at) && told.size <= MAX_DIRECTORY_BYTES;
    (is_last && fits).then_some((told.offset, usize::try_from(told.size).ok()?))
}

struct Listed {
    entries: usize,
    go_mod: Option<Central>,
}

/// All records of the directory, if nothing about them is odd.
fn listed(directory: &[u8], start: u64, mut names: Names) -> Option<Listed> {
    let (mut used, mut all_names, mut content) = (0, 0, 0_u64);
    let (mut go_mod, mut places) = (None, Vec::new());
    while used < directory.len() {
        let rest = directory.get(used..)?;
        if signature(rest) != Some(fields::CENTRAL) || places.len() >= MAX_ENTRIES {
            return None;
        }
        let (central, took) = record::central(rest, start + used as u64).ok()??;
        used += took;
        let name = names.admit(&central.local.name).ok()?;
        all_names += name.rest.len();
        content = content.checked_add(central.local.uncompressed)?;
        let is_dir = name.role == Role::Directory;
        let is_short = match name.role {
            Role::GoMod => central.local.uncompressed <= MAX_GO_MOD_BYTES,
            Role::License => central.local.uncompressed <= MAX_LICENSE_BYTES,
            Role::Directory => central.local.uncompressed == 0,
            Role::Other => true,
        };
        let within = content <= MAX_CONTENT_BYTES && all_names <= MAX_ALL_NAMES_BYTES;
        if !is_short || !within || !is_of_its_type(is_dir, &central) {
            return None;
        }
        let least = LOCAL_BYTES + central.local.name.len() as u64;
        let end = central.offset.checked_add(least)?.checked_add(central.local.compressed)?;
        places.push((central.offset, end));
        if name.role == Role::GoMod {
            go_mod = Some(central);
        }
    }
    places.sort_unstable();
    let begins = places.iter().map(|(from, _)| *from).chain([start]).skip(1);
    let is_apart = places.iter().zip(begins).all(|((_, end), next)| *end <= next);
    let is_first = places.first().is_some_and(|(from, _)| *from == 0);
    (is_apart && is_first).then_some(Listed { entries: places.len(), go_mod })
}

/// Where the content of an entry begins whose header is this.
fn content_at(head: &[u8], central: &Central) -> Option<u64> {
    if signature(head) != Some(fields::LOCAL) {
        return None;
    }
    let (local, used) = record::local(head, central.offset).ok()??;
    let is_same = local.name == central.local.name && local.method == central.local.method;
    is_same.then_some(central.offset + used as u64)
}

fn inflated(content: &[u8], central: &Central) -> Option<Vec<u8>> {
    let length = usize::try_from(central.local.uncompressed).ok()?;
    let bytes = match central.local.method {
        Method::Stored => content.to_vec(),
        Method::Deflate => {
            // One more than there should be, so that more is seen.
            let mut bytes = Vec::with_capacity(length + 1);
            let mut inflater = Decompress::new(false);
            let ended = inflater.decompress_vec(content, &mut bytes, FlushDecompress::Finish);
            if ended.ok()? != Status::StreamEnd || inflater.total_in() != content.len() as u64 {
                return None;
            }
            bytes
        }
    };
    let mut crc = Crc::new();
    crc.update(&bytes);
    (bytes.len() == length && crc.sum() == central.local.crc).then_some(bytes)
}
