//! How long a client outside waits while network-bridge turns the host's network over.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::Extent;
use super::plot::Plot;
use super::process::{self, Call};
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use crate::machine::{Error, Machine, Programs, ROOT_PATH, Result, connect};
use crate::probe::{Echo, TcpProbe, UdpProbe};

/// How often each host starts and stops its bridge.
const ROUNDS: usize = 10;

/// How long the client watches: the program runs within it, and the idle host is watched as long.
const WINDOW: Duration = Duration::from_millis(600);

/// How long the client has been watching when the program starts.
const BEFORE: Duration = Duration::from_millis(150);

/// How much longer than the idle host's longest gap one may be, in milliseconds.
const LONGEST_GAP: f64 = 5.0;

/// How many addresses the hosts have, of IPv4 and of IPv6 each.
const ADDRESSES: [u8; 2] = [1, 3];

/// What the client saw in one window.
#[derive(Clone, Copy, Debug, Serialize)]
struct Gaps {
    idle: f64,
    busy: f64,
    /// How long the program ran, in milliseconds.
    run: f64,
    tcp: TcpTrouble,
}

/// TCP's troubles on both sides, as the kernel counts them (RFC 4022; `TCPTimeouts` in Linux net/ipv4/proc.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct TcpTrouble {
    retransmitted: u64,
    timeouts: u64,
}

/// Measures network-bridge's outage at start and stop.
///
/// # Errors
/// When something cannot be measured, an open TCP connection breaks, or network-bridge fails.
pub fn outage(extent: Extent) -> Result<Section> {
    let hosts = ADDRESSES.into_iter().map(Host::new).collect::<Result<Vec<_>>>()?;
    let mut gaps = vec![(Vec::new(), Vec::new()); hosts.len()];
    for _ in 0..extent.of(ROUNDS) {
        for (host, (starts, stops)) in hosts.iter().zip(&mut gaps) {
            let tcp = TcpProbe::start(&host.router, host.echo)?;
            starts.push(host.turn("start")?);
            stops.push(host.turn("stop")?);
            tcp.stop()?;
        }
    }
    let subjects: Vec<_> = hosts
        .iter()
        .zip(gaps)
        .flat_map(|(host, (starts, stops))| [("start", host.addresses, starts), ("stop", host.addresses, stops)])
        .collect();
    section(&subjects, extent)
}

/// A host with one network card, and the router behind it.
struct Host {
    addresses: u8,
    echo: SocketAddr,
    // Ends before the machine its sockets are in.
    _echo: Echo,
    dom0: Machine,
    router: Machine,
}

impl Host {
    fn new(addresses: u8) -> Result<Self> {
        let (dom0, router) = (Machine::new("dom0")?, Machine::new("router")?);
        dom0.install_scripts(&Programs::ours()?)?;
        connect(&dom0, "eth0", &router, "lan0")?;
        router.ip("address add 192.0.2.1/24 dev lan0")?;
        router.ip("address add 2001:db8::1/64 dev lan0 nodad")?;
        router.ip("link set lan0 up")?;
        for number in 0..addresses {
            dom0.ip(&format!("address add 192.0.2.{}/24 dev eth0", 10 + number))?;
            dom0.ip(&format!("address add 2001:db8::{}/64 dev eth0 nodad", 10 + number))?;
        }
        dom0.ip("link set eth0 up")?;
        dom0.ip("route add default via 192.0.2.1")?;
        dom0.ip("-6 route add default via 2001:db8::1")?;
        let echo = SocketAddr::from(([192, 0, 2, 10], 7));
        Ok(Self { addresses, echo, _echo: Echo::start(&dom0, echo)?, dom0, router })
    }

    /// Watches the idle host, then the host while network-bridge runs.
    fn turn(&self, command: &str) -> Result<Gaps> {
        let idle = self.watch(|| Ok(()))?;
        let before = self.tcp_trouble()?;
        let mut run = 0.0;
        let busy = self.watch(|| {
            run = process::cost(&self.dom0, &network_bridge(command))?.wall * 1000.0;
            Ok(())
        })?;
        self.check(command)?;
        let after = self.tcp_trouble()?;
        let tcp =
            TcpTrouble { retransmitted: after.retransmitted - before.retransmitted, timeouts: after.timeouts - before.timeouts };
        Ok(Gaps { idle, busy, run, tcp })
    }

    /// The longest gap, in milliseconds, in a window in which something is done.
    fn watch(&self, act: impl FnOnce() -> Result<()>) -> Result<f64> {
        let probe = UdpProbe::start(&self.router, self.echo)?;
        let end = Instant::now() + WINDOW;
        thread::sleep(BEFORE);
        act()?;
        thread::sleep(end.saturating_duration_since(Instant::now()));
        Ok(probe.stop()?.longest_gap.as_secs_f64() * 1000.0)
    }

    // A program that is quick because it does nothing must not win.
    fn check(&self, command: &str) -> Result<()> {
        let has_port = self.dom0.shell("test -e /sys/class/net/eth0/brif/peth0 && echo yes || echo no")?.trim() == "yes";
        if has_port == (command == "start") {
            return Ok(());
        }
        Err(Error::new(format!("after network-bridge {command}, peth0 is a port of eth0: {has_port}")))
    }

    fn tcp_trouble(&self) -> Result<TcpTrouble> {
        let mut sum = TcpTrouble::default();
        for machine in [&self.dom0, &self.router] {
            // /proc/net would show the namespace of the process, not of this thread.
            let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            let read = machine.inside(|| Ok::<_, std::io::Error>((read("snmp")?, read("netstat")?)))?;
            let (snmp, netstat) = read.map_err(Error::in_act("read the kernel's TCP counters"))?;
            let missing = || Error::new("the kernel does not count TCP retransmissions");
            sum.retransmitted += counter(&snmp, "Tcp:", "RetransSegs").ok_or_else(missing)?;
            sum.timeouts += counter(&netstat, "TcpExt:", "TCPTimeouts").ok_or_else(missing)?;
        }
        Ok(sum)
    }
}

fn network_bridge(command: &str) -> Call {
    Call {
        program: "/etc/xen/scripts/network-bridge".to_owned(),
        words: vec![command.to_owned()],
        environment: vec![("PATH".to_owned(), ROOT_PATH.to_owned())],
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 timeouts")]
fn count(number: u64) -> f64 {
    number as f64
}

// Two lines a group: the names, then the values.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let place = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(place)?.parse().ok()
}

fn section(subjects: &[(&str, u8, Vec<Gaps>)], extent: Extent) -> Result<Section> {
    let mut table = Table::new(&[
        "network-bridge",
        "gap ms",
        "p90",
        "worst",
        "idle host's gap ms",
        "p90",
        "worst",
        "gap × idle",
        "run ms",
        "TCP segments sent again",
        "TCP timeouts",
    ]);
    let (mut bars, mut figures, mut plot) = (Vec::new(), Vec::new(), Plot::new("longest gap, ms"));
    for (command, addresses, gaps) in subjects {
        let name = format!("{command}, {addresses} IPv4 and {addresses} IPv6");
        let of = |figure: fn(&Gaps) -> f64| Spread::of(gaps.iter().map(figure)).ok_or_else(|| Error::new("nothing was measured"));
        let (busy, idle, run) = (of(|gaps| gaps.busy)?, of(|gaps| gaps.idle)?, of(|gaps| gaps.run)?);
        let ratio = Spread::of_ratios(gaps.iter().map(|gaps| gaps.busy), gaps.iter().map(|gaps| gaps.idle));
        let retransmitted: u64 = gaps.iter().map(|gaps| gaps.tcp.retransmitted).sum();
        let timeouts: u64 = gaps.iter().map(|gaps| gaps.tcp.timeouts).sum();
        let mut row = vec![name.clone()];
        row.extend([busy.median, busy.p90, busy.largest, idle.median, idle.p90, idle.largest].map(three_digits));
        row.extend([ratio.map_or(f64::NAN, |ratio| ratio.median), run.median].map(three_digits));
        row.extend([retransmitted, timeouts].map(|count| count.to_string()));
        table.rows.push(row);
        plot.rows.extend([(format!("{name}, ours"), busy), (format!("{name}, idle host"), idle)]);
        let longer = gaps.iter().map(|gaps| gaps.busy - gaps.idle);
        let longer = Spread::of(longer).map_or(f64::NAN, |longer| longer.median);
        bars.push(Bar::at_most(
            &format!("{name}: longest gap, above that of the idle host just before"),
            LONGEST_GAP,
            longer,
            " ms",
        ));
        bars.push(Bar::at_most(&format!("{name}: TCP retransmission timeouts"), 0.0, count(timeouts), ""));
        figures.push(json!({ "command": command, "addresses of each family": addresses, "gap milliseconds": busy,
            "idle gap milliseconds": idle, "gap in times of idle": ratio, "run milliseconds": run, "TCP retransmitted": retransmitted,
            "TCP timeouts": timeouts, "samples": gaps }));
    }
    Ok(Section {
        name: "outage",
        title: "network-bridge: the outage a client sees".to_owned(),
        method: format!(
            "A client behind the router sends a UDP packet every millisecond to an echo in dom0; the gap is the longest time without an \
             answer in {} ms. Just before each run the idle host is watched as long. {} rounds, the hosts in turns. A TCP \
             connection with a message each millisecond stays open from before start to after stop; the bench fails if it breaks.",
            WINDOW.as_millis(),
            extent.of(ROUNDS)
        ),
        table,
        plot,
        bars,
        figures: figures.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stands_below_its_name() {
        let text = "Ip: RetransSegs\nIp: 5\nTcp: InSegs RetransSegs\nTcp: 7 9\n";
        assert_eq!(counter(text, "Tcp:", "RetransSegs"), Some(9));
        assert_eq!(counter(text, "Udp:", "RetransSegs"), None);
    }
}
