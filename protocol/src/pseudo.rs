//! Pseudo-versions: versions made from a commit's time and hash.
//!
//! Source followed: `golang.org/x/mod/module`, `pseudo.go`. The forms are
//! `vX.0.0-TIME-REV`, `vX.Y.(Z+1)-0.TIME-REV` and `vX.Y.Z-PRE.0.TIME-REV`, where TIME is the UTC
//! commit time in 14 digits.

use crate::semver;
use crate::version::VersionError;

/// Digits of the time: `yyyymmddhhmmss`.
const TIME_DIGITS: usize = 14;

/// The parts of a pseudo-version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudo<'a> {
    /// The tagged version it follows, `+incompatible` kept; `None` when there is no earlier tag.
    pub base: Option<String>,
    /// The commit time in UTC as 14 digits, `yyyymmddhhmmss`; not checked against the calendar.
    pub time: &'a str,
    /// The revision: by custom 12 hexadecimal digits of the commit hash.
    pub revision: &'a str,
}

/// Whether `version` has the form of a pseudo-version (`module.IsPseudoVersion`).
pub fn is_pseudo(version: &str) -> bool {
    split(version).is_some()
}

impl<'a> Pseudo<'a> {
    /// Takes a pseudo-version apart.
    ///
    /// # Errors
    /// [`VersionError::Pseudo`] when the text is no pseudo-version, or when its base cannot be:
    /// a negative patch number, or `+incompatible` without an earlier tag.
    pub fn parse(version: &'a str) -> Result<Self, VersionError> {
        let malformed = |reason| VersionError::Pseudo { version: version.to_owned(), reason };
        let (stem, time, revision) = split(version).ok_or_else(|| malformed("syntax error"))?;
        let build = semver::build(version);
        let base = match stem {
            Stem::None if build.is_empty() => None,
            Stem::None => return Err(malformed("build metadata without a base version")),
            Stem::Before(next) => {
                let previous =
                    previous_patch(next).ok_or_else(|| malformed("negative patch number"))?;
                Some(format!("{previous}{build}"))
            }
            Stem::After(prerelease) => Some(format!("{prerelease}{build}")),
        };
        Ok(Self { base, time, revision })
    }

    /// The commit time as RFC 3339 text such as `2024-02-01T10:20:30Z`; `None` when the digits are
    /// no date and time of the calendar.
    pub fn rfc3339(&self) -> Option<String> {
        let part = |from: usize, to: usize| &self.time[from..to];
        let text = format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0, 4),
            part(4, 6),
            part(6, 8),
            part(8, 10),
            part(10, 12),
            part(12, 14)
        );
        crate::info::is_rfc3339(&text).then_some(text)
    }
}

/// What stands before the time.
enum Stem<'a> {
    /// `vX.0.0`: no earlier tag.
    None,
    /// `vX.Y.Z` of `vX.Y.Z-0.`: the patch after the base.
    Before(&'a str),
    /// `vX.Y.Z-PRE` of `vX.Y.Z-PRE.0.`: the base itself.
    After(&'a str),
}

/// Stem, time and revision of a pseudo-version.
fn split(version: &str) -> Option<(Stem<'_>, &str, &str)> {
    if !semver::is_valid(version) {
        return None;
    }
    let body = &version[..version.len() - semver::build(version).len()];
    let (rest, revision) = body.rsplit_once('-')?;
    if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    // A semantic version is ASCII throughout, so any index is a character boundary.
    let (head, time) = rest.split_at(rest.len().checked_sub(TIME_DIGITS)?);
    if !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (release, prerelease) = head.split_once('-')?;
    let stem = if prerelease.is_empty() {
        release.ends_with(".0.0").then_some(Stem::None)?
    } else if prerelease == "0." {
        Stem::Before(release)
    } else {
        Stem::After(head.strip_suffix(".0.")?)
    };
    // `v1-0.…` is no semantic version, but `vX.0.0` must be exactly that and not `vX.Y.0.0`.
    (release.bytes().filter(|&byte| byte == b'.').count() == 2).then_some((stem, time, revision))
}

/// `vX.Y.Z` with Z made one less, at any length of Z; `None` when Z is zero.
fn previous_patch(release: &str) -> Option<String> {
    let (head, patch) = release.rsplit_once('.')?;
    let mut digits = patch.as_bytes().to_vec();
    let last = digits.iter().rposition(|&digit| digit != b'0')?;
    digits[last] -= 1;
    digits[last + 1..].fill(b'9');
    let digits: String = digits.into_iter().map(char::from).collect();
    let trimmed = digits.trim_start_matches('0');
    Some(format!("{head}.{}", if trimmed.is_empty() { "0" } else { trimmed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(version: &str) -> Option<String> {
        Pseudo::parse(version).unwrap().base
    }

    #[test]
    fn the_three_forms_give_their_base() {
        assert_eq!(base("v0.0.0-20190718012654-fb15b899a751"), None);
        assert_eq!(base("v1.2.4-0.20190718012654-fb15b899a751").as_deref(), Some("v1.2.3"));
        assert_eq!(
            base("v1.2.3-rc.1.0.20190718012654-fb15b899a751").as_deref(),
            Some("v1.2.3-rc.1")
        );
        assert_eq!(
            base("v2.0.10-0.20190718012654-fb15b899a751+incompatible").as_deref(),
            Some("v2.0.9+incompatible")
        );
    }

    #[test]
    fn a_base_that_cannot_be_is_an_error() {
        assert!(Pseudo::parse("v1.2.0-0.20190718012654-fb15b899a751").is_err());
        assert!(Pseudo::parse("v2.0.0-20190718012654-fb15b899a751+incompatible").is_err());
    }

    #[test]
    fn a_short_time_or_a_missing_zero_is_no_pseudo_version() {
        assert!(!is_pseudo("v0.0.0-2019071801265-fb15b899a751"));
        assert!(!is_pseudo("v1.2.3-20190718012654-fb15b899a751"));
        assert!(!is_pseudo("v1.2.3-pre.20190718012654-fb15b899a751"));
        assert!(!is_pseudo("v1.2.3"));
    }

    #[test]
    fn the_time_is_given_as_rfc_3339_when_it_is_a_date() {
        let parse = |version| Pseudo::parse(version).unwrap().rfc3339();
        assert_eq!(
            parse("v0.0.0-20190718012654-fb15b899a751").as_deref(),
            Some("2019-07-18T01:26:54Z")
        );
        assert_eq!(parse("v0.0.0-20191318012654-fb15b899a751"), None);
    }
}
