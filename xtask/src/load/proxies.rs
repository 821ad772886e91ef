//! Toxiproxy, between the gateways and what they ask: a proxy for each address, late or closed on demand.

use super::http;
use crate::json::{Json, quoted};

/// One proxy: what it is called, and where it listens.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    api: u16,
    name: String,
    pub(super) port: u16,
}

/// The toxic that makes answers late.
const LATE: &str = "late";

impl Proxy {
    /// A proxy on a free port before a port of this machine.
    ///
    /// # Errors
    /// One line: it cannot be made.
    pub(super) fn before(api: u16, name: &str, port: u16) -> Result<Self, String> {
        let wanted = format!(
            "{{\"name\": {}, \"listen\": \"127.0.0.1:0\", \"upstream\": \"127.0.0.1:{port}\", \"enabled\": true}}",
            quoted(name)
        );
        let answer = Json::parse(&http::ask(&host(api), "POST", "/proxies", &wanted)?)?;
        let listens = answer.get("listen").text().and_then(|address| address.rsplit_once(':'));
        let port = listens.and_then(|(_, port)| port.parse().ok());
        let port = port.ok_or_else(|| format!("the proxy {name} does not say where it listens"))?;
        Ok(Self { api, name: name.to_owned(), port })
    }

    /// From now on every answer is so late.
    ///
    /// # Errors
    /// One line: Toxiproxy does not answer.
    pub(super) fn late(&self, millis: u32) -> Result<(), String> {
        let toxic = format!(
            "{{\"name\": \"{LATE}\", \"type\": \"latency\", \"stream\": \"downstream\", \
             \"attributes\": {{\"latency\": {millis}, \"jitter\": {}}}}}",
            millis / 10
        );
        let path = format!("/proxies/{}/toxics", self.name);
        http::ask(&host(self.api), "POST", &path, &toxic).map(drop)
    }

    /// Takes everything, and answers nothing.
    ///
    /// # Errors
    /// One line: Toxiproxy does not answer.
    pub(super) fn silent(&self) -> Result<(), String> {
        let toxic = "{\"name\": \"silent\", \"type\": \"timeout\", \"stream\": \"downstream\", \
                     \"attributes\": {\"timeout\": 0}}";
        let path = format!("/proxies/{}/toxics", self.name);
        http::ask(&host(self.api), "POST", &path, toxic).map(drop)
    }

    /// Cuts all connections and takes no more.
    ///
    /// # Errors
    /// One line: Toxiproxy does not answer.
    pub(super) fn close(&self) -> Result<(), String> {
        self.set_enabled(false)
    }

    /// As it was at the beginning: open, and not late.
    ///
    /// # Errors
    /// One line: Toxiproxy does not answer.
    pub(super) fn well(&self) -> Result<(), String> {
        let path = format!("/proxies/{}/toxics", self.name);
        let toxics = Json::parse(&http::get(self.api, &path)?)?;
        for toxic in toxics.items().iter().filter_map(|toxic| toxic.get("name").text()) {
            http::ask(&host(self.api), "DELETE", &format!("{path}/{toxic}"), "")?;
        }
        self.set_enabled(true)
    }

    fn set_enabled(&self, enabled: bool) -> Result<(), String> {
        let wanted = format!("{{\"enabled\": {enabled}}}");
        let path = format!("/proxies/{}", self.name);
        http::ask(&host(self.api), "POST", &path, &wanted).map(drop)
    }
}

fn host(api: u16) -> String {
    format!("127.0.0.1:{api}")
}
