use super::*;
use crate::config::{LockConfig, Secret, UrlText};

fn keys(endpoint: &str, password: &str, cluster: bool) -> Keys {
    let (endpoint, password) = (UrlText::new(endpoint), Secret::new(password));
    let lock_config = LockConfig {
        ttl: Duration::from_secs(900),
        timeout: Duration::from_secs(15),
        max_retries: 10,
    };
    Keys { endpoint, password, cluster, lock_config }
}

fn single(endpoint: &str, password: &str) -> Result<ConnectionInfo, String> {
    match Servers::of(&keys(endpoint, password, false)) {
        Ok(Servers::Single(client)) => Ok(client.get_connection_info().clone()),
        Ok(_) => Err("not one server".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn host_and_port_and_every_form_of_url_is_understood() {
    let plain = single("redis.example:6380", "").unwrap();
    assert_eq!(plain.addr().to_string(), "redis.example:6380");
    assert_eq!(single("redis.example", "").unwrap().addr().to_string(), "redis.example:6379");
    assert_eq!(single("[::1]:7000", "").unwrap().addr().to_string(), "::1:7000");
    let full = single("redis://user:p%40ss@redis.example:6380/3?protocol=3", "").unwrap();
    let settings = full.redis_settings();
    assert_eq!((settings.username(), settings.password()), (Some("user"), Some("p@ss")));
    assert_eq!((settings.db(), settings.protocol()), (3, redis::ProtocolVersion::RESP3));
    let tls = single("rediss://redis.example", "").unwrap();
    assert!(matches!(tls.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
}

#[test]
fn the_key_fills_in_a_password_and_contradicts_none() {
    let password = |endpoint, key| {
        single(endpoint, key).map(|info| info.redis_settings().password().map(str::to_owned))
    };
    assert_eq!(password("redis.example:1", "hunter2").unwrap().as_deref(), Some("hunter2"));
    assert_eq!(password("redis://u@h:1", "hunter2").unwrap().as_deref(), Some("hunter2"));
    assert_eq!(password("redis://:hunter2@h:1", "hunter2").unwrap().as_deref(), Some("hunter2"));
    let refused = password("redis://:hunter2@h:1", "swordfish").unwrap_err();
    assert!(refused.contains("SingleFlight.Redis.Endpoint"), "{refused}");
    assert!(!refused.contains("hunter2") && !refused.contains("swordfish"), "{refused}");
}

#[test]
fn what_is_no_address_is_refused_without_its_password() {
    for wrong in ["redis://:hunter2@h:port", "http://:hunter2@h", "redis://:hunter2@h/x"] {
        let refused = single(wrong, "").unwrap_err();
        assert!(refused.contains("SingleFlight.Redis.Endpoint"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn the_nodes_of_a_cluster_are_reached_like_the_first() {
    let servers = Servers::of(&keys("rediss://u:p@a:1, b:2,redis://c:3", "", true)).unwrap();
    assert!(matches!(servers, Servers::Cluster { .. }));
    let first = address("rediss://u:p@a:1").unwrap();
    let second = like(first.addr(), address("b:2").unwrap().addr());
    assert!(matches!(second, ConnectionAddr::TcpTls { host, port: 2, .. } if host == "b"));
    assert!(Servers::of(&keys(" , ", "", true)).is_err());
}

#[test]
fn a_sentinel_is_a_host_with_or_without_a_port() {
    let text = |text| sentinel(text).map(|addr| addr.to_string());
    assert_eq!(text("s1.example:26380").unwrap(), "s1.example:26380");
    assert_eq!(text("s1.example").unwrap(), "s1.example:26379");
    assert_eq!(text("[::1]:26380").unwrap(), "::1:26380");
    for wrong in ["", ":1", "h:port", "fe80::1"] {
        assert!(sentinel(wrong).is_err(), "{wrong:?}");
    }
}
