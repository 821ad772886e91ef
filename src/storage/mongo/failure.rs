//! How an error of the driver becomes an error of the storage.
//!
//! The text names the backend, what was tried, where, and the cause. Of the driver's own words the cause
//! is taken and not the dump of the whole topology; credentials are in none of them.

use std::time::Duration;

use mongodb::error::{Error as DriverError, ErrorKind as DriverErrorKind, WriteFailure};

/// Longest piece of the driver's own words, in characters.
const MAX_SAID_CHARS: usize = 240;

/// The server's codes that are told apart.
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const CURSOR_NOT_FOUND: i32 = 43;
const NAMESPACE_EXISTS: i32 = 48;
const DUPLICATE_KEY: i32 = 11_000;
/// Atlas's for refused credentials.
const ATLAS_REFUSED: i32 = 8_000;
/// Of a server that takes no writes now, or gives its place to another: shutdown in progress, primary
/// stepped down, interrupted at shutdown and by a change of state, not primary (three of them), not even a
/// secondary. The lists of the "not writable primary" and "node is recovering" errors of MongoDB's
/// specification of server discovery.
const FAILING_OVER: [i32; 8] = [91, 189, 10_058, 10_107, 11_600, 11_602, 13_435, 13_436];
/// Of a server that could not reach another, or not in time: host unreachable, host not found, network
/// timeout, no majority to read from yet, time limit exceeded, socket exception; and a write that too few
/// members had in time.
const CUT_OFF: [i32; 7] = [6, 7, 64, 89, 134, 262, 9_001];

/// Why a call of the server failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer within this time.
    Slow(Duration),
    /// What the driver says.
    Driver(DriverError),
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl Failure {
    fn kind(&self) -> Option<&DriverErrorKind> {
        match self {
            Self::Slow(_) => None,
            Self::Driver(error) => Some(&error.kind),
        }
    }

    /// The server's code.
    pub(super) fn code(&self) -> Option<i32> {
        match self.kind()? {
            DriverErrorKind::Command(error) => Some(error.code),
            DriverErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
            DriverErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
            DriverErrorKind::InsertMany(error) => {
                let of_a_write = error.write_errors.as_deref().and_then(|errors| errors.first());
                let of_the_set = error.write_concern_error.as_ref();
                of_a_write.map(|error| error.code).or_else(|| of_the_set.map(|error| error.code))
            }
            _ => None,
        }
    }

    /// Whether a document with that key is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        self.code() == Some(DUPLICATE_KEY)
    }

    /// Whether the server has certainly not written the document. Without that the answer may be what was
    /// lost, or the other members of a replica set what was slow.
    pub(super) fn is_refusal(&self) -> bool {
        self.is_denied()
            || matches!(self.kind(), Some(DriverErrorKind::Write(WriteFailure::WriteError(_))))
    }

    /// Whether the collection is there already.
    pub(super) fn is_there_already(&self) -> bool {
        self.code() == Some(NAMESPACE_EXISTS)
    }

    /// Whether the server has given up a cursor that stood still for too long.
    pub(super) fn is_cursor_gone(&self) -> bool {
        self.code() == Some(CURSOR_NOT_FOUND)
    }

    /// Whether the user may not do this.
    pub(super) fn is_denied(&self) -> bool {
        self.code() == Some(UNAUTHORIZED)
    }

    /// Whether there was no server that could be asked, or it did not answer in time. A server that is about
    /// to end, or has lost its place or its neighbours, says so; another will answer soon.
    pub(super) fn is_unreachable(&self) -> bool {
        let Some(kind) = self.kind() else { return true };
        let is_away = matches!(
            kind,
            DriverErrorKind::ServerSelection { .. }
                | DriverErrorKind::Io(_)
                | DriverErrorKind::ConnectionPoolCleared { .. }
                | DriverErrorKind::DnsResolve { .. }
        );
        is_away || self.is_failing_over() || self.code().is_some_and(|code| CUT_OFF.contains(&code))
    }

    fn is_failing_over(&self) -> bool {
        self.code().is_some_and(|code| FAILING_OVER.contains(&code))
    }

    /// The cause and what to do about it, in one line.
    pub(super) fn told(&self) -> String {
        self.with_advice(&match self {
            Self::Slow(limit) => format!("no answer within {limit:?}"),
            Self::Driver(error) => said(error),
        })
    }

    /// The same without the server's own words, which may repeat what was asked of it.
    pub(super) fn told_to_others(&self) -> String {
        match self.code() {
            Some(code) => self.with_advice(&format!("the server answers with its error {code}")),
            None => self.told(),
        }
    }

    fn with_advice(&self, said: &str) -> String {
        format!("{}{}", shorten(said), self.advice())
    }

    fn advice(&self) -> &'static str {
        let refused = matches!(self.kind(), Some(DriverErrorKind::Authentication { .. }))
            || matches!(self.code(), Some(AUTHENTICATION_FAILED | ATLAS_REFUSED));
        if refused {
            "; check the user and password in Storage.Mongo.URL"
        } else if self.is_denied() {
            "; check what the user may do"
        } else if self.is_failing_over() {
            "; has the replica set a primary?"
        } else if self.is_unreachable() {
            "; is the server up, and Storage.Mongo.URL right?"
        } else {
            ""
        }
    }
}

fn said(error: &DriverError) -> String {
    let coded = |code: i32, name: &str, message: &str| match name {
        "" => format!("{code}: {message}"),
        name => format!("{name} ({code}): {message}"),
    };
    match &*error.kind {
        DriverErrorKind::Command(error) => coded(error.code, &error.code_name, &error.message),
        DriverErrorKind::Write(WriteFailure::WriteError(error)) => {
            coded(error.code, error.code_name.as_deref().unwrap_or_default(), &error.message)
        }
        DriverErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
            coded(error.code, &error.code_name, &error.message)
        }
        DriverErrorKind::InsertMany(many) => {
            let first = many.write_errors.as_ref().and_then(|errors| errors.first());
            first.map_or_else(
                || "the write was not acknowledged".to_owned(),
                |error| {
                    let name = error.code_name.as_deref().unwrap_or_default();
                    coded(error.code, name, &error.message)
                },
            )
        }
        DriverErrorKind::ServerSelection { message, .. } => of_topology(message),
        DriverErrorKind::Io(error) => error.to_string(),
        kind => kind.to_string(),
    }
}

/// The driver tells all it knows of every server; what matters is each address with its error.
fn of_topology(message: &str) -> String {
    let mut causes = Vec::new();
    for server in message.split("{ Address: ").skip(1) {
        let address = server.split([',', ' ']).next().unwrap_or_default();
        let error = server.split_once("Error: ").map_or("is of no use", |(_, error)| error);
        let error = error.strip_prefix("Kind: ").unwrap_or(error);
        let error = error.split(", labels: ").next().unwrap_or(error);
        causes.push(format!("{address}: {error}"));
    }
    match causes.is_empty() {
        true => message.to_owned(),
        false => format!("no server can be used: {}", causes.join("; ")),
    }
}

/// One line, not too long.
fn shorten(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(MAX_SAID_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{deserialize_from_document, doc};
    use mongodb::error::{CommandError, InsertManyError, WriteConcernError};

    use super::*;

    #[test]
    fn of_a_topology_each_address_is_told_with_its_error() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, \
             Servers: [ { Address: 127.0.0.1:9, Type: Unknown, Error: Kind: I/O error: Connection \
             refused (os error 111), labels: {}, source: None, server response: None }, { Address: \
             b:1, Type: Unknown } ] }";
        assert_eq!(
            of_topology(message),
            "no server can be used: 127.0.0.1:9: I/O error: Connection refused (os error 111); b:1: \
             is of no use"
        );
        assert_eq!(of_topology("nothing known"), "nothing known");
    }

    #[test]
    fn a_cause_is_one_line_of_bounded_length() {
        let failure = Failure::Driver(DriverError::from(std::io::Error::other("x\ny".repeat(500))));
        let told = failure.told();
        assert!(told.starts_with("x yx"), "{told}");
        assert!(told.ends_with("; is the server up, and Storage.Mongo.URL right?"), "{told}");
        assert!(told.len() < MAX_SAID_CHARS + 60 && !told.contains('\n'), "{told}");
    }

    fn answered(code: i32, name: &str, message: &str) -> Failure {
        let said = doc! { "code": code, "codeName": name, "errmsg": message };
        let error: CommandError = deserialize_from_document(said).unwrap();
        Failure::Driver(DriverErrorKind::Command(error).into())
    }

    #[test]
    fn a_server_that_gives_its_place_to_another_counts_as_unreachable() {
        let asked = "not primary while reading athens.modules of example.com/private";
        for (code, name) in [
            (91, "ShutdownInProgress"),
            (189, "PrimarySteppedDown"),
            (10_107, "NotWritablePrimary"),
            (11_600, "InterruptedAtShutdown"),
            (11_602, "InterruptedDueToReplStateChange"),
            (13_435, "NotPrimaryNoSecondaryOk"),
            (13_436, "NotPrimaryOrSecondary"),
        ] {
            let failure = answered(code, name, asked);
            assert!(failure.is_unreachable() && !failure.is_refusal(), "{name}");
            let told = format!("{name} ({code}): {asked}; has the replica set a primary?");
            assert_eq!(failure.told(), told);
            let others = failure.told_to_others();
            assert!(
                others.contains(&code.to_string()) && others.ends_with("a primary?"),
                "{others}"
            );
            assert!(!others.contains("example.com") && !others.contains("athens"), "{others}");
        }
        for code in [6, 7, 89, 134, 262, 9_001] {
            assert!(answered(code, "", "").is_unreachable(), "{code}");
        }
        for code in [1, 13, 18, 26, 43, 48, 8_000, 11_000] {
            assert!(!answered(code, "", "").is_unreachable(), "{code}");
        }
    }

    #[test]
    fn a_write_that_too_few_members_have_in_time_counts_as_unreachable() {
        let said = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "timed out" };
        let error: WriteConcernError = deserialize_from_document(said).unwrap();
        let failure = WriteFailure::WriteConcernError(error);
        let failure = Failure::Driver(DriverErrorKind::Write(failure).into());
        assert!(failure.is_unreachable() && !failure.is_refusal());
        assert!(failure.told().starts_with("WriteConcernFailed (64): timed out; "));
        let of_the_set = doc! { "code": 91, "codeName": "ShutdownInProgress", "errmsg": "" };
        let many: InsertManyError =
            deserialize_from_document(doc! { "writeConcernError": of_the_set }).unwrap();
        let failure = Failure::Driver(DriverErrorKind::InsertMany(many).into());
        assert!(
            failure.is_unreachable()
                && failure.told().ends_with("; has the replica set a primary?")
        );
    }

    #[test]
    fn what_is_slow_counts_as_unreachable() {
        let slow = Failure::Slow(Duration::from_secs(60));
        assert!(slow.is_unreachable() && slow.code().is_none());
        assert!(slow.told().starts_with("no answer within 60s; "), "{}", slow.told());
    }
}
