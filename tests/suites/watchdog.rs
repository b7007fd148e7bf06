//! network-bridge killed halfway: a second process puts the host in order, and no other run is needed.
//!
//! A short form kills at some of the calls. `scripts/torture` kills at every one, by `KILL_EVERY=1`.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::bench::process::Call;
use testbed::follow::{Followed, Step, Whom};
use testbed::kill::{Ending, kill_at};
use testbed::machine::wait_for;

#[path = "common/lan.rs"]
mod lan;
#[macro_use]
#[path = "common/stage.rs"]
mod stage;

use stage::{Choice, Network, Seen, Stage, Way};

/// How long a host may be in disorder.
const REPAIR_LIMIT: Duration = Duration::from_secs(10);

/// The states of a host that network-bridge has not, or has, started on.
struct Host {
    stage: Network,
    before: Seen,
    done: Seen,
}

impl Host {
    fn new() -> Self {
        let stage = Network::bridge();
        stage.succeed(Way::Forward);
        stage.succeed(Way::Back);
        let before = Seen::settled(&stage);
        stage.succeed(Way::Forward);
        let done = Seen::settled(&stage);
        stage.succeed(Way::Back);
        Self { stage, before, done }
    }

    fn others(&self) -> Vec<u32> {
        self.stage.dom0().processes().unwrap()
    }

    /// Waits until nobody is at work on the host, and gives the state it is in then: that before or that after.
    fn in_order(&self) -> Result<Way, String> {
        let waited = wait_for("the second process to end", REPAIR_LIMIT, || Ok(self.others().is_empty()));
        waited.map_err(|error| error.to_string())?;
        let mut seen = Seen::now(&self.stage);
        let known = |seen: &Seen| match () {
            () if *seen == self.before => Some(Way::Back),
            () if *seen == self.done => Some(Way::Forward),
            () => None,
        };
        let mut found = known(&seen);
        // The kernel's own addresses and carriers come a moment later.
        let _ = wait_for("the kernel", REPAIR_LIMIT, || {
            if found.is_none() {
                seen = Seen::now(&self.stage);
                found = known(&seen);
            }
            Ok(found.is_some())
        });
        found.ok_or_else(|| {
            let (before, done) = (self.before.difference(&seen), self.done.difference(&seen));
            format!("neither as before:\n{before}\nnor started:\n{done}")
        })
    }

    /// Brings the host back to where it was.
    fn rest(&self, state: Way) {
        if state == Way::Forward {
            self.stage.succeed(Way::Back);
        }
        assert_eq!(self.in_order(), Ok(Way::Back));
    }
}

/// Runs the program, and stops at its system call number `call`; the exit status where it has ended before.
fn stop_at(program: &Call, call: u64) -> Result<Followed, i32> {
    let mut followed = Followed::start(program).unwrap();
    loop {
        match followed.enter_next().unwrap() {
            Step::Stopped if followed.calls() == call => return Ok(followed),
            Step::Stopped => {}
            Step::Exited(status) => return Err(status),
            Step::Signaled(signal) => panic!("{signal} ended it"),
        }
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// The program alone is killed.
    Alone,
    /// Its whole process group is.
    WithItsGroup,
    /// It is ended by SIGTERM, which all processes of its unit get.
    WithItsUnit,
}

impl Death {
    fn befall(self, host: &Host, program: Followed) {
        match self {
            Self::Alone => program.kill(Whom::Program).unwrap(),
            Self::WithItsGroup => program.kill(Whom::Group).unwrap(),
            Self::WithItsUnit => {
                for process in host.others() {
                    kill(Pid::from_raw(process.try_into().unwrap()), Signal::SIGTERM).unwrap();
                }
                program.kill(Whom::Program).unwrap();
            }
        }
    }
}

fn watched(way: Way, short_form: usize) {
    let host = Host::new();
    let call = host.stage.call(way);
    let (mut kills, mut before, mut after, mut longest) = (0, 0, 0, Duration::ZERO);
    let deaths = [Death::Alone, Death::WithItsGroup, Death::WithItsUnit].into_iter().cycle();
    for (place, death) in Choice::told("KILL", short_form).calls().zip(deaths) {
        if way == Way::Back {
            host.stage.succeed(Way::Forward);
        }
        let dom0 = host.stage.dom0();
        let ended = dom0.inside(|| stop_at(&call, place).map(|program| death.befall(&host, program))).unwrap();
        let killed = Instant::now();
        let state = host.in_order().unwrap_or_else(|why| panic!("{way}, {death:?} at call {place}: {why}"));
        longest = longest.max(killed.elapsed());
        host.rest(state);
        if ended == Err(0) {
            break;
        }
        assert_eq!(ended, Ok(()), "{way} failed");
        kills += 1;
        match state == way {
            true => after += 1,
            false => before += 1,
        }
    }
    println!(
        "watched: network-bridge {way}: {kills} kills; repaired without another run to: {before} old, {after} new; \
         longest {:.1} s; faults: 0",
        longest.as_secs_f32()
    );
    assert!(kills > 0);
}

#[test]
fn a_start_that_is_killed_is_taken_back_or_complete_without_another_run() {
    watched(Way::Forward, 131);
}

#[test]
fn a_stop_that_is_killed_is_taken_back_or_complete_without_another_run() {
    watched(Way::Back, 149);
}

#[test]
fn where_the_watcher_is_killed_as_well_the_next_run_repairs() {
    let host = Host::new();
    let start = host.stage.call(Way::Forward);
    let repair = Call { words: vec!["repair".to_owned(), "bridge=xenbr0".to_owned()], ..start.clone() };
    let mut kills = 0;
    for place in Choice::told("KILL", 331).calls() {
        let dom0 = host.stage.dom0();
        let ended = dom0.inside(|| stop_at(&start, place).map(|program| program.kill(Whom::Family).unwrap()));
        if ended.unwrap().is_ok() {
            // Its work is done again by hand, and that is killed, too.
            let end = kill_at(dom0, &repair, place, Whom::Program).unwrap();
            assert!(matches!(end, Ending::Killed | Ending::Exited { status: 0, .. }), "{end:?}");
            kills += 1;
            host.stage.succeed(Way::Forward);
            assert_eq!(host.in_order(), Ok(Way::Forward), "killed at call {place}");
            host.rest(Way::Forward);
        } else {
            host.rest(Way::Forward);
            break;
        }
    }
    println!(
        "watched: network-bridge forward, its watcher and the repair: {kills} kills of three; repaired by the next run; faults: 0"
    );
    assert!(kills > 0);
}

#[test]
fn a_run_that_ends_by_itself_leaves_no_process_and_no_open_pipe() {
    let host = Host::new();
    for way in [Way::Forward, Way::Back] {
        // `outcome` waits for the end of both pipes.
        let outcome = host.stage.outcome(way);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
        wait_for("the watcher to end", Duration::from_secs(1), || Ok(host.others().is_empty())).unwrap();
    }
}

#[test]
fn the_watcher_has_nothing_of_the_callers_open() {
    let host = Host::new();
    let start = host.stage.call(Way::Forward);
    let dom0 = host.stage.dom0();
    let seen = dom0.inside(|| {
        let mut program = Followed::start(&start).unwrap();
        while program.children().unwrap().is_empty() {
            assert_eq!(program.enter_next().unwrap(), Step::Stopped, "it ended unwatched");
        }
        // It has made the watcher, which closes all it has before it says that it is ready: that is read, and then the journal is begun.
        (0..20).for_each(|_| assert_eq!(program.enter_next().unwrap(), Step::Stopped));
        let open = |process: &Pid| std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        let open: Vec<_> = program.children().unwrap().iter().map(open).collect();
        program.kill(Whom::Program).unwrap();
        open
    });
    assert_eq!(seen.unwrap(), [1], "one process with one end of a pair of sockets");
    assert_eq!(host.in_order(), Ok(Way::Back));
}

#[test]
fn a_repair_of_a_host_in_order_changes_nothing() {
    let host = Host::new();
    for way in [Way::Back, Way::Forward] {
        let state = Seen::settled(&host.stage);
        let repair = Call { words: vec!["repair".to_owned()], ..host.stage.call(way) };
        let end = kill_at(host.stage.dom0(), &repair, u64::MAX, Whom::Program).unwrap();
        assert!(matches!(end, Ending::Exited { status: 0, .. }), "{end:?}");
        assert_eq!(Seen::settled(&host.stage), state);
        host.stage.succeed(way.opposite());
    }
}
