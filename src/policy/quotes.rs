//! Finds a quote that is never closed. The parser reads on to the next quote, lines further down, and
//! complains there; a person looks for the mistake where it is.

/// How deep templates may stand in one another, as the parser has it, and more.
const DEPTH_MAX: usize = 256;

/// The offset of the first quote whose text does not end on its line. Only what stands in `${…}` and `%{…}`
/// may go over several lines; what stands in a comment or a heredoc is no quote.
pub(super) fn unclosed(text: &str) -> Option<usize> {
    // Each quote that is open, and each brace that is open within: a quote may hold a template, and that
    // another quote.
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let mut step = next.len_utf8();
        match open.last() {
            Some(Open::Quote(start)) => match next {
                '\n' => return Some(*start),
                '"' => drop(open.pop()),
                '\\' => step += rest[step..].chars().next().map_or(0, char::len_utf8),
                '$' | '%' if rest[1..].starts_with([next, '{']) => {
                    step = 2;
                    // Twice the sign and a brace are just these signs.
                    if rest[1..].starts_with('{') {
                        open.push(Open::Brace);
                    }
                }
                _ => {}
            },
            _ if next == '"' => open.push(Open::Quote(at)),
            _ if rest.starts_with("/*") => step = behind(rest, "*/"),
            _ if next == '#' || rest.starts_with("//") => step = behind(rest, "\n"),
            _ if rest.starts_with("<<") => step = heredoc(rest),
            Some(Open::Brace) if next == '{' => open.push(Open::Brace),
            Some(Open::Brace) if next == '}' => drop(open.pop()),
            _ => {}
        }
        if open.len() > DEPTH_MAX {
            return None;
        }
        at += step;
    }
    open.iter().find_map(|open| match open {
        Open::Quote(start) => Some(*start),
        Open::Brace => None,
    })
}

enum Open {
    /// And where it stands.
    Quote(usize),
    /// Of a template, or within one.
    Brace,
}

/// The length up to and with `end`.
fn behind(text: &str, end: &str) -> usize {
    text.find(end).map_or(text.len(), |at| at + end.len())
}

/// The length of `<<NAME` up to the line that is NAME.
fn heredoc(text: &str) -> usize {
    let first = behind(text, "\n");
    let name = text[..first].trim_start_matches(['<', '-']).trim();
    let mut length = first;
    for line in text[first..].split_inclusive('\n') {
        length += line.len();
        if line.trim() == name {
            break;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_on_its_line_is_found() {
        for (text, at) in [
            ("\"", 0),
            ("a = \"x", 4),
            ("a = \"x\nb = \"\"\n", 4),
            ("a = \"\"\nb = \"x\n", 11),
            ("a = \"x\\\"\n", 4),
            ("a = \"${1\n+1}\nb", 4),
            ("a = \"x${\"y}\"\n", 4),
            ("# it's \"\na = \"", 13),
            ("ä = \"x\n", 5),
        ] {
            assert_eq!(unclosed(text), Some(at), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "a = \"x\"\n",
            "a = \"\\\"\\\\\"\n",
            "# \"\n// \"\n/* \"\n */\n",
            "a = <<X\n\"\nX\n",
            "a = <<-X\n  \"\n  X\nb = \"\"",
            "a = \"${1\n+ 1}\"",
            "a = \"${\"x\"}\"",
            "a = \"$${\"\n",
            "a = \"%%{\"\n",
            "a = \"$\"\n",
            "a = \"${ {b = \"}\"}.b }\"",
            "a = \"${ /* \" */ 1}\"",
        ] {
            assert_eq!(unclosed(text), None, "{text:?}");
        }
    }
}
