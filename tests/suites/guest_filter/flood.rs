//! A guest that sends forged frames without a pause, from the moment its device exists: nobody may receive one of them, whatever is done to
//! its device meanwhile.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testbed::frame::icmpv6::{NdOption, OVERRIDE, neighbour_advertisement};
use testbed::frame::{Frame, Marker};
use testbed::guest::{Guest, Hotplug, Vif};
use testbed::machine::{Machine, wait_for};
use testbed::wire::{Catcher, Protocol, Sender};

use crate::cast::{Cast, ME, MY_SECOND4, NEIGHBOUR4, NEIGHBOURS_LIST, OTHER, OTHER4, OTHER6, OUTSIDE4};
use crate::stage::{Around, Host, Mode, Policy, call, cast};

/// The guest's only address: the others are forged as well.
const MINE: &str = "192.168.2.10 192.168.2.11";

/// No flood goes on for longer.
const LIMIT: Duration = Duration::from_secs(30);

/// The markers of what is legal; all others are forged.
const LEGAL: Marker = Marker(100);

fn frames(cast: Cast) -> Vec<Frame> {
    let n = Marker;
    vec![
        cast.v4(n(1)).from(OTHER4).frame(),
        cast.v4(n(2)).source_mac(OTHER).frame(),
        cast.v4(n(3)).from(OTHER4).broadcast().frame(),
        cast.v4(n(4)).from(OTHER4).to(OUTSIDE4).frame(),
        cast.v4(n(5)).from(NEIGHBOUR4).broadcast().frame(),
        cast.v6(n(6)).from(OTHER6).frame(),
        cast.v6(n(7)).source_mac(OTHER).frame(),
        cast.arp_reply(n(8)).sender(OTHER4).frame(),
        cast.nd(neighbour_advertisement(n(9), OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).frame(),
        cast.nd(neighbour_advertisement(n(10), OVERRIDE, OTHER6, &[])).from(OTHER6).frame(),
        cast.v4(LEGAL).from(MY_SECOND4).frame(),
    ]
}

/// What was seen: by marker, where.
type Seen = Mutex<BTreeMap<Marker, String>>;

/// The flood, and what it does.
struct Flood {
    stop: AtomicBool,
    sent: AtomicU64,
    legal: AtomicU64,
    forged: Seen,
}

impl Flood {
    /// Sends until it is told to stop, whatever the device says: it may be down, or gone, or come again.
    fn send(&self, guest: &Machine, frames: &[Frame]) {
        let start = Instant::now();
        while !self.stop.load(Ordering::Relaxed) && start.elapsed() < LIMIT {
            let Ok(sender) = Sender::new(guest, "eth0") else { continue };
            // A device that is gone for good shows itself by every frame of a round being refused.
            while !self.stop.load(Ordering::Relaxed) && start.elapsed() < LIMIT {
                let sent = frames.iter().filter(|frame| sender.try_send(frame).is_ok()).count();
                self.sent.fetch_add(sent as u64, Ordering::Relaxed);
                if sent == 0 && !guest.path("/sys/class/net/eth0").exists() {
                    break;
                }
            }
        }
    }

    fn watch(&self, mut catcher: Catcher) {
        while !self.stop.load(Ordering::Relaxed) {
            catcher.sleep(Duration::from_millis(20)).unwrap();
            while let Some(frame) = catcher.take().unwrap() {
                match Marker::find(&frame) {
                    Some(LEGAL) => drop(self.legal.fetch_add(1, Ordering::Relaxed)),
                    Some(marker) => drop(self.forged.lock().unwrap().insert(marker, catcher.name().to_owned())),
                    None => {}
                }
            }
        }
    }

    /// Waits until so much more has been sent, and legal frames have come through, too: the way was open.
    fn goes_on(&self, what: &str) {
        let (sent, legal) = (self.sent.load(Ordering::Relaxed), self.legal.load(Ordering::Relaxed));
        wait_for(&format!("legal frames {what}"), LIMIT / 3, || {
            Ok(self.sent.load(Ordering::Relaxed) > sent + 300 && self.legal.load(Ordering::Relaxed) > legal + 10)
        })
        .unwrap();
    }
}

/// Plays a guest's life, and returns what forged frames were seen where.
fn live(mode: Mode, policy: Policy) -> BTreeMap<Marker, String> {
    let host = Host::new(mode, Around::Nothing);
    let dom0 = host.dom0.machine();
    let neighbour = host.start_guest(2, mode.nic(NEIGHBOURS_LIST), &[policy.word()]);
    let guest = Guest::new(1).unwrap();
    guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
    let mut catchers =
        vec![Catcher::on_device(neighbour.inside(), "eth0").unwrap(), Catcher::on_device(&host.outside, "eth0").unwrap()];
    if mode == Mode::Bridge {
        catchers.push(Catcher::on_device(dom0, "xenbr0").unwrap());
    } else {
        let protocols = [Protocol::Icmp, Protocol::Icmpv6, Protocol::Udp6, Protocol::Udp];
        catchers.extend(protocols.map(|protocol| Catcher::in_stack(dom0, protocol).unwrap()));
    }
    let frames = frames(cast(mode, dom0, "vif2.0"));
    let flood = Flood { stop: AtomicBool::new(false), sent: AtomicU64::new(0), legal: AtomicU64::new(0), forged: Mutex::default() };
    thread::scope(|scope| {
        for catcher in catchers {
            scope.spawn(|| flood.watch(catcher));
        }
        scope.spawn(|| flood.send(guest.machine(), &frames));
        // The threads end, whatever happens here.
        let end = Stop(&flood);
        act(&host, &guest, policy, &flood);
        drop(end);
    });
    flood.forged.into_inner().unwrap()
}

struct Stop<'a>(&'a Flood);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// All that may happen to a guest's device.
fn act(host: &Host, guest: &Guest, policy: Policy, flood: &Flood) {
    let words = &[policy.word()];
    let attach = || {
        let vif = guest.attach(&host.dom0, host.mode.nic(MINE)).unwrap();
        guest.machine().ip("link set eth0 up").unwrap();
        vif
    };
    let online = |vif: &Vif, what: &str| {
        call(vif, Hotplug::Online, words);
        flood.goes_on(what);
    };
    let store =
        |vif: &Vif, key: &str, value: &str| host.dom0.store().write(&format!("{}/{key}", vif.backend_path()), value).unwrap();

    let vif = attach();
    online(&vif, "after online");
    online(&vif, "after a second online");
    store(&vif, "ip", "192.168.2.11");
    online(&vif, "after a change of ip");
    store(&vif, "vifname", "web0");
    online(&vif, "after a rename");
    // Offline while the device is there, as of a guest that is paused.
    call(&vif, Hotplug::Offline, words);
    online(&vif, "after it came back");
    vif.disappear().unwrap();
    call(&vif, Hotplug::Offline, words);
    vif.remove_store().unwrap();
    // The same domain again, by another device.
    let vif = attach();
    online(&vif, "of its second life");
    vif.disappear().unwrap();
    vif.remove_store().unwrap();
    call(&vif, Hotplug::Offline, words);
}

#[test]
fn a_flood_drowns_everybody_where_nothing_is_filtered() {
    for mode in [Mode::Bridge, Mode::Route] {
        // A route takes no ARP and no discovery further; what dom0 itself believes is shown by the matrix.
        let seen = live(mode, Policy::No);
        let expected = if mode == Mode::Bridge { 10 } else { 7 };
        assert!(seen.len() >= expected, "{mode:?}: {seen:?}");
    }
}

#[test]
fn a_flood_reaches_nobody_on_a_bridge() {
    assert_eq!(live(Mode::Bridge, Policy::Ip), BTreeMap::new());
}

#[test]
fn a_flood_reaches_nobody_on_a_route() {
    assert_eq!(live(Mode::Route, Policy::Ip), BTreeMap::new());
}

#[test]
fn a_flood_reaches_nobody_behind_nat() {
    assert_eq!(live(Mode::Nat, Policy::Strict), BTreeMap::new());
}
