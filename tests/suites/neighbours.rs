//! Neighbours that are slow, or mean no good: XenStore, the system log, hooks, DHCP servers, other holders of a lock, the kernel's own
//! queue. Every call ends within its bound, says why in one clear line, and leaves a host that the next call puts right.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::Duration;

use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, wait_for};
use testbed::state::State;
use testbed::xenstore_server::{self, Fault, Misbehaviour, Occurrence, Trigger};
use xenstore::Refusal;
use xenstore::wire::Kind;

/// libxl kills after 40 s; the programs promise to have ended by then, with all that they take back (man pages, "EXIT STATUS").
const BOUND: Duration = Duration::from_secs(35);
/// For a neighbour that answers, or does not at all hold anybody up, on a machine with much else to do.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A dom0 with a bridge, and a guest's card that is not online yet.
struct Stage {
    dom0: Dom0,
    vif: Vif,
    _guest: Guest,
    before: State,
}

impl Stage {
    fn new(nic: Nic) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let machine = dom0.machine();
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        // A port that is up from the beginning keeps the bridge's own state out of what is compared.
        let lines = [
            "link add xenbr0 address 02:00:00:00:00:01 type bridge stp_state 0 forward_delay 0",
            "link add in0 type veth peer name out0",
        ];
        let up = ["link set in0 master xenbr0", "link set in0 up", "link set out0 up", "link set xenbr0 up"];
        lines.iter().chain(&up).for_each(|line| drop(machine.ip(line).unwrap()));
        let guest = Guest::new(3).unwrap();
        let vif = guest.attach(&dom0, nic).unwrap();
        dom0.server().clear_log();
        let before = State::settled(dom0.machine()).unwrap();
        Self { dom0, vif, _guest: guest, before }
    }

    fn bridged() -> Self {
        Self::new(Nic { ip: Some("192.168.1.3 2001:db8::3".to_owned()), ..Nic::on_bridge("xenbr0") })
    }

    fn machine(&self) -> &Machine {
        self.dom0.machine()
    }

    fn misbehave(&self, kind: Option<Kind>, occurrence: Occurrence, misbehaviour: Misbehaviour) {
        self.dom0.server().set_behaviour(vec![Fault { trigger: Trigger { kind, below: None, occurrence }, misbehaviour }]);
    }

    fn status(&self) -> String {
        self.vif.backend("hotplug-status").unwrap().unwrap_or_default()
    }

    /// The call has failed in time, with one line that holds these words, and the guest was not connected; nothing that it began is left.
    #[track_caller]
    fn assert_failed(&self, outcome: &Outcome, bound: Duration, words: &[&str]) {
        assert!(outcome.duration < bound, "{:?}: {outcome}", outcome.duration);
        assert_eq!(outcome.status, Some(1), "{outcome}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{word:?} is missing: {outcome}");
        }
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        self.dom0.server().set_behaviour(vec![]);
        assert_ne!(self.status(), "connected");
        self.assert_undone(outcome);
    }

    #[track_caller]
    fn assert_undone(&self, outcome: &Outcome) {
        let left = || Ok(self.before.difference(&State::of(self.machine())?));
        if wait_for("the state before", AT_ONCE, || Ok(left()?.is_empty())).is_err() {
            panic!("left after {outcome}:\n{}", left().unwrap().lines().join("\n"));
        }
    }

    /// The guest goes, and the next one of its number comes.
    fn begin_anew(&self) {
        let offline = self.vif.hotplug(Hotplug::Offline).unwrap();
        assert_eq!(offline.status, Some(0), "{offline}");
        self.assert_undone(&offline);
        self.dom0.store().write(&format!("{}/hotplug-status", self.vif.backend_path()), "").unwrap();
    }

    #[track_caller]
    fn assert_goes_on(&self) {
        self.dom0.server().set_behaviour(vec![]);
        let outcome = self.vif.hotplug(Hotplug::Online).unwrap();
        assert_eq!((outcome.status, self.status().as_str()), (Some(0), "connected"), "{outcome}");
    }
}

/// What a XenStore does to the requests of one kind, and what the program has to say of it.
fn misdeeds() -> Vec<(&'static str, Misbehaviour, &'static [&'static str])> {
    vec![
        ("no room is left for the domain", Misbehaviour::Refuse(Refusal::Equota), &["XenStore refused"]),
        ("not allowed", Misbehaviour::Refuse(Refusal::Eacces), &["XenStore refused"]),
        ("no memory", Misbehaviour::Refuse(Refusal::Enomem), &["XenStore refused"]),
        ("closed", Misbehaviour::Close, &["closed"]),
        ("garbage", Misbehaviour::Garbage(vec![0xff; 64]), &["XenStore"]),
        ("an answer to nobody's question", Misbehaviour::Garbage([[2_u8, 0, 0, 0, 99, 0, 0, 0], [0; 8]].concat()), &["XenStore"]),
    ]
}

#[test]
fn a_store_that_refuses_or_talks_nonsense() {
    let stage = Stage::bridged();
    for (what, misbehaviour, words) in misdeeds() {
        for kind in [Kind::Read, Kind::Write] {
            stage.misbehave(Some(kind), Occurrence::Every, misbehaviour.clone());
            let outcome = stage.vif.hotplug(Hotplug::Online).unwrap();
            println!("{what}, {kind:?}: {outcome}");
            stage.assert_failed(&outcome, AT_ONCE, words);
            stage.assert_goes_on();
            stage.begin_anew();
        }
    }
}

#[test]
fn a_store_that_fails_once_at_any_question_is_the_end_of_one_call_alone() {
    let stage = Stage::bridged();
    for place in 1..=40 {
        stage.misbehave(None, Occurrence::Only(place), Misbehaviour::Close);
        let outcome = stage.vif.hotplug(Hotplug::Online).unwrap();
        if outcome.status == Some(0) && outcome.stderr.is_empty() && place > 20 {
            println!("{} questions", place - 1);
            return;
        }
        assert!(outcome.duration < AT_ONCE, "{outcome}");
        stage.assert_goes_on();
        stage.begin_anew();
    }
    panic!("a call asks XenStore 40 questions and more");
}

/// Runs each case in a thread of its own: they do nothing but wait.
fn all_at_once(cases: Vec<Box<dyn FnOnce() + Send>>) {
    thread::scope(|scope| {
        let running: Vec<_> = cases.into_iter().map(|case| scope.spawn(case)).collect();
        for case in running {
            case.join().unwrap();
        }
    });
}

#[test]
fn neighbours_that_keep_us_waiting() {
    all_at_once(vec![
        Box::new(|| silent_store(Kind::Read, Occurrence::Every, Misbehaviour::NeverAnswer)),
        Box::new(|| silent_store(Kind::Read, Occurrence::Only(3), Misbehaviour::NeverAnswer)),
        Box::new(|| silent_store(Kind::Write, Occurrence::Only(2), Misbehaviour::NeverAnswer)),
        Box::new(|| silent_store(Kind::Read, Occurrence::Every, Misbehaviour::AnswerLate(Duration::from_secs(8)))),
        Box::new(store_that_answers_late),
        Box::new(store_that_does_not_accept),
        Box::new(|| hook_that_hangs("a.hook", "sleep 999 & sleep 999\n")),
        Box::new(|| hook_that_hangs("a.exec", "#!/bin/sh\ntrap '' TERM\nsleep 999 & sleep 999\n")),
        Box::new(lock_that_is_never_released),
        Box::new(everything_is_slow),
        Box::new(silent_store_under_xen_network),
    ]);
}

fn silent_store(kind: Kind, occurrence: Occurrence, misbehaviour: Misbehaviour) {
    let stage = Stage::bridged();
    stage.misbehave(Some(kind), occurrence, misbehaviour);
    let outcome = stage.vif.hotplug(Hotplug::Online).unwrap();
    stage.assert_failed(&outcome, Duration::from_secs(15), &["did not answer"]);
    // What goes must go though nobody says what it was called.
    stage.misbehave(None, Occurrence::Every, Misbehaviour::NeverAnswer);
    let outcome = stage.vif.hotplug(Hotplug::Offline).unwrap();
    assert!(outcome.duration < Duration::from_secs(15) && outcome.status == Some(0), "{outcome}");
    stage.assert_goes_on();
}

/// What only looks shows the rest, and what would remove something does not guess.
fn silent_store_under_xen_network() {
    let stage = Stage::bridged();
    stage.misbehave(None, Occurrence::Every, Misbehaviour::NeverAnswer);
    for words in ["status", "doctor", "gc", "reload"] {
        let outcome = Outcome::of(stage.machine().command("/etc/xen/scripts/xen-network").arg(words)).unwrap();
        assert!(outcome.duration < Duration::from_secs(15), "{words}: {:?}: {outcome}", outcome.duration);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("did not answer") && !said.contains("panicked"), "{words}: {outcome}");
        stage.assert_undone(&outcome);
    }
}

fn store_that_answers_late() {
    let stage = Stage::bridged();
    stage.misbehave(None, Occurrence::Every, Misbehaviour::AnswerLate(Duration::from_millis(700)));
    let outcome = stage.vif.hotplug(Hotplug::Online).unwrap();
    assert!(outcome.status == Some(0) && outcome.duration < Duration::from_secs(20), "{:?}: {outcome}", outcome.duration);
    assert_eq!(stage.status(), "connected");
}

/// A socket with a queue of nobody who takes from it, full.
fn store_that_does_not_accept() {
    let stage = Stage::bridged();
    let _deaf = xenstore_server::deaf(&stage.machine().path("/run/deaf")).unwrap();
    // The first one is in the queue, and gets no answer; the others are not even let into it.
    let outcomes = thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| Outcome::of(&mut deaf_call(&stage)).unwrap())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    for outcome in outcomes {
        stage.assert_failed(&outcome, Duration::from_secs(15), &["did not"]);
    }
}

fn deaf_call(stage: &Stage) -> Command {
    let mut command = stage.vif.hotplug_command(Hotplug::Online);
    command.args(Hotplug::Online.words()).env("XENSTORED_PATH", "/run/deaf");
    command
}

fn hook_that_hangs(name: &str, body: &str) {
    let stage = Stage::bridged();
    stage.machine().write_program(format!("/etc/xen/scripts/vif-post.d/{name}"), body).unwrap();
    let processes = stage.machine().processes().unwrap();
    let outcome = stage.vif.hotplug(Hotplug::Online).unwrap();
    stage.assert_failed(&outcome, BOUND, &[name, "did not end"]);
    let shown = stage.vif.backend("hotplug-error").unwrap().unwrap();
    assert!(!shown.contains('/'), "a guest is told of the host: {shown}");
    let left = || stage.machine().processes().unwrap().into_iter().filter(|process| !processes.contains(process));
    let gone = wait_for("the end of the hook's children", AT_ONCE, || Ok(!left().any(is_sleep)));
    assert!(gone.is_ok(), "children of a hook go on");
}

fn is_sleep(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "sleep")
}

/// ISC dhcpd as far as a vif program looks at it, whose restart does this.
fn install_dhcpd(machine: &Machine, restart: &str) {
    machine.shell("mount -t tmpfs none /usr/local/sbin; rm -f /etc/dhcpd.conf; mkdir -p /etc/dhcp").unwrap();
    machine.write_program("/usr/local/sbin/dhcpd", "#!/bin/sh\n").unwrap();
    machine.write_file("/etc/dhcp/dhcpd.conf", "subnet 10.0.0.0 netmask 255.0.0.0 { }\n").unwrap();
    machine.write_program("/etc/init.d/isc-dhcp-server", format!("#!/bin/sh\n{restart}\n")).unwrap();
}

fn translated_call(stage: &Stage, hotplug: Hotplug) -> Command {
    let mut command = stage.vif.hotplug_command(hotplug);
    command.arg("dhcp=dhcpd").args(hotplug.words());
    command
}

fn lock_that_is_never_released() {
    let stage = Stage::new(Nic::routed("vif-nat", ""));
    install_dhcpd(stage.machine(), "true");
    let _holder = hold_the_lock(stage.machine());
    let outcome = Outcome::of(&mut translated_call(&stage, Hotplug::Online)).unwrap();
    stage.assert_failed(&outcome, BOUND, &["vif-nat-dhcp", "holds"]);
}

fn hold_the_lock(machine: &Machine) -> testbed::machine::Running {
    machine.shell("mkdir -m 755 -p /run/xen-hotplug").unwrap();
    let mut flock = machine.command("flock");
    let holder = machine.spawn(flock.args(["--close", "/run/xen-hotplug/vif-nat-dhcp", "sleep", "999"])).unwrap();
    let held = || Ok(machine.shell("flock -n /run/xen-hotplug/vif-nat-dhcp true").is_err());
    wait_for("the lock to be held", AT_ONCE, held).unwrap();
    holder
}

/// Limits of single waits that add up to more than a minute.
fn everything_is_slow() {
    let stage = Stage::new(Nic::routed("vif-nat", ""));
    install_dhcpd(stage.machine(), "sleep 999");
    stage.machine().write_program("/etc/xen/scripts/vif-post.d/a.hook", "sleep 999\n").unwrap();
    stage.misbehave(None, Occurrence::Every, Misbehaviour::AnswerLate(Duration::from_millis(300)));
    let holder = hold_the_lock(stage.machine());
    let outcome = thread::scope(|scope| {
        let call = scope.spawn(|| Outcome::of(&mut translated_call(&stage, Hotplug::Online)).unwrap());
        thread::sleep(Duration::from_secs(12)); // How long the other one has the lock.
        drop(holder);
        call.join().unwrap()
    });
    stage.assert_failed(&outcome, BOUND, &["did not end"]);
}

#[test]
fn a_system_log_that_nobody_reads() {
    let stage = Stage::bridged();
    stage.machine().shell("rm /dev/log").unwrap();
    let full = UnixDatagram::bind(stage.machine().path("/dev/log")).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    sender.connect(stage.machine().path("/dev/log")).unwrap();
    while sender.send(b"<30>more").is_ok() {}
    let outcome = stage.vif.hotplug(Hotplug::Online).unwrap();
    assert!(outcome.status == Some(0) && outcome.duration < AT_ONCE, "{:?}: {outcome}", outcome.duration);
    assert_eq!(stage.status(), "connected");
    drop(full);
}

#[test]
fn a_dhcp_server_that_cannot_restart_is_a_warning() {
    for restart in ["exit 1", "kill -SEGV $$"] {
        let stage = Stage::new(Nic::routed("vif-nat", ""));
        install_dhcpd(stage.machine(), restart);
        for hotplug in [Hotplug::Online, Hotplug::Offline] {
            let outcome = Outcome::of(&mut translated_call(&stage, hotplug)).unwrap();
            assert!(outcome.status == Some(0) && outcome.duration < AT_ONCE, "{outcome}");
            assert!(outcome.stderr.contains("/etc/init.d/isc-dhcp-server restart"), "{outcome}");
        }
    }
}

/// The kernel's answer is lost: the call ends by saying so, or has done all, and the next one puts everything right.
#[test]
fn a_netlink_socket_that_overruns() {
    let mut failures = 0;
    let stage = Stage::bridged();
    for place in 1..200 {
        let mut command = Command::new("strace");
        let call = stage.vif.hotplug_command(Hotplug::Online);
        let inject = format!("inject=recvfrom:error=ENOBUFS:when={place}");
        command.args(["-qq", "-e", "trace=recvfrom", "-e", &inject, "-o"]).arg(stage.machine().path("/run/trace"));
        command.arg(call.get_program()).args(call.get_args()).args(Hotplug::Online.words());
        command.env_clear().envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let outcome = Outcome::of(&mut command).unwrap();
        let trace = stage.machine().read_file("/run/trace").unwrap();
        if !trace.contains("ENOBUFS") {
            assert_eq!(outcome.status, Some(0), "{outcome}");
            assert!(failures > 0, "no answer that was lost was missed");
            println!("{} answers, {failures} of which had to be there", place - 1);
            return;
        }
        if outcome.status == Some(1) {
            failures += 1;
            stage.assert_failed(&outcome, AT_ONCE, &[]);
        }
        stage.assert_goes_on();
        stage.begin_anew();
    }
    panic!("a call has 200 answers and more");
}
