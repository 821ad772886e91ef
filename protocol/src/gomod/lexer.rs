//! The words of one go.mod line.
//!
//! In every file that Go accepts no word spans a line, so lines can be read one by one.

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Identifiers, quoted strings with their quotes, and single punctuation marks.
    pub(super) words: Vec<&'a str>,
    /// What follows `//`, trimmed; `None` without a comment.
    pub(super) comment: Option<&'a str>,
}

/// Takes a line apart; `None` when a string is not closed or a `/*` comment is begun.
pub(super) fn lex(line: &str) -> Option<Line<'_>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(BLANKS);
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            return Some(Line { words, comment: Some(comment.trim()) });
        }
        let end = match first {
            '"' | '`' => string_end(rest, first)?,
            _ if is_punctuation(first) => 1,
            _ => identifier_end(rest)?,
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after.trim_start_matches(BLANKS);
    }
    Some(Line { words, comment: None })
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

fn is_punctuation(character: char) -> bool {
    matches!(character, '(' | ')' | '[' | ']' | '{' | '}' | ',')
}

/// The end of a string, its closing quote included.
fn string_end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if character == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}

/// The end of an identifier: a blank, punctuation, or a comment. At least one character long.
fn identifier_end(text: &str) -> Option<usize> {
    let outside = |c: char| c.is_whitespace() || c.is_control() || is_punctuation(c);
    let end = text.find(outside).unwrap_or(text.len());
    let end = text[..end].find("//").unwrap_or(end);
    (end > 0 && !text[..end].contains("/*")).then_some(end)
}

/// The text a word stands for: the inside of a quoted string, or an identifier without quotes. A
/// string with a backslash stands for nothing here: no module path or version needs one.
pub(super) fn unquote(word: &str) -> Option<String> {
    if let Some(open) = word.strip_prefix('"') {
        let inside = open.strip_suffix('"')?;
        return (!inside.contains('\\')).then(|| inside.to_owned());
    }
    (!word.contains(['"', '\'', '`'])).then(|| word.to_owned())
}
