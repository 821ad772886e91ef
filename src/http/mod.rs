//! HTTP: the listener, the server with its drain, and the pages that are not about modules.

mod admin;
mod explain;
mod exposition;
mod home;
mod listener;
mod operator;
mod prefetch;
mod profiling;
mod query;
mod request_body;
mod server;
mod stall_guard;
mod status;
mod tls;

pub use admin::{Admin, AdminConfig, Readiness};
pub use explain::Explain;
pub use home::HomePage;
pub use listener::Listener;
pub use operator::Operator;
pub use prefetch::{Prefetch, Refuses};
pub use profiling::serve_profiles;
pub use request_body::{Incoming, RequestBody};
pub use server::{Bodies, Connections, Edge, Server, ServerConfig};
pub use status::{Rows, STATUS_ROWS_MAX, Status, lasted};
pub use tls::Tls;
