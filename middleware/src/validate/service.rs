use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use tokio::time::Instant;
use tower::util::ServiceExt as _;

use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, NoLanding};
use crate::ports::Validator;
use crate::request::{Ask, ModuleRequest, RequestContext};
use crate::response::{Answer, ModuleResponse};
use crate::stack::{Stage, stage};

/// Asks the validator, then calls `S`.
#[derive(Clone, Debug)]
pub struct Validate<S> {
    pub(super) inner: S,
    pub(super) calls: Calls,
}

impl<S: Stage<ModuleRequest, Reply = ModuleResponse>> Validate<S> {
    async fn handle(self, request: ModuleRequest) -> Result<ModuleResponse, Error> {
        let Ask::File(version, _) = &request.ask else {
            return self.inner.oneshot(request).await;
        };
        self.calls.ask(&request.context, &request.module, version).await?;
        if version.canonical().is_some() {
            return self.inner.oneshot(request).await;
        }
        let (context, module) = (request.context.clone(), request.module.clone());
        let response = self.inner.oneshot(request).await?;
        // Only now is it known which version the query names.
        if let Answer::File { version, .. } = &response.answer {
            let named = VersionQuery::Version(version.clone());
            self.calls.ask(&context, &module, &named).await?;
        }
        Ok(response)
    }
}

type Question = (ModulePath, VersionQuery);

/// The calls under way.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) validator: Arc<dyn Validator>,
    pub(super) timeout: Duration,
    pub(super) flights: Flights<Question, Result<(), Error>>,
}

impl Calls {
    async fn ask(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &VersionQuery,
    ) -> Result<(), Error> {
        let question = (module.clone(), version.clone());
        let validator = Arc::clone(&self.validator);
        let mut own = context.clone();
        // The call may be shared by requests that came later and wait longer.
        own.deadline = Instant::now() + self.timeout;
        let landed = self.flights.join(question.clone(), context.deadline, |landing| async move {
            let (module, version) = &question;
            landing.land(validator.validate(&own, module, version).await);
        });
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
