use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, NoLanding};
use crate::ports::Validator;
use crate::request::{Ask, ModuleRequest, RequestContext};
use crate::response::{Answer, ModuleResponse};
use crate::stack::{Stage, stage};
use crate::telemetry::Phase;

/// Asks the validator, then calls `S`.
#[derive(Clone, Debug)]
pub struct Validate<S> {
    pub(super) inner: S,
    pub(super) calls: Calls,
}

impl<S: Stage<ModuleRequest, Reply = ModuleResponse>> Validate<S> {
    async fn handle(&self, request: ModuleRequest) -> Result<ModuleResponse, Error> {
        let Ask::File(version, _) = &request.ask else {
            return self.inner.run(request).await;
        };
        self.calls.ask(&request.context, &request.module, version).await?;
        if version.canonical().is_some() {
            return self.inner.run(request).await;
        }
        let (context, module) = (request.context.clone(), request.module.clone());
        let response = self.inner.run(request).await?;
        // Only now is it known which version the query names.
        if let Answer::File { version, .. } = &response.answer {
            let named = VersionQuery::Version(version.clone());
            self.calls.ask(&context, &module, &named).await?;
        }
        Ok(response)
    }
}

/// Calls at once. One goes on when its request is gone, so requests in hand are no bound.
pub const CALLS_MAX: usize = 1_024;

fn no_room() -> Error {
    let text = "the validator hook is asked about as many versions as it may at once; ask again";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_secs(1))
}

type Question = (ModulePath, VersionQuery);

/// The calls under way.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) validator: Arc<dyn Validator>,
    pub(super) timeout: Duration,
    pub(super) flights: Flights<Question, Result<(), Error>>,
    pub(super) room: Arc<Semaphore>,
}

impl Calls {
    async fn ask(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &VersionQuery,
    ) -> Result<(), Error> {
        let question = (module.clone(), version.clone());
        let (validator, room) = (Arc::clone(&self.validator), Arc::clone(&self.room));
        let mut own = context.clone();
        // The call may be shared by requests that came later and wait longer.
        own.deadline = Instant::now() + self.timeout;
        let landed = self.flights.join(question.clone(), context.deadline, |landing| async move {
            let Ok(_place) = room.try_acquire_owned() else {
                landing.land(Err(no_room()));
                return;
            };
            let (module, version) = &question;
            landing.land(validator.validate(&own, module, version).await);
        });
        let _waits = context.timings.enter(Phase::Policy);
        match landed.await {
            Ok((verdict, _)) => verdict,
            Err(NoLanding::Overdue) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "the validator hook takes longer than this request may wait: ask again",
            )),
            Err(NoLanding::Crashed) => {
                Err(Error::new(ErrorKind::Internal, "the validator hook's call crashed; ask again"))
            }
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calls({:?})", self.flights)
    }
}

stage!(Validate<S>: ModuleRequest => ModuleResponse, over ModuleRequest => ModuleResponse);
