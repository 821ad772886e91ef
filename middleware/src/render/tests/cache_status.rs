//! `Cache-Status`, by RFC 9211.

use super::*;

#[test]
fn cache_status_names_how_and_the_outcome() {
    use Outcome::{
        HitMemory, HitStorage, MissDegraded, MissFollower, MissLeader, Negative, StaleError,
        StaleRevalidate,
    };
    let asked = Forward { asked: true, ..Forward::default() };
    for outcome in Outcome::ALL {
        // Of a request that ended here, and of one that went on.
        let [here, below] = match outcome {
            Negative | StaleRevalidate => ["; hit"; 2],
            MissFollower => ["; fwd=uri-miss; collapsed"; 2],
            MissLeader | MissDegraded => ["; fwd=uri-miss"; 2],
            HitMemory | HitStorage | StaleError => ["; hit", "; fwd=uri-miss"],
            _ => ["", "; fwd=uri-miss"],
        };
        for (how, forward) in [(here, Forward::default()), (below, asked)] {
            let served = Served { outcome: *outcome, forward, ..Served::default() };
            let value = cache_status(&served, StatusCode::OK);
            assert_eq!(value, format!("dipylon{how}; detail={outcome}"));
            assert!(HeaderValue::from_str(&value).is_ok());
        }
    }
}

#[tokio::test]
async fn what_is_kept_of_what_was_fetched_says_so() {
    let headers = HeaderMap::new();
    let wanted = Wanted { method: &Method::GET, headers: &headers };
    let told = |response: &Response<Body>| {
        let served = response.extensions().get::<Served>().expect("told");
        cache_status(served, response.status())
    };
    for (outcome, how) in [
        (Outcome::MissLeader, "fwd=uri-miss; stored"),
        (Outcome::MissFollower, "fwd=uri-miss; collapsed"),
        (Outcome::MissDegraded, "fwd=uri-miss"),
        (Outcome::HitStorage, "hit"),
    ] {
        let list = ModuleResponse::new(Answer::List(Bytes::new()), outcome);
        let response = module(list, wanted).await.expect("an answer");
        assert_eq!(told(&response), format!("dipylon; {how}; detail={outcome}"));
    }
    let asked = Forward { asked: true, stale: true, ..Forward::default() };
    for (outcome, stored, forward, how) in [
        (Outcome::MissLeader, true, Forward::default(), "fwd=uri-miss; stored"),
        (Outcome::MissLeader, false, Forward::default(), "fwd=uri-miss"),
        (Outcome::MissFollower, false, Forward::default(), "fwd=uri-miss; collapsed"),
        (Outcome::StaleError, false, asked, "fwd=stale"),
        (Outcome::HitMemory, false, Forward::default(), "hit"),
    ] {
        let answer = SumDbResponse::new(Bytes::from_static(b"note"), outcome);
        let response = sumdb(SumDbResponse { stored, forward, ..answer });
        assert_eq!(told(&response), format!("dipylon; {how}; detail={outcome}"));
    }
}

#[test]
fn cache_status_names_what_came_from_below_and_how_long_it_is_fresh() {
    use Outcome::{HitMemory, HitStorage, MissLeader, Negative, StaleError, UpstreamError};
    let told = |outcome, forward, ttl, status: u16| {
        let stored = outcome == MissLeader;
        let served = Served { outcome, forward, ttl, stored, ..Served::default() };
        cache_status(&served, StatusCode::from_u16(status).unwrap())
    };
    let [nobody, asked] =
        [false, true].map(|asked| Forward { asked, stale: true, ..Forward::default() });
    let failed = Forward { status: Some(StatusCode::BAD_GATEWAY), ..asked };
    let shared = Forward { collapsed: true, stale: false, ..failed };
    for (value, wanted) in [
        (told(HitMemory, nobody, Some(9), 200), "hit; ttl=9; detail=hit_memory"),
        (told(StaleError, nobody, Some(-9), 200), "hit; ttl=-9; detail=stale_error"),
        (
            told(StaleError, failed, Some(-9), 200),
            "fwd=stale; fwd-status=502; ttl=-9; detail=stale_error",
        ),
        (told(StaleError, asked, None, 200), "fwd=stale; detail=stale_error"),
        // What is here is the answer because of what upstream said.
        (
            told(HitStorage, failed, Some(60), 200),
            "fwd=stale; fwd-status=502; ttl=60; detail=hit_storage",
        ),
        (
            told(HitMemory, shared, None, 200),
            "fwd=uri-miss; fwd-status=502; collapsed; detail=hit_memory",
        ),
        (told(HitStorage, nobody, None, 200), "hit; detail=hit_storage"),
        // The first who was told so had asked; who is told now has not.
        (told(Negative, failed, Some(9), 404), "hit; ttl=9; detail=negative"),
        // Said although the answer has the same.
        (
            told(UpstreamError, failed, None, 502),
            "fwd=stale; fwd-status=502; detail=upstream_error",
        ),
        (
            told(UpstreamError, shared, None, 502),
            "fwd=uri-miss; fwd-status=502; collapsed; detail=upstream_error",
        ),
        (told(UpstreamError, nobody, None, 502), "detail=upstream_error"),
        (told(MissLeader, nobody, Some(60), 200), "fwd=stale; ttl=60; stored; detail=miss_leader"),
        // A part, or nothing, of what was fetched whole.
        (
            told(MissLeader, Forward::default(), None, 206),
            "fwd=uri-miss; fwd-status=200; stored; detail=miss_leader",
        ),
    ] {
        assert_eq!(value, format!("dipylon; {wanted}"));
        assert!(HeaderValue::from_str(&value).is_ok());
    }
}

#[test]
fn an_error_tells_whether_anybody_was_asked() {
    let told = |given: Error| {
        let response = error(&given);
        let served = response.extensions().get::<Served>().expect("told");
        cache_status(served, response.status())
    };
    let of = |kind| Error::new(kind, "text");
    let gone = StatusCode::GONE;
    for (error, wanted) in [
        (of(ErrorKind::Overloaded), "dipylon; detail=shed"),
        (of(ErrorKind::Overloaded).collapsed(), "dipylon; detail=shed"),
        (of(ErrorKind::Overloaded).forwarded(), "dipylon; fwd=uri-miss; detail=shed"),
        (
            of(ErrorKind::NotFound).answered(gone),
            "dipylon; fwd=uri-miss; fwd-status=410; detail=upstream_not_found",
        ),
        (
            of(ErrorKind::NotFound).answered(gone).beside_older(true),
            "dipylon; fwd=stale; fwd-status=410; detail=upstream_not_found",
        ),
        (
            of(ErrorKind::NotFound).answered(gone).remembered_for(Duration::from_millis(7_900)),
            "dipylon; hit; ttl=7; detail=negative",
        ),
        (of(ErrorKind::UpstreamPaused), "dipylon; detail=upstream_throttled"),
        (of(ErrorKind::ChecksumMismatch).written_down(), "dipylon; detail=checksum_mismatch"),
        (of(ErrorKind::DeadlineExceeded), "dipylon; detail=deadline"),
        (
            of(ErrorKind::DeadlineExceeded).forwarded_if_late(),
            "dipylon; fwd=uri-miss; detail=deadline",
        ),
        (of(ErrorKind::Internal).forwarded_if_late(), "dipylon; detail=internal"),
        (
            of(ErrorKind::Storage).and_then(&of(ErrorKind::NotFound)),
            "dipylon; fwd=uri-miss; detail=storage_error",
        ),
    ] {
        assert_eq!(told(error), wanted);
    }
}
