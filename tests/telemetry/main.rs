//! What the running program tells of itself, held to its own catalogue: metrics both ways, the log in
//! three forms, traces as a real OpenTelemetry collector receives them, and secrets nowhere.

mod athens;
mod collector;
mod grpc;
mod kept;
mod logs;
mod openmetrics;
mod outages;
mod reference;
mod scrape;
mod secrets;
mod traces;
mod world;
