use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::assemble::{Assembler, Step};
use super::client::Listed;
use super::layout::Layout;

const BOTH: [Layout; 2] = [Layout::Directory, Layout::Blob];

/// Feeds names in the order of their bytes and returns `module@version` of what is whole.
fn assembled(layout: Layout, after: Option<&str>, keys: Vec<String>) -> Vec<String> {
    let objects = keys.into_iter().map(|key| Listed { key, size: 100 }).collect();
    assembled_of(layout, after, objects)
}

fn assembled_of(layout: Layout, after: Option<&str>, mut objects: Vec<Listed>) -> Vec<String> {
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    let mut assembler = Assembler::new(layout, after);
    let mut whole = Vec::new();
    for object in objects.iter().filter(|one| after.is_none_or(|after| one.key.as_str() > after)) {
        match assembler.feed(object) {
            Step::Nothing => {}
            Step::Whole(found) => whole.extend(found),
            Step::Ask(found) => whole.push(found),
        }
    }
    whole.extend(assembler.end());
    whole.iter().map(|found| format!("{}@{}", found.module, found.version)).collect()
}

fn keys(layout: Layout, versions: &[(&str, &str)]) -> Vec<String> {
    let of = |(module, version): &(&str, &str)| {
        let (module, version) = (module.to_string(), version.to_string());
        FileKind::ALL.map(move |kind| layout.spell(&module, &version, kind))
    };
    versions.iter().flat_map(of).collect()
}

/// Versions whose names lie within one another's, in both layouts.
const NESTED: &[(&str, &str)] = &[
    ("example.com/a", "v1.0.0"),
    ("example.com/a", "v1.0.0-a"),
    ("example.com/a", "v1.0.0-a.j"),
    ("example.com/a", "v1.0.0-a.j.k"),
    ("example.com/a/v1.0.0/h", "v0.1.0"),
    ("example.com/a-b", "v1.0.0"),
    ("example.com/a/v2", "v2.0.0"),
];

#[test]
fn names_are_read_as_they_are_spelt() {
    for layout in BOTH {
        for (module, version) in NESTED {
            for kind in FileKind::ALL {
                let key = layout.spell(module, version, kind);
                let named = layout.parse(&key).unwrap();
                assert_eq!((named.module, named.version, named.kind), (*module, *version, kind));
                let (module, version) = (ModulePath::parse(module), Version::parse(version));
                assert_eq!(layout.key(&module.unwrap(), &version.unwrap(), kind).unwrap(), key);
            }
        }
    }
}

#[test]
fn names_that_are_no_versions_are_told_apart() {
    for key in [
        "go.mod",
        "v1.0.0/go.mod",
        "example.com/a/v1/go.mod",
        "example.com/a/v1.0.0/v1.0.1.info",
        "example.com/a/v1.0.0/other.zip",
        "parts/example.com/a/v1.0.0/0",
        ".dipylon/example.com/a/v1.0.0/go.mod",
    ] {
        assert_eq!(Layout::Directory.parse(key), None, "{key}");
    }
    for key in [
        "@v/v1.0.0.mod",
        "/@v/v1.0.0.mod",
        "example.com/a/@v/list",
        "example.com/a/@v/v1.info",
        "example.com/a/@v/v1.0.0.lock",
        "example.com/a/@v/v1.0.0/x.mod",
        "example.com/a/@v/b/@v/v1.0.0.mod",
        ".dipylon/example.com/a/@v/v1.0.0.mod",
    ] {
        assert_eq!(Layout::Blob.parse(key), None, "{key}");
    }
}

#[test]
fn versions_that_lie_within_one_another_are_all_found() {
    for layout in BOTH {
        let mut want: Vec<String> = NESTED.iter().map(|(m, v)| format!("{m}@{v}")).collect();
        let found = assembled(layout, None, keys(layout, NESTED));
        let mut infos: Vec<String> =
            NESTED.iter().map(|(m, v)| layout.spell(m, v, FileKind::Info)).collect();
        infos.sort();
        let in_order: Vec<String> = infos
            .iter()
            .filter_map(|key| layout.parse(key))
            .map(|named| format!("{}@{}", named.module, named.version))
            .collect();
        assert_eq!(found, in_order, "in the order of the `.info` names");
        want.sort();
        let mut found = found;
        found.sort();
        assert_eq!(found, want);
    }
}

#[test]
fn a_walk_that_goes_on_after_any_version_finds_the_rest_and_nothing_twice() {
    for layout in BOTH {
        let all = assembled(layout, None, keys(layout, NESTED));
        for (at, last) in all.iter().enumerate() {
            let (module, version) = last.split_once('@').unwrap();
            let token = layout.spell(module, version, FileKind::Info);
            let rest = assembled(layout, Some(&token), keys(layout, NESTED));
            assert_eq!(rest, all[at + 1..], "after {token}");
        }
    }
}

#[test]
fn a_version_without_one_of_its_names_is_none() {
    for layout in BOTH {
        for missing in FileKind::ALL {
            let mut names = keys(layout, NESTED);
            names.retain(|name| *name != layout.spell("example.com/a", "v1.0.0-a", missing));
            let found = assembled(layout, None, names);
            assert_eq!(found.len(), NESTED.len() - 1, "{layout:?} {missing:?}: {found:?}");
            assert!(!found.contains(&"example.com/a@v1.0.0-a".to_owned()));
        }
    }
}

#[test]
fn a_version_of_which_one_object_is_too_short_is_none() {
    for layout in BOTH {
        for (short, sizes) in
            [(FileKind::Info, &[0][..]), (FileKind::Mod, &[0]), (FileKind::Zip, &[0, 2, 21])]
        {
            for size in sizes {
                let torn = layout.spell("example.com/a", "v1.0.0-a", short);
                let least = |key: String| {
                    let is_zip = key.ends_with("zip");
                    let size = if key == torn { *size } else { [1, 22][usize::from(is_zip)] };
                    Listed { key, size }
                };
                let objects = keys(layout, NESTED).into_iter().map(least).collect();
                let found = assembled_of(layout, None, objects);
                assert_eq!(found.len(), NESTED.len() - 1, "{layout:?} {short:?} of {size}");
                assert!(!found.contains(&"example.com/a@v1.0.0-a".to_owned()), "{found:?}");
            }
        }
    }
}

#[test]
fn any_number_of_torn_versions_is_passed_over_in_bounded_memory() {
    for layout in BOTH {
        let torn: Vec<String> = (0..super::MAX_OPEN_VERSIONS * 3)
            .map(|number| layout.spell("example.com/t", &format!("v1.{number}.0"), FileKind::Info))
            .collect();
        let names = torn.into_iter().chain(keys(layout, NESTED)).collect();
        assert_eq!(assembled(layout, None, names).len(), NESTED.len());
    }
}
