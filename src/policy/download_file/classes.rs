//! Rate classes, which are ours: `rate "NAME" { … }` at the top level.
//!
//! | attribute | says |
//! |---|---|
//! | `perSecond` | how many upstream requests the modules of the class may cause, for each second in the long run |
//! | `burst` | how many at once, after a pause |

use std::sync::Arc;

use dipylon_middleware::Error;
use dipylon_middleware::budget::{BURST_MAX, RATE_MAX, Rate};
use hcl_edit::structure::{Attribute, Block, Body, Structure};

use super::Given;
use crate::policy::hcl::Source;

/// The name of the blocks.
pub(super) const BLOCK: &str = "rate";

/// What a block holds.
const WANTED: &str = "want perSecond and burst";

/// The classes of a file, by name.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Classes(Vec<(Arc<str>, Rate)>);

impl Classes {
    /// All of a file, wherever they stand in it.
    pub(super) fn read(source: &Source<'_>, given: &Given, body: &Body) -> Result<Self, Error> {
        let mut classes = Self::default();
        for block in body.blocks().filter(|block| block.has_ident(BLOCK)) {
            if given.strict {
                return Err(source.at(&block.ident, super::not_of_athens("a rate block")));
            }
            classes.add(source, block)?;
        }
        Ok(classes)
    }

    fn add(&mut self, source: &Source<'_>, block: &Block) -> Result<(), Error> {
        let label = match block.labels.as_slice() {
            [label] => label,
            [] => {
                let reason = "a rate block needs the name of its class: rate \"NAME\" { … }";
                return Err(source.at(&block.ident, reason));
            }
            [_, extra, ..] => {
                return Err(source.at(extra, "a rate block has one name: write a block for each"));
            }
        };
        let name = label.as_str();
        if name.is_empty() {
            return Err(source.at(label, "the name of a rate class is empty: want some text"));
        }
        if self.find(name).is_some() {
            let reason =
                format!("the rate class {name:?} stands there twice: want one block for it");
            return Err(source.at(label, reason));
        }
        let (mut per_second, mut burst) = (None, None);
        for structure in block.body.iter() {
            match structure {
                Structure::Attribute(attribute) => match attribute.key.as_str() {
                    "perSecond" => per_second = Some(source.whole_number(attribute, RATE_MAX)?),
                    "burst" => burst = Some(source.whole_number(attribute, BURST_MAX)?),
                    other => {
                        let reason = format!("there is no attribute {other:?} here: {WANTED}");
                        return Err(source.at(&attribute.key, reason));
                    }
                },
                Structure::Block(inner) => {
                    let reason = format!("a rate block holds no blocks: {WANTED}");
                    return Err(source.at(&inner.ident, reason));
                }
            }
        }
        let (Some(per_second), Some(burst)) = (per_second, burst) else {
            let missing = if per_second.is_none() { "perSecond" } else { "burst" };
            let reason = format!("{missing} is missing in this block: {WANTED}, whole numbers");
            return Err(source.at(&block.ident, reason));
        };
        self.0.push((name.into(), Rate { per_second, burst }));
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Arc<str>> {
        self.0.iter().map(|(known, _)| known).find(|known| ***known == *name)
    }

    /// The class that an attribute names.
    pub(super) fn named(
        &self,
        source: &Source<'_>,
        attribute: &Attribute,
    ) -> Result<Arc<str>, Error> {
        let name = source.string(attribute)?;
        self.find(&name).cloned().ok_or_else(|| {
            let known: Vec<String> = self.0.iter().map(|(name, _)| format!("{name:?}")).collect();
            let wanted = match known.as_slice() {
                [] => format!("want a block rate {name:?} {{ … }} at the top level"),
                known => format!("want one of {}", known.join(", ")),
            };
            source.at(&attribute.value, format!("there is no rate class {name:?}: {wanted}"))
        })
    }

    /// Each class and what it allows, in file order.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Rate)> {
        self.0.iter().map(|(name, rate)| (name, *rate))
    }
}

#[cfg(test)]
mod tests;
