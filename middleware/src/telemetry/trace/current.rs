//! The trace whose work runs now on this task: for log lines, which are written anywhere.

use std::future::Future;

use super::TraceId;

tokio::task_local! {
    static CURRENT: TraceId;
}

/// Work of this trace.
pub async fn within<F: Future>(trace: Option<TraceId>, work: F) -> F::Output {
    match trace {
        Some(trace) => CURRENT.scope(trace, work).await,
        None => work.await,
    }
}

/// Work for another task that belongs to the trace of this one.
pub fn inherited<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    within(trace(), work)
}

/// The trace whose work runs now.
pub fn trace() -> Option<TraceId> {
    CURRENT.try_with(|trace| *trace).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_knows_its_trace_and_hands_it_to_another_task() {
        let id = TraceId::from_hex(&"a".repeat(32));
        assert_eq!(trace(), None);
        let inner = within(id, async {
            let plain = tokio::spawn(async { trace() }).await.expect("no panic");
            let heir = tokio::spawn(inherited(async { trace() })).await.expect("no panic");
            (trace(), plain, heir)
        });
        assert_eq!(inner.await, (id, None, id));
        assert_eq!(within(None, async { trace() }).await, None);
    }
}
