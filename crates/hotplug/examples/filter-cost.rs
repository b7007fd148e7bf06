//! What a guest's filter costs when it comes, changes and goes, with few and with many others there: medians in microseconds, each with
//! connections of its own that are opened and closed. Run it in a network namespace of its own, as root:
//! `unshare --net target/release/examples/filter-cost`.
//!
//! At last the first guest of a host, whose tables it makes, and many guests that come at once to a host without any.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A tool for developers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use hotplug::apply::Effects;
use hotplug::guest_filter::{GuestFilter, Strictness, Tags, Way};
use hotplug::host::Host;
use hotplug::mac_address::MacAddress;
use hotplug::operation::{Operation, Unfilter};
use hotplug::plan::guest_filter::holding;
use hotplug::system::System;

const ROUNDS: u32 = 200;
const STORMS: u32 = 20;
/// Behind all guests that are there already.
const NEW: u32 = 20_000;

fn main() {
    let mut before: Option<[Duration; 3]> = None;
    for present in [10, 100, 1_000, 4_000, 10, 4_000] {
        only((0..present).map(guest).collect());
        let medians = [set, change, delete].map(|act| median((0..ROUNDS).map(|round| act(NEW + round)).collect()));
        let [set, change, delete] = medians.map(|time| time.as_secs_f64() * 1e6);
        print!("{present:>6} guests: set {set:7.1}  change {change:7.1}  delete {delete:7.1}");
        if let Some(first) = before {
            let ratios = medians.iter().zip(first).map(|(now, then)| format!("{:.2}", now.as_secs_f64() / then.as_secs_f64()));
            print!("  × those with 10: {}", ratios.collect::<Vec<_>>().join(" "));
        }
        println!();
        before.get_or_insert(medians);
    }
    only(vec![]);
    let first = median((0..ROUNDS).map(|_| first()).collect());
    println!("first guest of a host: {:.1}", first.as_secs_f64() * 1e6);
    for guests in [32, 128] {
        let mut times: Vec<Duration> = (0..STORMS).map(|_| storm(guests)).collect();
        times.sort();
        let [median, most] = [times[times.len() / 2], times[times.len() - 1]].map(|time| time.as_secs_f64() * 1e3);
        println!("{guests} first guests at once: all filtered after {median:.1} ms, {most:.1} ms at most of {STORMS}");
    }
}

/// It comes, and goes with the tables, which is not counted.
fn first() -> Duration {
    let time = set(NEW);
    perform(&Operation::DeleteGuestFilter { filter: guest(NEW), when: Unfilter::Now });
    time
}

/// Until the last of them has its filter.
fn storm(guests: u32) -> Duration {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..guests {
            scope.spawn(move || set(NEW + number));
        }
    });
    let time = begin.elapsed();
    let mut system = System::open();
    assert_eq!(system.every_guest_filter().expect("the guests are listed").len(), guests as usize);
    drop(system);
    only(vec![]);
    time
}

/// These guests and no others. Those that nobody has listed before are taken for new ones, and stay.
fn only(filters: Vec<GuestFilter>) {
    let mut system = System::open();
    system.every_guest_filter().expect("the guests are listed");
    system.perform(&Operation::ReplaceGuestFilters(filters)).expect("nf_tables and CAP_NET_ADMIN are needed");
}

fn guest(number: u32) -> GuestFilter {
    let [a, b, c, d] = number.to_be_bytes();
    GuestFilter {
        device: format!("vif{number}.0").parse().unwrap(),
        renamed_from: None,
        way: Way::Bridged,
        mac: MacAddress::new([0, 0x16, 0x3e, b, c, d]),
        strictness: Strictness::Strict,
        tags: Tags::Refused,
        addresses: vec![
            std::net::IpAddr::from(Ipv4Addr::new(10, b, c, d)).into(),
            std::net::IpAddr::from(Ipv6Addr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])).into(),
        ],
    }
}

fn set(number: u32) -> Duration {
    hold(guest(number))
}

fn change(number: u32) -> Duration {
    hold(changed(number))
}

/// As online does it: it looks, and acts upon what it has seen.
fn hold(filter: GuestFilter) -> Duration {
    let begin = Instant::now();
    let mut system = System::open();
    let mut host = Host::default();
    system.observe_guest_filters(&mut host, filter.way, std::slice::from_ref(&filter.device)).expect("nf_tables answers");
    system.perform(&holding(filter, &host.guest_damage)).expect("nf_tables and CAP_NET_ADMIN are needed");
    drop(system);
    begin.elapsed()
}

fn delete(number: u32) -> Duration {
    perform(&Operation::DeleteGuestFilter { filter: changed(number), when: Unfilter::Now })
}

fn changed(number: u32) -> GuestFilter {
    GuestFilter { strictness: Strictness::Addresses, ..guest(number) }
}

/// As a program does it, from its first question to the end of its connections.
fn perform(operation: &Operation) -> Duration {
    let begin = Instant::now();
    let mut system = System::open();
    system.perform(operation).expect("nf_tables and CAP_NET_ADMIN are needed");
    drop(system);
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
