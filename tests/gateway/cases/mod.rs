//! The numbered edge cases of the protocol, one test each (several where a case has several sides).

mod answers;
mod content;
mod lifetimes;
mod load;
mod paths;
mod real_go;
mod sumdb;
mod tls;
