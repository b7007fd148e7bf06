//! The conformance suite, against the embedded XenStore server and against the real C xenstored of Debian's Xen 4.17.
//! Both must pass every case, so they agree. The real one is fetched on first use (see tests/xenstored/start.sh).

#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::xenstore_conformance::{self, CaseResult};
use testbed::xenstore_server::Server;
use xenstore::{Client, Endpoint};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_embedded_server_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path().join("socket")).unwrap();
    check(&xenstore_conformance::run(|| server.client(LIMIT).unwrap()));
}

#[test]
fn the_real_xenstored_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = RealDaemon::start(directory.path());
    let endpoint = Endpoint::Socket(directory.path().join("socket"));
    check(&xenstore_conformance::run(|| Client::connect_to(&endpoint, LIMIT).unwrap()));
    daemon.stop();
}

fn check(results: &[CaseResult]) {
    let failures: Vec<String> =
        results.iter().filter_map(|result| result.outcome.as_ref().err().map(|why| format!("{}: {why}", result.name))).collect();
    assert!(results.len() >= 40, "only {} cases", results.len());
    assert!(failures.is_empty(), "{} of {} cases failed:\n{}", failures.len(), results.len(), failures.join("\n"));
}

/// Debian's xenstored, run by the script for as long as its standard input is open.
struct RealDaemon(Child);

impl RealDaemon {
    fn start(directory: &Path) -> RealDaemon {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/xenstored/start.sh");
        let mut child = Command::new(script).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "READY", "start.sh did not bring up xenstored; its reason is on stderr");
        RealDaemon(child)
    }

    fn stop(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
