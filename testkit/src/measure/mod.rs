//! What benches measure with: a client that costs little, other servers beside ours, what a process has used of the
//! CPU, and the modules of a real program.
//!
//! - [`load`]: connections that stay open, each with one request in hand.
//! - [`crawl`]: clients that ask for every file of a graph of modules.
//! - [`files`]: what is asked for where each file is asked for often.
//! - [`graph`]: such a graph, as a GOPROXY tree on disk.
//! - [`in_turn`]: what a request costs each of several servers.
//! - [`latency`]: how long each of many requests takes while others are in hand.
//! - [`nginx`], [`proxies`]: what we are compared with.
//! - [`collector`]: takes traces and keeps nothing.
//! - [`used`]: the CPU time of a process. [`quartiles`]: of many numbers those that say most.

pub mod collector;
pub mod crawl;
pub mod files;
pub mod graph;
pub mod in_turn;
pub mod latency;
pub mod load;
pub mod nginx;
pub mod proxies;
pub mod quartiles;
mod reader;
pub mod used;
