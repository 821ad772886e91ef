//! Every outcome says the same everywhere: in the answer's `Cache-Status` and text, in the log event, in the counts
//! of the request and of the layer where it came about, and on the spans of both. One test for each; the table here
//! is the one of docs/outcomes.md.

mod agree;
mod page;
mod scenes;
mod spans;

use std::collections::BTreeSet;

use dipylon_middleware::telemetry::Outcome;
use tokio::sync::OnceCell;

use self::agree::Trial;

/// What is so of an outcome wherever it is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its word.
    outcome: &'static str,
    /// The statuses it is told with.
    statuses: &'static [u16],
    /// All that `Cache-Status` says between the gateway's name and the word; `N` for a number of seconds.
    cache_status: &'static [&'static str],
    /// The levels of the log event.
    levels: &'static [&'static str],
    /// The layers where the tests let it come about, the innermost first.
    layers: &'static [&'static str],
    /// What the test provokes it by.
    cause: &'static str,
}

/// The table. Of each line comes an arm of a `match` without a wildcard and a test, so an outcome without a line does
/// not compile, and nor does a line without a scene.
macro_rules! outcomes {
    ($($variant:ident $name:ident:
        $statuses:expr, $cache_status:expr, $levels:expr, $layers:expr, $cause:literal;)*) => {
        fn row(outcome: Outcome) -> Row {
            match outcome {
                $(Outcome::$variant => Row {
                    outcome: stringify!($name),
                    statuses: &$statuses,
                    cache_status: &$cache_status,
                    levels: &$levels,
                    layers: &$layers,
                    cause: $cause,
                },)*
            }
        }

        $(#[tokio::test]
        async fn $name() {
            spans_of(Outcome::$variant).await;
        })*

        /// The names of the spans that came of the line, which is tried once, by whoever is the first to ask.
        async fn spans_of(outcome: Outcome) -> &'static BTreeSet<String> {
            match outcome {
                $(Outcome::$variant => {
                    static SPANS: OnceCell<BTreeSet<String>> = OnceCell::const_new();
                    SPANS
                        .get_or_init(async || {
                            let trial = Trial::of(row(outcome));
                            // Each is a large future, and this one would be as large as all of them.
                            Box::pin(scenes::$name(&trial)).await;
                            trial.end()
                        })
                        .await
                })*
            }
        }
    };
}

outcomes! {
    HitMemory hit_memory: [200], ["hit; ttl=N"], ["info"], ["versions"],
        "A list that was asked for a moment ago.";
    HitStorage hit_storage: [200],
        ["fwd=uri-miss; fwd-status=404; ttl=N", "fwd=uri-miss; ttl=N", "hit"],
        ["info"], ["stash", "lookup", "versions"],
        "A file of a stored version; one by a branch that stands for it; a list that upstream says does not exist.";
    StaleRevalidate stale_revalidate: [200], ["hit; ttl=-N"], ["info"], ["versions"],
        "A list older than `FreshFor`, within `StaleWhileRevalidate`.";
    StaleError stale_error: [200],
        ["fwd=stale; fwd-status=500; ttl=-N", "hit; ttl=-N"], ["info"], ["versions"],
        "A list older than that, while upstream fails; the next request, while upstream is left alone.";
    MissLeader miss_leader: [200], ["fwd=uri-miss; stored"], ["info"], ["stash"],
        "The first request for a version.";
    MissFollower miss_follower: [200], ["fwd=uri-miss; collapsed"], ["info"], ["single_flight"],
        "A second one while the first is being fetched.";
    MissDegraded miss_degraded: [200], ["fwd=uri-miss"], ["info"], ["lookup"],
        "A version while storage cannot be asked.";
    Negative negative: [404], ["hit; ttl=N"], ["info"], ["negative"],
        "A version that upstream has just said does not exist.";
    DenyFilter deny_filter: [403], [""], ["info"], ["filter"],
        "A module that `FilterFile` excludes.";
    DenyValidator deny_validator: [403], [""], ["info"], ["validate"],
        "The validator hook answers 403.";
    ValidatorFailed validator_failed: [503], [""], ["error"], ["validate"],
        "The validator hook answers 500.";
    DenyAuth deny_auth: [401, 403], [""], ["info"], ["auth", "route"],
        "A wrong password; a change under `/-/` without `AdminToken`.";
    DenyPrivate deny_private: [403], [""], ["info"], ["sumdb"],
        "A lookup of a module of `NoSumPatterns` in the checksum database.";
    Limited limited: [429], [""], ["info"], ["rate_limit"],
        "More requests at once than `[Dipylon.RateLimit] Burst`.";
    Shed shed: [503], ["fwd=uri-miss"], ["warning"], ["route"],
        "A zip larger than `MaxSpoolBytes`.";
    Redirected redirected: [302], [""], ["info"], ["dispatch"],
        "A miss in the modes `redirect` and `async_redirect`.";
    AsyncAccepted async_accepted: [404], ["", "fwd=uri-miss"], ["info"], ["dispatch"],
        "A miss in the mode `async`; and one by a branch, of which upstream has said what it stands for.";
    NotStored not_stored: [404], [""], ["info"], ["dispatch"],
        "A miss in the mode `none`.";
    UpstreamNotFound upstream_not_found: [404],
        ["fwd=uri-miss", "fwd=uri-miss; fwd-status=404", "fwd=uri-miss; fwd-status=410"],
        ["info", "warning"], ["upstream"],
        "Upstream answers 404 or 410; a warning where `direct` says so and a proxy before it could not be asked.";
    UpstreamRefused upstream_refused: [403],
        ["fwd=uri-miss; fwd-status=401", "fwd=uri-miss; fwd-status=403"], ["warning"], ["upstream"],
        "Upstream answers 401 or 403.";
    UpstreamThrottled upstream_throttled: [429, 503],
        ["", "fwd=uri-miss; fwd-status=429"], ["warning"], ["upstream", "upstream_pace"],
        "Upstream answers 429; the next request, while it has asked to be left alone.";
    UpstreamTimeout upstream_timeout: [504], ["fwd=uri-miss"], ["warning"], ["upstream"],
        "Upstream sends no headers within `UpstreamHeaderTimeout`.";
    UpstreamError upstream_error: [502],
        ["fwd=uri-miss", "fwd=uri-miss; fwd-status=418", "fwd=uri-miss; fwd-status=500"], ["warning"], ["upstream"],
        "Upstream answers 500, 418, or cuts the connection.";
    UpstreamUnavailable upstream_unavailable: [503], [""], ["warning"], ["upstream_breaker"],
        "A version after ten failures of upstream in a row.";
    UpstreamBadContent upstream_bad_content: [502],
        ["fwd=uri-miss; fwd-status=200"], ["error"], ["stash"],
        "Upstream answers with a login page, or with another version.";
    NoUpstream no_upstream: [503], [""], ["error"], ["goproxy_list"],
        "A miss without `GOPROXY` and without a `go` command.";
    ChecksumMismatch checksum_mismatch: [403], ["fwd=uri-miss"], ["error"], ["route"],
        "The checksum database knows another hash of the zip.";
    ChecksumUnavailable checksum_unavailable: [503], ["fwd=uri-miss"], ["error"], ["stash"],
        "The checksum database answers 503.";
    StorageError storage_error: [500], ["fwd=uri-miss; fwd-status=404"], ["error"], ["lookup"],
        "The disk under the store is gone, and upstream does not know the version.";
    StorageUnavailable storage_unavailable: [503],
        ["fwd=uri-miss; fwd-status=404"], ["error"], ["lookup"],
        "The external store answers 503, and upstream does not know the version.";
    Invalid invalid: [400, 404, 405, 501], [""], ["info"], ["sumdb", "route"],
        "A path or a query that names nothing; POST; a catalogue that the store does not have.";
    Deadline deadline: [504], ["fwd=uri-miss"], ["warning"], ["single_flight"],
        "Upstream takes longer than `RequestTimeout`.";
    Ok ok: [200], [""], ["info"], ["route"],
        "`/healthz`, and what a checksum database is asked whether it is supported.";
    Internal internal: [500], [""], ["error"], ["route"],
        "A `RobotsFile` of more than 1 MiB: one that cannot be what was meant.";
    Dropped dropped: [499], [], ["info"], ["route"],
        "The client closes the connection while upstream is asked. It gets no answer, so 499 is only written down.";
}
