//! Reads the filter file. The rules themselves are the `filter` layer's.

use std::path::Path;

use dipylon_middleware::filter::Rules;
use dipylon_middleware::{Error, ErrorKind};

/// Reads the rules of `FilterFile`; what can never apply is warned about in the log.
///
/// # Errors
/// A file that cannot be read, or the first line that is no rule, as `FILE:LINE: reason`.
pub fn read(path: &Path) -> Result<Rules, Error> {
    let refuse = |text: String| Error::new(ErrorKind::Unsupported, format!("FilterFile {text}"));
    let text = super::read_text(path).map_err(refuse)?;
    let place = path.display();
    let rules = Rules::parse(&text)
        .map_err(|bad| refuse(format!("{place}:{}: {}", bad.line, bad.reason)))?;
    for idle in rules.idle() {
        tracing::warn!(file = %place, line = idle.line, reason = idle.reason, "a filter rule is idle");
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let shown = file.path().display().to_string();
        read(file.path()).unwrap_err().message().replace(&shown, "FILE")
    }

    #[test]
    fn a_missing_or_unreadable_file_is_named() {
        let error = read(Path::new("/nonexistent/filter.conf")).unwrap_err();
        let wanted = "FilterFile /nonexistent/filter.conf: cannot be read: No such file";
        assert!(error.message().starts_with(wanted), "{error}");
        assert_eq!(refusal(b"- a.b/\xff\n"), "FilterFile FILE: is not UTF-8 text");
        let large = vec![b'#'; usize::try_from(super::super::MAX_FILE_BYTES).unwrap() + 1];
        assert!(refusal(&large).contains("larger than 1048576 bytes"));
    }

    #[test]
    fn a_line_that_is_no_rule_is_named_with_what_is_accepted() {
        let text = refusal(b"\xef\xbb\xbf-\n\nE github.com/a\n");
        assert!(
            text.starts_with("FilterFile FILE:3: no rule begins with \"E\": want a sign"),
            "{text}"
        );
    }

    #[test]
    fn a_file_with_a_byte_order_mark_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}-\r\n+ a.b/c\r\n").unwrap();
        let rules = read(file.path()).unwrap();
        assert_eq!(rules.sign("a.b/c", None), dipylon_middleware::filter::Sign::Include);
        assert_eq!(rules.sign("x.y/z", None), dipylon_middleware::filter::Sign::Exclude);
    }
}
