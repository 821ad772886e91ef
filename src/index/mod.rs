//! What was stored when: the adapters behind [`dipylon_middleware::ports::Index`], and so `/index`.
//!
//! One module per `IndexType`. An entry is added after its version was saved; adding it again does
//! nothing, so that several replicas may report one version.

pub mod memory;
pub mod none;

pub use memory::MemoryIndex;
pub use none::NoIndex;
