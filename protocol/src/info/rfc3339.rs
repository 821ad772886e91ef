//! RFC 3339 to the letter: all that other readers agree on. Go itself reads a little more.

/// Whether `text` is `2006-01-02T15:04:05[.fraction]Z` or has an offset `±hh:mm` in place of the
/// `Z`, every number in its range and the day one of its month.
pub fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((head, tail)) = bytes.split_at_checked("2006-01-02T15:04:05".len()) else {
        return false;
    };
    let shape = head.iter().enumerate().all(|(index, &byte)| match index {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    shape && in_range(head) && is_zone(skip_fraction(tail))
}

fn in_range(head: &[u8]) -> bool {
    let year = number(&head[..4]);
    let month = number(&head[5..7]);
    let day = number(&head[8..10]);
    (1..=days_of(year, month)).contains(&day)
        && number(&head[11..13]) < 24
        && number(&head[14..16]) < 60
        && number(&head[17..19]) < 60
}

/// Days of a month; none for a month that is not.
fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// The value of a few digits.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

/// What follows a fraction of a second; the whole text when there is none.
fn skip_fraction(tail: &[u8]) -> &[u8] {
    let Some(fraction) = tail.strip_prefix(b".") else {
        return tail;
    };
    match fraction.iter().take_while(|byte| byte.is_ascii_digit()).count() {
        0 => tail,
        digits => &fraction[digits..],
    }
}

fn is_zone(zone: &[u8]) -> bool {
    match zone {
        b"Z" => true,
        [b'+' | b'-', hours @ .., b':', _, _] if hours.len() == 2 => {
            let minutes = &zone[4..];
            let digits = hours.iter().chain(minutes).all(u8::is_ascii_digit);
            digits && number(hours) < 24 && number(minutes) < 60
        }
        _ => false,
    }
}
