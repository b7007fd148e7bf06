//! Servers of the host that read their configuration anew.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::child::{find_program, run_to_end};
use crate::operation::Service;

/// How long a server may take to stop and to start again: half of what libxl gives a whole hotplug program (`LIBXL_HOTPLUG_TIMEOUT`, 40 s).
/// Debian's init scripts sleep for 2 s of it.
const LIMIT: Duration = Duration::from_secs(20);

/// Has a server read its configuration anew.
///
/// # Errors
/// When it cannot be told to, or does not start again. [`ErrorKind::NotFound`] when there is no process that a signal could go to.
pub(super) fn restart(service: &Service) -> io::Result<()> {
    match service {
        Service::Systemd(unit) => {
            let systemctl = find_program("systemctl").ok_or_else(|| io::Error::other("there is no systemctl: install systemd"))?;
            let waiting: &[&str] = match started_by(&SystemdStart::of_this_process()) {
                Starter::Systemd => &["--no-block"],
                Starter::Other => &[],
            };
            run_to_end(&systemctl, &[waiting, &["restart", unit]].concat(), LIMIT).map_err(io::Error::other)
        }
        Service::InitScript(path) => run_to_end(path, &["restart"], LIMIT).map_err(io::Error::other),
        Service::HangUp { pid_file, program } => hang_up(Path::new("/proc"), pid_file, program),
    }
}

/// Who started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starter {
    /// systemd, as the command of a unit, or a shell that is such a command. Units of DHCP servers are ordered after ours: a restart of
    /// theirs begins when we have ended, and whoever waited for it here would wait for himself.
    Systemd,
    /// Anybody else.
    Other,
}

/// What tells who started a process.
struct SystemdStart {
    /// The process that systemd started: `SYSTEMD_EXEC_PID`, systemd.exec(5), since systemd 248. Children inherit it.
    started: Option<u32>,
    own: u32,
    parent: u32,
}

impl SystemdStart {
    fn of_this_process() -> Self {
        let started = std::env::var("SYSTEMD_EXEC_PID").ok().and_then(|text| text.parse().ok());
        Self { started, own: std::process::id(), parent: std::os::unix::process::parent_id() }
    }
}

fn started_by(start: &SystemdStart) -> Starter {
    match start.started {
        Some(pid) if pid == start.own || pid == start.parent => Starter::Systemd,
        _ => Starter::Other,
    }
}

/// Sends SIGHUP to the process that a file names, if it is one of `program`: the file may outlive its process, and the number may be another
/// one's by now.
fn hang_up(processes: &Path, pid_file: &Path, program: &str) -> io::Result<()> {
    let text = fs::read_to_string(pid_file)?;
    // 0 and negative numbers stand for groups of processes (kill(2)), and 1 is nobody's server.
    let Some(pid) = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1) else {
        return Err(io::Error::other(format!("{} holds no process id", pid_file.display())));
    };
    let name = fs::read_to_string(processes.join(pid.to_string()).join("comm"))?;
    if name.trim_end() != program {
        return Err(ErrorKind::NotFound.into());
    }
    match kill(Pid::from_raw(pid), Signal::SIGHUP) {
        Err(Errno::ESRCH) => Err(ErrorKind::NotFound.into()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, Service) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        (folder, Service::InitScript(path))
    }

    #[test]
    fn only_a_units_own_command_was_started_by_systemd() {
        let by = |started| started_by(&SystemdStart { started, own: 70, parent: 60 });
        assert_eq!([by(Some(70)), by(Some(60))], [Starter::Systemd; 2]);
        // xl in xendomains.service, say, has the variable of the script that runs it.
        assert_eq!([by(Some(50)), by(None)], [Starter::Other; 2]);
    }

    #[test]
    fn an_init_script_is_told_to_restart() {
        let (folder, service) = script("#!/bin/sh\necho \"$@\" >\"$(dirname \"$0\")/words\"\n");
        restart(&service).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("words")).unwrap(), "restart\n");
    }

    #[test]
    fn what_a_script_says_last_is_told() {
        let (_folder, service) = script("#!/bin/sh\necho one\necho 'no such subnet' >&2\nexit 3\n");
        let error = restart(&service).unwrap_err().to_string();
        assert!(error.ends_with("restart ended with exit status: 3: no such subnet"), "{error}");
    }

    #[test]
    fn a_missing_script_is_a_failure_and_not_an_absence() {
        let error = restart(&Service::InitScript("/nowhere/server".into())).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::NotFound);
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    fn told(pid: &str, program: &str) -> io::Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        fs::write(&pid_file, pid).unwrap();
        hang_up(Path::new("/proc"), &pid_file, program)
    }

    #[test]
    fn a_server_gets_the_signal() {
        let mut child = sleeper();
        // Until its program is loaded, it bears our name.
        while fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap() != "sleep\n" {}
        told(&format!("{}\n", child.id()), "sleep").unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGHUP as i32));
    }

    #[test]
    fn nobody_else_gets_it() {
        let mut child = sleeper();
        let error = told(&child.id().to_string(), "dnsmasq").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told(&child.id().to_string(), "sleep").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn hostile_files_name_nobody() {
        for text in ["", "0", "-1", "1", "+7 8", "99999999999999999999", "self", "../1"] {
            told(text, "sleep").unwrap_err();
        }
    }
}
