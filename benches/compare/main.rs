//! The program beside nginx, and beside other proxies that are named, with the same files: what a request costs, how
//! long it takes with 32 connections, and how long clients take to get a real program's modules through a proxy that
//! has none of them. `cargo xtask compare` runs it and keeps what it writes.
//!
//! Run without `--bench` it only shows that everything runs, with a graph that is made up.

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod crawl;
mod options;
mod report;
mod warm;

use std::process::ExitCode;

use dipylon_testkit::measure::nginx::Nginx;

use options::Options;
use report::Report;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("compare: {why}");
            return ExitCode::from(2);
        }
    };
    if !Nginx::is_there() {
        println!("LEFT OUT: compare: no nginx (Debian: apt-get install nginx-light)");
        return ExitCode::SUCCESS;
    }
    println!("Testing compare");
    let mut report = Report::default();
    let mut done = || -> Result<(), String> {
        if options.warm {
            warm::compare(&options, &mut report)?;
        }
        if options.crawl {
            crawl::compare(&options, &mut report)?;
        }
        report.write(&options)
    };
    if let Err(why) = done() {
        eprintln!("compare: {why}");
        return ExitCode::FAILURE;
    }
    // So short a run can be held to no budget.
    if options.is_full && !report.is_kept() {
        return ExitCode::FAILURE;
    }
    println!("Success");
    ExitCode::SUCCESS
}
