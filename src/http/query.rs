//! Query parameters of the admin pages.

use std::collections::HashMap;

/// Parameters of one query at most; further ones are ignored.
const PARAMETERS_MAX: usize = 16;

/// The parameters of a query, decoded; of equal names the first counts, as in Go's `FormValue`.
pub(super) fn parse(query: Option<&str>) -> HashMap<String, String> {
    let mut parameters = HashMap::new();
    for pair in query.unwrap_or_default().split('&').take(PARAMETERS_MAX) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !name.is_empty() {
            parameters.entry(decode(name)).or_insert_with(|| decode(value));
        }
    }
    parameters
}

/// `+` is a blank, `%41` is `A`; a stray `%` stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let parameters = parse(Some("token=a%7Cb&pagesize=3&token=c&x=1+2&y=%zz"));
        assert_eq!(parameters["token"], "a|b");
        assert_eq!(parameters["pagesize"], "3");
        assert_eq!(parameters["x"], "1 2");
        assert_eq!(parameters["y"], "%zz");
        assert!(parse(None).is_empty());
    }
}
