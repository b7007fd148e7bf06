//! What our entries in the packet filter look like to nft(8) and to iptables, and that nothing else in it changes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on is to fail

use std::collections::BTreeSet;

use hotplug::apply::{Effects, FailureKind};
use hotplug::firewall::{AcceptPlace, ForwardAccept, Masquerade, Traffic};
use hotplug::host::{Family, Host};
use hotplug::interface_name::InterfaceName;
use hotplug::operation::Operation;
use hotplug::system::System;
use testbed::machine::Machine;

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

fn nft(machine: &Machine, script: &str) {
    machine.write_file("/tmp/script", script).unwrap();
    machine.run("nft", ["-f", "/tmp/script"]).unwrap();
}

fn ruleset(machine: &Machine) -> String {
    machine.run("nft", ["list", "ruleset"]).unwrap()
}

fn perform(machine: &Machine, operations: &[Operation]) {
    let failures: Vec<String> = machine
        .inside(|| {
            let mut system = System::open();
            operations.iter().filter_map(|operation| system.perform(operation).err()).map(|failure| failure.to_string()).collect()
        })
        .unwrap();
    assert!(failures.is_empty(), "{failures:?}");
}

/// What lets `device` pass in every chain that drops.
fn accepts(host: &Host, device: &str) -> Vec<ForwardAccept> {
    let chains = host.dropping_chains.iter();
    chains
        .map(|dropping| ForwardAccept {
            chain: dropping.chain.clone(),
            place: dropping.place,
            device: name(device),
            traffic: Traffic::FromAndTo,
        })
        .collect()
}

fn seen(machine: &Machine, devices: &[&str]) -> Host {
    let devices: Vec<InterfaceName> = devices.iter().map(|device| name(device)).collect();
    machine
        .inside(|| {
            let mut host = Host::default();
            System::open().observe_forwarding(&mut host, &devices).map(|()| host)
        })
        .unwrap()
        .unwrap()
}

#[test]
fn masquerading_is_one_rule_a_family_whatever_the_number_of_devices() {
    let machine = Machine::new("dom0").unwrap();
    nft(
        &machine,
        "table ip nat {\n chain postrouting {\n type nat hook postrouting priority 100;\n oifname \"tun0\" masquerade\n }\n}\n",
    );
    let before = ruleset(&machine);
    let eth0 = Masquerade { family: Family::V4, device: name("eth0") };
    let eth1 = Masquerade { family: Family::V6, device: name("eth1") };
    perform(&machine, &[Operation::AddMasquerade(eth0.clone()), Operation::AddMasquerade(eth0.clone())]);
    perform(&machine, &[Operation::AddMasquerade(eth1.clone())]);
    let text = machine.run("nft", ["list", "table", "inet", "xen-network"]).unwrap();
    assert_eq!(text.matches("masquerade\n").count(), 2, "{text}");
    for line in [
        "elements = { \"eth0\" }",
        "elements = { \"eth1\" }",
        "meta nfproto ipv4 oifname @masquerade4 masquerade",
        "meta nfproto ipv6 oifname @masquerade6 masquerade",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    let masquerades = machine.inside(|| System::open().masquerades()).unwrap().unwrap();
    assert_eq!(masquerades, BTreeSet::from([eth0.clone(), eth1.clone()]));
    perform(&machine, &[Operation::DeleteMasquerade(eth0.clone()), Operation::DeleteMasquerade(eth1)]);
    assert_eq!(ruleset(&machine), before);
    let again = machine.inside(|| System::open().perform(&Operation::DeleteMasquerade(eth0))).unwrap();
    assert_eq!(again.unwrap_err().kind, FailureKind::Absent);
}

/// Chains of an administrator: one that drops by its policy, one that rejects at its end, one that lets everything pass, and one at another hook.
const OTHERS: &str = "
table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; iifname \"docker0\" accept; }
    chain INPUT { type filter hook input priority filter; policy drop; }
}
table inet mine {
    chain closed { type filter hook forward priority 10; policy accept; iifname \"eth9\" accept; ct state invalid drop; counter reject; }
    chain open { type filter hook forward priority 20; policy accept; iifname \"eth9\" drop; }
}
";

#[test]
fn an_accept_stands_where_a_chain_decides_and_goes_without_a_trace() {
    let machine = Machine::new("dom0").unwrap();
    nft(&machine, OTHERS);
    let before = ruleset(&machine);
    let host = seen(&machine, &["vif1.0"]);
    let chains: Vec<String> = host.dropping_chains.iter().map(|dropping| dropping.chain.to_string()).collect();
    assert_eq!(chains, ["ip filter FORWARD", "inet mine closed"]);
    assert_eq!(host.dropping_chains[0].place, AcceptPlace::End);
    assert!(matches!(host.dropping_chains[1].place, AcceptPlace::Before(_)));
    assert!(host.forward_accepts.is_empty());
    let accepts = [accepts(&host, "vif1.0"), accepts(&host, "vif1.1")].concat();
    perform(&machine, &accepts.iter().cloned().map(Operation::AddForwardAccept).collect::<Vec<_>>());
    let text = ruleset(&machine);
    let rule = "iifname \"vif1.0\" counter packets 0 bytes 0 accept comment \"xen-network:vif1.0\"";
    assert_eq!(text.matches(rule).count(), 2, "{text}");
    let place = |pattern: &str| text.find(pattern).unwrap_or_else(|| panic!("{pattern} is not in:\n{text}"));
    assert!(place("\"docker0\" accept") < place(rule));
    assert!(text.rfind(rule).unwrap() < place("reject"));
    assert_eq!(seen(&machine, &["vif1.0"]).forward_accepts.len(), 2);
    perform(&machine, &accepts.into_iter().map(Operation::DeleteForwardAccept).collect::<Vec<_>>());
    assert_eq!(ruleset(&machine), before);
}

#[test]
fn chains_of_iptables_nft_are_still_read_by_it() {
    let machine = Machine::new("dom0").unwrap();
    machine.run("iptables-nft", ["-P", "FORWARD", "DROP"]).unwrap();
    machine.run("ip6tables-nft", ["-P", "FORWARD", "DROP"]).unwrap();
    let before = machine.run("iptables-nft-save", [""; 0]).unwrap();
    let host = seen(&machine, &["vif1.0"]);
    assert_eq!(host.dropping_chains.len(), 2);
    let accepts = accepts(&host, "vif1.0");
    perform(&machine, &accepts.iter().cloned().map(Operation::AddForwardAccept).collect::<Vec<_>>());
    for tool in ["iptables-nft", "ip6tables-nft"] {
        let text = machine.run(tool, ["-S", "FORWARD"]).unwrap();
        for direction in ["-i", "-o"] {
            let rule = format!("-A FORWARD {direction} vif1.0 -m comment --comment \"xen-network:vif1.0\" -j ACCEPT");
            assert!(text.contains(&rule), "{rule} is not in:\n{text}");
        }
    }
    perform(&machine, &accepts.into_iter().map(Operation::DeleteForwardAccept).collect::<Vec<_>>());
    let without_date = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_date(&machine.run("iptables-nft-save", [""; 0]).unwrap()), without_date(&before));
}

#[test]
fn chains_of_iptables_legacy_are_served_by_its_own_tool() {
    let machine = Machine::new("dom0").unwrap();
    for tool in ["iptables-legacy", "ip6tables-legacy"] {
        machine.run(tool, ["-P", "FORWARD", "DROP"]).unwrap();
        machine.run(tool, ["-A", "FORWARD", "-i", "docker0", "-j", "ACCEPT"]).unwrap();
    }
    let saved = || machine.run("iptables-legacy", ["-S"]).unwrap() + &machine.run("ip6tables-legacy", ["-S"]).unwrap();
    let before = saved();
    let host = seen(&machine, &["vif1.0"]);
    assert_eq!(host.dropping_chains.len(), 2);
    let accepts = accepts(&host, "vif1.0");
    perform(&machine, &accepts.iter().cloned().map(Operation::AddForwardAccept).collect::<Vec<_>>());
    assert_eq!(saved().matches("xen-network:vif1.0").count(), 4, "{}", saved());
    assert_eq!(seen(&machine, &["vif1.0"]).forward_accepts.len(), 2);
    perform(&machine, &accepts.into_iter().map(Operation::DeleteForwardAccept).collect::<Vec<_>>());
    assert_eq!(saved(), before);
}
