//! How Go reads numbers, booleans and maps from text.
//!
//! Athens takes its environment through `strconv`, so `ATHENS_TIMEOUT=0x10` is 16 seconds there
//! and has to be here. Source followed: strconv.ParseInt with base 0, strconv.ParseBool.

/// Parses a whole number as Go's `strconv.ParseInt(text, 0, 64)` does.
///
/// `0x`, `0o`, `0b` and a bare leading `0` (octal) choose the base. Underscores may separate
/// digits, or the base prefix and the first digit. `None` for anything else, and for what does not
/// fit 64 bits.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = split_base(unsigned);
    if !underscores_are_well_placed(unsigned) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() || !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    // One parse of the signed text, so that the smallest 64-bit number is accepted too.
    let signed = if negative { format!("-{digits}") } else { digits };
    i64::from_str_radix(&signed, radix).ok()
}

/// Splits the base prefix off a number that carries no sign.
fn split_base(unsigned: &str) -> (u32, &str) {
    let bytes = unsigned.as_bytes();
    match bytes {
        [b'0', b'x' | b'X', _, ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    }
}

/// Go's rule: an underscore stands between two digits; a base prefix counts as a digit.
fn underscores_are_well_placed(unsigned: &str) -> bool {
    let bytes = unsigned.as_bytes();
    let body = match bytes {
        [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', rest @ ..] => rest,
        // The prefix does not open this number, so its first byte must be a digit itself.
        [b'_', ..] => return false,
        all => all,
    };
    !body.ends_with(b"_") && !body.windows(2).any(|pair| pair == b"__")
}

/// Parses a boolean as Go's `strconv.ParseBool` does: the twelve spellings and no other.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Splits a list variable on commas. Nothing is trimmed, and the empty text is the empty list.
pub(super) fn split_list(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(',').collect() }
}

/// Splits a map variable: pairs on commas, then key and value at the first `:` or `=`.
///
/// Athens's program wants exactly one `:` where its documentation also writes `=`; both work here.
/// The error is the number (from 1) of the pair that has neither.
pub(super) fn split_map(text: &str) -> Result<Vec<(String, String)>, usize> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut pairs = Vec::new();
    for (index, pair) in text.split(',').enumerate() {
        let (key, value) = pair.split_once([':', '=']).ok_or(index + 1)?;
        if key.is_empty() {
            return Err(index + 1);
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_go_reads_them() {
        let table: &[(&str, Option<i64>)] = &[
            ("16", Some(16)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0x10", Some(16)),
            ("0X1f", Some(31)),
            ("0o20", Some(16)),
            ("0O20", Some(16)),
            ("020", Some(16)),
            ("0b101", Some(5)),
            ("1_000", Some(1000)),
            ("0x_10", Some(16)),
            ("0_7", Some(7)),
            ("-0x10", Some(-16)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("08", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("-_1", None),
            (" 1", None),
            ("1 ", None),
            ("1.5", None),
            ("1e3", None),
            ("ten", None),
            ("--1", None),
            ("0x-1", None),
            ("١", None),
        ];
        for (text, want) in table {
            assert_eq!(parse_int(text), *want, "{text:?}");
        }
    }

    #[test]
    fn booleans_are_the_twelve_spellings() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Some(true), "{text:?}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Some(false), "{text:?}");
        }
        for text in ["", "yes", "no", "on", "off", "tRUE", " true", "2"] {
            assert_eq!(parse_bool(text), None, "{text:?}");
        }
    }

    #[test]
    fn lists_keep_their_blanks_and_the_empty_text_is_no_element() {
        assert_eq!(split_list(""), Vec::<&str>::new());
        assert_eq!(split_list("a, b"), ["a", " b"]);
        assert_eq!(split_list("a,"), ["a", ""]);
    }

    #[test]
    fn maps_take_both_separators_and_the_first_one_counts() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let both = split_map("parseTime:true,timeout=90s");
        assert_eq!(both, Ok(vec![pair("parseTime", "true"), pair("timeout", "90s")]));
        assert_eq!(split_map("zone=+00:00"), Ok(vec![pair("zone", "+00:00")]));
        assert_eq!(split_map(" "), Ok(vec![]));
        assert_eq!(split_map("a:b,c"), Err(2));
        assert_eq!(split_map(":b"), Err(1));
    }
}
