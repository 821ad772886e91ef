//! The labels of what stores do.

use super::super::labels::label;

label! {
    /// The operations of a storage backend.
    StorageOperation = "operation" {
        /// Versions of one module.
        List = "list",
        /// One file of one version.
        Read = "read",
        /// A whole version.
        Save = "save",
        /// A page of everything stored.
        Catalog = "catalog",
        /// A file under `.dipylon/`, read.
        ReadExtra = "read_extra",
        /// A file under `.dipylon/`, written.
        WriteExtra = "write_extra",
        /// A file under `.dipylon/`, removed.
        RemoveExtra = "remove_extra",
        /// Readiness.
        Check = "check",
    }
}

label! {
    /// What the near tier had of a file.
    NearRead = "result" {
        /// A copy.
        Hit = "hit",
        /// Nothing: the far store was asked.
        Miss = "miss",
        /// A copy that its disk did not give, or not in time: the far store was asked.
        Failed = "failed",
    }
}

label! {
    /// What came of a copy for the near tier.
    NearFill = "result" {
        /// It is there.
        Filled = "filled",
        /// The reader left, or the far store failed, before its end.
        Cut = "cut",
        /// There were too many copies on their way in.
        Busy = "busy",
        /// The file is too large for the near tier.
        Large = "large",
        /// The disk has no room.
        Full = "full",
        /// The disk failed.
        Failed = "failed",
        /// The disk had no room, or failed, a moment ago.
        Paused = "paused",
    }
}

label! {
    /// What came of sending a client to the object store for a zip.
    Presigned = "result" {
        /// The client was sent there.
        Sent = "sent",
        /// No URL could be signed: the zip went through the gateway.
        Failed = "failed",
    }
}
