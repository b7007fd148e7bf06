//! How much TCP carries from guest to guest, and from a guest outside, in each mode.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::json;

use super::Extent;
use super::lane::{Lane, Maker, OUTSIDE};
use super::plot::Plot;
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use super::vif::{Make, Mode};
use crate::machine::{Error, Machine, Result};

/// How often each host has its turn, in each direction.
const ROUNDS: usize = 81;

/// How long a sender sends.
const DURATION: Duration = Duration::from_millis(50);

/// What must be left of the plain bridge's throughput.
const LEAST_OF_PLAIN: f64 = 0.97;

const PORT: u16 = 5001;

/// The hosts, and the first one of their mode is what they are compared with.
const HOSTS: [(Mode, Maker, &str); 7] = [
    (Mode::Bridge, Maker::Nobody, "plain bridge"),
    (Mode::Bridge, Maker::Program(Make::Ours), "bridge, ours"),
    (Mode::Bridge, Maker::Program(Make::Original), "bridge, original"),
    (Mode::Route, Maker::Program(Make::Original), "route, original"),
    (Mode::Route, Maker::Program(Make::Ours), "route, ours"),
    (Mode::Nat, Maker::Program(Make::Original), "nat, original"),
    (Mode::Nat, Maker::Program(Make::Ours), "nat, ours"),
];

/// A host, and the gigabits a second in each turn: to the other guest, and outside.
struct Host {
    mode: Mode,
    name: &'static str,
    lane: Lane,
    rates: [Vec<f64>; 2],
}

const WAYS: [&str; 2] = ["guest → guest", "guest → outside"];

/// Measures TCP on all hosts.
///
/// # Errors
/// When a host cannot be made, or a connection breaks.
pub fn throughput(extent: Extent) -> Result<Section> {
    let new = |(mode, maker, name)| Ok(Host { mode, name, lane: Lane::new(mode, maker)?, rates: [Vec::new(), Vec::new()] });
    let mut hosts = HOSTS.into_iter().map(new).collect::<Result<Vec<_>>>()?;
    for _ in 0..extent.of(ROUNDS) {
        for host in &mut hosts {
            let [from, guest, outside] = host.lane.ends();
            let there = [(guest, host.lane.addresses()[1].as_str()), (outside, OUTSIDE)];
            for ((to, address), rates) in there.into_iter().zip(&mut host.rates) {
                rates.push(rate(from, to, address).map_err(Error::in_act(format!("measure TCP, {}", host.name)))?);
            }
        }
    }
    section(&hosts, extent)
}

/// Gigabits a second from one machine to another, as the receiver counts them.
fn rate(from: &Machine, to: &Machine, address: &str) -> Result<f64> {
    let act = || Error::in_act::<std::io::Error>(format!("send from {} to {address}", from.name()));
    let listener = to.inside(|| TcpListener::bind((address, PORT)))?.map_err(act())?;
    let (bytes, time) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| stay_on(End::Receiver).and_then(|()| receive(&listener)));
        from.inside(|| stay_on(End::Sender).and_then(|()| send(address)))?.map_err(act())?;
        receiver.join().unwrap_or_else(|_| Err(std::io::Error::other("the receiver panicked"))).map_err(act())
    })?;
    Ok(bytes * 8.0 / 1e9 / time.as_secs_f64())
}

/// An end of the connection.
#[derive(Clone, Copy)]
enum End {
    Sender,
    Receiver,
}

/// Keeps the calling thread on a processor of its own: where the scheduler puts the two ends makes a difference of a half, and it
/// changes its mind.
fn stay_on(end: End) -> std::io::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let mut processors = (0..CpuSet::count()).filter(|processor| allowed.is_set(*processor) == Ok(true));
    let processor = match end {
        End::Sender => processors.next(),
        End::Receiver => processors.next_back(),
    };
    let mut one = CpuSet::new();
    one.set(processor.unwrap_or_default())?;
    Ok(sched_setaffinity(this, &one)?)
}

fn send(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((address, PORT))?;
    let (start, piece) = (Instant::now(), vec![0; 128 * 1024]);
    while start.elapsed() < DURATION {
        stream.write_all(&piece)?;
    }
    stream.shutdown(Shutdown::Write)
}

#[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 bytes in a moment")]
fn receive(listener: &TcpListener) -> std::io::Result<(f64, Duration)> {
    let (mut stream, _) = listener.accept()?;
    let (start, mut piece, mut bytes) = (Instant::now(), vec![0; 128 * 1024], 0_usize);
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok((bytes as f64, start.elapsed())),
            length => bytes += length,
        }
    }
}

fn section(hosts: &[Host], extent: Extent) -> Result<Section> {
    let mut table = Table::new(&["TCP", "Gbit/s", "p10–p90", "× peer", "peer"]);
    let (mut bars, mut figures, mut plot) = (Vec::new(), Vec::new(), Plot::new("Gbit/s"));
    for host in hosts {
        let peer = hosts.iter().find(|peer| peer.mode == host.mode).ok_or_else(|| Error::new("no peer"))?;
        for (place, way) in WAYS.into_iter().enumerate() {
            let nothing = || Error::new("nothing was measured");
            let (rates, peers) = (&host.rates[place], &peer.rates[place]);
            let each = Spread::of(rates.iter().copied()).ok_or_else(nothing)?;
            let ratio = Spread::of_ratios(rates.iter().copied(), peers.iter().copied()).ok_or_else(nothing)?;
            let name = format!("{}, {way}", host.name);
            let range = format!("{}–{}", three_digits(each.p10), three_digits(each.p90));
            table.rows.push(vec![name.clone(), three_digits(each.median), range, three_digits(ratio.median), peer.name.to_owned()]);
            figures.push(json!({ "host": name, "gigabits a second": each, "in times of its peer": ratio, "peer": peer.name }));
            if host.name == "bridge, ours" {
                bars.push(Bar::at_least(&format!("{name}: throughput"), LEAST_OF_PLAIN, ratio.median, " × the plain bridge"));
            }
            plot.rows.push((name, each));
        }
    }
    Ok(Section {
        name: "throughput",
        title: "TCP throughput".to_owned(),
        method: format!(
            "One connection, {} ms, on each host in turns, {} rounds; sender and receiver stay on the first and the last processor. Each is compared \
             with the first host of its mode, by the median of the rounds' ratios.",
            DURATION.as_millis(),
            extent.of(ROUNDS)
        ),
        table,
        plot,
        bars,
        figures: figures.into(),
    })
}
