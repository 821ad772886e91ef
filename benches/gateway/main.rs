//! The whole gateway: in process, as calls of its edge stack; as a process of its own beside nginx with the
//! same files, where what is measured is the CPU time that each of the two uses; and hits beside misses that
//! hang.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod beside_misses;
mod held;
mod in_process;
mod in_turn;
mod served;

criterion::criterion_group!(
    benches,
    in_process::gateway,
    served::beside_nginx,
    beside_misses::hits
);
criterion::criterion_main!(benches);
