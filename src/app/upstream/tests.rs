use bytes::Bytes;
use dipylon_middleware::breaker::state::{OPEN_FOR, UPSTREAM_FAILURES_TO_OPEN};
use dipylon_middleware::budget::RateClass;
use dipylon_middleware::ports::{BoxFuture, Payload};
use dipylon_middleware::request::{FetchAsk, RequestContext};
use dipylon_protocol::path::ModulePath;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;
use crate::config::LoadArgs;

const SECOND: Duration = Duration::from_secs(1);

/// An upstream that notes when it is asked, takes a second, and answers as long as it is not told to fail.
struct Noted {
    asked: Mutex<Vec<Instant>>,
    takes: Mutex<Duration>,
    fails: Mutex<Option<Error>>,
}

impl Default for Noted {
    fn default() -> Self {
        Self { asked: Mutex::default(), takes: Mutex::new(SECOND), fails: Mutex::default() }
    }
}

impl Noted {
    fn seconds(&self, begun: Instant) -> Vec<u64> {
        let seconds = |at: &Instant| at.duration_since(begun).as_secs_f64().round() as u64;
        self.asked.lock().iter().map(seconds).collect()
    }
}

impl Fetcher for Noted {
    fn name(&self) -> Arc<str> {
        "noted".into()
    }

    fn fetch(&self, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(async {
            self.asked.lock().push(Instant::now());
            let takes = *self.takes.lock();
            tokio::time::sleep(takes).await;
            match self.fails.lock().clone() {
                Some(error) => Err(error),
                None => {
                    let payload = Payload::Bytes(Bytes::from_static(b"v1.0.0\n"));
                    Ok(Fetched { payload, upstream: self.name(), cache_status: None })
                }
            }
        })
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    config_with(&[], change)
}

fn config_with(variables: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Config {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let variables: std::collections::BTreeMap<String, String> = owned.collect();
    let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
    let mut config = Config::load(args, &variables).unwrap().config;
    config.dipylon.upstream_attempts = 1;
    change(&mut config);
    config
}

fn list() -> FetchRequest {
    let context = RequestContext::detached(Instant::now() + 60 * SECOND);
    FetchRequest::new(context, ModulePath::parse("example.com/m").unwrap(), FetchAsk::List)
}

/// Upstreams at one host.
fn neighbours<const N: usize>(config: &Config) -> [(Arc<Noted>, Border<FetchRequest, Fetched>); N] {
    let telemetry = Telemetry::new().unwrap();
    let host = UpstreamHost::new(config, "https://one.example".into(), &telemetry);
    [(); N].map(|()| {
        let noted = Arc::new(Noted::default());
        let stack = upstream_stack(
            config,
            9 * SECOND,
            (noted.clone(), UpstreamClass::Proxy),
            &UpstreamWatch::new("noted".into(), &host, &telemetry),
            &telemetry,
        );
        (noted, stack)
    })
}

async fn they_take_turns_a_second_apart(config: &Config) {
    let [(first, one), (second, two)] = neighbours(config);
    let begun = Instant::now();
    let calls = [one.send(list()), two.send(list()), one.send(list()), two.send(list())];
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!((first.seconds(begun), second.seconds(begun)), (vec![0, 2], vec![1, 3]));
}

#[tokio::test(start_paused = true)]
async fn upstreams_at_one_host_share_its_slots() {
    let config = config(|config| config.dipylon.upstream_concurrency = 1);
    they_take_turns_a_second_apart(&config).await;
}

#[tokio::test(start_paused = true)]
async fn upstreams_at_one_host_share_its_rate() {
    let config = config(|config| {
        config.dipylon.upstream_rate = 1;
        config.dipylon.upstream_burst = 1;
    });
    they_take_turns_a_second_apart(&config).await;
}

#[tokio::test(start_paused = true)]
async fn upstreams_at_one_host_share_its_wish_to_be_left_alone() {
    let config = config(|_| {});
    let [(first, one), (second, two)] = neighbours(&config);
    let throttled = Error::new(ErrorKind::UpstreamThrottled, "on purpose");
    *second.fails.lock() = Some(throttled.with_retry_after(60 * SECOND));
    two.send(list()).await.map(drop).unwrap_err();
    for stack in [&one, &two] {
        for _ in 0..2 * UPSTREAM_FAILURES_TO_OPEN {
            let refused = stack.send(list()).await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::UpstreamPaused, "no failure: {refused}");
        }
    }
    assert_eq!((first.asked.lock().len(), second.asked.lock().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn upstreams_at_one_host_are_left_alone_together_where_it_cannot_be_reached() {
    let config = config(|_| {});
    let [(first, one), (second, two)] = neighbours(&config);
    let failed = Error::new(ErrorKind::UpstreamFailed, "on purpose").unreachable();
    *first.fails.lock() = Some(failed);
    for _ in 0..UPSTREAM_FAILURES_TO_OPEN {
        one.send(list()).await.map(drop).unwrap_err();
    }
    for stack in [&one, &two] {
        let left_alone = stack.send(list()).await.map(drop).unwrap_err();
        assert_eq!(left_alone.kind(), ErrorKind::UpstreamUnavailable);
    }
    assert_eq!(second.asked.lock().len(), 0);
    tokio::time::sleep(OPEN_FOR).await;
    two.send(list()).await.map(drop).expect("one call is let through, and closes it");
}

/// What one upstream's own breaker refuses is not asked of the host, so it is no sign of life of it.
#[tokio::test(start_paused = true)]
async fn a_host_that_goes_away_is_left_alone_though_one_upstream_there_was_so_before() {
    let config = config(|_| {});
    let [(first, one), (second, two), (third, three)] = neighbours(&config);
    *first.fails.lock() = Some(Error::new(ErrorKind::UpstreamFailed, "on purpose"));
    for _ in 0..UPSTREAM_FAILURES_TO_OPEN {
        one.send(list()).await.map(drop).unwrap_err();
    }
    let gone = Error::new(ErrorKind::UpstreamFailed, "on purpose").unreachable();
    *second.takes.lock() = Duration::ZERO;
    *second.fails.lock() = Some(gone);
    for _ in 0..UPSTREAM_FAILURES_TO_OPEN {
        two.send(list()).await.map(drop).unwrap_err();
        let left_alone = one.send(list()).await.map(drop).unwrap_err();
        assert_eq!(left_alone.kind(), ErrorKind::UpstreamUnavailable);
    }
    let left_alone = three.send(list()).await.map(drop).unwrap_err();
    assert_eq!(left_alone.kind(), ErrorKind::UpstreamUnavailable);
    assert_eq!(third.asked.lock().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_back_with_one_upstream_hanging_is_found_by_the_other() {
    let config = config(|_| {});
    let [(first, one), (second, two)] = neighbours(&config);
    let gone = Error::new(ErrorKind::UpstreamFailed, "on purpose").unreachable();
    *first.fails.lock() = Some(gone);
    for _ in 0..UPSTREAM_FAILURES_TO_OPEN {
        one.send(list()).await.map(drop).unwrap_err();
    }
    *first.takes.lock() = 8 * SECOND;
    *first.fails.lock() = Some(Error::new(ErrorKind::UpstreamTimeout, "on purpose"));
    tokio::time::sleep(OPEN_FOR).await;
    let begun = Instant::now();
    let (hung, answered) = tokio::join!(one.send(list()), two.send(list()));
    assert!(hung.is_err() && answered.is_ok());
    assert_eq!(second.seconds(begun), [0], "at once, beside what hangs");
    two.send(list()).await.map(drop).expect("the host is back");
}

#[tokio::test(start_paused = true)]
async fn of_two_upstreams_at_one_host_one_may_fail_alone() {
    let config = config(|_| {});
    for kind in [ErrorKind::UpstreamFailed, ErrorKind::UpstreamTimeout] {
        let [(first, one), (second, two)] = neighbours(&config);
        *first.fails.lock() = Some(Error::new(kind, "on purpose"));
        // All at once, and again whenever one is let through: nothing of the other comes in between.
        for round in 1..4 {
            let calls = (0..2 * UPSTREAM_FAILURES_TO_OPEN).map(|_| one.send(list()));
            assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
            let left_alone = one.send(list()).await.map(drop).unwrap_err();
            assert_eq!(left_alone.kind(), ErrorKind::UpstreamUnavailable);
            two.send(list()).await.map(drop).expect("the other works");
            assert_eq!(second.asked.lock().len(), round);
            tokio::time::sleep(OPEN_FOR).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_takes_a_turn() {
    let config = config(|config| {
        config.dipylon.upstream_attempts = 3;
        config.dipylon.upstream_rate = 1;
        config.dipylon.upstream_burst = 1;
    });
    let [(first, one), _] = neighbours(&config);
    *first.fails.lock() = Some(Error::new(ErrorKind::UpstreamFailed, "on purpose"));
    let begun = Instant::now();
    let calls = [one.send(list()), one.send(list())];
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
    let seconds = first.seconds(begun);
    assert_eq!(seconds, [0, 1, 2, 3, 4, 5], "never two in one second");
}

#[tokio::test(start_paused = true)]
async fn what_stood_in_line_for_slots_does_not_leave_all_at_once() {
    let config = config(|config| {
        config.dipylon.upstream_concurrency = 20;
        config.dipylon.upstream_rate = 4;
        config.dipylon.upstream_burst = 4;
    });
    let [(first, one), _] = neighbours(&config);
    // Each answer takes a while: the slots fill up, and the turns of those in line come.
    *first.takes.lock() = 20 * SECOND;
    let stash = || FetchRequest { turn_patience: 60 * SECOND, ..list() };
    let slow: Vec<_> = (0..20).map(|_| tokio::spawn(one.send(stash()))).collect();
    tokio::time::sleep(17 * SECOND / 4).await;
    let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(one.send(stash()))).collect();
    tokio::time::sleep(17 * SECOND / 4).await;
    assert_eq!(first.asked.lock().len(), 20, "there is no slot");
    *first.takes.lock() = SECOND;
    for slow in slow {
        slow.abort();
    }
    for answer in waiting {
        answer.await.unwrap().map(drop).unwrap();
    }
    let asked = first.asked.lock().clone();
    assert_eq!(asked.len(), 40);
    for (index, at) in asked.iter().enumerate() {
        let within = asked[index..].iter().take_while(|other| **other < *at + SECOND);
        assert!(within.count() <= 8, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_slot_is_not_asked_for_twice() {
    let config = config_with(&[("DIPYLON_HEDGE_AFTER", "500ms")], |config| {
        config.dipylon.upstream_concurrency = 1;
    });
    let [(first, one), _] = neighbours(&config);
    *first.takes.lock() = SECOND / 5;
    let begun = Instant::now();
    let calls = (0..10).map(|_| one.send(list()));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!((first.asked.lock().len(), begun.elapsed()), (10, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_first_request_that_fails_waits_for_no_second_one_that_stands_in_line_for_its_slot() {
    let config = config_with(&[("DIPYLON_HEDGE_AFTER", "500ms")], |config| {
        config.dipylon.upstream_concurrency = 1;
    });
    let [(first, one), _] = neighbours(&config);
    *first.fails.lock() = Some(Error::new(ErrorKind::UpstreamTimeout, "it is late"));
    let begun = Instant::now();
    one.send(list()).await.map(drop).expect_err("it fails");
    assert_eq!((first.asked.lock().len(), begun.elapsed()), (1, SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_asks_to_be_left_alone_is_heard_whatever_else_is_asked_of_it() {
    let config = config_with(&[("DIPYLON_HEDGE_AFTER", "500ms")], |_| {});
    let [(first, one), (second, two)] = neighbours(&config);
    *first.takes.lock() = 5 * SECOND;
    let throttled = Error::new(ErrorKind::UpstreamThrottled, "429").with_retry_after(60 * SECOND);
    *first.fails.lock() = Some(throttled);
    let begun = Instant::now();
    one.send(list()).await.map(drop).expect_err("it is throttled");
    assert_eq!(begun.elapsed(), 5 * SECOND, "not when the second has ended");
    let refused = two.send(list()).await.map(drop).expect_err("the same host");
    assert_eq!((refused.kind(), second.asked.lock().len()), (ErrorKind::UpstreamPaused, 0));
}

#[tokio::test(start_paused = true)]
async fn direct_has_the_rate_classes() {
    let (config, telemetry) = (config(|_| {}), Telemetry::new().unwrap());
    let noted = Arc::new(Noted::default());
    let direct = direct_stack(&config, noted.clone(), &telemetry);
    let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN };
    let class = Some(Arc::new(RateClass::new("slow", rate)));
    let begun = Instant::now();
    let slow = || FetchRequest { rate_class: class.clone(), ..list() };
    let calls = [direct.send(slow()), direct.send(slow()), direct.send(slow())];
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(noted.seconds(begun), [0, 1, 2]);
}
