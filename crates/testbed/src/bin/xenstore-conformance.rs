//! `xenstore-conformance`: runs the conformance suite against the XenStore of this machine (a real dom0's, in the tests).
//! Prints `PASS case` or `FAIL case: why`, and a closing count; exits with 1 where a case failed.

use std::process::ExitCode;
use std::time::Duration;

use testbed::xenstore_conformance;
use xenstore::Client;

/// For each connection: dom0 may run under emulation, a few hundred times slower than usual.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Err(error) = Client::connect(LIMIT) {
        eprintln!("xenstore-conformance: {error}");
        return ExitCode::FAILURE;
    }
    let results = xenstore_conformance::run(connect);
    let mut failed = 0;
    for result in &results {
        match &result.outcome {
            Ok(()) => println!("PASS {}", result.name),
            Err(why) => {
                failed += 1;
                println!("FAIL {}: {why}", result.name);
            }
        }
    }
    println!("{} passed, {failed} failed", results.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn connect() -> Client {
    Client::connect(LIMIT).unwrap_or_else(|error| {
        eprintln!("xenstore-conformance: {error}");
        std::process::exit(1);
    })
}
