//! What is not taken into the queue, and how long what is in it stays there.

use super::super::state::{ATTEMPTS_MAX, PAUSE_MAX, TURNS_MAX};
use super::*;
use crate::testing::purge_of;

#[tokio::test(start_paused = true)]
async fn what_policy_forbids_is_not_promised() {
    let may_fetch: MayFetch = Arc::new(|_, version| version.canonical().is_some());
    let bench = Setup { may_fetch, ..Setup::new(true) }.bench();
    for (plan, kind) in [(Plan::StashInBackground, Some(ErrorKind::NotStored)), (elsewhere(), None)]
    {
        let request = file_request("main", FileKind::Info);
        let answered = call(&bench.dispatch, Planned { request, plan }).await;
        assert_eq!(answered.err().map(|error| error.kind()), kind);
    }
    settle().await;
    assert!(bench.stashes.asked().is_empty());
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Accepted)), ((0, 0), 0));
    bench.ask("v1.0.0").await;
    settle().await;
    assert_eq!(bench.events(BackgroundEvent::Stored), 1);
}

fn elsewhere() -> Plan {
    Plan::RedirectAndStash("https://elsewhere.test".to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_is_known_not_to_exist_is_not_fetched_for_each_client_that_is_sent_elsewhere() {
    let bench = bench(true);
    *bench.stashes.result.lock() = Err(error(ErrorKind::NotFound));
    for _ in 0..3 {
        call(&bench.dispatch, planned(elsewhere())).await.expect("a redirect");
        settle().await;
    }
    assert_eq!(bench.stashes.asked().len(), 1);
    assert_eq!(bench.events(BackgroundEvent::Accepted), 1);
}

#[tokio::test(start_paused = true)]
async fn a_no_from_before_a_purge_is_no_word_on_who_asked_after_it() {
    let bench = bench(false);
    *bench.stashes.result.lock() = Err(error(ErrorKind::NotFound));
    bench.ask("v1.0.0").await;
    settle().await;
    bench.learned.purges.begin_era(&purge_of("example.com/m"));
    // It shares the entry that is there.
    bench.ask("v1.0.0").await;
    bench.stashes.gate.add_permits(2);
    settle().await;
    assert!(bench.learned.noes.lock().is_empty() && bench.gauges().0 == 1, "it is asked again");
    tokio::time::sleep(2 * PAUSE_MAX).await;
    let m = ModulePath::parse("example.com/m").expect("a path");
    let (noes, now) = (bench.learned.noes.lock().clone(), bench.learned.purges.era(&m));
    assert_eq!(noes, [("example.com/m@v1.0.0".to_owned(), ErrorKind::NotFound, now)]);
    assert_eq!((bench.stashes.asked().len(), bench.gauges()), (2, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_hours_costs_no_attempt() {
    use ErrorKind::{NoUpstream, Overloaded, StorageBusy, StorageUnavailable};
    for kind in [StorageUnavailable, StorageBusy, ErrorKind::Storage, Overloaded, NoUpstream] {
        let bench = bench(true);
        *bench.stashes.result.lock() = Err(error(kind));
        bench.ask("v1.0.0").await;
        tokio::time::sleep(20 * PAUSE_MAX).await;
        assert!(bench.stashes.asked().len() > ATTEMPTS_MAX as usize, "{kind:?}");
        *bench.stashes.result.lock() = Ok(stashed("v1.0.0", Files::default()));
        tokio::time::sleep(2 * PAUSE_MAX).await;
        assert_eq!(
            (bench.gauges(), bench.events(BackgroundEvent::Stored)),
            ((0, 0), 1),
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_writes_for_hours_costs_no_attempt_though_upstream_answers() {
    let bench = bench(true);
    *bench.stashes.refusal.lock() = Some(ErrorKind::Storage);
    bench.ask("v1.0.0").await;
    tokio::time::sleep(20 * PAUSE_MAX).await;
    assert!(bench.stashes.asked().len() > ATTEMPTS_MAX as usize);
    *bench.stashes.refusal.lock() = None;
    tokio::time::sleep(2 * PAUSE_MAX).await;
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Stored)), ((0, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_behind_the_answer_is_asked_for_once() {
    let bench = bench(true);
    *bench.stashes.refusal.lock() = Some(ErrorKind::ChecksumMismatch);
    bench.ask("v1.0.0").await;
    tokio::time::sleep(20 * PAUSE_MAX).await;
    assert_eq!((bench.stashes.asked().len(), bench.events(BackgroundEvent::Dropped)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_entry_has_so_many_turns_and_then_its_place_is_free() {
    let bench = bench(true);
    *bench.stashes.result.lock() = Err(error(ErrorKind::UpstreamUnavailable));
    bench.ask("v1.0.0").await;
    tokio::time::sleep(2 * TURNS_MAX * PAUSE_MAX).await;
    assert_eq!(bench.stashes.asked().len(), TURNS_MAX as usize);
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Dropped)), ((0, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn a_turn_in_which_nobody_was_asked_is_no_attempt_and_its_pause_grows() {
    use ErrorKind::{UpstreamFailed, UpstreamPaced, UpstreamPaused, UpstreamUnavailable};
    for kind in [UpstreamUnavailable, UpstreamPaused, UpstreamPaced] {
        let bench = bench(true);
        *bench.stashes.result.lock() = Err(error(kind));
        bench.ask("v1.0.0").await;
        tokio::time::sleep(50 * PAUSE_MAX).await;
        let turns = bench.stashes.asked().len();
        assert!(turns > ATTEMPTS_MAX as usize && turns < 70, "{kind:?}: {turns}");
        assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Dropped)), ((1, 0), 0));
        *bench.stashes.result.lock() = Err(error(UpstreamFailed));
        tokio::time::sleep(50 * PAUSE_MAX).await;
        assert_eq!(bench.stashes.asked().len() - turns, ATTEMPTS_MAX as usize);
        assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Dropped)), ((0, 0), 1));
    }
}
