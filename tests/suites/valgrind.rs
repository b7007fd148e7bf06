//! The programs under valgrind's memcheck, which sees a read of what was never written and a step out of an allocation:
//! for the parts that the compiler does not vouch for (the start, the allocator, the child that keeps a socket, system calls by number).
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::process::Command;

use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome};
use testbed::machine::{Machine, Programs};

/// What memcheck ends a program with that did something wrong.
const FAULT: i32 = 99;

/// The call under memcheck; what it says goes to a file.
fn checked(machine: &Machine, call: &Command) -> Outcome {
    let mut command = machine.command("valgrind");
    command.args(["--quiet", &format!("--error-exitcode={FAULT}"), "--trace-children=yes", "--child-silent-after-fork=no"]);
    command.arg("--log-file=/run/memcheck.%p");
    command.args(call.get_args().skip_while(|word| *word != "--").skip(1));
    command.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Outcome::of(&mut command).unwrap()
}

#[track_caller]
fn assert_clean(machine: &Machine, call: &Command) {
    machine.shell("rm -f /run/memcheck.*").unwrap();
    let outcome = checked(machine, call);
    let said = machine.shell("cat /run/memcheck.*").unwrap();
    assert_eq!((outcome.status, said.as_str()), (Some(0), ""), "{outcome}");
}

#[test]
fn memcheck_finds_nothing() {
    let dom0 = Dom0::new("dom0").unwrap();
    let machine = dom0.machine();
    machine.install_scripts(&Programs::ours().unwrap()).unwrap();
    machine
        .shell(
            "ip link add xenbr0 type bridge; ip link set xenbr0 up
             ip link add eth0 type veth peer name far0; ip link set eth0 up; ip link set far0 up
             ip address add 192.168.1.100/24 dev eth0; ip route add default via 192.168.1.1",
        )
        .unwrap();
    let nics = [
        Nic { ip: Some("192.168.9.1 2001:db8:9::1".to_owned()), ..Nic::on_bridge("xenbr0") },
        Nic::routed("vif-route", "192.168.2.2 2001:db8:2::2"),
        Nic::routed("vif-nat", "192.168.3.2"),
    ];
    for (domain, nic) in (1..).zip(nics) {
        let guest = Guest::new(domain).unwrap();
        let vif = guest.attach(&dom0, nic).unwrap();
        for hotplug in [Hotplug::Online, Hotplug::Offline] {
            let mut call = vif.hotplug_command(hotplug);
            call.args(hotplug.words());
            assert_clean(machine, &call);
        }
    }
    for words in
        ["network-bridge start netdev=eth0 bridge=br9 check=no", "network-bridge stop netdev=eth0 bridge=br9", "xen-network status"]
    {
        let mut words = words.split(' ');
        let mut call = machine.command(format!("/etc/xen/scripts/{}", words.next().unwrap()));
        call.args(words);
        assert_clean(machine, &call);
    }
}
