//! Download, get, build, install.

use dipylon_testkit::module::FakeModule;

use crate::world::{World, assert_same};

/// A library with an upper-case path, one that it needs, and one without go.mod.
fn graph(world: &World) -> [FakeModule; 3] {
    let base = FakeModule::new("example.com/base", "v0.3.0")
        .file("fake.go", "package base\n\nfunc Word() string { return \"hello\" }\n");
    let upper = FakeModule::new("example.com/Acme/Greet/v2", "v2.1.0")
        .go_mod("module example.com/Acme/Greet/v2\n\ngo 1.21\n\nrequire example.com/base v0.3.0\n")
        .file(
            "fake.go",
            "package greet\n\nimport \"example.com/base\"\n\n\
             func Greet(who string) string { return base.Word() + \" \" + who }\n",
        );
    let old = FakeModule::new("example.com/old", "v3.0.0+incompatible")
        .no_go_mod()
        .file("fake.go", "package old\n\nconst Name = \"world\"\n");
    [base, upper, old].map(|module| world.add(module))
}

const MAIN: &str = "package main\n\nimport (\n\t\"fmt\"\n\n\
    \tgreet \"example.com/Acme/Greet/v2\"\n\t\"example.com/old\"\n)\n\n\
    func main() { fmt.Println(greet.Greet(old.Name)) }\n";

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_download_has_the_hashes_of_what_upstream_holds() {
    let world = World::start().await;
    let modules = graph(&world);
    let names: Vec<String> =
        modules.iter().map(|module| format!("{}@{}", module.path(), module.version())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let got = world.go().mod_download_json(&names);
    assert_eq!(got.len(), modules.len());
    for (got, module) in got.iter().zip(&modules) {
        assert_same(got, module);
    }
    // The database was asked, and through the gateway: nobody else can reach it.
    assert_eq!(world.database.count("/lookup/"), modules.len());
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_project_of_several_modules_builds_and_runs() {
    let world = World::start().await;
    graph(&world);
    let go_mod = "module example.com/app\n\ngo 1.21\n";
    let app = world.project("app", &[("go.mod", go_mod), ("main.go", MAIN)]);
    let go = world.go();
    go.run(&app, &["mod", "tidy"]).expect_success();
    let sums = std::fs::read_to_string(app.join("go.sum")).expect("tidy wrote go.sum");
    // Two lines each: the zip's hash and that of go.mod.
    assert_eq!(sums.lines().count(), 6, "{sums}");
    go.run(&app, &["build", "-o", "app", "."]).expect_success();
    let said = std::process::Command::new(app.join("app")).output().expect("what was built runs");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello world\n");
    go.run(&app, &["mod", "verify"]).expect_success();

    // A second machine with the same go.sum: everything is a hit now.
    let before = world.module_requests();
    let other = world.go();
    other.run(&app, &["build", "-o", "again", "."]).expect_success();
    assert_eq!(world.module_requests(), before, "upstream was asked again for what is stored");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn get_adds_the_newest_version_and_get_u_raises_it() {
    const PATH: &str = "example.com/lib";
    let world = World::start().await;
    world.add(FakeModule::new(PATH, "v1.0.0"));
    world.add(FakeModule::new(PATH, "v1.1.0"));
    world.add(FakeModule::new(PATH, "v1.2.0-rc1"));
    let files = [
        ("go.mod", "module example.com/app\n\ngo 1.21\n"),
        ("main.go", "package main\n\nimport _ \"example.com/lib\"\n\nfunc main() {}\n"),
    ];
    let app = world.project("app", &files);
    let go = world.go();
    let requires = || std::fs::read_to_string(app.join("go.mod")).expect("the project's go.mod");
    go.run(&app, &["get", "example.com/lib@v1.0.0"]).expect_success();
    assert!(requires().contains("example.com/lib v1.0.0"), "{}", requires());
    go.run(&app, &["get", "-u", "./..."]).expect_success();
    assert!(requires().contains("example.com/lib v1.1.0"), "{}", requires());
    go.run(&app, &["get", "example.com/lib@v1.2.0-rc1"]).expect_success();
    assert!(requires().contains("example.com/lib v1.2.0-rc1"), "{}", requires());
    go.run(&app, &["build", "-o", "app", "."]).expect_success();
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn get_of_a_package_finds_its_module_among_the_prefixes() {
    let world = World::start().await;
    let nested = FakeModule::new("example.com/team/mono/tools", "v0.1.0")
        .file("deep/er/er.go", "package er\n");
    world.add(nested);
    world.add(FakeModule::new("example.com/team/mono", "v1.0.0"));
    let go_mod = [("go.mod", "module example.com/app\n\ngo 1.21\n")];
    let app = world.project("app", &go_mod);
    world.go().run(&app, &["get", "example.com/team/mono/tools/deep/er"]).expect_success();
    let text = std::fs::read_to_string(app.join("go.mod")).expect("the project's go.mod");
    assert!(text.contains("example.com/team/mono/tools v0.1.0"), "{text}");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn install_at_latest_gives_a_program_that_runs() {
    let world = World::start().await;
    let main = "package main\n\nimport (\n\t\"fmt\"\n\n\tgreet \"example.com/Acme/Greet/v2\"\n)\n\n\
        func main() { fmt.Println(greet.Greet(\"you\")) }\n";
    graph(&world);
    for version in ["v1.0.0", "v1.4.0"] {
        let tool = FakeModule::new("example.com/Tool", version)
            .go_mod(
                "module example.com/Tool\n\ngo 1.21\n\nrequire (\n\
                 \texample.com/Acme/Greet/v2 v2.1.0\n\texample.com/base v0.3.0 // indirect\n)\n",
            )
            .file("cmd/say/main.go", main);
        world.add(tool);
    }
    let bin = world.folder("bin");
    let go = world.go().env("GOBIN", &bin.display().to_string());
    let said = go.run(&go.scratch(), &["install", "example.com/Tool/cmd/say@latest"]);
    said.expect_success();
    let version = go.run(&bin, &["version", "-m", "say"]);
    assert!(version.expect_success().contains("example.com/Tool\tv1.4.0"), "{}", version.stdout);
    let ran = std::process::Command::new(bin.join("say")).output().expect("what was built runs");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hello you\n");
}
