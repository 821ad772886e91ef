//! The real public mirror and the real checksum database, as `go env` names them.

use std::sync::Arc;

use dipylon::fetch::ExtraStore;
use dipylon::fetch::checksum::ChecksumDatabase;
use dipylon::fetch::environment::{GoSettings, SettingsSource, SumDbSetting};
use dipylon::fetch::goproxy_setting::EntryKind;
use dipylon::fetch::http_client::{HttpClient, HttpClientConfig};
use dipylon::fetch::proxy_client::ProxyClient;
use dipylon::fetch::sumdb_source::{Carriers, DatabaseSite, SumDbSource, SumDbSourceConfig};
use dipylon_middleware::ErrorKind;
use dipylon_middleware::ports::{Decision, Expected, Fetcher as _, Mode, Verifier as _};
use dipylon_middleware::request::FetchAsk;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::dirhash::hash_go_mod;
use dipylon_protocol::zip::ZipCheck;

use crate::support::{MemoryStore, context, module, read, request, version};

const MODULE: &str = "github.com/BurntSushi/toml";
const VERSION: &str = "v1.4.0";

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok() // tidy: allow, this test uses the machine's own settings
}

#[tokio::test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
async fn a_real_module_is_fetched_and_verified() {
    let settings = GoSettings::resolve(&SettingsSource {
        go_binary_env_vars: &[],
        environment: &environment,
        go_binary: "go",
        no_sum_patterns: &[],
        own_port: None,
    })
    .await
    .unwrap();
    let http =
        HttpClient::new(&HttpClientConfig::default().with_http_proxies(&environment)).unwrap();
    let EntryKind::Proxy(base) = &settings.proxies.entries()[0].kind else {
        panic!("GOPROXY must begin with a proxy: {}", settings.proxies)
    };
    let client = ProxyClient::new(http.clone(), base.clone());
    let get = async |ask| read(client.fetch(request(MODULE, ask)).await.unwrap()).await.unwrap();
    let list = get(FetchAsk::List).await;
    assert!(list.split(|byte| *byte == b'\n').any(|line| line == VERSION.as_bytes()), "{list:?}");
    let go_mod = get(FetchAsk::Mod(version(VERSION))).await;
    let mut check = ZipCheck::new(&module(MODULE), &version(VERSION));
    check.push(&get(FetchAsk::Zip(version(VERSION))).await).unwrap();
    let zip = check.finish().unwrap().h1;

    let SumDbSetting::Database(database) = &settings.sumdb else { panic!("GOSUMDB is off") };
    let store: Arc<dyn ExtraStore> = Arc::<MemoryStore>::default();
    let config = SumDbSourceConfig {
        http,
        proxies: settings.proxies.clone(),
        carriers: Carriers::default(),
        databases: vec![DatabaseSite::of_database(database).unwrap()],
        store: Arc::clone(&store),
        policy: Arc::new(Decision::new(Mode::Sync, "")),
        offline: false,
    };
    let source = SumDbSource::new(config, &Telemetry::new().unwrap());
    let verifier = ChecksumDatabase::new(&settings, source, store);
    let (known, text) = (module(MODULE), version(VERSION));
    let expected = verifier.expected(&context(), &known, &text).await.unwrap();
    assert_eq!(expected, Expected::Hashes { zip, go_mod: hash_go_mod(&go_mod) });
    let unknown = version("v1.4999.0");
    let error = verifier.expected(&context(), &known, &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PrivateChecksum, "{error}");
}
