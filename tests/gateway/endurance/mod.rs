//! What many clients at a time, and half an hour of them, do to the memory of the program.
//!
//! Memory is the kernel's count of what is resident, so it is that of the program as it is built: `cargo xtask test
//! --slow` runs the slow tests here as the program is shipped, with optimisation, one after the other. A build
//! without it moves bytes ten times slower: there the same is tried with less, to see that it runs.

mod downloads;
mod soak;
mod taking;
