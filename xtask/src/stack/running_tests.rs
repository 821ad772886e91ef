use super::*;
use crate::stack::probe::Probe;

/// A folder that is removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dipylon-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shell(place: &Place, script: &str) -> Start {
    Start {
        name: "shell".to_owned(),
        port: place.ports[0],
        program: "sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: Vec::new(),
    }
}

/// Ready at once: no probe.
fn sleeper(place: &Place) -> Plan {
    Plan {
        processes: vec![shell(place, "exec sleep 60")],
        env: vec![("A", place.host(0))],
        ..Plan::default()
    }
}

fn mourner(place: &Place) -> Plan {
    Plan {
        processes: vec![shell(place, "echo alas; sleep 0.2; exit 1")],
        probes: vec![Probe::Connect { port: place.ports[0] }],
        ..Plan::default()
    }
}

/// The components are programs of other servers, so these have none.
static SLEEPER: Service = Service { name: "redis", components: &[], ports: 1, plan: sleeper };
static MOURNER: Service = Service { name: "etcd", components: &[], ports: 1, plan: mourner };

#[test]
fn every_plan_stays_in_its_folder_and_on_loopback() {
    let launch = Launch { program: "p".into(), before: Vec::new() };
    for service in SERVICES {
        let ports: Vec<u16> = (1..).take(service.ports).map(|port| port * 1000).collect();
        let (folder, targets) = (Path::new("/stack/x"), Path::new("/stack/targets"));
        let programs = std::slice::from_ref(&launch);
        let plan = (service.plan)(&Place { folder, targets, ports: &ports, programs });
        assert!(!plan.processes.is_empty(), "{}", service.name);
        assert!(!plan.probes.is_empty(), "{}", service.name);
        let files = plan.files.iter().map(|(path, _)| path);
        for path in plan.folders.iter().chain(files) {
            assert!(path.starts_with("/stack"), "{}: {}", service.name, path.display());
        }
        for start in &plan.processes {
            assert!(ports.contains(&start.port), "{}", start.name);
            let args = start.args.join(" ");
            let bound = args.contains("127.0.0.1") || args.contains("sentinel.conf");
            assert!(bound && !args.contains("0.0.0.0"), "{args}");
        }
        let tested = format!("DIPYLON_TEST_{}", service.name.to_uppercase());
        assert!(plan.env.iter().any(|(name, _)| *name == tested), "{tested} is not given");
    }
}

#[test]
fn every_service_is_made_of_known_programs() {
    for service in SERVICES {
        assert!(service.components.iter().all(|name| component(name).is_ok()), "{}", service.name);
    }
}

#[test]
fn ports_are_all_different() {
    let mut ports = free_ports(50).unwrap();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 50);
}

#[test]
fn what_is_up_stays_up_and_down_ends_it() {
    let folder = Folder::new("up");
    let stack = Stack::at(folder.0.clone()).unwrap();
    stack.start(&[&SLEEPER]).unwrap();
    let first = stack.status().unwrap();
    assert_eq!(first.len(), 1);
    assert!(first[0].starts_with("shell ") && first[0].contains("127.0.0.1:"), "{}", first[0]);
    assert!(stack.environment().unwrap()["A"].starts_with("127.0.0.1:"));
    // Another command on the same folder, such as the next in a shell.
    let again = Stack::at(folder.0.clone()).unwrap();
    again.start(&[&SLEEPER]).unwrap();
    assert_eq!(State::read(&folder.0).unwrap().processes.len(), 1);
    assert_eq!(again.stop(), Ok(1));
    assert_eq!(again.stop(), Ok(0));
    assert!(again.environment().unwrap().is_empty());
}

#[test]
fn a_failed_start_shows_the_log_and_stops_what_was_started() {
    let folder = Folder::new("failed");
    let stack = Stack::at(folder.0.clone()).unwrap();
    let why = stack.start(&[&SLEEPER, &MOURNER]).unwrap_err();
    assert!(why.starts_with("etcd: shell ended before it was ready\n"), "{why}");
    assert!(why.contains("  | alas"), "{why}");
    assert_eq!(State::read(&folder.0), Ok(State::default()));
}

#[test]
fn a_service_that_died_is_started_anew() {
    let folder = Folder::new("died");
    let stack = Stack::at(folder.0.clone()).unwrap();
    stack.start(&[&SLEEPER]).unwrap();
    let first = State::read(&folder.0).unwrap().processes[0].identity;
    assert_eq!(process::stop(&[first], STOP_GRACE), []);
    stack.start(&[&SLEEPER]).unwrap();
    let second = State::read(&folder.0).unwrap().processes[0].identity;
    assert!(second.runs() && second != first);
    assert_eq!(stack.stop(), Ok(1));
}

#[test]
fn a_later_service_wins_a_shared_variable() {
    let mut state = State { ready: vec!["redis".into(), "minio".into()], ..State::default() };
    let own = |service: &str, value: &str| (service.to_owned(), "A".to_owned(), value.to_owned());
    state.env = vec![own("redis", "later in the table"), own("minio", "earlier")];
    assert_eq!(environment(&state)["A"], "later in the table");
}

#[test]
fn what_is_our_own_ends_with_the_servers() {
    let folder = Folder::new("own");
    let stack = Stack::at(folder.0.clone()).unwrap();
    stack.start(&[&SLEEPER]).unwrap();
    stack.start_own("gateway-1", 1, &sleeper).unwrap();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    stack.adopt("k6", child.id()).unwrap();
    assert_eq!(stack.stop(), Ok(3));
    assert!(!child.wait().unwrap().success());
    let refused = stack.start_own("gateway-2", 1, &mourner).unwrap_err();
    assert!(refused.starts_with("gateway-2: shell ended before it was ready\n"), "{refused}");
    assert_eq!(State::read(&folder.0), Ok(State::default()));
}
