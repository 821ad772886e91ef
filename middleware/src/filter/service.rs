use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::Route;
use http::StatusCode;

use super::state::{Rules, Sign};
use crate::error::{Error, ErrorKind};
use crate::request::{Ask, ModuleRequest};
use crate::response::{Answer, ModuleResponse};
use crate::stack::{Stage, stage};
use crate::telemetry::Outcome;

/// Judges by the rules, then calls `S`.
#[derive(Clone, Debug)]
pub struct Filter<S> {
    pub(super) inner: S,
    pub(super) rules: Arc<Rules>,
    pub(super) endpoint: Arc<str>,
}

impl<S: Stage<ModuleRequest, Reply = ModuleResponse>> Filter<S> {
    async fn handle(&self, request: ModuleRequest) -> Result<ModuleResponse, Error> {
        if let Some(answer) = self.judge(&request.module, &request.ask)? {
            return Ok(answer);
        }
        let query = asks_by_query(&request.ask).then(|| request.module.clone());
        let response = self.inner.clone().run(request).await?;
        let Some(module) = query else { return Ok(response) };
        // Only now is it known which version the query names.
        let Answer::File { kind, version, .. } = &response.answer else { return Ok(response) };
        let named = Ask::File(VersionQuery::Version(version.clone()), *kind);
        Ok(self.judge(&module, &named)?.unwrap_or(response))
    }

    fn judge(&self, module: &ModulePath, ask: &Ask) -> Result<Option<ModuleResponse>, Error> {
        judge(&self.rules, &self.endpoint, module, ask)
    }
}

/// The redirect to answer with, or nothing where the request may pass.
pub(super) fn judge(
    rules: &Rules,
    endpoint: &str,
    module: &ModulePath,
    ask: &Ask,
) -> Result<Option<ModuleResponse>, Error> {
    let version = match ask {
        Ask::File(version, _) => Some(version.as_str()),
        Ask::List | Ask::Latest => None,
    };
    match rules.sign(module.as_str(), version) {
        Sign::Include => Ok(None),
        Sign::Exclude => Err(excluded(module, version)),
        Sign::Direct => {
            let location = format!("{endpoint}{}", route(module, ask).path());
            let answer = Answer::Redirect { location, status: StatusCode::SEE_OTHER };
            Ok(Some(ModuleResponse::new(answer, Outcome::Redirected)))
        }
    }
}

fn asks_by_query(ask: &Ask) -> bool {
    matches!(ask, Ask::File(version, _) if version.canonical().is_none())
}

/// The route a client used, without a path prefix.
fn route(module: &ModulePath, ask: &Ask) -> Route {
    let module = module.clone();
    match ask {
        Ask::List => Route::List { module },
        Ask::Latest => Route::Latest { module },
        Ask::File(version, kind) => Route::File { module, version: version.clone(), kind: *kind },
    }
}

fn excluded(module: &ModulePath, version: Option<&str>) -> Error {
    let version = version.map(|version| format!("@{version}")).unwrap_or_default();
    let text = format!(
        "{module}{version} is excluded by the gateway's filter file: ask its operator to include it"
    );
    Error::new(ErrorKind::DeniedByFilter, text)
}

stage!(Filter<S>: ModuleRequest => ModuleResponse, over ModuleRequest => ModuleResponse);
