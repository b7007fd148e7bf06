//! What a change costs, in microseconds (median and greatest of many): run it in a network namespace of its own,
//! `unshare --net target/release/examples/cost [ELEMENTS]`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A tool for developers.

use std::time::{Duration, Instant};

use nftables::{Batch, Connection, DataType, Element, Family, Field, Ranges, Set, SetId, Table, Timeouts, Value};

const ROUNDS: u32 = 200;

fn main() {
    let present = std::env::args().nth(1).map_or(10, |word| word.parse().expect("a number of elements"));
    let mut table = Table::new(Family::Bridge, "cost".parse().unwrap());
    let mut guests = Set::new("guests".parse().unwrap(), KEY);
    guests.timeouts = Timeouts::Allowed;
    guests.elements = (0..present).map(guest).collect();
    let set = table.id().set(&guests.name);
    table.sets.push(guests);
    let mut batch = Batch::new();
    batch.replace_table(table);
    report("replace the table", 1, |kernel, _| kernel.send(&batch).unwrap());
    println!("{present} elements in the set, {ROUNDS} rounds");
    report("nothing", ROUNDS, |_, _| ());
    report("has_set", ROUNDS, |kernel, _| assert!(kernel.has_set(&set).unwrap()));
    report("add an element", ROUNDS, |kernel, round| kernel.send(&change(&set, present + round, Batch::add_elements)).unwrap());
    report("delete an element", ROUNDS, |kernel, round| {
        kernel.send(&change(&set, present + round, Batch::delete_elements)).unwrap();
    });
    report("let one expire", ROUNDS.min(present), |kernel, round| kernel.send(&expiry(&set, round)).unwrap());
    report("chains", ROUNDS, |kernel, _| drop(kernel.chains().unwrap()));
}

const KEY: [DataType; 3] = [DataType::Interface, DataType::EtherAddress, DataType::Ipv4Address];

fn guest(number: u32) -> Element {
    let [a, b, c, d] = number.to_be_bytes();
    let vif = Value::Interface(format!("vif{number}.0").parse().unwrap());
    let mac = Value::EtherAddress([0, 0x16, a, b, c, d]);
    Element::new([vif, mac, Value::Ipv4Address([10, b, c, d].into())].map(Field::Exact))
}

fn change(set: &SetId, number: u32, act: fn(&mut Batch, SetId, Ranges, Vec<Element>)) -> Batch {
    let mut batch = Batch::new();
    act(&mut batch, set.clone(), Ranges::None, vec![guest(number)]);
    batch
}

/// Linux 6.12 and later change the end of an element that is there; that spares the wait of a deletion.
fn expiry(set: &SetId, number: u32) -> Batch {
    let mut batch = Batch::new();
    batch.add_elements(set.clone(), Ranges::None, vec![guest(number).with_timeout(Duration::from_millis(1))]);
    batch
}

/// Does it again and again, each time on a socket of its own, and prints what opening, doing and closing took.
fn report(what: &str, rounds: u32, act: impl Fn(&mut Connection, u32)) {
    let mut times = [const { Vec::new() }; 3];
    for round in 0..rounds {
        let begin = Instant::now();
        let mut kernel = Connection::open().unwrap();
        let opened = Instant::now();
        act(&mut kernel, round);
        let done = Instant::now();
        drop(kernel);
        let spans = [opened - begin, done - opened, done.elapsed()];
        times.iter_mut().zip(spans).for_each(|(list, span)| list.push(span));
    }
    let shown = times.map(|mut list| {
        list.sort();
        format!("{:>8.1} ({:>8.1})", list[list.len() / 2].as_secs_f64() * 1e6, list[list.len() - 1].as_secs_f64() * 1e6)
    });
    println!("{what:20} open {}  do {}  close {}", shown[0], shown[1], shown[2]);
}
