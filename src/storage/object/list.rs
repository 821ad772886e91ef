//! The versions of a module, and the catalogue of everything.
//!
//! Both walk the store's own list of names, a page at a time, and believe a version when its three objects
//! are there and have the bytes that they must have at least: the list says so, and no object is asked for.
//! Memory does not grow with the store; a list holds the versions that it hands out.
//!
//! A catalogue token is the `.info` name that was handed out last, as Athens has it for s3 and minio; the
//! walk goes on after it. Azure cannot begin a list at a name, and Athens's tokens for gcp and azureblob
//! are the store's own; there a token is the store's, a bar, and the name. One without a bar is the
//! store's alone: Athens's.

use std::collections::VecDeque;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{CatalogEntry, CatalogPage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use object_store::ObjectMeta;

use super::super::whole::{Listing, MAX_LISTED_VERSIONS, PageRoom};
use super::Engine;
use super::assemble::{Assembler, Found, Step, has_enough};
use super::client::Listed;
use super::layout::{AFTER_OURS, Layout, OURS};

/// Names asked for at once; no store gives more.
const PAGE_NAMES: usize = 1_000;
/// Pages that one list may take: modules below the listed one are skipped in the directory layout. The
/// longest list has three names for each version.
const MAX_LIST_PAGES: usize = 3 * MAX_LISTED_VERSIONS / PAGE_NAMES + 1_000;
/// Longest catalogue token.
const MAX_TOKEN_BYTES: usize = 8_192;

/// Where a list can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Resume {
    /// After any name.
    #[cfg_attr(
        not(any(feature = "minio", feature = "s3", feature = "gcp")),
        expect(dead_code, reason = "no store of this build is of this kind")
    )]
    Name,
    /// Only where the store said that a page ended.
    #[cfg_attr(
        not(feature = "azureblob"),
        expect(dead_code, reason = "no store of this build is of this kind")
    )]
    Page,
}

impl Engine {
    /// The versions of a module in lexical order.
    pub(super) async fn list(&self, module: &ModulePath) -> Result<Vec<Version>, Error> {
        let begins = self.layout.module_prefix(module)?;
        let mut assembler = Assembler::new(self.layout, None);
        let (mut listing, mut from) = (Listing::default(), (None::<String>, None::<String>));
        let kind = self.kind();
        let mut take = |found: Vec<Found>| {
            let ours = found.into_iter().filter(|one| one.module == module.as_str());
            let mut versions = ours.filter_map(|one| Version::parse(&one.version).ok());
            versions.try_for_each(|version| listing.push(version, kind, module))
        };
        for _ in 0..MAX_LIST_PAGES {
            let (after, token) = &from;
            let page = self.client.page(&begins, after.as_deref(), token.clone(), PAGE_NAMES).await;
            let page = page.map_err(|error| self.client.failed("list", &begins, &error))?;
            for object in &page.objects {
                if let Step::Whole(whole) = assembler.feed(object) {
                    take(whole)?;
                }
            }
            from = match (page.next, self.after_modules_below(&begins, page.objects.last())) {
                (None, _) => {
                    take(assembler.end())?;
                    return Ok(listing.sorted());
                }
                (Some(_), Some(after)) => (Some(after), None),
                (Some(token), None) => (None, Some(token)),
            };
        }
        let text =
            format!("{kind} storage: the names of {module} fill more than {MAX_LIST_PAGES} pages");
        Err(Error::new(ErrorKind::Storage, text))
    }

    /// Where a page ends amid a module below the listed one, the first name after that module: it may
    /// have a thousand times as many versions.
    fn after_modules_below(&self, begins: &str, last: Option<&Listed>) -> Option<String> {
        if self.layout != Layout::Directory || self.resume != Resume::Name {
            return None;
        }
        let rest = last?.key.strip_prefix(begins)?;
        let (element, _) = rest.split_once('/')?;
        // A slash sorts right before a zero.
        Version::parse(element).is_err().then(|| format!("{begins}{element}0"))
    }

    /// A page of at most `limit` entries after `token`; `limit` 0 leaves the size to [`PageRoom`].
    pub(super) async fn catalog(
        &self,
        token: Option<&str>,
        limit: usize,
    ) -> Result<CatalogPage, Error> {
        let mut room = PageRoom::new(limit);
        let mut walk = Walk::new(self, token.filter(|token| !token.is_empty()))?;
        let mut page = CatalogPage::default();
        // One entry more is looked for, so that a last page that is full has no token.
        while let Some((found, at)) = walk.next().await? {
            let entry = CatalogEntry { module: found.module, version: found.version };
            if !room.takes(&entry) {
                return Ok(page);
            }
            page.next = Some(at);
            page.entries.push(entry);
        }
        page.next = None;
        Ok(page)
    }

    /// Whether the rest of a version is there, whose `.info` is.
    async fn is_there(&self, found: &Found) -> Result<bool, Error> {
        let key = |kind| self.layout.spell(&found.module, &found.version, kind);
        let (go_mod, zip) = (key(FileKind::Mod), key(FileKind::Zip));
        let (go_mod, zip) = tokio::join!(self.client.head(&go_mod), self.client.head(&zip));
        let enough =
            |meta: Option<ObjectMeta>, kind| meta.is_some_and(|meta| has_enough(kind, meta.size));
        Ok(enough(go_mod?, FileKind::Mod) && enough(zip?, FileKind::Zip))
    }
}

/// A walk over all names.
struct Walk<'a> {
    engine: &'a Engine,
    assembler: Option<Assembler>,
    /// Names up to this one were handed out with earlier pages.
    done: String,
    /// The store's token of the page to be read next.
    next_page: Option<String>,
    objects: std::vec::IntoIter<Listed>,
    is_first: bool,
    /// Versions that are whole and not yet handed out.
    ready: VecDeque<Found>,
}

impl<'a> Walk<'a> {
    fn new(engine: &'a Engine, token: Option<&str>) -> Result<Self, Error> {
        let (page, after) = match token {
            None => (None, None),
            Some(token) => engine.read_token(token)?,
        };
        let assembler = Assembler::new(engine.layout, after);
        Ok(Self {
            engine,
            assembler: Some(assembler),
            done: after.unwrap_or_default().to_owned(),
            next_page: page.map(str::to_owned),
            objects: Vec::new().into_iter(),
            is_first: true,
            ready: VecDeque::new(),
        })
    }

    /// The next whole version, and the token to go on after it.
    async fn next(&mut self) -> Result<Option<(Found, String)>, Error> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                let token = self.engine.token(&found);
                return Ok(Some((found, token)));
            }
            let Some(assembler) = &mut self.assembler else { return Ok(None) };
            match self.objects.next() {
                Some(object) => {
                    let step = assembler.feed(&object);
                    self.take(step).await?;
                }
                None if self.is_first || self.next_page.is_some() => self.turn().await?,
                None => {
                    let left = self.assembler.take().map(Assembler::end).unwrap_or_default();
                    self.take(Step::Whole(left)).await?;
                }
            }
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), Error> {
        let whole = match step {
            Step::Nothing => return Ok(()),
            Step::Whole(whole) => whole,
            Step::Ask(found) if self.engine.is_there(&found).await? => vec![found],
            Step::Ask(_) => return Ok(()),
        };
        let plain = |found: &Found| ModulePath::parse(&found.module).is_ok();
        self.ready.extend(whole.into_iter().filter(plain));
        Ok(())
    }

    /// Reads the next page of names.
    async fn turn(&mut self) -> Result<(), Error> {
        let engine = self.engine;
        let token = self.next_page.take();
        // What is ours comes first among all names, and there may be a lot of it.
        let from_name = self.is_first && engine.resume == Resume::Name && token.is_none();
        let start = if self.done.is_empty() { AFTER_OURS } else { &self.done };
        let after = from_name.then_some(start);
        let page = engine.client.page("", after, token.clone(), PAGE_NAMES).await;
        let page = page.map_err(|error| engine.refused_token(&error, token.is_some()))?;
        let done = self.done.clone();
        let wanted = |object: &Listed| !object.key.starts_with(OURS) && object.key > done;
        let objects: Vec<Listed> = page.objects.into_iter().filter(wanted).collect();
        if let Some(assembler) = &mut self.assembler {
            assembler.page = token;
        }
        self.next_page = page.next;
        self.objects = objects.into_iter();
        self.is_first = false;
        Ok(())
    }
}

impl Engine {
    /// The token that goes on after `found`.
    fn token(&self, found: &Found) -> String {
        let name = self.layout.spell(&found.module, &found.version, FileKind::Info);
        match self.resume {
            Resume::Name => name,
            Resume::Page => format!("{}|{name}", found.page.as_deref().unwrap_or_default()),
        }
    }

    /// The store's token in a token of ours, and the name.
    fn read_token<'t>(&self, token: &'t str) -> Result<(Option<&'t str>, Option<&'t str>), Error> {
        if token.len() > MAX_TOKEN_BYTES || token.chars().any(char::is_control) {
            return Err(bad_token("is too long, or has control characters"));
        }
        let is_name =
            |name: &str| self.layout.parse(name).is_some_and(|named| named.kind == FileKind::Info);
        match (self.resume, token.rsplit_once('|')) {
            (Resume::Name, _) if is_name(token) => Ok((None, Some(token))),
            (Resume::Name, _) if self.foreign_tokens => Ok((Some(token), None)),
            (Resume::Name, _) => Err(bad_token("is not the name of an `.info`")),
            (Resume::Page, Some((page, name))) if is_name(name) => {
                Ok(((!page.is_empty()).then_some(page), Some(name)))
            }
            (Resume::Page, _) => Ok((Some(token), None)),
        }
    }

    /// A store that refuses its own token was given somebody else's.
    fn refused_token(&self, error: &object_store::Error, has_token: bool) -> Error {
        if has_token && super::failure::is_bad_request(error) {
            return bad_token("is refused by the store");
        }
        self.client.failed("list", "", error)
    }
}

fn bad_token(what: &str) -> Error {
    let text = format!("catalog token {what}: pass the value of `next` of the page before");
    Error::new(ErrorKind::BadRequest, text)
}
