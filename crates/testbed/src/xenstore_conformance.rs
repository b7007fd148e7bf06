//! What clients of XenStore may rely on, as cases to run against any server.
//!
//! The tests run them against the embedded server and against the real C xenstored, which must agree; the program
//! `xenstore-conformance` runs them in a real dom0. Every case works below a directory of its own, which is removed after it.

mod nodes;
mod paths;
mod permissions;
mod pipelines;
mod transactions;
mod watches;

use std::fmt::{self, Debug};

use xenstore::wire::Kind;
use xenstore::{Client, Endpoint, Error, Event, PathError, Refusal, StorePath, Token, TokenError};

/// What came of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// The case: a sentence in one word.
    pub name: &'static str,
    /// What went wrong, if anything did.
    pub outcome: Result<(), String>,
}

/// A case's name and what it does.
type Case = (&'static str, fn(&Bench<'_>) -> Outcome);
type Outcome<T = ()> = Result<T, Failure>;

/// Names the functions given as cases.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[$((stringify!($name), $name)),*];
    };
}
use cases;

/// Why a case failed.
#[derive(Debug)]
struct Failure(String);

/// What a case works with.
struct Bench<'a> {
    connect: &'a dyn Fn() -> Client,
    /// The case's own directory, relative to the domain's.
    relative: StorePath,
    /// The same, from the root.
    absolute: StorePath,
}

/// Requests that the kernel answers itself where clients use its device (Linux, drivers/xen/xenbus/xenbus_dev_frontend.c): it
/// keeps the watches, without looking for doubles, and never answers the end of a transaction that it does not know.
const ANSWERED_BY_THE_KERNEL: [&str; 5] = [
    "a_watch_cannot_be_set_twice",
    "an_unknown_watch_cannot_be_ended",
    "malformed_watches_are_refused",
    "resetting_ends_all_watches",
    "an_end_outside_of_a_transaction_is_refused",
];

/// Runs all cases, each with connections of its own from `connect`. Where these use the kernel's device, the few cases
/// about what only the daemon's socket shows are left out.
///
/// The clients must belong to a domain that has the node `domid` and may do everything, as dom0 may.
pub fn run(connect: impl Fn() -> Client) -> Vec<CaseResult> {
    let groups = [nodes::CASES, paths::CASES, permissions::CASES, pipelines::CASES, transactions::CASES, watches::CASES];
    let left_out: &[&str] = match connect().endpoint() {
        Endpoint::Socket(_) => &[],
        Endpoint::Device(_) => &ANSWERED_BY_THE_KERNEL,
    };
    let cases = groups.into_iter().flatten().filter(|(name, _)| !left_out.contains(name));
    cases.map(|(name, case)| run_case(&connect, name, *case)).collect()
}

fn run_case(connect: &dyn Fn() -> Client, name: &'static str, case: fn(&Bench<'_>) -> Outcome) -> CaseResult {
    let outcome = Bench::new(connect, name).and_then(|bench| {
        bench.clean()?;
        let outcome = case(&bench);
        bench.clean()?;
        outcome
    });
    CaseResult { name, outcome: outcome.map_err(|Failure(why)| why) }
}

/// Holds all cases' directories.
const TOP: &str = "xenstore-conformance";

impl<'a> Bench<'a> {
    fn new(connect: &'a dyn Fn() -> Client, name: &str) -> Outcome<Bench<'a>> {
        let mut client = connect();
        let own = client.own_domain_id()?.ok_or_else(|| Failure("there is no node domid".to_owned()))?;
        let relative = StorePath::parse(TOP)?.join(name)?;
        let absolute = client.domain_path(own)?.join(relative.as_str())?;
        Ok(Bench { connect, relative, absolute })
    }

    fn clean(&self) -> Outcome {
        self.client().remove(&StorePath::parse(TOP)?)?;
        Ok(())
    }

    fn client(&self) -> Client {
        (self.connect)()
    }

    /// A path below the case's directory, from the root.
    fn at(&self, below: &str) -> Outcome<StorePath> {
        Ok(self.absolute.join(below)?)
    }
}

/// Fails unless both are the same.
#[allow(clippy::needless_pass_by_value)] // The cases read better with plain values.
fn same<T: PartialEq + Debug>(what: &str, seen: T, expected: T) -> Outcome {
    if seen == expected { Ok(()) } else { Err(Failure(format!("{what}: {} instead of {}", brief(&seen), brief(&expected)))) }
}

/// Fails unless the daemon refused with this reason.
fn refused<T: Debug>(what: &str, outcome: xenstore::Result<T>, expected: &Refusal) -> Outcome {
    match outcome {
        Err(Error::Refused { refusal, .. }) if refusal == *expected => Ok(()),
        other => Err(Failure(format!("{what}: {} instead of a refusal with {}", brief(&other), expected.name()))),
    }
}

/// Fails unless the daemon refused, for whatever reason it gives: where a payload is not what its kind asks for, the C
/// xenstored of 4.17 answers with the errno that an earlier request happened to leave.
fn refused_somehow<T: Debug>(what: &str, outcome: xenstore::Result<T>) -> Outcome {
    match outcome {
        Err(Error::Refused { .. }) => Ok(()),
        other => Err(Failure(format!("{what}: {} instead of a refusal", brief(&other)))),
    }
}

fn brief(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// One request as raw bytes, outside of any transaction.
fn raw(client: &mut Client, kind: Kind, payload: &[u8]) -> xenstore::Result<Vec<u8>> {
    client.exchange(kind, 0, payload)
}

fn some(value: &[u8]) -> Option<Vec<u8>> {
    Some(value.to_vec())
}

/// A client that watches, and can tell that nothing more is to come.
struct Watcher {
    client: Client,
    end: StorePath,
    ends: u32,
}

/// The token of the watch that marks the end.
const END: &str = "end";

impl Watcher {
    fn new(bench: &Bench<'_>) -> Outcome<Watcher> {
        let end = StorePath::parse(TOP)?.join("end")?;
        let mut client = bench.client();
        client.watch(&end, &Token::new(END)?)?;
        let first = client.next_event()?;
        same("the end mark's first event", first.token.as_str(), END)?;
        Ok(Watcher { client, end, ends: 0 })
    }

    /// Watches a path and takes the first event.
    fn watch(&mut self, path: &StorePath, token: &str) -> Outcome {
        self.client.watch(path, &Token::new(token)?)?;
        let first = self.client.next_event()?;
        same("the first event's path", &first.path, path)?;
        same("the first event's token", first.token.as_str(), token)
    }

    /// All events of changes so far, as pairs of path and token.
    fn events(&mut self) -> Outcome<Vec<(String, String)>> {
        self.ends += 1;
        let mark = self.end.join(&self.ends.to_string())?;
        self.client.write(&mark, b"")?;
        let mut seen = Vec::new();
        loop {
            let Event { path, token } = self.client.next_event()?;
            if path == mark && token.as_str() == END {
                return Ok(seen);
            }
            seen.push((path.to_string(), token.to_string()));
        }
    }

    /// Fails unless these are the events of changes so far.
    fn expect(&mut self, expected: &[(&StorePath, &str)]) -> Outcome {
        let expected = expected.iter().map(|(path, token)| (path.to_string(), (*token).to_owned())).collect();
        same("events", self.events()?, expected)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure(error.to_string())
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Failure {
        Failure(error.to_string())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Failure {
        Failure(error.to_string())
    }
}
