//! A server that takes every write, whatever its condition says, or none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dipylon::config::{MinioStorage, Secret, UrlText};
use dipylon::lock::stores::{ObjectLock, Terms};
use dipylon_middleware::ports::Lock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub(crate) struct Careless {
    address: SocketAddr,
    task: AbortHandle,
}

impl Careless {
    /// Answers everything with this status.
    pub(crate) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut seen = vec![0; 16 << 10];
                    // One request on each connection: its head and its short body come at once.
                    let Ok(1..) = client.read(&mut seen).await else { return };
                    let answer = format!(
                        "HTTP/1.1 {status} Said\r\netag: \"e\"\r\ncontent-length: 0\r\n\
                         connection: close\r\n\r\n"
                    );
                    let _ = client.write_all(answer.as_bytes()).await;
                    let _ = client.shutdown().await;
                    // What is sent after the head is read too, so that the answer is not lost.
                    while let Ok(1..) = client.read(&mut seen).await {}
                });
            }
        });
        Self { address, task: task.abort_handle() }
    }

    /// A lock in it, which keeps it running.
    pub(crate) fn lock(self, lease: Duration) -> Kept {
        let config = MinioStorage {
            endpoint: UrlText::new(format!("http://{}", self.address)),
            key: Secret::new("key"),
            secret: Secret::new("secret"),
            enable_ssl: false,
            bucket: "bucket".to_owned(),
            region: String::new(),
        };
        let access = dipylon::storage::minio::access(&config, &|_| None).expect("settings");
        let terms = Terms { lease, foreign: lease, longest: Duration::MAX };
        Kept { lock: Arc::new(ObjectLock::s3(access, terms)), _server: self }
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A lock and the server that it lies in.
pub(crate) struct Kept {
    lock: Arc<dyn Lock>,
    _server: Careless,
}

impl std::ops::Deref for Kept {
    type Target = Arc<dyn Lock>;

    fn deref(&self) -> &Arc<dyn Lock> {
        &self.lock
    }
}
