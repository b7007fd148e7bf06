//! Kills a program at any one of its system calls, as a toolstack may that has lost patience.

use crate::bench::process::Call;
pub use crate::follow::Whom;
use crate::follow::{Followed, Step};
use crate::machine::{Error, Machine, Result};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By SIGKILL, before its system call of the number that was asked for had any effect.
    Killed,
    /// By itself, with this exit status, after so many system calls.
    Exited {
        /// The exit status.
        status: i32,
        /// How often it had entered the kernel by a system call.
        calls: u64,
    },
}

/// Runs a program in a machine and kills it where it enters its system call number `call`, counted from 1 behind the start of the program.
/// Its children live on unless `whom` says otherwise: libxl, too, kills one process (libxl_aoutils.c, `libxl__async_exec_timeout`).
///
/// # Errors
/// When it cannot be started or followed, or when another signal ends it.
pub fn kill_at(machine: &Machine, program: &Call, call: u64, whom: Whom) -> Result<Ending> {
    let act = || format!("kill {} at its system call {call}", program.program);
    let follow = || {
        let mut followed = Followed::start(program)?;
        loop {
            match followed.enter_next()? {
                Step::Stopped if followed.calls() == call => return followed.kill(whom).map(|()| Ending::Killed),
                Step::Stopped => {}
                Step::Exited(status) => return Ok(Ending::Exited { status, calls: followed.calls() }),
                Step::Signaled(signal) => return Err(std::io::Error::other(format!("{signal} ended it"))),
            }
        }
    };
    machine.inside(follow)?.map_err(Error::in_act(act()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Call {
        Call { program: "/bin/sh".to_owned(), words: vec!["-c".to_owned(), text.to_owned()], environment: Vec::new() }
    }

    #[test]
    fn a_program_gets_as_far_as_the_call_before() {
        let machine = Machine::new("dom0").unwrap();
        let program = shell("echo x >/run/one; echo x >/run/other; exit 3");
        let Ending::Exited { status: 3, calls } = kill_at(&machine, &program, u64::MAX, Whom::Program).unwrap() else {
            panic!("it ended otherwise");
        };
        let mut seen = Vec::new();
        for call in 1..=calls {
            machine.shell("rm -f /run/one /run/other").unwrap();
            assert_eq!(kill_at(&machine, &program, call, Whom::Program).unwrap(), Ending::Killed);
            seen.push(["one", "other"].map(|name| machine.path(format!("/run/{name}")).exists()));
        }
        seen.dedup();
        assert_eq!(seen, [[false, false], [true, false], [true, true]]);
    }
}
