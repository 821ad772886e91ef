//! The nearest known name, for "did you mean".

/// Names longer than this many characters get no suggestion: the distance costs length squared.
const MAX_NAME_CHARS: usize = 120;

/// The candidate nearest to `name`, letter case aside, if it is near enough to be a slip of the
/// pen: at most one edit in three characters.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (distance(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insert, delete, replace, or swap two neighbours.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    if left.len().max(right.len()) > MAX_NAME_CHARS {
        return usize::MAX;
    }
    let width = right.len() + 1;
    let mut rows = vec![vec![0_usize; width]; left.len() + 1];
    rows[0] = (0..width).collect();
    for i in 1..=left.len() {
        rows[i][0] = i;
        for j in 1..width {
            let differs = usize::from(left[i - 1] != right[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_stranger_is_not() {
        let kinds = ["memory", "disk", "mongo", "gcp", "s3"];
        assert_eq!(nearest("dsik", kinds), Some("disk"));
        assert_eq!(nearest("Disk", kinds), Some("disk"));
        assert_eq!(nearest("mongodb", kinds), Some("mongo"));
        assert_eq!(nearest("cassandra", kinds), None);
        assert_eq!(nearest(&"x".repeat(MAX_NAME_CHARS + 1), kinds), None);
    }
}
