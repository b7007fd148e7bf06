//! Packets do what the rules say: machines made of network namespaces, joined by veth pairs.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use nftables::{
    Base, Batch, Chain, Connection, DataType, Element, Family, Field, Hook, Ranges, Rule, Selector, Set, Statement, Table, Value,
};
use testbed::machine::{Machine, connect};

fn interface(name: &str) -> Value {
    Value::Interface(name.parse().unwrap())
}

#[test]
fn outside_sees_only_the_router() {
    let [guest, router, outside] = ["guest", "router", "outside"].map(|name| Machine::new(name).unwrap());
    connect(&guest, "eth0", &router, "vif1.0").unwrap();
    connect(&router, "eth0", &outside, "eth0").unwrap();
    for (machine, address, device) in [
        (&guest, "10.0.0.2/24", "eth0"),
        (&router, "10.0.0.1/24", "vif1.0"),
        (&router, "192.0.2.1/24", "eth0"),
        (&outside, "192.0.2.9/24", "eth0"),
    ] {
        machine.ip(&format!("addr add {address} dev {device}")).unwrap();
        machine.ip(&format!("link set {device} up")).unwrap();
    }
    guest.ip("route add default via 10.0.0.1").unwrap();
    router.set_sysctl("net.ipv4.ip_forward", "1").unwrap();

    // The outside has no route to the guest: nothing but masquerading lets it answer.
    let mut table = Table::new(Family::Inet, "xen-nat".parse().unwrap());
    let mut uplinks = Set::new("uplinks".parse().unwrap(), [DataType::Interface]);
    uplinks.elements.push(Element::new([Field::Exact(interface("eth0"))]));
    let mut chain = Chain::base("postrouting".parse().unwrap(), Base::nat(Hook::Postrouting));
    chain.rules.push(Rule::new([Selector::Oifname.is_in(&uplinks.name), Statement::Masquerade]));
    table.sets.push(uplinks);
    table.chains.push(chain);
    let mut batch = Batch::new();
    batch.replace_table(table);
    router.inside(|| Connection::open().unwrap().send(&batch).unwrap()).unwrap();
    guest.run("ping", ["-c1", "-W5", "192.0.2.9"]).unwrap();
}

#[test]
fn bridge_passes_only_the_guests_own_address_and_counts_the_rest() {
    let [guest, host] = ["guest", "host"].map(|name| Machine::new(name).unwrap());
    connect(&guest, "eth0", &host, "vif1.0").unwrap();
    host.ip("link add xenbr0 type bridge forward_delay 0").unwrap();
    host.ip("link set vif1.0 master xenbr0").unwrap();
    host.ip("addr add 10.0.0.1/24 dev xenbr0").unwrap();
    guest.ip("addr add 10.0.0.2/24 dev eth0").unwrap();
    guest.ip("addr add 10.0.0.66/24 dev eth0").unwrap();
    for (machine, device) in [(&host, "xenbr0"), (&host, "vif1.0"), (&guest, "eth0")] {
        machine.ip(&format!("link set {device} up")).unwrap();
    }
    guest.run("ping", ["-c1", "-W5", "-I", "10.0.0.66", "10.0.0.1"]).unwrap();

    let key = [DataType::Interface, DataType::EtherAddress, DataType::Ipv4Address];
    let mac = testbed::machine::stable_mac("guest", "eth0");
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let mut table = Table::new(Family::Bridge, "xen".parse().unwrap());
    let mut addresses = Set::new("addresses".parse().unwrap(), key);
    addresses.ranges = Ranges::Allowed;
    addresses.counters = nftables::Counters::PerElement;
    let own = Field::Prefix(Value::Ipv4Address([10, 0, 0, 0].into()), 30);
    let vif = || Field::Exact(interface("vif1.0"));
    addresses.elements.push(Element::new([vif(), Field::Exact(Value::EtherAddress(mac.try_into().unwrap())), own]));
    let mut forged = Set::new("forged".parse().unwrap(), [DataType::Interface]);
    forged.counters = nftables::Counters::PerElement;
    forged.elements.push(Element::new([vif()]));
    let base = Base::filter(Family::Bridge, Hook::Prerouting);
    let mut chain = Chain::base("from-guest".parse().unwrap(), base);
    let parts = [Selector::Iifname, Selector::EtherSource, Selector::IpSource];
    chain.rules.push(Rule::new([Statement::all_in(parts, &addresses.name), Statement::ACCEPT]));
    chain.rules.push(Rule::new([
        Selector::Protocol.is(nftables::EtherType::IP),
        Selector::Iifname.is_in(&forged.name),
        Statement::DROP,
    ]));
    let sets = [&addresses, &forged].map(|set| (table.id().set(&set.name), set.key.clone(), set.ranges));
    table.sets.extend([addresses, forged]);
    table.chains.push(chain);
    let mut batch = Batch::new();
    batch.add_table(table);
    host.inside(|| Connection::open().unwrap().send(&batch).unwrap()).unwrap();

    guest.run("ping", ["-c1", "-W5", "-I", "10.0.0.2", "10.0.0.1"]).unwrap();
    // What is dropped is dropped before ping has sent its last word, so there is nothing to wait for.
    assert!(guest.run("ping", ["-c1", "-W1", "-I", "10.0.0.66", "10.0.0.1"]).is_err());
    let counted = host.inside(|| {
        let mut kernel = Connection::open().unwrap();
        sets.map(|(set, key, ranges)| kernel.elements(&set, &key, ranges).unwrap().unwrap()[0].traffic.unwrap().packets)
    });
    assert_eq!(counted.unwrap(), [1, 1]);
}
