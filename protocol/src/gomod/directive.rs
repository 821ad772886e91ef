//! The directives of a go.mod file, with blocks flattened and comments attached.

use std::sync::Arc;

use super::MAX_RATIONALE_BYTES;
use super::lexer::{Line, lex};

/// One directive: `retract v1.0.0`, or a line of a `retract ( … )` block.
#[derive(Debug)]
pub(super) struct Directive<'a> {
    pub(super) verb: &'a str,
    pub(super) arguments: Vec<&'a str>,
    pub(super) in_block: bool,
    /// The whole-line comments above, then the one at the end of the line.
    own_comments: Vec<&'a str>,
    /// The comment above the block; `None` outside one, and behind a blank line: Go notes the blank
    /// as a comment of the line, so the block's no longer applies.
    block_comment: Option<Arc<str>>,
}

impl<'a> Directive<'a> {
    pub(super) fn only_argument(&self) -> Option<&'a str> {
        match self.arguments[..] {
            [argument] => Some(argument),
            _ => None,
        }
    }

    /// The comment's lines without their `//`; the block's comment where the line has none.
    pub(super) fn comment(&self) -> Arc<str> {
        match &self.block_comment {
            Some(block) if self.own_comments.is_empty() => Arc::clone(block),
            _ => join(&self.own_comments),
        }
    }
}

/// The directives of `text` in order. Lines that cannot be read are skipped.
pub(super) fn directives(text: &str) -> impl Iterator<Item = Directive<'_>> {
    let mut reader = Reader::default();
    text.split('\n').filter_map(move |line| reader.line(lex(line)?))
}

#[derive(Default)]
struct Reader<'a> {
    /// Whole-line comments that belong to what comes next.
    above: Vec<&'a str>,
    /// A blank line since the last line of the block.
    gap: bool,
    block: Option<Block<'a>>,
}

struct Block<'a> {
    /// `None` for a block with more than one word before its parenthesis, which Go ignores.
    verb: Option<&'a str>,
    comment: Arc<str>,
    begun: bool,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: Line<'a>) -> Option<Directive<'a>> {
        if line.words.is_empty() {
            match (line.comment, &self.block) {
                (Some(comment), _) => self.above.push(comment),
                // A blank line cuts a comment off from what follows, except inside a block.
                (None, None) => self.above.clear(),
                (None, Some(block)) => self.gap |= block.begun,
            }
            return None;
        }
        let mut comments = std::mem::take(&mut self.above);
        let gap = std::mem::take(&mut self.gap);
        match &mut self.block {
            None => match line.words[..] {
                [ref head @ .., "("] if !head.is_empty() => {
                    let verb = if let [verb] = head { Some(*verb) } else { None };
                    self.block = Some(Block { verb, comment: join(&comments), begun: false });
                    None
                }
                [_, .., "(", ")"] => None,
                [verb, ref arguments @ ..] => {
                    comments.extend(line.comment);
                    Some(Directive {
                        verb,
                        arguments: arguments.to_vec(),
                        in_block: false,
                        own_comments: comments,
                        block_comment: None,
                    })
                }
                [] => None,
            },
            Some(_) if line.words[0] == ")" => {
                self.block = None;
                None
            }
            Some(block) => {
                block.begun = true;
                comments.extend(line.comment);
                Some(Directive {
                    verb: block.verb?,
                    arguments: line.words,
                    in_block: true,
                    own_comments: comments,
                    block_comment: (!gap).then(|| Arc::clone(&block.comment)),
                })
            }
        }
    }
}

/// Joins comment lines, cut to [`MAX_RATIONALE_BYTES`]: blocks repeat them for every line.
fn join(lines: &[&str]) -> Arc<str> {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(line);
        if text.len() > MAX_RATIONALE_BYTES {
            let cut = (0..=MAX_RATIONALE_BYTES).rev().find(|&end| text.is_char_boundary(end));
            text.truncate(cut.unwrap_or(0));
            break;
        }
    }
    text.into()
}
