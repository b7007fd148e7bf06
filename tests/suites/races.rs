//! Programs and the world around them in random order: a seed decides whose turn it is at each system call.
//!
//! Whatever the order, a guest that is held to its addresses and is heard on the bridge has its filter; a program that fails says so; what is reported as
//! connected is complete; and the next run, or `offline`, leads to the state that it always leads to.
//!
//! A short form plays some rounds of each scene. `scripts/torture` plays as many as `RACES` says; `SEED` begins elsewhere.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeMap;

use testbed::bench::process::Call;
use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::interleave::{End, Party, Random, run};
use testbed::machine::{Machine, Programs, wait_for};
use testbed::state::State;
use testbed::xenstore_server::{Fault, Misbehaviour, Occurrence, Trigger};

#[path = "common/lan.rs"]
mod lan;

use lan::{SCRIPTS, ip_lines};

/// Every so many rounds the whole host is compared with what it was.
const LOOK_EVERY: u64 = 16;
/// How long the kernel may take to finish what it does after its answer.
const SETTLING: std::time::Duration = std::time::Duration::from_secs(5);

/// A dom0 with a bridge, and a guest with some interfaces.
struct Scene {
    dom0: Dom0,
    guest: Guest,
    vifs: Vec<Vif>,
    before: State,
}

impl Scene {
    /// `names` are the names that the interfaces ask for.
    fn new(names: &[Option<&str>]) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let machine = dom0.machine();
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        ip_lines(
            machine,
            "link add eth0 address 02:00:00:00:00:01 type veth peer name lan0 address 02:00:00:00:00:02
             link set eth0 up
             link set lan0 up
             address add 192.168.1.100/24 dev eth0
             link add xenbr0 address 02:00:00:00:00:03 type bridge
             link set xenbr0 up",
        );
        let guest = Guest::new(5).unwrap();
        guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        let attach = |(handle, name): (u16, &Option<&str>)| {
            let nic = Nic {
                handle,
                ip: Some(format!("192.168.1.{}", 101 + handle)),
                antispoof: Some("strict".to_owned()),
                vifname: name.map(str::to_owned),
                ..Nic::on_bridge("xenbr0")
            };
            guest.attach(&dom0, nic).unwrap()
        };
        let vifs: Vec<Vif> = (0..).zip(names).map(attach).collect();
        let mut scene = Self { before: State::of(machine).unwrap(), dom0, guest, vifs };
        scene.finish().unwrap();
        // The bridge has its own address from its first port on.
        scene.succeed(0, Hotplug::Online).unwrap();
        wait_for("the bridge's own address", SETTLING, || Ok(scene.machine().ip("-6 address show dev xenbr0")?.contains("fe80")))
            .unwrap();
        scene.finish().unwrap();
        scene.before = State::settled(scene.machine()).unwrap();
        scene
    }

    fn machine(&self) -> &Machine {
        self.dom0.machine()
    }

    fn call(&self, vif: usize, hotplug: Hotplug) -> Call {
        let vif = &self.vifs[vif];
        Call::like(&vif.hotplug_command(hotplug), &vif.script(), &hotplug.words())
    }

    fn online(&self, vif: usize) -> Party<'_> {
        Party::Program(self.call(vif, Hotplug::Online))
    }

    fn offline(&self, vif: usize) -> Party<'_> {
        Party::Program(self.call(vif, Hotplug::Offline))
    }

    fn status(&self, vif: usize) -> String {
        self.vifs[vif].backend("hotplug-status").unwrap().unwrap_or_default()
    }

    fn look(&self) -> View {
        View::of(self.machine())
    }

    /// Runs a program to its end, which must be a good one.
    fn succeed(&self, vif: usize, hotplug: Hotplug) -> Result<(), String> {
        let outcome = self.vifs[vif].hotplug(hotplug).unwrap();
        if outcome.status == Some(0) { Ok(()) } else { Err(format!("{hotplug:?} of interface {vif}: {outcome}")) }
    }

    /// All interfaces go, and come anew: nothing of them may be left.
    fn finish(&self) -> Result<(), String> {
        (0..self.vifs.len()).try_for_each(|vif| self.succeed(vif, Hotplug::Offline))?;
        let view = self.look();
        for (name, link) in view.links.iter().filter(|(name, _)| name.starts_with("vif") || name.starts_with("web")) {
            if link.master.is_some() {
                return Err(format!("{name} is still a port after offline"));
            }
        }
        if !view.filtered.is_empty() {
            return Err(format!("still filtered after offline: {:?}", view.filtered));
        }
        for (handle, vif) in self.vifs.iter().enumerate() {
            // Gone already where that was a part of the scene.
            let _ = self.guest.machine().ip(&format!("link delete eth{handle}"));
            vif.appear().unwrap();
            self.guest.machine().ip(&format!("link set eth{handle} up")).unwrap();
            for key in ["hotplug-status", "hotplug-error"] {
                self.dom0.store().write(&format!("{}/{key}", vif.backend_path()), "").unwrap();
            }
        }
        Ok(())
    }

    /// A guest's interface that is up and on a bridge has its filter.
    fn guarded(&self) -> Result<(), String> {
        let view = self.look();
        let heard = view
            .links
            .iter()
            .filter(|(name, link)| (name.starts_with("vif") || name.starts_with("web")) && link.up && link.master.is_some());
        for (name, _) in heard {
            if !view.filtered.contains(name) {
                return Err(format!("{name} is up on the bridge without its filter"));
            }
        }
        Ok(())
    }

    /// What is reported as connected is there, whole.
    fn complete(&self, vif: usize, name: &str) -> Result<(), String> {
        let view = self.look();
        let link = view.links.get(name).ok_or_else(|| format!("interface {vif} is connected, and there is no {name}"))?;
        match link.up && link.master.as_deref() == Some("xenbr0") && view.filtered.iter().any(|filtered| filtered == name) {
            true => Ok(()),
            false => Err(format!("interface {vif} is connected, and {name} is {link:?}, filtered {:?}", view.filtered)),
        }
    }
}

/// The little that is looked at after every round.
#[derive(Debug)]
struct View {
    links: BTreeMap<String, Link>,
    filtered: Vec<String>,
}

#[derive(Debug)]
struct Link {
    up: bool,
    master: Option<String>,
}

impl View {
    fn of(machine: &Machine) -> Self {
        let text = machine.shell("ip -o link show; echo; nft list set bridge xen-guests guests 2>/dev/null || true").unwrap();
        let (links, filter) = text.split_once("\n\n").unwrap();
        let links = links.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = words[1].trim_end_matches(':').split('@').next().unwrap().to_owned();
            let up = words[2].trim_matches(['<', '>']).split(',').any(|flag| flag == "UP");
            let master = words.iter().position(|word| *word == "master").map(|place| words[place + 1].to_owned());
            (name, Link { up, master })
        });
        // `elements = { "web0" comment "00:16:…" }`: an element begins a line or follows a comma.
        let mut filtered = vec![];
        for element in filter.split_once("elements = {").map_or("", |(_, elements)| elements).split(',') {
            filtered.extend(element.trim().strip_prefix('"').and_then(|rest| rest.split('"').next()).map(str::to_owned));
        }
        Self { links: links.collect(), filtered }
    }
}

/// What happens in one round: how the programs ended, or what is wrong.
type Round<'a> = &'a dyn Fn(&Scene, &mut Random) -> Result<Vec<End>, String>;

/// Plays rounds of a scene.
fn play(title: &str, names: &[Option<&str>], round: Round<'_>) {
    play_some(title, names, 1, round);
}

/// Plays one round where other scenes play `share`: a large one takes its time.
fn play_some(title: &str, names: &[Option<&str>], share: u64, round: Round<'_>) {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (rounds, seed) = (number("RACES", 12).div_ceil(share), number("SEED", 1));
    let scene = Scene::new(names);
    let (mut good, mut bad) = (0_u64, 0_u64);
    for place in 0..rounds {
        let seed = seed + place;
        let wrong = |wrong: String| -> String { format!("{title}, seed {seed}: {wrong}") };
        let ends = round(&scene, &mut Random::new(seed)).map_err(wrong).unwrap();
        for end in &ends {
            good += u64::from(end.status == Some(0));
            bad += u64::from(end.status == Some(1));
        }
        decent(&ends).map_err(wrong).unwrap();
        scene.finish().map_err(wrong).unwrap();
        if place % LOOK_EVERY == 0 {
            as_before(&scene).map_err(wrong).unwrap();
        }
    }
    println!(
        "races: {title}: {rounds} interleavings from seed {seed}; {good} programs went well, {bad} failed and said so; faults: 0"
    );
}

/// Every program ended by itself, and one that failed said why.
fn decent(ends: &[End]) -> Result<(), String> {
    for end in ends {
        match end.status {
            Some(0) => {}
            Some(1) if !end.complaint.trim().is_empty() => {}
            _ => return Err(format!("it ended with {end:?}")),
        }
        if end.complaint.contains("panicked") {
            return Err(end.complaint.clone());
        }
    }
    Ok(())
}

fn as_before(scene: &Scene) -> Result<(), String> {
    let mut difference = None;
    let waited = wait_for("the host", SETTLING, || {
        let seen = State::of(scene.machine())?;
        difference = Some(scene.before.difference(&seen));
        Ok(difference.as_ref().is_some_and(testbed::state::Difference::is_empty))
    });
    waited.map_err(|_| format!("not as before:\n{}", difference.map(|difference| difference.to_string()).unwrap_or_default()))
}

fn go(scene: &Scene, parties: Vec<Party<'_>>, random: &mut Random) -> Result<Vec<End>, String> {
    let ends = run(scene.machine(), parties, random).map_err(|error| error.to_string())?;
    scene.guarded().map_err(|wrong| format!("{wrong}; {ends:?}"))?;
    Ok(ends)
}

#[test]
fn the_same_interface_online_twice_at_once() {
    play("the same interface online twice at once", &[Some("web0")], &|scene, random| {
        let ends = go(scene, vec![scene.online(0), scene.online(0)], random)?;
        if !ends.iter().any(|end| end.status == Some(0)) {
            return Err(format!("neither went well: {ends:?}"));
        }
        if scene.status(0) == "connected" {
            scene.complete(0, "web0").map_err(|wrong| format!("{wrong}; {ends:?}"))?;
        }
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "web0").map_err(|wrong| format!("the next online: {wrong}; {ends:?}"))?;
        Ok(ends)
    });
}

#[test]
fn online_against_offline() {
    play("online against offline", &[Some("web0")], &|scene, random| {
        let ends = go(scene, vec![scene.online(0), scene.offline(0)], random)?;
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "web0").map_err(|wrong| format!("the next online: {wrong}; {ends:?}"))?;
        Ok(ends)
    });
}

#[test]
fn two_guests_want_one_name() {
    play("two guests want one name", &[Some("web0"), Some("web0")], &|scene, random| {
        let ends = go(scene, vec![scene.online(0), scene.online(1)], random)?;
        let winners: Vec<usize> = (0..2).filter(|vif| ends[*vif].status == Some(0)).collect();
        match winners[..] {
            [winner] => {
                scene.complete(winner, "web0").map_err(|wrong| format!("{wrong}; {ends:?}"))?;
                if scene.status(1 - winner) != "error" {
                    return Err(format!("the loser's status is {}", scene.status(1 - winner)));
                }
            }
            _ => return Err(format!("{} of two got the name: {ends:?}", winners.len())),
        }
        Ok(ends)
    });
}

#[test]
fn the_device_disappears() {
    play("the device disappears", &[Some("web0")], &|scene, random| {
        let gone = || scene.vifs[0].disappear();
        go(scene, vec![scene.online(0), Party::Act(8, Box::new(gone))], random)
    });
}

#[test]
fn the_device_is_renamed_under_us() {
    play("the device is renamed under us", &[None], &|scene, random| {
        let rename = || scene.machine().shell("ip link set vif5.0 name other0").map(drop);
        let ends = run(scene.machine(), vec![scene.online(0), Party::Act(8, Box::new(rename))], random);
        let ends = ends.map_err(|error| error.to_string())?;
        scene.machine().shell("ip link set other0 name vif5.0").unwrap();
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "vif5.0")?;
        Ok(ends)
    });
}

#[test]
fn the_bridge_is_deleted() {
    play("the bridge is deleted", &[Some("web0")], &|scene, random| {
        let delete = || scene.machine().ip("link delete xenbr0").map(drop);
        let ends = go(scene, vec![scene.online(0), Party::Act(8, Box::new(delete))], random)?;
        ip_lines(scene.machine(), "link add xenbr0 address 02:00:00:00:00:03 type bridge\nlink set xenbr0 up");
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "web0")?;
        Ok(ends)
    });
}

#[test]
fn a_domain_number_is_used_again_while_the_old_offline_still_runs() {
    play("a domain number is used again", &[Some("web0")], &|scene, random| {
        scene.succeed(0, Hotplug::Online)?;
        scene.vifs[0].disappear().unwrap();
        let appear = || {
            scene.vifs[0].appear()?;
            scene.guest.machine().ip("link set eth0 up").map(drop)
        };
        let online = Party::After(scene.call(0, Hotplug::Online));
        let ends = go(scene, vec![scene.offline(0), Party::Act(6, Box::new(appear)), online], random)?;
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "web0").map_err(|wrong| format!("the next online: {wrong}; {ends:?}"))?;
        Ok(ends)
    });
}

#[test]
fn the_store_drops_the_connection() {
    play("the store drops the connection", &[Some("web0")], &|scene, random| {
        let number = u32::try_from(1 + random.below(14)).unwrap();
        let trigger = Trigger { occurrence: Occurrence::Only(number), ..Trigger::default() };
        scene.dom0.server().set_behaviour(vec![Fault { trigger, misbehaviour: Misbehaviour::Close }]);
        let ends = go(scene, vec![scene.online(0), scene.offline(0)], random);
        scene.dom0.server().set_behaviour(vec![]);
        let ends = ends?;
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "web0").map_err(|wrong| format!("the next online: {wrong}; {ends:?}"))?;
        Ok(ends)
    });
}

#[test]
fn a_run_is_killed_beside_others() {
    play("a run is killed beside others", &[Some("web0"), Some("web1")], &|scene, random| {
        let victim = Party::Victim(scene.call(0, Hotplug::Online), 110);
        let ends = go(scene, vec![victim, scene.online(1), scene.offline(0)], random)?;
        scene.complete(1, "web1").map_err(|wrong| format!("{wrong}; {ends:?}"))?;
        scene.succeed(0, Hotplug::Online)?;
        scene.complete(0, "web0").map_err(|wrong| format!("the next online: {wrong}; {ends:?}"))?;
        let killed = |end: &End| end.status.is_none();
        Ok(ends.into_iter().filter(|end| !killed(end)).collect())
    });
}

fn system_call(scene: &Scene, program: &str, words: &[&str]) -> Call {
    let path = format!("{SCRIPTS}/{program}");
    Call::like(&scene.machine().command(&path), &path, words)
}

#[test]
fn a_reload_in_a_storm() {
    let names: Vec<Option<&str>> = vec![None; 8];
    play_some("a reload in a storm", &names, 4, &|scene, random| {
        (0..4).try_for_each(|vif| scene.succeed(vif, Hotplug::Online))?;
        let reload = || Party::Program(system_call(scene, "xen-network", &["reload"]));
        let mut parties = vec![reload(), reload()];
        parties.extend((0..4).map(|vif| scene.offline(vif)));
        parties.extend((4..8).map(|vif| scene.online(vif)));
        let ends = go(scene, parties, random)?;
        for vif in 4..8 {
            if ends[2 + vif].status == Some(0) {
                scene.complete(vif, &format!("vif5.{vif}")).map_err(|wrong| format!("{wrong}; {ends:?}"))?;
            }
        }
        Ok(ends)
    });
}

#[test]
fn network_bridge_starts_in_a_storm() {
    let names: Vec<Option<&str>> = vec![None; 50];
    play_some("network-bridge starts against 50 interfaces", &names, 24, &|scene, random| {
        let words = |command| [command, "netdev=eth0", "bridge=eth0", "check=no"];
        let start = Party::Program(system_call(scene, "network-bridge", &words("start")));
        let parties = std::iter::once(start).chain((0..50).map(|vif| scene.online(vif))).collect();
        let ends = go(scene, parties, random)?;
        if let Some(end) = ends.iter().find(|end| end.status != Some(0)) {
            return Err(format!("one failed: {end:?}"));
        }
        let view = scene.look();
        let joined = (0..50).filter(|vif| {
            let link = view.links.get(&format!("vif5.{vif}"));
            link.is_some_and(|link| link.up && link.master.as_deref() == Some("xenbr0"))
        });
        if joined.count() != 50 || view.links.get("peth0").is_none_or(|link| link.master.as_deref() != Some("eth0")) {
            return Err(format!("not all is in place: {view:?}"));
        }
        let outcome = Outcome::of(scene.machine().command(format!("{SCRIPTS}/network-bridge")).args(words("stop"))).unwrap();
        outcome.success().map_err(|error| error.to_string())?;
        Ok(ends)
    });
}
