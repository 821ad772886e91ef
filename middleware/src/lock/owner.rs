//! What an owner's text says: whose it is, and which span holds the lock.

use crate::telemetry::trace::SpanRef;

/// An owner that is nobody else's. Whoever else reads it, an Athens or a gateway of before, takes it for one
/// word; the others find the span in it.
pub(super) fn owner(instance: u64, number: u64, span: Option<SpanRef>) -> String {
    match span {
        Some(span) => format!("dipylon-{instance:016x}-{number}-{span}"),
        None => format!("dipylon-{instance:016x}-{number}"),
    }
}

/// The span that holds the lock, where its owner is one of ours that says so.
pub(super) fn span_of(owner: &str) -> Option<SpanRef> {
    let words = owner.strip_prefix("dipylon-")?;
    let mut words = words.splitn(3, '-').skip(2);
    words.next().and_then(SpanRef::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_names_its_span_and_is_one_of_ours_to_be_believed() {
        let span = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        let with = owner(7, 3, SpanRef::parse(span));
        assert_eq!(with, format!("dipylon-0000000000000007-3-{span}"));
        assert_eq!(span_of(&with), SpanRef::parse(span));
        let before = owner(7, 3, None);
        assert_eq!(before, "dipylon-0000000000000007-3");
        let athens = "b5b2b1f0-7b1a-4a6e-9a3d-0d9a3f1f2c3d";
        for other in [before.as_str(), athens, "", "dipylon-", &with[1..], &with[..with.len() - 1]]
        {
            assert_eq!(span_of(other), None, "{other:?}");
        }
    }
}
