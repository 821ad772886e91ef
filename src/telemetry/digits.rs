//! Texts and numbers as they stand in a log line: what every request writes, without the general machinery, which takes
//! several times as long.

/// A line break inside a value would let a client forge log lines.
pub(super) fn put_in_one_line(out: &mut Vec<u8>, text: &str) {
    for (number, part) in text.split(char::is_control).enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(part.as_bytes());
    }
}

/// The inside of a JSON text.
pub(super) fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    let mut rest = text.as_bytes();
    if !has_special(rest) {
        return out.extend_from_slice(rest);
    }
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Whether there is a byte that JSON writes otherwise. It looks at eight at a time, where a search looks at one,
/// and nearly always there is none.
fn has_special(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is less, and maybe of some above such a one.
    let below = |eight: u64, least: u8| eight.wrapping_sub(ONES * u64::from(least)) & !eight;
    let special = |eight: u64| {
        let of = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
        (below(eight, 0x20) | of(b'"') | of(b'\\')) & HIGH
    };
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    eights.iter().chain([&last]).fold(0, |has, eight| has | special(u64::from_le_bytes(*eight)))
        != 0
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    // As many digits as the largest has.
    let mut digits = [b'0'; 20];
    let mut begin = digits.len() - 1;
    digits[begin] += (number % 10) as u8;
    while number >= 10 {
        number /= 10;
        begin -= 1;
        digits[begin] += (number % 10) as u8;
    }
    out.extend_from_slice(&digits[begin..]);
}

/// What stands behind the whole, in at most nine places, without the zeros at its end; nothing where it is nothing.
pub(super) fn put_decimals(out: &mut Vec<u8>, mut part: u64, places: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits[..places].iter_mut().rev() {
        *digit += (part % 10) as u8;
        part /= 10;
    }
    if let Some(last) = digits[..places].iter().rposition(|digit| *digit != b'0') {
        out.push(b'.');
        out.extend_from_slice(&digits[..=last]);
    }
}

/// The millionths that a number is made of, where there are whole ones: milliseconds of a clock are, and their
/// digits are found in a fraction of the time that others take.
pub(super) fn millionths(value: f64) -> Option<u64> {
    const PER_ONE: f64 = 1e6;
    // Up to there every whole number has a number of its own.
    const MOST: f64 = 9e15;
    let near = value * PER_ONE + 0.5;
    let whole = if (0.5..MOST).contains(&near) { near as u64 } else { 0 };
    let is_exact = value.is_sign_positive() && whole as f64 / PER_ONE == value;
    is_exact.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_json_writes_otherwise_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
            for (at, others) in (0..19).flat_map(|at| [(at, b' '), (at, b'~'), (at, 0xff)]) {
                let mut bytes = [others; 19];
                bytes[at] = byte;
                assert_eq!(has_special(&bytes), is_special, "{byte} at {at}");
            }
        }
        assert!(!has_special(b""));
    }
}
