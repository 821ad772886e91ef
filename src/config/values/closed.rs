//! Closed sets: enums that are written as one of a few words.

use super::super::problem::quote;
use super::super::suggest::nearest;
use super::{Setting, Wrong};

/// Declares an enum with the words that write it; the first word of a variant is the one shown.
///
/// `folded` words are compared after trimming and without regard to letter case. A set with
/// `otherwise Variant` accepts any other word as that variant, with a caution: Athens starts with
/// such a value too.
macro_rules! closed_set {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $comparison:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $synonym:literal)*, )+
        }
        $( otherwise $fallback:ident, $says:expr )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// Every member.
            pub const ALL: &[Self] = &[$( Self::$variant, )+];
            const WORDS: &[&str] = &[$( $word, $( $synonym, )* )+];

            /// The word that writes it.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            fn parse(text: &str) -> Option<Self> {
                match $comparison(text).as_str() {
                    $( $word $(| $synonym)* => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Setting for $name {
            fn accepted() -> String {
                $crate::config::values::closed::accepted_words(Self::WORDS)
            }

            fn from_text(text: &str) -> Result<Self, Wrong> {
                let found = Self::parse(text);
                $( let found = found.or(Some(Self::$fallback)); )?
                found.ok_or_else(|| {
                    $crate::config::values::closed::unknown_word(text, Self::WORDS)
                })
            }

            fn show(&self) -> String {
                $crate::config::problem::quote(self.as_str())
            }

            $(
                fn caution(text: &str) -> Option<String> {
                    Self::parse(text).is_none().then(|| $says(text, Self::WORDS))
                }
            )?
        }
    };
}
pub(super) use closed_set;

/// The words of a set, as the end of "accepted …".
pub(super) fn accepted_words(words: &[&str]) -> String {
    let shown: Vec<_> = words.iter().map(|w| if w.is_empty() { "\"\"" } else { w }).collect();
    format!("are {}", shown.join(", "))
}

/// The refusal of a word, with the nearest member of the set.
pub(super) fn unknown_word(text: &str, words: &[&str]) -> Wrong {
    match nearest(text, words.iter().copied()) {
        Some(near) => Wrong::form().hint(format!("did you mean {}?", quote(near))),
        None => Wrong::form(),
    }
}

pub(super) fn exact(text: &str) -> String {
    text.to_owned()
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

closed_set! {
    /// The least severe event that is logged.
    pub enum LogLevel: folded {
        /// Everything; Athens does not tell trace from debug either.
        Debug = "debug" | "trace",
        /// One event per request and more severe ones.
        Info = "info",
        /// What an operator should look at, and errors.
        Warn = "warn" | "warning",
        /// Errors only.
        Error = "error" | "fatal" | "panic",
    }
}

closed_set! {
    /// The form of a log line.
    pub enum LogFormat: exact {
        /// For people.
        Plain = "plain" | "",
        /// One JSON object a line.
        Json = "json",
    }
}

closed_set! {
    /// The cloud whose log schema is spoken.
    pub enum CloudRuntime: exact {
        /// No cloud in particular.
        None = "none" | "",
        /// Google Cloud: JSON with `severity`, `message` and `timestamp`.
        Gcp = "GCP",
    }
    otherwise None, |text: &str, words: &[&str]| match nearest(text, words.iter().copied()) {
        Some(near) => format!("unknown, taken for \"none\"; did you mean {}?", quote(near)),
        None => "unknown, taken for \"none\"".to_owned(),
    }
}

closed_set! {
    /// Where modules are stored.
    pub enum StorageType: exact {
        /// A fresh directory under the temporary directory, gone at exit; for development.
        Memory = "memory",
        /// A directory.
        Disk = "disk",
        /// MongoDB with GridFS.
        Mongo = "mongo",
        /// Google Cloud Storage.
        Gcp = "gcp",
        /// MinIO or another store that speaks S3.
        Minio = "minio",
        /// Amazon S3.
        S3 = "s3",
        /// Azure Blob Storage.
        AzureBlob = "azureblob",
        /// A store that someone else wrote, behind HTTP.
        External = "external",
    }
}

closed_set! {
    /// How list and latest use the upstream.
    pub enum NetworkMode: exact {
        /// The upstream must answer.
        Strict = "strict",
        /// No upstream call of any kind.
        Offline = "offline",
        /// Storage answers where the upstream fails.
        Fallback = "fallback",
    }
}

closed_set! {
    /// What keeps replicas from fetching the same version at the same time.
    pub enum SingleFlightType: exact {
        /// Nothing beyond this process.
        Memory = "memory" | "",
        /// etcd.
        Etcd = "etcd",
        /// A Redis server or cluster.
        Redis = "redis",
        /// Redis behind sentinels.
        RedisSentinel = "redis-sentinel",
        /// Google Cloud Storage, with the storage of that name.
        Gcp = "gcp",
        /// Azure Blob Storage, with the storage of that name.
        AzureBlob = "azureblob",
        /// S3 conditional writes, with the storages s3 and minio.
        S3 = "s3",
    }
}

closed_set! {
    /// Where the index of stored versions is kept.
    pub enum IndexType: exact {
        /// Nowhere: `/index` is empty.
        None = "none" | "",
        /// In this process.
        Memory = "memory",
        /// In MySQL.
        Mysql = "mysql",
        /// In PostgreSQL.
        Postgres = "postgres",
    }
}

closed_set! {
    /// Where traces go.
    pub enum TraceExporter: exact {
        /// Nowhere.
        Off = "",
        /// To an OpenTelemetry collector.
        Otlp = "otlp",
    }
    otherwise Off, |text: &str, _: &[&str]| match text {
        "jaeger" | "datadog" | "stackdriver" => {
            "this exporter is gone, no traces are sent; use \"otlp\" and a collector".to_owned()
        }
        _ => "unknown, no traces are sent; use \"otlp\", or \"\" for none".to_owned(),
    }
}

closed_set! {
    /// Who reads metrics.
    pub enum StatsExporter: exact {
        /// Prometheus, from `/metrics`.
        Prometheus = "prometheus",
        /// Nobody: `/metrics` is not served.
        Off = "",
    }
    otherwise Off, |text: &str, _: &[&str]| match text {
        "datadog" | "stackdriver" => {
            "this exporter is gone, /metrics is not served; use \"prometheus\"".to_owned()
        }
        _ => "unknown, /metrics is not served; use \"prometheus\", or \"\" for none".to_owned(),
    }
}

closed_set! {
    /// How the OpenTelemetry collector is spoken to.
    pub enum OtlpProtocol: exact {
        /// gRPC, usually port 4317.
        Grpc = "grpc",
        /// Protobuf over HTTP, usually port 4318.
        Http = "http",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_trimmed_and_case_does_not_matter() {
        for (text, want) in [
            ("trace", LogLevel::Debug),
            (" DEBUG ", LogLevel::Debug),
            ("Warning", LogLevel::Warn),
            ("fatal", LogLevel::Error),
            ("panic", LogLevel::Error),
        ] {
            assert_eq!(LogLevel::from_text(text), Ok(want), "{text:?}");
        }
        assert!(LogLevel::from_text("loud").is_err());
        assert!(LogLevel::from_text("").is_err());
    }

    #[test]
    fn other_sets_compare_exactly() {
        assert!(StorageType::from_text("Disk").is_err());
        assert!(NetworkMode::from_text("").is_err());
        assert_eq!(IndexType::from_text(""), Ok(IndexType::None));
        assert_eq!(SingleFlightType::from_text(""), Ok(SingleFlightType::Memory));
        assert_eq!(LogFormat::from_text(""), Ok(LogFormat::Plain));
    }

    #[test]
    fn a_retired_exporter_is_off_with_a_caution() {
        for gone in ["jaeger", "datadog", "stackdriver", "zipkin"] {
            assert_eq!(TraceExporter::from_text(gone), Ok(TraceExporter::Off));
            assert!(TraceExporter::caution(gone).is_some_and(|c| c.contains("otlp")));
        }
        assert_eq!(TraceExporter::caution("otlp"), None);
        assert_eq!(TraceExporter::caution(""), None);
        assert_eq!(StatsExporter::from_text("datadog"), Ok(StatsExporter::Off));
    }

    #[test]
    fn the_gcp_runtime_in_small_letters_is_no_runtime_and_says_so() {
        assert_eq!(CloudRuntime::from_text("gcp"), Ok(CloudRuntime::None));
        assert!(CloudRuntime::caution("gcp").is_some_and(|c| c.contains("\"GCP\"")));
    }
}
