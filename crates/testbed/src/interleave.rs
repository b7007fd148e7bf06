//! Lets several programs run at the same time in an order that a seed decides: one of them goes on for some system calls, then another.
//!
//! What happens outside the programs, such as a device that disappears, is an act that takes its turn among them. The order is the same for the same
//! seed; what the kernel does by itself in between (a timer, a queue) is not, and neither is how long a program waits.

use std::io;

use crate::bench::process::Call;
use crate::follow::{Followed, Step, Whom};
use crate::machine::{Error, Machine, Result};

/// Random numbers, the same for the same seed (George Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (14), 2003).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds are to have nothing in common, and 0 would stay 0.
        Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % end.max(1)
    }
}

/// Something that takes its turn.
pub enum Party<'a> {
    /// A program, run to its end.
    Program(Call),
    /// A program that is killed at one of its first calls, so many at most.
    Victim(Call, usize),
    /// A program that begins once all acts have happened.
    After(Call),
    /// Something else that happens once, some time; the first number is how many turns of others may go before it at most.
    Act(usize, Box<dyn FnMut() -> Result<()> + Send + 'a>),
}

/// What became of a program; nothing of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The exit status; none after a signal.
    pub status: Option<i32>,
    /// What it wrote to standard error.
    pub complaint: String,
}

/// Longest stretch of system calls that a program makes in one turn.
const STRETCH_MAX: usize = 24;

/// Lets all parties run in a machine, and gives the ends of the programs, in their order.
///
/// # Errors
/// When a program cannot be followed, or an act fails.
pub fn run(machine: &Machine, parties: Vec<Party<'_>>, random: &mut Random) -> Result<Vec<End>> {
    machine.inside(|| interleave(parties, random))?.map_err(Error::in_act("interleave programs"))
}

enum Running<'a> {
    Program(Followed, Option<u64>),
    Act(usize, Box<dyn FnMut() -> Result<()> + Send + 'a>),
    Later(Call),
    Ended(Option<End>),
}

fn interleave(parties: Vec<Party<'_>>, random: &mut Random) -> io::Result<Vec<End>> {
    let mut start = |party| -> io::Result<Running<'_>> {
        Ok(match party {
            Party::Program(call) => Running::Program(Followed::start(&call)?, None),
            Party::Victim(call, last) => Running::Program(Followed::start(&call)?, Some(1 + random.below(last) as u64)),
            Party::After(call) => Running::Later(call),
            Party::Act(before, act) => Running::Act(random.below(before + 1), act),
        })
    };
    let mut running = parties.into_iter().map(&mut start).collect::<io::Result<Vec<_>>>()?;
    loop {
        let waiting: Vec<usize> = (0..running.len()).filter(|place| !matches!(running[*place], Running::Ended(_))).collect();
        if waiting.is_empty() {
            break;
        }
        let chosen = waiting[random.below(waiting.len())];
        let acts_left = running.iter().any(|party| matches!(party, Running::Act(..)));
        let party = std::mem::replace(&mut running[chosen], Running::Ended(None));
        if let Running::Later(call) = &party
            && !acts_left
        {
            running[chosen] = Running::Program(Followed::start(call)?, None);
            continue;
        }
        // An act that waits for others has its turn once there are none.
        let alone = waiting.iter().all(|place| *place == chosen || matches!(running[*place], Running::Act(..) | Running::Later(_)));
        running[chosen] = turn(party, 1 + random.below(STRETCH_MAX), alone)?;
    }
    Ok(running.into_iter().filter_map(|party| if let Running::Ended(end) = party { end } else { None }).collect())
}

fn turn(party: Running<'_>, calls: usize, alone: bool) -> io::Result<Running<'_>> {
    match party {
        Running::Act(turns, act) if turns > 0 && !alone => Ok(Running::Act(turns - 1, act)),
        Running::Act(_, mut act) => act().map(|()| Running::Ended(None)).map_err(io::Error::other),
        Running::Program(mut program, last) => {
            for _ in 0..calls {
                if last.is_some_and(|last| program.calls() >= last) {
                    let complaint = program.complaint()?;
                    program.kill(Whom::Program)?;
                    return Ok(Running::Ended(Some(End { status: None, complaint })));
                }
                let status = match program.enter_next()? {
                    // Who sleeps gives his turn away: what he waits for is in the hands of the others.
                    Step::Stopped if program.wants_to_sleep()? => break,
                    Step::Stopped => continue,
                    Step::Exited(status) => Some(status),
                    Step::Signaled(_) => None,
                };
                return Ok(Running::Ended(Some(End { status, complaint: program.complaint()? })));
            }
            Ok(Running::Program(program, last))
        }
        other @ (Running::Later(_) | Running::Ended(_)) => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Call {
        Call { program: "/bin/sh".to_owned(), words: vec!["-c".to_owned(), text.to_owned()], environment: Vec::new() }
    }

    #[test]
    fn the_same_seed_gives_the_same_order_and_another_another() {
        let machine = Machine::new("dom0").unwrap();
        let order = |seed| {
            machine.shell("rm -f /run/order").unwrap();
            let write = |word: &str| Party::Program(shell(&format!("for i in 1 2 3 4 5 6 7 8; do echo {word} >>/run/order; done")));
            let ends = run(&machine, vec![write("a"), write("b")], &mut Random::new(seed)).unwrap();
            assert!(ends.iter().all(|end| end.status == Some(0)), "{ends:?}");
            machine.read_file("/run/order").unwrap()
        };
        assert_eq!(order(1), order(1));
        let orders: std::collections::BTreeSet<String> = (0..8).map(order).collect();
        assert!(orders.len() > 1, "{orders:?}");
    }
}
