//! Fetching from upstreams, against a fake upstream and a fake checksum database on loopback.
//!
//! Case numbers in the comments are those of the protocol's table of edge cases.

mod checksum;
mod content;
mod goproxy_list;
mod network;
mod redirects;
mod settings;
mod status;
mod sumdb_proxy;
mod support;
mod transport;
mod tree;
