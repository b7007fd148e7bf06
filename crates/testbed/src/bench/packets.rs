//! What a packet from guest to guest costs, with few and with many guests in the filter.

use std::net::UdpSocket;
use std::time::Instant;

use serde_json::json;

use super::Extent;
use super::lane::{Lane, Maker};
use super::plot::Plot;
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use super::vif::{Make, Mode};
use crate::machine::{Error, Result};

/// How many guests the filter holds.
const GUESTS: [u32; 4] = [1, 100, 1000, 10_000];

/// How often each host has its turn.
const ROUNDS: usize = 200;

/// Packets of a turn: short turns, so that most of them are over before something else wants the processor.
const PACKETS: u32 = 500;

/// With this many rules a packet takes up to a millisecond.
const PACKETS_OF_LONG_CHAINS: u32 = 5;

/// What the filter may cost with the most guests in times of that with one.
const MOST_GROWTH: f64 = 1.2;

const PORT: u16 = 9;

/// What rules at a bridge cost here by themselves, so that ours can be judged: made by nft, for the one guest that sends.
struct Reference {
    name: &'static str,
    set: &'static str,
    rule: &'static str,
}

const REFERENCES: [Reference; 3] = [
    Reference { name: "an empty chain", set: "", rule: "" },
    Reference {
        name: "three comparisons",
        set: "",
        rule: "iifname \"vif7.0\" ether saddr 00:16:3e:00:07:00 ip saddr 192.168.1.7 accept",
    },
    Reference {
        name: "one look-up of interface, Ethernet address and address",
        set: "set guests {
            type ifname . ether_addr . ipv4_addr
            elements = { \"vif7.0\" . 00:16:3e:00:07:00 . 192.168.1.7 }
        }",
        rule: "iifname . ether saddr . ip saddr @guests accept",
    },
];

impl Reference {
    fn host(&self) -> Result<Host> {
        let lane = Lane::new(Mode::Bridge, Maker::Nobody)?;
        let Self { name, set, rule } = self;
        let chain = format!("chain all-frames {{\ntype filter hook prerouting priority -400\n{rule}\n}}");
        lane.dom0().write_file("/run/reference.nft", format!("table bridge reference {{\n{set}\n{chain}\n}}\n"))?;
        lane.dom0().run("nft", ["-f", "/run/reference.nft"])?;
        Host::new(name, 0, lane, PACKETS)
    }
}

/// A host, and the nanoseconds that a packet took in each turn.
struct Host {
    name: String,
    guests: u32,
    // Ends with the sockets that are in it.
    _lane: Lane,
    sender: UdpSocket,
    // Full from the first turn on; without it, the receiver would answer that nobody is there.
    _receiver: UdpSocket,
    packets: u32,
    nanoseconds: Vec<f64>,
}

/// Measures packets over a bridge: plain, with our filter, and with the original scripts' rules.
///
/// # Errors
/// When a host cannot be made, or a packet not be sent.
pub fn packets(extent: Extent) -> Result<Section> {
    let mut hosts = vec![Host::new("plain bridge", 0, Lane::new(Mode::Bridge, Maker::Nobody)?, PACKETS)?];
    for guests in GUESTS {
        let lane = Lane::new(Mode::Bridge, Maker::Program(Make::Ours))?;
        let entries = lane.fill_filter(guests - 1)?;
        if guests > 1 && entries == 0 {
            return Err(Error::new("our filter holds nothing of the first guest that could be copied for others"));
        }
        hosts.push(Host::new("ours", guests, lane, PACKETS)?);
        let lane = Lane::new(Mode::Bridge, Maker::Nobody)?;
        lane.set_original_rules(guests - 1)?;
        let packets = if guests > 100 { PACKETS_OF_LONG_CHAINS } else { PACKETS };
        hosts.push(Host::new("originals' rules", guests, lane, packets)?);
    }
    for reference in REFERENCES {
        hosts.push(reference.host()?);
    }
    for round in 0..=extent.of(ROUNDS) {
        for host in &mut hosts {
            let nanoseconds = host.turn()?;
            // The first turn fills caches and the receivers' buffers.
            if round > 0 {
                host.nanoseconds.push(nanoseconds);
            }
        }
    }
    section(&hosts, extent)
}

impl Host {
    fn new(name: &str, guests: u32, lane: Lane, packets: u32) -> Result<Self> {
        let name = if guests == 0 { name.to_owned() } else { format!("{name}, {guests} guests") };
        let [from, to, _] = lane.ends();
        let [own, target] = lane.addresses();
        let act = || format!("open sockets of {name}");
        let receiver = to.inside(|| UdpSocket::bind((target.as_str(), PORT)))?.map_err(Error::in_act(act()))?;
        let sender = from.inside(|| UdpSocket::bind((own.as_str(), PORT)))?.map_err(Error::in_act(act()))?;
        sender.connect((target.as_str(), PORT)).map_err(Error::in_act(act()))?;
        // Both ways once: the bridge learns where the two are, and they learn each other's Ethernet address.
        let heard = || {
            sender.send(b"?")?;
            receiver.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
            receiver.recv(&mut [0; 16])?;
            receiver.send_to(b"!", (own.as_str(), PORT))?;
            sender.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
            sender.recv(&mut [0; 16])
        };
        heard().map_err(Error::in_act(format!("send a packet by way of the {name}")))?;
        Ok(Self { name, guests, _lane: lane, sender, _receiver: receiver, packets, nanoseconds: Vec::new() })
    }

    /// Nanoseconds a packet, from the sender's system call to the receiver's full buffer: veth devices do all of it at once.
    fn turn(&self) -> Result<f64> {
        let act = || Error::in_act::<std::io::Error>(format!("send by way of the {}", self.name));
        let start = Instant::now();
        for _ in 0..self.packets {
            self.sender.send(&[0; 18]).map_err(act())?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(self.packets))
    }
}

fn section(hosts: &[Host], extent: Extent) -> Result<Section> {
    let mut table = Table::new(&["bridge", "ns a packet", "p10–p90", "above the plain bridge", "× plain"]);
    let (mut figures, mut plot) = (Vec::new(), Plot::new("ns a packet"));
    let plain = hosts.first().ok_or_else(|| Error::new("no host"))?;
    let mut above = Vec::new();
    for host in hosts {
        let nothing = || Error::new("nothing was measured");
        let each = Spread::of(host.nanoseconds.iter().copied()).ok_or_else(nothing)?;
        let pairs = host.nanoseconds.iter().zip(&plain.nanoseconds);
        let more = Spread::of(pairs.map(|(one, other)| one - other)).ok_or_else(nothing)?;
        let ratio = Spread::of_ratios(host.nanoseconds.iter().copied(), plain.nanoseconds.iter().copied()).ok_or_else(nothing)?;
        table.rows.push(vec![
            host.name.clone(),
            three_digits(each.median),
            format!("{}–{}", three_digits(each.p10), three_digits(each.p90)),
            three_digits(more.median),
            three_digits(ratio.median),
        ]);
        figures
            .push(json!({ "bridge": host.name, "nanoseconds": each, "above the plain bridge": more, "in times of plain": ratio }));
        plot.rows.push((host.name.clone(), each));
        above.push((host, each.median));
    }
    let ours =
        |guests: u32| above.iter().find(|(host, _)| host.guests == guests && host.name.starts_with("ours")).map(|(_, ns)| *ns);
    let [few, .., many] = GUESTS;
    let bars = ours(many).zip(ours(few)).map(|(most, least)| {
        Bar::at_most(&format!("ours with {many} guests"), MOST_GROWTH, most / least, &format!(" × the packet with {few}"))
    });
    Ok(Section {
        name: "packets",
        title: "A packet from guest to guest".to_owned(),
        method: format!(
            "UDP packets of 60 bytes from one guest to another, on each host in turns, {} rounds; of the other guests only the \
             filter knows. The time includes the sender's and the receiver's own work, the same on all hosts. The originals' rules are those \
             of `frob_iptable` in vif-common.sh, in iptables behind br_netfilter, the two guests' own in the middle. The last three are rules \
             by nft that hold nobody to anything, and show what a rule at a bridge costs on this machine.",
            extent.of(ROUNDS)
        ),
        table,
        plot,
        bars: bars.into_iter().collect(),
        figures: figures.into(),
    })
}
