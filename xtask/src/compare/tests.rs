use super::options::Options;
use super::without_path;

#[test]
fn words_go_to_the_bench_as_they_are() {
    let program = std::env::current_exe().unwrap().display().to_string();
    let proxy = format!("athens={program}");
    let options = Options::parse(&["--crawl", "--rounds", "3", "--proxy", &proxy]).unwrap();
    assert_eq!(options.words(), ["--crawl", "--rounds", "3", "--proxy", &proxy]);
    assert!(!options.is_whole());
    assert!(Options::parse(&[]).unwrap().is_whole());
}

#[test]
fn a_wrong_word_is_named() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--hot"], "no such word: --hot"),
        (&["--rounds"], "--rounds wants a value"),
        (&["--rounds", "0"], "from 1 to 1000"),
        (&["--warm", "--crawl"], "leave both out"),
        (&["--proxy", "athens"], "KIND=PATH"),
        (&["--proxy", "squid=/bin/true"], "no kind of proxy is called \"squid\""),
        (&["--proxy", "athens=/no/such/program"], "/no/such/program is no file"),
    ];
    for (words, why) in wrong {
        let said = Options::parse(words).unwrap_err();
        assert!(said.contains(why), "{words:?}: {said}");
    }
}

#[test]
fn the_page_does_not_say_where_a_program_lies() {
    assert_eq!(without_path("athens=./bin/athens"), "athens=…");
    assert_eq!(without_path("--rounds"), "--rounds");
}
