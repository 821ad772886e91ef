//! Properties that hold for every input, tried on random ones.

use dipylon_protocol::path::{escape, unescape};
use dipylon_protocol::pattern::path_match;
use dipylon_protocol::{
    FileKind, GoMod, Info, ModulePath, Route, SumDbPath, Version, VersionQuery, list, semver,
};
use proptest::prelude::*;

fn module_path() -> impl Strategy<Value = ModulePath> {
    let element = "[a-zA-Z0-9_~-][a-zA-Z0-9_~.-]{0,8}";
    let text = ("[a-z0-9]{1,6}\\.[a-z]{2,3}", prop::collection::vec(element, 0..4), "(/v[2-9])?");
    text.prop_map(|(host, elements, major)| {
        elements.iter().fold(host, |path, element| path + "/" + element) + &major
    })
    .prop_filter_map("not a module path", |path| ModulePath::parse(&path).ok())
}

fn version_text() -> impl Strategy<Value = String> {
    let pre = "(-[0-9A-Za-z-]{1,5}(\\.[0-9A-Za-z-]{1,4}){0,2})?";
    (0..3_u32, 0..12_u32, 0..12_u32, pre, "(\\+incompatible|\\+meta)?").prop_map(
        |(major, minor, patch, pre, build)| format!("v{major}.{minor}.{patch}{pre}{build}"),
    )
}

fn version() -> impl Strategy<Value = Version> {
    version_text().prop_filter_map("not canonical", |text| Version::parse(&text).ok())
}

fn query() -> impl Strategy<Value = VersionQuery> {
    "[!-~]{1,12}".prop_filter_map("not a query", |text| VersionQuery::parse(&text).ok())
}

/// A route of any kind; a version that does not fit its path gives way to the list.
fn route() -> impl Strategy<Value = Route> {
    let number = (0..70_000_u32).prop_map(|n| match n / 1000 {
        0 => format!("{n:03}"),
        thousands => format!("x{thousands:03}/{:03}", n % 1000),
    });
    let tile =
        (0..=63_u8, number, prop::option::of(1..=255_u8)).prop_map(|(level, number, width)| {
            let width = width.map_or(String::new(), |width| format!(".p/{width}"));
            format!("tile/8/{level}/{number}{width}")
        });
    let path = prop_oneof![
        Just(SumDbPath::Supported),
        Just(SumDbPath::Latest),
        tile.prop_map(SumDbPath::Tile),
        (module_path(), version())
            .prop_filter("does not fit", |(module, version)| module.accepts(version).is_ok())
            .prop_map(|(module, version)| SumDbPath::Lookup { module, version }),
    ];
    let file = (
        module_path(),
        prop_oneof![version().prop_map(VersionQuery::Version), query()],
        prop::sample::select(&FileKind::ALL[..]),
    );
    prop_oneof![
        module_path().prop_map(|module| Route::List { module }),
        module_path().prop_map(|module| Route::Latest { module }),
        file.prop_filter("does not fit", |(module, version, _)| {
            version.canonical().is_none_or(|version| module.accepts(version).is_ok())
        })
        .prop_map(|(module, version, kind)| Route::File { module, version, kind }),
        path.prop_map(|path| Route::SumDb { name: "sum.golang.org".to_owned(), path }),
    ]
}

proptest! {
    // A failure prints its input, which belongs into a golden file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn escaping_is_undone_by_unescaping(text in "[ -~&&[^!]]{0,40}") {
        prop_assert_eq!(unescape(&escape(&text)).unwrap(), text);
    }

    #[test]
    fn an_escaped_module_path_is_read_back(module in module_path()) {
        prop_assert_eq!(&ModulePath::from_escaped(&module.escaped()).unwrap(), &module);
        let (prefix, major) = module.split_major();
        prop_assert_eq!(format!("{prefix}{major}"), module.as_str());
    }

    #[test]
    fn a_route_is_read_back_from_its_path(route in route()) {
        prop_assert_eq!(Route::parse(&route.path()), Ok(route));
    }

    #[test]
    fn any_spelling_in_percent_codes_is_the_same_route(route in route(), mask in any::<u64>()) {
        let spelled: String = route.path().bytes().enumerate().map(|(index, byte)| {
            let keep = mask >> (index % 64) & 1 == 0 || byte == b'/' || route.path().contains('%');
            if keep { char::from(byte).to_string() } else { format!("%{byte:02x}") }
        }).collect();
        prop_assert_eq!(Route::parse(&spelled), Ok(route));
    }

    #[test]
    fn no_request_path_panics_and_every_error_is_a_short_line(
        raw in "(/|/sumdb/)?\\PC{0,60}(/@v/|/@latest)?\\PC{0,30}",
    ) {
        if let Err(error) = Route::parse(&raw) {
            let text = error.to_string();
            prop_assert!(text.len() <= 600 && !text.chars().any(char::is_control), "{}", text);
        }
    }

    #[test]
    fn the_order_of_versions_is_total(a in version(), b in version(), c in version()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn precedence_is_antisymmetric_and_ignores_short_forms(a in "v?[0-9.a-c+-]{1,8}", b in version_text()) {
        prop_assert_eq!(semver::compare(&a, &b), semver::compare(&b, &a).reverse());
        if let Some(canonical) = semver::canonical(&a) {
            prop_assert!(semver::compare(&a, &canonical).is_eq());
        }
    }

    #[test]
    fn a_filtered_list_filters_to_itself(
        module in module_path(),
        lines in prop::collection::vec(
            "\\PC{0,20}|v[0-3]\\.[0-9]{1,2}\\.[0-9](-[a-z0]{1,3})?( x)?",
            0..20,
        ),
    ) {
        let body = lines.join("\n");
        if let Ok(versions) = list::filter_list(&module, body.as_bytes()) {
            let again = list::filter_list(&module, list::render_list(&versions).as_bytes());
            prop_assert_eq!(again, Ok(versions.clone()));
            let latest = list::latest_of(&versions).cloned();
            prop_assert_eq!(latest.is_none(), versions.is_empty());
        }
    }

    #[test]
    fn a_pattern_without_operators_matches_only_itself(name in "[a-z/.]{0,12}", other in "[a-z/.]{0,12}") {
        prop_assert_eq!(path_match(&name, &other), Ok(name == other));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        text in "(module |retract |go |[\\[\\](),\"`/\n\r\tv0-9.a-z:]){0,80}",
    ) {
        let module = ModulePath::parse("example.com/m").unwrap();
        for bytes in [body.as_slice(), text.as_bytes()] {
            let _ = GoMod::parse(bytes);
            let _ = Info::parse(bytes);
            let _ = list::filter_list(&module, bytes);
        }
    }

    #[test]
    fn rendered_info_is_read_back(
        version in version(),
        time in prop::option::of(
            "20[0-9]{2}-0[1-9]-1[0-9]T0[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z",
        ),
    ) {
        let info = Info::parse(&Info::render(&version, time.as_deref())).unwrap();
        prop_assert_eq!(info, Info { version, time });
    }
}
