//! The layers, as they stand in metrics and name spans.

use super::super::labels::label;

label! {
    /// The layers and leaves, outside in. A span has its layer's name.
    LayerName = "layer" {
        /// Ids, `traceparent` and the root span.
        RequestContext = "request_context",
        /// One event when the body ends.
        AccessLog = "access_log",
        /// A panic becomes a 500.
        CatchPanic = "catch_panic",
        /// Connection and request limits; sheds.
        Admission = "admission",
        /// The request's deadline.
        Deadline = "deadline",
        /// Requests of each client.
        RateLimit = "rate_limit",
        /// Sends plain requests to https.
        ForceSsl = "force_ssl",
        /// Credentials.
        Auth = "auth",
        /// Pages of operators, compressed.
        Compression = "compression",
        /// Parses the path; typed requests begin.
        Route = "route",
        /// The filter file.
        Filter = "filter",
        /// The validator hook.
        Validate = "validate",
        /// List, latest and resolved queries.
        Versions = "versions",
        /// Small immutable files in memory.
        HotCache = "hot_cache",
        /// Hit or missed.
        Lookup = "lookup",
        /// How many misses may be in hand.
        MissLimit = "miss_limit",
        /// Remembered "does not exist".
        Negative = "negative",
        /// What the download mode says of a miss.
        DownloadMode = "download_mode",
        /// Does what the mode says.
        Dispatch = "dispatch",
        /// One stash per key in this process.
        SingleFlight = "single_flight",
        /// One stash per key among the replicas.
        Lock = "lock",
        /// Fetch slots.
        Pool = "pool",
        /// Fetch, verify, save, index.
        Stash = "stash",
        /// Looks for a near copy before the far store is asked.
        StorageTier = "storage_tier",
        /// Deadline of a storage call.
        StorageDeadline = "storage_deadline",
        /// Leaves a failing storage alone for a while.
        StorageBreaker = "storage_breaker",
        /// Tries again what may succeed the next time.
        StorageRetry = "storage_retry",
        /// Concurrent storage calls.
        StorageLimit = "storage_limit",
        /// The storage call itself.
        StorageIo = "storage_io",
        /// Leaves a host alone for a while that cannot be reached.
        UpstreamHostBreaker = "upstream_host_breaker",
        /// Leaves a failing upstream alone for a while.
        UpstreamBreaker = "upstream_breaker",
        /// Tries again what may succeed the next time.
        UpstreamRetry = "upstream_retry",
        /// Asks once more for a small file that is late.
        UpstreamHedge = "upstream_hedge",
        /// The pace at which one upstream host is asked.
        UpstreamPace = "upstream_pace",
        /// Deadline of one attempt.
        UpstreamDeadline = "upstream_deadline",
        /// Concurrent requests to one upstream host.
        UpstreamLimit = "upstream_limit",
        /// The upstream call itself.
        Upstream = "upstream",
        /// The walk over the GOPROXY list.
        GoproxyList = "goproxy_list",
        /// The checksum databases, for clients.
        SumDb = "sumdb",
    }
}
