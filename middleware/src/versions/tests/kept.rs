//! How long answers are kept, and who shares them.

use futures::future::join_all;
use tower::Layer as _;

use super::{bench, bench_with, config, m, no_files, shown};
use crate::error::ErrorKind;
use crate::request::{Ask, FetchAsk, ModuleRequest};
use crate::telemetry::{Found, Outcome, RouteName, StorageOperation, Tier};
use crate::testing::upstream::Reply;
use crate::testing::{SECOND, call, context, context_for, fetches_all, purge_of, settle};
use crate::versions::NetworkMode::{Fallback, Strict};
use crate::versions::{FAILURE_PAUSE, STALE_PATIENCE, VersionsConfig, VersionsLayer};

#[tokio::test(start_paused = true)]
async fn an_answer_is_fresh_for_a_while_and_says_its_age() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    bench.lists("v1.1.0\n");
    tokio::time::advance(60 * SECOND).await;
    let kept = bench.ask(Ask::List).await.expect("kept");
    assert_eq!((kept.outcome, kept.age), (Outcome::HitMemory, Some(60 * SECOND)));
    tokio::time::advance(SECOND).await;
    let fresh = bench.list().await.expect("asked again");
    assert_eq!(fresh, ("v1.1.0".to_owned(), Outcome::MissLeader));
    assert_eq!(bench.upstream.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn list_and_latest_are_kept_apart() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.says(FetchAsk::Latest, Reply::text("{\"Version\":\"v1.0.0\"}"));
    assert_eq!(bench.list().await.expect("listed").1, Outcome::MissLeader);
    assert_eq!(bench.latest().await.expect("asked").1, Outcome::MissLeader);
    assert_eq!(bench.list().await.expect("kept").1, Outcome::HitMemory);
    assert_eq!(bench.latest().await.expect("kept").0, "{\"Version\":\"v1.0.0\"}");
}

#[tokio::test(start_paused = true)]
async fn a_no_is_kept_for_its_own_shorter_time() {
    let bench = bench(Strict, &[]);
    bench.list_fails(ErrorKind::NotFound);
    assert_eq!(bench.list().await.expect_err("no").outcome(), Outcome::UpstreamNotFound);
    tokio::time::advance(10 * SECOND).await;
    let kept = bench.list().await.expect_err("kept");
    assert_eq!((kept.kind(), kept.outcome()), (ErrorKind::NotFound, Outcome::Negative));
    assert_eq!(bench.upstream.asked().len(), 1);
    bench.lists("v1.0.0\n");
    tokio::time::advance(SECOND).await;
    assert_eq!(bench.list().await.expect("it exists now").0, "v1.0.0");
}

#[tokio::test(start_paused = true)]
async fn a_no_ends_when_something_is_found_at_the_path_and_when_it_is_purged() {
    let bench = bench(Strict, &[]);
    for end in
        [(|layer: &VersionsLayer| layer.missing().exists(&m())) as fn(&VersionsLayer), |layer| {
            assert_eq!(layer.forgets().forget(&purge_of(m().as_str())), 1);
        }]
    {
        bench.list_fails(ErrorKind::NotFound);
        bench.list().await.expect_err("no");
        assert_eq!(bench.list().await.expect_err("kept").outcome(), Outcome::Negative);
        end(&bench.layer);
        assert_eq!(bench.list().await.expect_err("asked").outcome(), Outcome::UpstreamNotFound);
        tokio::time::advance(11 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_purge_asks_anew_beside_a_question_from_before_it() {
    let bench = bench(Strict, &[]);
    let no = Reply::Late(5 * SECOND, Box::new(Reply::fail(ErrorKind::NotFound)));
    bench.upstream.only(&m(), FetchAsk::List, no);
    let before = bench.list();
    let after = async {
        tokio::time::sleep(SECOND).await;
        bench.layer.forgets().forget(&purge_of(m().as_str()));
        bench.lists("v1.0.0\n");
        bench.list().await
    };
    let (before, after) = tokio::join!(before, after);
    assert_eq!(before.expect_err("as it was").kind(), ErrorKind::NotFound);
    assert_eq!(after.expect("published since").0, "v1.0.0");
    assert_eq!(bench.list().await.expect("kept").1, Outcome::HitMemory, "no old no was learnt");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_purge_takes_nothing_from_what_was_answered_after_it() {
    let old = [
        Reply::text("v1.0.0\n"),
        Reply::fail(ErrorKind::UpstreamRefused),
        Reply::fail(ErrorKind::NotFound),
    ];
    for old in old {
        let bench = bench(Strict, &[]);
        bench.upstream.only(&m(), FetchAsk::List, Reply::Late(5 * SECOND, Box::new(old)));
        let after = async {
            tokio::time::sleep(SECOND).await;
            bench.layer.forgets().forget(&purge_of(m().as_str()));
            bench.lists("v1.0.0\nv1.1.0\n");
            bench.list().await
        };
        let (_before, after) = tokio::join!(bench.list(), after);
        assert_eq!(after.expect("listed").0, "v1.0.0 v1.1.0");
        let kept = bench.list().await.expect("kept");
        assert_eq!(kept, ("v1.0.0 v1.1.0".to_owned(), Outcome::HitMemory));
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_in_the_middle_of_a_failure_leaves_the_older_list() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    let fails = Reply::Late(SECOND, Box::new(Reply::fail(ErrorKind::UpstreamFailed)));
    bench.upstream.only(&m(), FetchAsk::List, fails);
    tokio::time::advance(61 * SECOND).await;
    let purge = async {
        tokio::time::sleep(SECOND / 2).await;
        bench.layer.forgets().forget(&purge_of(m().as_str()));
    };
    let (listed, ()) = tokio::join!(bench.list(), purge);
    assert_eq!(listed.expect("the older list"), ("v1.0.0".to_owned(), Outcome::StaleError));
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_no_list_to_keep_where_upstream_refuses() {
    let bench = bench(Fallback, &["v1.0.0"]);
    bench.list_fails(ErrorKind::UpstreamRefused);
    for _ in 0..2 {
        assert_eq!(bench.list().await.expect("stored").1, Outcome::HitStorage);
    }
    assert_eq!(bench.upstream.asked().len(), 2, "asked again each time");
    bench.lists("v1.1.0\n");
    assert_eq!(bench.list().await.expect("allowed again").0, "v1.1.0 v1.0.0");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_may_pass_is_never_kept() {
    let bench = bench(Strict, &[]);
    bench.list_fails(ErrorKind::UpstreamFailed);
    bench.list().await.expect_err("fails");
    bench.list().await.expect_err("fails");
    assert_eq!(bench.upstream.asked().len(), 2);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("asked again at once");
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_stands_in_for_a_failing_upstream_and_not_for_ever() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    bench.list_fails(ErrorKind::UpstreamTimeout);
    for _ in 0..2 {
        tokio::time::advance(1800 * SECOND).await;
        let stale = bench.list().await.expect("an older answer");
        assert_eq!(stale, ("v1.0.0".to_owned(), Outcome::StaleError));
    }
    tokio::time::advance(SECOND).await;
    let failed = bench.list().await.expect_err("too old by now");
    assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
}

#[tokio::test(start_paused = true)]
async fn beside_an_upstream_that_is_late_an_older_answer_comes_soon_and_the_question_goes_on() {
    for (caller, patience) in [(60 * SECOND, STALE_PATIENCE), (SECOND, SECOND / 2)] {
        let bench = bench(Strict, &[]);
        bench.lists("v1.0.0\n");
        bench.list().await.expect("listed");
        let late = Reply::Late(15 * SECOND, Box::new(Reply::text("v1.1.0\n")));
        bench.upstream.only(&m(), FetchAsk::List, late);
        tokio::time::advance(61 * SECOND).await;
        let began = tokio::time::Instant::now();
        let first = bench.ask_in(context_for(caller), Ask::List).await.expect("older");
        assert_eq!(shown(&first), ("v1.0.0".to_owned(), Outcome::StaleError));
        assert_eq!((began.elapsed(), first.age), (patience, Some(61 * SECOND + patience)));
        // Nobody else waits while it is asked, and it is asked once; beyond the pause after a failure, too.
        tokio::time::advance(FAILURE_PAUSE + 2 * SECOND).await;
        let waited = tokio::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(bench.list().await.expect("at once").1, Outcome::StaleError);
        }
        assert_eq!(
            (waited.elapsed(), bench.upstream.asked().len()),
            (std::time::Duration::ZERO, 2)
        );
        tokio::time::sleep_until(began + 16 * SECOND).await;
        let fresh = bench.list().await.expect("what the question brought");
        assert_eq!(fresh, ("v1.1.0".to_owned(), Outcome::HitMemory));
    }
}

#[tokio::test(start_paused = true)]
async fn beside_an_upstream_that_is_late_what_is_too_old_is_given_to_nobody() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    let late = Reply::Late(15 * SECOND, Box::new(Reply::text("v1.1.0\n")));
    bench.upstream.only(&m(), FetchAsk::List, late);
    tokio::time::advance(3599 * SECOND).await;
    // What stood in when it was asked is too old when the patience is over.
    let began = tokio::time::Instant::now();
    let fresh = bench.list().await.expect("waited for");
    assert_eq!(fresh, ("v1.1.0".to_owned(), Outcome::MissLeader));
    assert_eq!(began.elapsed(), 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_not_taken_for_fresh() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    bench.list_fails(ErrorKind::UpstreamTimeout);
    tokio::time::advance(61 * SECOND).await;
    let asked = bench.upstream.asked().len();
    for _ in 0..3 {
        assert_eq!(bench.list().await.expect("older").1, Outcome::StaleError);
    }
    assert_eq!(bench.upstream.asked().len(), asked + 1, "left alone after its failure");
    bench.lists("v1.1.0\n");
    tokio::time::advance(FAILURE_PAUSE + SECOND).await;
    assert_eq!(bench.list().await.expect("asked again after a pause").0, "v1.1.0");
}

#[tokio::test(start_paused = true)]
async fn upstream_s_no_ends_an_older_answer() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    bench.list_fails(ErrorKind::NotFound);
    tokio::time::advance(61 * SECOND).await;
    assert_eq!(bench.list().await.expect_err("gone").kind(), ErrorKind::NotFound);
    bench.list_fails(ErrorKind::UpstreamTimeout);
    tokio::time::advance(11 * SECOND).await;
    let failed = bench.list().await.expect_err("nothing older is left");
    assert_eq!(failed.kind(), ErrorKind::UpstreamTimeout);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_has_answered_and_ends_an_older_answer() {
    for revalidated_for in [0, 600] {
        let stale_while_revalidate = revalidated_for * SECOND;
        let config = VersionsConfig { stale_while_revalidate, ..config(Strict) };
        let bench = bench_with(config, &["v0.9.0"], fetches_all(), no_files);
        bench.lists("v1.0.0\n");
        bench.list().await.expect("listed");
        bench.list_fails(ErrorKind::UpstreamRefused);
        tokio::time::advance(61 * SECOND).await;
        if revalidated_for > 0 {
            assert_eq!(bench.list().await.expect("once").1, Outcome::StaleRevalidate);
            settle().await;
        }
        for _ in 0..2 {
            let refused = bench.list().await.expect_err("it says so");
            let said = (refused.kind(), refused.outcome());
            assert_eq!(said, (ErrorKind::UpstreamRefused, Outcome::UpstreamRefused));
        }
        // It is no "no" that is remembered, and nothing older is left for a failure.
        bench.list_fails(ErrorKind::UpstreamTimeout);
        assert_eq!(bench.list().await.expect_err("fails").kind(), ErrorKind::UpstreamTimeout);
        bench.lists("v1.0.0\n");
        assert_eq!(bench.list().await.expect("allowed again").1, Outcome::MissLeader);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_storage_is_not_kept_so_upstream_is_asked_again_soon() {
    let bench = bench(Fallback, &["v1.0.0"]);
    bench.list_fails(ErrorKind::UpstreamFailed);
    for _ in 0..3 {
        assert_eq!(bench.list().await.expect("stored").1, Outcome::HitStorage);
    }
    assert_eq!(bench.upstream.asked().len(), 1, "left alone after its failure");
    bench.lists("v1.1.0\n");
    tokio::time::advance(FAILURE_PAUSE + SECOND).await;
    assert_eq!(bench.list().await.expect("merged").0, "v1.1.0 v1.0.0");
}

#[tokio::test(start_paused = true)]
async fn in_mode_fallback_an_older_list_of_upstream_comes_before_what_is_stored() {
    let bench = bench(Fallback, &["v1.0.0"]);
    bench.lists("v1.0.0\nv1.1.0\n");
    bench.list().await.expect("listed");
    bench.list_fails(ErrorKind::UpstreamTimeout);
    tokio::time::advance(61 * SECOND).await;
    for _ in 0..2 {
        let (listed, outcome) = bench.list().await.expect("the older list");
        assert_eq!((listed.as_str(), outcome), ("v1.0.0 v1.1.0", Outcome::StaleError));
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_that_upstream_has_no_more_is_listed_from_storage_and_seldom_asked_for() {
    let bench = bench(Strict, &["v1.0.0"]);
    bench.list_fails(ErrorKind::NotFound);
    for _ in 0..3 {
        assert_eq!(bench.list().await.expect("stored").0, "v1.0.0");
    }
    assert_eq!(bench.upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_lends_what_is_stored_only_while_storage_fails_and_not_for_ever() {
    for mode in [Strict, Fallback] {
        let bench = bench(mode, &["v0.9.0"]);
        bench.lists("v1.0.0\n");
        assert_eq!(bench.list().await.expect("both").0, "v1.0.0 v0.9.0");
        bench.storage.fail(StorageOperation::List);
        bench.lists("v1.1.0\nv1.0.0\n");
        let both = "v1.1.0 v1.0.0 v0.9.0".to_owned();
        for _ in 0..2 {
            tokio::time::advance(1800 * SECOND).await;
            let listed = bench.list().await.expect("upstream's, and what is stored only");
            assert_eq!(listed, (both.clone(), Outcome::MissDegraded), "{mode:?}");
        }
        tokio::time::advance(SECOND).await;
        let listed = bench.list().await.expect("upstream's: the older one is too old by now");
        assert_eq!(listed, ("v1.1.0 v1.0.0".to_owned(), Outcome::MissDegraded), "{mode:?}");
        bench.storage.mend();
        let listed = bench.list().await.expect("both again");
        assert_eq!(listed, (both, Outcome::MissLeader), "{mode:?}: no short list was kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_cost_one_call() {
    let bench = bench(Strict, &[]);
    let late = Reply::Late(5 * SECOND, Box::new(Reply::text("v1.0.0\n")));
    bench.upstream.only(&m(), FetchAsk::List, late);
    let results = join_all((0..100).map(|_| bench.list())).await;
    let count = |outcome| results.iter().flatten().filter(|(_, o)| *o == outcome).count();
    assert_eq!((count(Outcome::MissLeader), count(Outcome::MissFollower)), (1, 99));
    assert_eq!(bench.upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_by_those_who_wait() {
    let bench = bench(Strict, &[]);
    let late = Reply::Late(5 * SECOND, Box::new(Reply::fail(ErrorKind::UpstreamFailed)));
    bench.upstream.only(&m(), FetchAsk::List, late);
    for result in join_all((0..10).map(|_| bench.list())).await {
        assert_eq!(result.expect_err("shared").kind(), ErrorKind::UpstreamFailed);
    }
    assert_eq!(bench.upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_question_that_others_may_share() {
    let bench = bench(Strict, &[]);
    let late = Reply::Late(5 * SECOND, Box::new(Reply::text("v1.0.0\n")));
    bench.upstream.only(&m(), FetchAsk::List, late);
    let mut leaving = Box::pin(bench.list());
    assert!(futures::poll!(&mut leaving).is_pending());
    settle().await;
    assert_eq!(bench.upstream.asked().len(), 1, "upstream is being asked");
    drop(leaving);
    assert_eq!(bench.list().await.expect("shared"), ("v1.0.0".to_owned(), Outcome::MissFollower));
    assert_eq!(bench.list().await.expect("kept").1, Outcome::HitMemory);
    assert_eq!(bench.upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_outlasts_the_patience_of_who_asked_it() {
    let bench = bench(Strict, &[]);
    let late = Reply::Late(5 * SECOND, Box::new(Reply::text("v1.0.0\n")));
    bench.upstream.only(&m(), FetchAsk::List, late);
    let hasty = bench.ask_in(context_for(SECOND), Ask::List).await.expect_err("too late");
    assert_eq!(hasty.kind(), ErrorKind::DeadlineExceeded);
    tokio::time::sleep(5 * SECOND).await;
    settle().await;
    assert_eq!(bench.list().await.expect("kept").1, Outcome::HitMemory);
    assert_eq!(bench.upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_past_its_freshness_is_given_while_a_new_one_is_fetched() {
    let revalidating = VersionsConfig { stale_while_revalidate: 600 * SECOND, ..config(Strict) };
    let bench = bench_with(revalidating, &[], fetches_all(), no_files);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    bench.lists("v1.1.0\n");
    tokio::time::advance(61 * SECOND).await;
    let stale = bench.list().await.expect("at once");
    assert_eq!(stale, ("v1.0.0".to_owned(), Outcome::StaleRevalidate));
    settle().await;
    let fresh = bench.list().await.expect("fetched behind the answer");
    assert_eq!(fresh, ("v1.1.0".to_owned(), Outcome::HitMemory));
    tokio::time::advance(661 * SECOND).await;
    bench.lists("v1.2.0\n");
    let late = bench.list().await.expect("too old to be given");
    assert_eq!(late, ("v1.2.0".to_owned(), Outcome::MissLeader));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_slow_refresh_and_it_costs_one_call() {
    let revalidating = VersionsConfig { stale_while_revalidate: 600 * SECOND, ..config(Strict) };
    let bench = bench_with(revalidating, &[], fetches_all(), no_files);
    bench.lists("v1.0.0\n");
    bench.list().await.expect("listed");
    let late = Reply::Late(5 * SECOND, Box::new(Reply::text("v1.1.0\n")));
    bench.upstream.only(&m(), FetchAsk::List, late);
    tokio::time::advance(61 * SECOND).await;
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        let stale = bench.ask(Ask::List).await.expect("at once");
        assert_eq!((stale.outcome, stale.age), (Outcome::StaleRevalidate, Some(61 * SECOND)));
    }
    assert_eq!(started.elapsed(), std::time::Duration::ZERO);
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(bench.list().await.expect("newer").0, "v1.1.0");
    assert_eq!(bench.upstream.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_no_is_never_given_past_its_time() {
    let revalidating = VersionsConfig { stale_while_revalidate: 600 * SECOND, ..config(Strict) };
    let bench = bench_with(revalidating, &[], fetches_all(), no_files);
    bench.list_fails(ErrorKind::NotFound);
    bench.list().await.expect_err("no");
    bench.lists("v1.0.0\n");
    tokio::time::advance(11 * SECOND).await;
    assert_eq!(bench.list().await.expect("asked again").1, Outcome::MissLeader);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_what_is_kept() {
    let bench = bench(Strict, &[]);
    bench.lists("v1.0.0\n");
    let other = bench.layer.layer(bench.service.inner.clone());
    assert_eq!(bench.list().await.expect("listed").1, Outcome::MissLeader);
    let request = ModuleRequest { context: context(), module: m(), ask: Ask::List };
    assert_eq!(call(&other, request).await.expect("kept").outcome, Outcome::HitMemory);
    assert_eq!(bench.upstream.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn looks_are_counted_by_what_they_bring_and_what_is_given_again_by_its_age() {
    let times = VersionsConfig { stale_while_revalidate: 600 * SECOND, ..config(Strict) };
    let bench = bench_with(times, &[], fetches_all(), no_files);
    bench.lists("v1.0.0\n");
    let looks = |found| bench.telemetry.metrics.lookups.get((Tier::Answers, found)).get();
    for seconds in [0, 30, 60] {
        tokio::time::advance(seconds * SECOND).await;
        bench.list().await.expect("listed");
    }
    assert_eq!((looks(Found::Miss), looks(Found::Hit), looks(Found::Stale)), (1, 1, 1));
    let ages = bench.telemetry.metrics.served_age_seconds.get((RouteName::List,));
    assert_eq!((ages.get_sample_count(), ages.get_sample_sum().round()), (2, 120.0));
}
