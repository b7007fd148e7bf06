//! Who calls vif-bridge, and how: the exact words and environments of libxl, udev, xend, xapi and of a person (contract, sections 1 and 2),
//! and what each of them then finds in XenStore.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::thread;
use std::time::Duration;

use nix::libc;
use testbed::bench::process::Call;
use testbed::guest::{Dom0, Emulation, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, wait_for};
use testbed::refuse::places;
use testbed::state::State;
use testbed::xenstore_server::Change;

#[path = "common/lan.rs"]
mod lan;

use lan::{Lan, SCRIPTS, ip_lines, settled};

/// A dom0 with bridges of these names.
fn dom0_with(names: &[&str]) -> Dom0 {
    let dom0 = Dom0::new("dom0").unwrap();
    dom0.machine().set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
    for (number, name) in names.iter().enumerate() {
        let mac = |end: usize| format!("02:00:00:00:{number:02x}:{end:02x}");
        // A port that is up from the beginning keeps the bridge's own state out of what is compared.
        ip_lines(
            dom0.machine(),
            &format!(
                "link add {name} address {} type bridge stp_state 0 forward_delay 0
                 link add in{number} address {} type veth peer name out{number} address {}
                 link set in{number} master {name}
                 link set in{number} up
                 link set out{number} up
                 link set {name} up",
                mac(0),
                mac(1),
                mac(2)
            ),
        );
    }
    dom0
}

fn attach(dom0: &Dom0, domain: u16, nic: Nic) -> (Guest, Vif) {
    let guest = Guest::new(domain).unwrap();
    guest.machine().set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    let vif = guest.attach(dom0, nic).unwrap();
    guest.machine().ip("link set eth0 up").unwrap();
    dom0.server().clear_log();
    (guest, vif)
}

fn master(machine: &Machine, device: &str) -> String {
    State::of(machine).unwrap().part("links", device)["master"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn assert_silent_success(outcome: &Outcome) {
    assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(0), "", ""));
}

/// Exit status 1, and one line on standard error with these words in it.
#[track_caller]
fn assert_says(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.status, Some(1), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is missing: {outcome}");
    }
}

/// What was written to the store, in its order; a transaction's end is `commit`.
fn writes(dom0: &Dom0) -> Vec<String> {
    let line = |change: Change| match change {
        Change::Write { path, value } => format!("{path} = {}", String::from_utf8_lossy(&value)),
        Change::Commit => "commit".to_owned(),
        other => format!("{other:?}"),
    };
    dom0.server().log().into_iter().map(line).collect()
}

#[test]
fn libxl_attaches_and_detaches_a_vif() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr0"));
    let before = settled(dom0.machine());
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(master(dom0.machine(), "vif7.0"), "xenbr0");
    let backend = vif.backend_path();
    let written = writes(&dom0);
    assert_eq!(
        written.last().unwrap(),
        &format!("{backend}/hotplug-status = connected"),
        "connected is the last word: {written:?}"
    );
    assert!(written.contains(&format!("{}/mtu = 1500", vif.frontend_path())), "{written:?}");
    dom0.server().clear_log();
    assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    assert_eq!(writes(&dom0), Vec::<String>::new());
    // A guest that connects again still needs the word.
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
    let (before, after) = (before.without(&["links"]), settled(dom0.machine()).without(&["links"]));
    testbed::state::assert_same(&before, &after);
}

#[test]
fn libxl_attaches_and_detaches_an_emulated_nic() {
    let dom0 = dom0_with(&["xenbr0"]);
    let nic = Nic { emulation: Emulation::EmulatedToo, ..Nic::on_bridge("xenbr0") };
    let (_guest, vif) = attach(&dom0, 7, nic);
    assert_silent_success(&vif.hotplug(Hotplug::Add).unwrap());
    assert_eq!(writes(&dom0), Vec::<String>::new(), "nobody waits for a word about the emulated device");
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    for device in ["vif7.0", "vif7.0-emu"] {
        assert_eq!(master(dom0.machine(), device), "xenbr0", "{device}");
    }
    assert_silent_success(&vif.hotplug(Hotplug::Remove).unwrap());
    assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    for device in ["vif7.0", "vif7.0-emu"] {
        assert_eq!(master(dom0.machine(), device), "", "{device}");
    }
}

#[test]
fn commands_for_the_other_device_do_nothing() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic { emulation: Emulation::EmulatedToo, ..Nic::on_bridge("xenbr0") });
    let before = settled(dom0.machine());
    for words in ["online type_if=tap", "offline type_if=tap", "add type_if=vif", "remove type_if=vif", "add", "remove"] {
        let outcome = Outcome::of(vif.hotplug_command(Hotplug::Add).args(words.split(' '))).unwrap();
        assert_silent_success(&outcome);
    }
    testbed::state::assert_same(&before, &settled(dom0.machine()));
    assert_eq!(writes(&dom0), Vec::<String>::new());
}

/// Xen 4.4's vif-setup, in our words: it splits what the toolstack stored as the script, because it leaves the quotes out.
const VIF_SETUP: &str = "#!/bin/bash\nif test \"$script\"; then exec $script $*; fi\n";

/// Calls a program of /etc/xen/scripts with this environment and no other.
fn call(machine: &Machine, environment: &[(&str, &str)], program: &str, words: &str) -> Outcome {
    let mut command = machine.command(format!("{SCRIPTS}/{program}"));
    command.envs(environment.iter().copied()).args(words.split_whitespace());
    Outcome::of(&mut command).unwrap()
}

/// What Xen 4.4's udev rules hand on of an event of the vif of domain 7 (tools/hotplug/Linux/xen-backend.rules, and netback's uevent).
fn udev_event(script: &str) -> [(&str, &str); 6] {
    [
        ("UDEV_CALL", "1"),
        ("XENBUS_TYPE", "vif"),
        ("XENBUS_PATH", "backend/vif/7/0"),
        ("XENBUS_BASE_PATH", "backend"),
        ("script", script),
        ("vif", "vif7.0"),
    ]
}

const SCRIPT: &str = "/etc/xen/scripts/vif-bridge bridge=xenbr1";

/// Xen 4.4 with `(vif-script 'vif-bridge bridge=xenbr1')`: xend stores the setting whole, udev reacts, xend watches hotplug-status.
#[test]
fn xend_has_udev_call_through_its_wrapper_with_variables_first() {
    let dom0 = dom0_with(&["xenbr0", "xenbr1"]);
    dom0.machine().write_program(format!("{SCRIPTS}/vif-setup"), VIF_SETUP).unwrap();
    let (_guest, vif) = attach(&dom0, 7, Nic { script: Some(SCRIPT.to_owned()), ..Nic::default() });
    assert_eq!(vif.backend("script").unwrap().as_deref(), Some(SCRIPT));
    assert_silent_success(&call(dom0.machine(), &udev_event(SCRIPT), "vif-setup", "online type_if=vif"));
    assert_eq!(master(dom0.machine(), "vif7.0"), "xenbr1");
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
    assert_silent_success(&call(dom0.machine(), &udev_event(SCRIPT), "vif-setup", "offline type_if=vif"));
    assert_eq!(master(dom0.machine(), "vif7.0"), "");
}

#[test]
fn xend_reads_of_a_failure_in_the_store() {
    let dom0 = dom0_with(&["xenbr0"]);
    dom0.machine().write_program(format!("{SCRIPTS}/vif-setup"), VIF_SETUP).unwrap();
    let (_guest, vif) = attach(&dom0, 7, Nic::default());
    assert_says(&call(dom0.machine(), &udev_event(SCRIPT), "vif-setup", "online type_if=vif"), &["xenbr1"]);
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("error"));
    assert!(vif.backend("hotplug-error").unwrap().unwrap().contains("xenbr1"));
}

/// Runs `setting` of xend's configuration as xend does once at its start (tools/python/xen/xend/server/SrvServer.py and xen/util/xpopen.py of Xen
/// 4.4): split at every single space, `start` behind the program's name, nothing in the environment that would matter.
fn xend_starts(machine: &Machine, setting: &str) -> Outcome {
    let mut words: Vec<&str> = setting.split(' ').collect();
    words.insert(1, "start");
    let mut command = machine.command(format!("{SCRIPTS}/{}", words[0]));
    Outcome::of(command.args(&words[1..])).unwrap()
}

/// A dom0 with two network cards, whose DHCP server notes what it is told to serve each time it starts.
fn dom0_with_two_cards() -> Lan {
    let lan = Lan::new(&["eth0", "eth1"]);
    ip_lines(
        &lan.dom0,
        "link set eth0 up
         link set eth1 up
         address add 192.168.1.100/24 dev eth0
         address add 192.168.7.100/24 dev eth1
         route add default via 192.168.1.1 dev eth0",
    );
    lan.dom0.shell("mount -t tmpfs -o mode=755 programs /usr/local/sbin && mkdir -p /etc/dnsmasq.d /etc/init.d").unwrap();
    lan.dom0.write_program("/usr/local/sbin/dnsmasq", "#!/bin/sh\n").unwrap();
    let init = "#!/bin/sh\nmkdir -p /run/dnsmasq; echo $$ >/run/dnsmasq/dnsmasq.pid\ncat /etc/dnsmasq.d/xen-network.conf >/run/served 2>/dev/null || rm -f /run/served\n";
    lan.dom0.write_program("/etc/init.d/dnsmasq", init).unwrap();
    lan
}

/// `(network-script 'network-nat netdev=eth1 dhcp=yes')`, and with two spaces between the words, which make an empty one.
#[test]
fn xend_starts_network_nat() {
    for setting in ["network-nat netdev=eth1 dhcp=yes", "network-nat  netdev=eth1  dhcp=yes"] {
        let lan = dom0_with_two_cards();
        let before = settled(&lan.dom0);
        assert_silent_success(&xend_starts(&lan.dom0, setting));
        let started = settled(&lan.dom0);
        assert_eq!(started.part("settings", "net/ipv4/ip_forward"), "1");
        let rules = lan.dom0.shell("nft list ruleset").unwrap();
        assert!(rules.contains("elements = { \"eth1\" }") && rules.contains("masquerade"), "{rules}");
        let served = lan.dom0.read_file("/run/served").unwrap();
        assert!(served.contains("10.0.0.0"), "{served}");
        // xend never stops it, but starts it again whenever it starts itself.
        assert_silent_success(&xend_starts(&lan.dom0, setting));
        testbed::state::assert_same(&started, &settled(&lan.dom0));
        assert_eq!(lan.dom0.read_file("/run/served").unwrap(), served);
        assert_silent_success(&call(&lan.dom0, &[], "network-nat", "stop netdev=eth1"));
        testbed::state::assert_same(&before, &settled(&lan.dom0));
        assert!(!lan.dom0.path("/run/served").exists(), "the server was not told that nothing is served any more");
    }
}

/// `(network-script network-route)` and `(network-script 'network-route netdev=eth1')`.
#[test]
fn xend_starts_network_route() {
    for (setting, netdev) in [("network-route", "eth0"), ("network-route netdev=eth1", "eth1")] {
        let lan = dom0_with_two_cards();
        let before = settled(&lan.dom0);
        assert_silent_success(&xend_starts(&lan.dom0, setting));
        let started = settled(&lan.dom0);
        assert_eq!(started.part("settings", "net/ipv4/ip_forward"), "1");
        assert_eq!(started.part("settings", &format!("net/ipv4/conf/{netdev}/proxy_arp")), "1");
        assert_silent_success(&call(&lan.dom0, &[], "network-route", &format!("stop netdev={netdev}")));
        testbed::state::assert_same(&before, &settled(&lan.dom0));
    }
}

/// What xl says of a guest whose `vlan=` cannot be: the place in the text, or what is missing in the host. VLANs that can be are tried on
/// real Xen (tests/xen/dom0/scenarios/vlan.sh).
#[test]
fn libxl_is_told_why_a_guest_has_not_the_vlans_it_asks_for() {
    for (vlan, said) in [
        ("10p/5000", "vlan=10p/5000 is no list of VLANs such as 10p/20-22: at character 5, 5000 is no VLAN"),
        ("10/20", "at character 6, it ends without a PVID"),
        ("$(reboot)", "at character 1, '$' stands where the number of a VLAN is expected"),
        ("10", "does not keep VLANs apart"),
    ] {
        let dom0 = dom0_with(&["xenbr0"]);
        let (_guest, vif) = attach(&dom0, 7, Nic { vlan: Some(vlan.to_owned()), ..Nic::on_bridge("xenbr0") });
        let before = settled(dom0.machine());
        assert_says(&vif.hotplug(Hotplug::Online).unwrap(), &[said]);
        testbed::state::assert_same(&before, &settled(dom0.machine()));
        assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("error"));
        let sentence = vif.backend("hotplug-error").unwrap().unwrap();
        assert!(sentence.contains(said), "{sentence}");
        // It goes as any other does.
        assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    }
}

#[test]
fn udev_keeps_out_where_libxl_does_it_itself() {
    let dom0 = dom0_with(&["xenbr0", "xenbr1"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr0"));
    dom0.store().write("/local/domain/0/libxl/disable_udev", "1").unwrap();
    dom0.server().clear_log();
    let before = settled(dom0.machine());
    for words in ["online type_if=vif", "offline type_if=vif"] {
        assert_silent_success(&call(dom0.machine(), &udev_event(SCRIPT), "vif-bridge", words));
    }
    testbed::state::assert_same(&before, &settled(dom0.machine()));
    assert_eq!(writes(&dom0), Vec::<String>::new());
    // The toolstack's own call is another matter.
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(master(dom0.machine(), "vif7.0"), "xenbr0");
}

#[test]
fn xapi_names_the_vif_as_interface() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr0"));
    let event = [("XENBUS_PATH", "backend/vif/7/0"), ("XENBUS_TYPE", "vif"), ("XENBUS_PREFIX", "/xapi"), ("INTERFACE", "vif7.0")];
    assert_silent_success(&call(dom0.machine(), &event, "vif-bridge", "online type_if=vif"));
    assert_eq!(master(dom0.machine(), "vif7.0"), "xenbr0");
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
    assert_says(&call(dom0.machine(), &event[..3], "vif-bridge", "online type_if=vif"), &["vif is missing", "vif=vif1.0"]);
}

#[test]
fn a_person_is_told_what_is_missing() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr0"));
    let machine = dom0.machine();
    let path = ("XENBUS_PATH", "backend/vif/7/0");
    assert_says(&call(machine, &[], "vif-bridge", ""), &["command", "online"]);
    assert_says(&call(machine, &[], "vif-bridge", "online"), &["XENBUS_PATH is missing", "XENBUS_PATH=backend/vif/1/0"]);
    assert_says(&call(machine, &[path], "vif-bridge", "online"), &["vif is missing", "vif=vif1.0"]);
    assert_says(&call(machine, &[], "vif-bridge", "add type_if=tap"), &["INTERFACE is missing", "INTERFACE=vif1.0-emu"]);
    assert_says(&call(machine, &[path, ("vif", "vif8.0")], "vif-bridge", "online"), &["no network interface vif8.0"]);
    // Variables may stand behind the program as well.
    assert_silent_success(&call(machine, &[], "vif-bridge", "vif=vif7.0 XENBUS_PATH=backend/vif/7/0 online"));
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
}

#[test]
fn a_person_without_xenstore_is_told_so() {
    let machine = Machine::new("dom0").unwrap();
    machine.install_scripts(&Programs::ours().unwrap()).unwrap();
    ip_lines(&machine, "link add xenbr0 address 02:00:00:00:00:01 type bridge\nlink add vif7.0 type veth peer name eth0");
    let before = settled(&machine);
    let given = [("XENBUS_PATH", "backend/vif/7/0"), ("vif", "vif7.0")];
    let outcome = call(&machine, &given, "vif-bridge", "online bridge=xenbr0");
    assert_says(&outcome, &["no XenStore here"]);
    testbed::state::assert_same(&before, &settled(&machine));
}

#[test]
fn offline_cleans_up_when_everything_is_gone_already() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr0"));
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    vif.disappear().unwrap();
    assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    vif.remove_store().unwrap();
    let (before, stored) = (settled(dom0.machine()), dom0.server().snapshot());
    assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    testbed::state::assert_same(&before, &settled(dom0.machine()));
    assert_eq!(dom0.server().snapshot(), stored);
}

/// Who takes a device away holds the kernel's lock of all devices until it is out of its bridge, and every question by rtnetlink waits for that.
#[test]
fn offline_does_not_wait_for_who_takes_the_device_away() {
    for nic in [Nic::on_bridge("xenbr0"), Nic::routed("vif-nat", "10.0.7.1")] {
        let dom0 = dom0_with(&["xenbr0"]);
        // Where they are on, rules of ours in the host's chains may have to go, and other ports be looked at.
        for family in ["iptables", "ip6tables"] {
            dom0.machine().set_sysctl(&format!("net.bridge.bridge-nf-call-{family}"), "0").unwrap();
        }
        let (_guest, vif) = attach(&dom0, 7, nic);
        assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
        vif.disappear().unwrap();
        let offline = Call::like(&vif.hotplug_command(Hotplug::Offline), &vif.script(), &Hotplug::Offline.words());
        let places = places(dom0.machine(), &offline).unwrap();
        let asked = |protocol: i32| places.iter().filter(|place| place.name == format!("sendto netlink {protocol}")).count();
        assert_eq!(asked(libc::NETLINK_ROUTE), 0, "{}: {places:?}", vif.script());
        // Its filter went all the same.
        assert!(asked(libc::NETLINK_NETFILTER) > 0, "{}: {places:?}", vif.script());
    }
}

#[test]
fn a_failure_is_written_in_one_transaction() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr9"));
    let before = settled(dom0.machine());
    let outcome = vif.hotplug(Hotplug::Online).unwrap();
    assert_says(&outcome, &["Could not find bridge device xenbr9"]);
    let sentence = outcome.stderr.trim().strip_prefix("vif-bridge: ").unwrap();
    let backend = vif.backend_path();
    assert_eq!(
        writes(&dom0),
        [format!("{backend}/hotplug-error = {sentence}"), format!("{backend}/hotplug-status = error"), "commit".to_owned()]
    );
    testbed::state::assert_same(&before, &settled(dom0.machine()));
    // daemon.err, as the originals log it (RFC 3164, 4.1.1: 3 * 8 + 3).
    let log = dom0.machine().system_log().unwrap();
    assert!(log.iter().any(|entry| entry.starts_with("<27>") && entry.contains("xenbr9")), "{log:?}");
    // The bridge comes into being, the toolstack tries again: the word is then another one.
    ip_lines(dom0.machine(), "link add xenbr9 address 02:00:00:00:00:09 type bridge");
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
}

#[test]
fn an_unknown_command_writes_nothing() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic::on_bridge("xenbr0"));
    for words in ["reload type_if=vif", "type_if=vif", "Online"] {
        let outcome = Outcome::of(vif.hotplug_command(Hotplug::Online).args(words.split(' '))).unwrap();
        assert_says(&outcome, &["command"]);
    }
    assert_eq!(writes(&dom0), Vec::<String>::new());
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some(""));
}

#[test]
fn hooks_run_before_the_guest_is_connected() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_guest, vif) = attach(&dom0, 7, Nic { vifname: Some("web".to_owned()), ..Nic::on_bridge("xenbr0") });
    let machine = dom0.machine();
    let hook = "echo \"$command $type_if $vif $dev $bridge\" >>/run/hooked\nwhile ! test -e /run/go; do sleep 0.01; done\n";
    machine.write_program(format!("{SCRIPTS}/vif-post.d/10-note.hook"), hook).unwrap();
    let outcome = thread::scope(|scope| {
        let online = scope.spawn(|| vif.hotplug(Hotplug::Online).unwrap());
        wait_for("the hook", LIMIT, || Ok(machine.path("/run/hooked").exists())).unwrap();
        assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some(""));
        assert_eq!(master(machine, "web"), "xenbr0");
        machine.write_file("/run/go", "").unwrap();
        online.join().unwrap()
    });
    assert_silent_success(&outcome);
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
    assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    assert_eq!(machine.read_file("/run/hooked").unwrap(), "online vif vif7.0 web xenbr0\noffline vif vif7.0 web xenbr0\n");
}

/// The driver's name of one guest's interface is what another guest calls its own.
#[test]
fn a_guest_that_goes_leaves_the_device_that_has_its_name() {
    let dom0 = dom0_with(&["xenbr0"]);
    let (_gone, going) = attach(&dom0, 2, Nic::on_bridge("xenbr0"));
    going.disappear().unwrap();
    let nic = Nic { vifname: Some("vif2.0".to_owned()), ip: Some("192.168.1.7".to_owned()), ..Nic::on_bridge("xenbr0") };
    let (_guest, vif) = attach(&dom0, 1, nic);
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    let before = State::settled(dom0.machine()).unwrap();
    let filter = dom0.machine().run("nft", ["list", "table", "bridge", "xen-guests"]).unwrap();
    assert!(filter.contains("vif2.0"), "{filter}");
    let offline = going.hotplug(Hotplug::Offline).unwrap();
    testbed::state::assert_same(&before, &State::settled(dom0.machine()).unwrap());
    assert_eq!(dom0.machine().run("nft", ["list", "table", "bridge", "xen-guests"]).unwrap(), filter);
    assert_eq!(offline.status, Some(0), "{offline}");
}

#[test]
fn many_guests_with_several_cards_at_the_same_time() {
    let dom0 = dom0_with(&["xenbr0"]);
    let guests: Vec<Guest> = (1..=20).map(|domain| Guest::new(domain).unwrap()).collect();
    let card = |guest: &Guest, handle| guest.attach(&dom0, Nic { handle, ..Nic::on_bridge("xenbr0") }).unwrap();
    let vifs: Vec<Vif> = guests.iter().flat_map(|guest| [card(guest, 0), card(guest, 1)]).collect();
    at_once(&vifs, Hotplug::Online);
    let started = State::of(dom0.machine()).unwrap();
    for vif in &vifs {
        assert_eq!(started.part("links", &vif.name())["master"], "xenbr0", "{}", vif.name());
        assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"), "{}", vif.name());
    }
    at_once(&vifs, Hotplug::Offline);
    let stopped = State::of(dom0.machine()).unwrap();
    assert!(vifs.iter().all(|vif| stopped.part("links", &vif.name())["master"].is_null()));
    let left =
        dom0.machine().shell("find /run/xen-hotplug /run/xen-network -type f ! -name devices.lock 2>/dev/null || true").unwrap();
    assert_eq!(left, "", "locks or journals are left");
}

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

fn at_once(vifs: &[Vif], hotplug: Hotplug) {
    thread::scope(|scope| {
        let calls: Vec<_> = vifs.iter().map(|vif| scope.spawn(move || vif.hotplug(hotplug).unwrap())).collect();
        calls.into_iter().for_each(|call| assert_silent_success(&call.join().unwrap()));
    });
}
