//! A bound as a person reads it: `64 MiB` for `64 << 20`.

/// The value of a constant or a key with this name; an expression that says more than numbers is shown as it stands.
pub(super) fn shown(name: &str, value: &str) -> String {
    let time = |call: &str| value.strip_prefix(call).and_then(|rest| rest.strip_suffix(')'));
    if let Some(seconds) = time("Duration::from_secs(").and_then(number) {
        return shown_time(seconds);
    }
    if let Some(millis) = time("Duration::from_millis(").and_then(number) {
        return format!("{} ms", grouped(millis));
    }
    match number(value) {
        Some(bytes) if name.contains("BYTES") => shown_bytes(bytes),
        Some(seconds) if name.ends_with("_TIMEOUT") => shown_time(seconds),
        Some(number) => grouped(number),
        None => format!("`{value}`"),
    }
}

fn shown_time(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        s if s % 86_400 == 0 => format!("{} d", grouped(s / 86_400)),
        s if s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s % 60 == 0 && s > 60 => format!("{} min", s / 60),
        s => format!("{} s", grouped(s)),
    }
}

fn shown_bytes(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", grouped(bytes / size));
        }
    }
    format!("{} B", grouped(bytes))
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What a product, or a shift, of whole numbers comes to; nothing for any other expression.
fn number(expression: &str) -> Option<u64> {
    if let Some((number, by)) = expression.split_once("<<") {
        return factor(number)?.checked_shl(u32::try_from(factor(by)?).ok()?);
    }
    expression.split('*').try_fold(1_u64, |product, next| product.checked_mul(factor(next)?))
}

fn factor(text: &str) -> Option<u64> {
    let digits = text.trim().replace('_', "");
    match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_read_them() {
        let rows = [
            ("A_MAX", "4_096", "4,096"),
            ("A_BYTES_MAX", "64 << 20", "64 MiB"),
            ("MAX_A_BYTES", "1024 * 1024 * 1024", "1 GiB"),
            ("MAX_A_BYTES", "300", "300 B"),
            ("MAX_A_BYTES", "0xffff", "65,535 B"),
            ("A_TIMEOUT", "Duration::from_secs(30)", "30 s"),
            ("A_MAX", "Duration::from_secs(24 * 60 * 60)", "1 d"),
            ("A_MAX", "Duration::from_secs(600)", "10 min"),
            ("A_TIMEOUT", "Duration::from_millis(1_800)", "1,800 ms"),
            ("X_STASH_TIMEOUT", "600", "10 min"),
            ("A_MAX", "3 * OTHER_MAX", "`3 * OTHER_MAX`"),
        ];
        for (name, value, want) in rows {
            assert_eq!(shown(name, value), want, "{name} = {value}");
        }
    }
}
