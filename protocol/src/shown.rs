//! Foreign text made fit for an error line.

/// Most bytes of foreign text that one error line repeats.
pub(crate) const MAX_SHOWN_BYTES: usize = 200;

/// `text` in double quotes, cut to [`MAX_SHOWN_BYTES`], with everything a terminal or the `go`
/// command could choke on escaped: the command drops a whole message over one control character.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        let escaped = match character {
            '\'' => "'".to_owned(),
            _ => character.escape_debug().to_string(),
        };
        if out.len() + escaped.len() > MAX_SHOWN_BYTES {
            out.push_str("\"...");
            return out;
        }
        out.push_str(&escaped);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(shown("a\n\u{1b}[31mb\u{202e}"), r#""a\n\u{1b}[31mb\u{202e}""#);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = shown(&"é".repeat(500));
        assert!(text.len() <= MAX_SHOWN_BYTES + 4, "{}", text.len());
        assert!(text.ends_with("é\"..."), "{text}");
    }
}
