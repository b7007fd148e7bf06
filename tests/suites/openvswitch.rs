//! vif-openvswitch with Debian's real Open vSwitch (userspace datapath) and OVN: what guests can reach, what stays in the database, and what
//! is said when the switch does not answer as it should.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, wait_for};
use testbed::openvswitch::{RUN_FOLDER, Switch};
use testbed::ovn::{Fleet, write_identity};

const UUID: &str = "6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a01";
const OTHER_UUID: &str = "6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a02";

/// libxl kills a hotplug program after this time (`LIBXL_HOTPLUG_TIMEOUT`).
const PATIENCE_OF_LIBXL: Duration = Duration::from_secs(40);

fn dom0() -> Dom0 {
    let dom0 = Dom0::new("dom0").unwrap();
    dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
    dom0
}

fn dom0_with_switch() -> (Dom0, Switch) {
    let dom0 = dom0();
    let switch = Switch::start(dom0.machine(), &[]).unwrap();
    switch.add_bridge("ovsbr0").unwrap();
    (dom0, switch)
}

fn nic(bridge: &str) -> Nic {
    Nic { script: Some("vif-openvswitch".to_owned()), ..Nic::on_bridge(bridge) }
}

/// A guest with the address 10.9.0.DOMAIN, whose card is not online yet.
fn attach(dom0: &Dom0, domain: u16, nic: Nic) -> (Guest, Vif) {
    let guest = Guest::new(domain).unwrap();
    write_identity(dom0, domain, &format!("guest {domain}"), &format!("{}{domain}", &UUID[..35])).unwrap();
    let vif = guest.attach(dom0, nic).unwrap();
    guest.configure(0, &format!("10.9.0.{domain}/24"), None).unwrap();
    (guest, vif)
}

fn online(dom0: &Dom0, domain: u16, bridge: &str) -> (Guest, Vif) {
    let (guest, vif) = attach(dom0, domain, nic(bridge));
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"));
    (guest, vif)
}

#[track_caller]
fn assert_silent_success(outcome: &Outcome) {
    assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(0), "", ""));
}

/// Exit status 1, these words on standard error, and word of it in the store.
#[track_caller]
fn assert_fails(vif: &Vif, words: &[&str]) {
    let outcome = vif.hotplug(Hotplug::Online).unwrap();
    assert_eq!(outcome.status, Some(1), "{outcome}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is missing: {outcome}");
    }
    assert!(outcome.duration < PATIENCE_OF_LIBXL, "{outcome} after {:?}", outcome.duration);
    assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("error"));
}

fn answers(from: &Machine, address: &str) -> bool {
    from.run("ping", ["-n", "-q", "-c1", "-W1", address]).is_ok()
}

#[track_caller]
fn assert_reaches(from: &Machine, address: &str) {
    wait_for(&format!("an answer of {address}"), Duration::from_secs(20), || Ok(answers(from, address))).unwrap();
}

fn ports(switch: &Switch, bridge: &str) -> Vec<String> {
    switch.vsctl(&format!("list-ports {bridge}")).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn guests_of_one_vlan_reach_each_other_and_nobody_else() {
    let (dom0, switch) = dom0_with_switch();
    let (one, _one) = online(&dom0, 1, "ovsbr0.7");
    let (_two, _second) = online(&dom0, 2, "ovsbr0.7");
    let (_three, third) = online(&dom0, 3, "ovsbr0.8");
    assert_reaches(one.machine(), "10.9.0.2");
    assert!(!answers(one.machine(), "10.9.0.3"));
    // The same two guests in the same VLAN do reach each other: it was the tag.
    dom0.store().write(&format!("{}/bridge", third.backend_path()), "ovsbr0.7").unwrap();
    assert_silent_success(&third.hotplug(Hotplug::Online).unwrap());
    assert_eq!(switch.vsctl("get port vif3.0 tag").unwrap().trim(), "7");
    assert_reaches(one.machine(), "10.9.0.3");
}

/// Asks the switch itself where a frame of a guest's in this VLAN goes.
fn goes_to_vif1(dom0: &Dom0, switch: &Switch, vlan: u16) -> bool {
    let port = switch.vsctl("get interface vif2.0 ofport").unwrap();
    let flow = format!("in_port={},dl_vlan={vlan},dl_dst=00:16:3e:00:01:00", port.trim());
    let trace = dom0.machine().run("ovs-appctl", ["ofproto/trace", "ovsbr0", &flow]).unwrap();
    !trace.lines().last().unwrap().contains("drop")
}

#[test]
fn a_trunk_has_the_vlans_that_are_named() {
    let (dom0, switch) = dom0_with_switch();
    let (_one, _first) = online(&dom0, 1, "ovsbr0");
    let (_two, _second) = online(&dom0, 2, "ovsbr0:10:20");
    assert_eq!(switch.vsctl("get port vif2.0 trunks").unwrap().trim(), "[10, 20]");
    assert_eq!([10, 11, 20].map(|vlan| goes_to_vif1(&dom0, &switch, vlan)), [true, false, true]);
}

#[test]
fn a_port_keeps_what_others_have_set_on_it() {
    let (dom0, switch) = dom0_with_switch();
    let (_guest, vif) = online(&dom0, 1, "ovsbr0");
    switch.vsctl("set interface vif1.0 ingress_policing_rate=1000 external-ids:mine=1").unwrap();
    dom0.store().write(&format!("{}/bridge", vif.backend_path()), "ovsbr0.9").unwrap();
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(switch.vsctl("get port vif1.0 tag").unwrap().trim(), "9");
    assert_eq!(switch.vsctl("get interface vif1.0 ingress_policing_rate external-ids:mine").unwrap(), "1000\n\"1\"\n");
    // Another guest of this number starts with a clean port.
    write_identity(&dom0, 1, "another", OTHER_UUID).unwrap();
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(switch.vsctl("get interface vif1.0 ingress_policing_rate external-ids:xen-vm-name").unwrap(), "0\nanother\n");
}

#[test]
fn a_vif_moves_to_the_bridge_that_is_named_now() {
    let (dom0, switch) = dom0_with_switch();
    switch.add_bridge("ovsbr1").unwrap();
    let (_guest, vif) = online(&dom0, 1, "ovsbr0");
    dom0.store().write(&format!("{}/bridge", vif.backend_path()), "ovsbr1").unwrap();
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!((ports(&switch, "ovsbr0"), ports(&switch, "ovsbr1")), (vec![], vec!["vif1.0".to_owned()]));
}

/// Nobody says any more what the vif was called.
#[test]
fn a_renamed_port_goes_though_device_and_store_entry_are_gone() {
    let (dom0, switch) = dom0_with_switch();
    let (_guest, vif) = attach(&dom0, 1, Nic { vifname: Some("web0".to_owned()), ..nic("ovsbr0") });
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    assert_eq!(switch.vsctl("get interface web0 external-ids:iface-id").unwrap().trim(), "web0");
    vif.disappear().unwrap();
    vif.remove_store().unwrap();
    assert_silent_success(&vif.hotplug(Hotplug::Offline).unwrap());
    assert_eq!(ports(&switch, "ovsbr0"), Vec::<String>::new());
}

/// Two guests ask for one name. The second is refused, and its offline leaves the first one's port.
#[test]
fn a_port_of_another_guest_stays() {
    let (dom0, switch) = dom0_with_switch();
    let named = || Nic { vifname: Some("web0".to_owned()), ..nic("ovsbr0") };
    let (_one, first) = attach(&dom0, 1, named());
    assert_silent_success(&first.hotplug(Hotplug::Online).unwrap());
    let (_two, second) = attach(&dom0, 2, named());
    assert_fails(&second, &["web0", "exists already"]);
    assert_silent_success(&second.hotplug(Hotplug::Offline).unwrap());
    assert_eq!(ports(&switch, "ovsbr0"), ["web0"]);
}

#[test]
fn a_port_that_is_not_a_guests_is_refused() {
    let (dom0, switch) = dom0_with_switch();
    switch.vsctl("--no-wait add-port ovsbr0 web0").unwrap();
    let (_guest, vif) = attach(&dom0, 1, Nic { vifname: Some("web0".to_owned()), ..nic("ovsbr0") });
    assert_fails(&vif, &["Open vSwitch has a port web0 that is not a guest's", "vifname="]);
    assert!(vif.backend("hotplug-error").unwrap().unwrap().contains("web0"));
    // The device has kept its name, and nobody has taken it up.
    assert!(dom0.machine().ip("link show vif1.0").unwrap().contains("state DOWN"));
    assert_eq!(ports(&switch, "ovsbr0"), ["web0"]);
}

#[test]
fn a_bridge_that_is_missing_is_named() {
    let (dom0, _switch) = dom0_with_switch();
    let (_guest, vif) = attach(&dom0, 1, nic("ovsbr9.7"));
    assert_fails(&vif, &["Could not find the Open vSwitch bridge ovsbr9", "ovs-vsctl add-br ovsbr9"]);
    assert!(vif.backend("hotplug-error").unwrap().unwrap().contains("ovsbr9"));
}

/// A guest must not be told that it is kept apart where it is not.
#[test]
fn a_wish_that_is_not_kept_is_refused() {
    let (dom0, switch) = dom0_with_switch();
    let (_guest, vif) = attach(&dom0, 1, Nic { vlan: Some("10p".to_owned()), ..nic("ovsbr0") });
    assert_fails(&vif, &["vlan=10p is not for vif-openvswitch", "bridge=ovsbr0.7"]);
    dom0.store().write(&format!("{}/vlan", vif.backend_path()), "").unwrap();
    dom0.store().write(&format!("{}/antispoof", vif.backend_path()), "yes").unwrap();
    assert_fails(&vif, &["antispoof=yes is not for vif-openvswitch", "port security"]);
    assert_eq!(ports(&switch, "ovsbr0"), Vec::<String>::new());
}

#[test]
fn a_dry_run_prints_what_an_administrator_would_type() {
    let (dom0, switch) = dom0_with_switch();
    let (_guest, vif) = attach(&dom0, 1, nic("ovsbr0.7:10"));
    let mut command = vif.hotplug_command(Hotplug::Online);
    let outcome = Outcome::of(command.args(["online", "--dry-run"])).unwrap();
    let line = format!(
        "ovs-vsctl --may-exist add-port ovsbr0 vif1.0 tag=7 trunks=10 -- set interface vif1.0 external-ids:attached-mac={} \
         external-ids:iface-id={UUID}-0 external-ids:xen-vif=vif1.0 external-ids:xen-vm-name='guest 1' external-ids:xen-vm-uuid={UUID}\n    \
         undo: ovs-vsctl --if-exists del-port vif1.0\n",
        vif.mac()
    );
    assert!(outcome.stdout.contains(&line), "{line}\n{outcome}");
    assert!(outcome.stdout.contains("# the trunks of vif1.0 have no effect beside its tag"), "{outcome}");
    assert_eq!(ports(&switch, "ovsbr0"), Vec::<String>::new());
}

/// The database takes the change, and nobody acts: the guest must not be told that it is connected, and nothing is left.
#[test]
fn a_switch_that_does_not_act_is_told_of_and_nothing_is_left() {
    let (dom0, mut switch) = dom0_with_switch();
    switch.kill_daemon();
    let (_guest, vif) = attach(&dom0, 1, nic("ovsbr0"));
    assert_fails(&vif, &["ovs-vswitchd has not acted", "everything done before it has been undone"]);
    let rows = dom0.machine().shell("ovs-vsctl --no-wait --bare --columns=name find port name=vif1.0").unwrap();
    assert_eq!(rows, "");
    assert!(dom0.machine().ip("link show vif1.0").unwrap().contains("state DOWN"));
    // It comes back, and all is well.
    switch.start_daemon().unwrap();
    assert_silent_success(&vif.hotplug(Hotplug::Online).unwrap());
    switch.kill_daemon();
    let outcome = vif.hotplug(Hotplug::Offline).unwrap();
    assert_eq!(outcome.status, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("ovs-vswitchd has not acted"), "{outcome}");
    assert!(outcome.duration < PATIENCE_OF_LIBXL);
    assert!(dom0.machine().ip("link show vif1.0").unwrap().contains("state DOWN"));
}

/// A device that the switch cannot take: the port is removed again.
#[test]
fn a_device_that_the_switch_cannot_use_is_told_of() {
    let (dom0, switch) = dom0_with_switch();
    switch.add_bridge("ovsbr1").unwrap();
    // A tap device in somebody else's hands is the nearest thing here: the name of a bridge's own port.
    let (_guest, vif) = attach(&dom0, 1, Nic { vifname: Some("ovsbr1".to_owned()), ..nic("ovsbr0") });
    assert_fails(&vif, &["ovsbr1"]);
    assert_eq!(ports(&switch, "ovsbr0"), Vec::<String>::new());
    assert_eq!(switch.vsctl("list-br").unwrap(), "ovsbr0\novsbr1\n");
}

#[test]
fn without_open_vswitch_online_says_so_and_offline_takes_the_vif_down() {
    let dom0 = dom0();
    let (_guest, vif) = attach(&dom0, 1, nic("ovsbr0"));
    assert_fails(&vif, &["nobody answers at /var/run/openvswitch/db.sock", "OVS_RUNDIR"]);
    let error = vif.backend("hotplug-error").unwrap().unwrap();
    assert!(!error.contains("/var/run"), "a guest reads of the host: {error}");
    dom0.machine().ip("link set vif1.0 up").unwrap();
    let outcome = vif.hotplug(Hotplug::Offline).unwrap();
    assert_eq!(outcome.status, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("stays there"), "{outcome}");
    assert!(dom0.machine().ip("link show vif1.0").unwrap().contains("state DOWN"));
}

#[test]
fn the_folder_of_the_socket_may_be_another() {
    let dom0 = dom0();
    let (_guest, vif) = attach(&dom0, 1, nic("ovsbr0"));
    let mut command = vif.hotplug_command(Hotplug::Online);
    let outcome = Outcome::of(command.args(Hotplug::Online.words()).env("OVS_RUNDIR", "/run/elsewhere")).unwrap();
    assert!(outcome.status == Some(1) && outcome.stderr.contains("/run/elsewhere/db.sock"), "{outcome}");
}

/// Something listens at the database's socket that is no database: `answer` gets what was asked, and gives what is said to it, until it gives
/// nothing.
fn impostor(machine: &Machine, answer: fn(&[u8]) -> Option<Vec<u8>>) {
    machine.shell(&format!("mkdir -p {RUN_FOLDER}")).unwrap();
    let listener = UnixListener::bind(machine.path(format!("{RUN_FOLDER}/db.sock"))).unwrap();
    // The thread ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut asked = [0; 65536];
                while let Ok(length @ 1..) = stream.read(&mut asked) {
                    match answer(&asked[..length]) {
                        Some(words) => drop(stream.write_all(&words)),
                        None => return,
                    }
                }
            });
        }
    });
}

type Words = fn(&[u8]) -> Option<Vec<u8>>;

#[test]
fn whoever_is_no_database_is_told_of() {
    let liars: [(Words, &str); 9] = [
        (|_| None, "the server closed it"),
        (|_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "does not speak OVSDB"),
        (|_| Some(b"[1,2]".to_vec()), "no JSON object"),
        (|_| Some(vec![b'['; 200_000]), "does not speak OVSDB"),
        (|_| Some(br#"{"id":77,"result":[],"error":null}"#.to_vec()), "was not asked"),
        (|_| Some(br#"{"id":1,"result":{},"error":null}"#.to_vec()), "no list of results"),
        (|_| Some(br#"{"id":1,"result":[],"error":null}"#.to_vec()), "0 answers"),
        (|_| Some(br#"{"id":"x","method":"steal","params":[]}"#.to_vec()), "only a server can answer"),
        (
            |_| Some(br#"{"id":1,"result":null,"error":{"error":"unknown database","details":"no \u001b[31m such"}}"#.to_vec()),
            "the database refused: unknown database: no  [31m such",
        ),
    ];
    for (answer, words) in liars {
        let dom0 = dom0();
        impostor(dom0.machine(), answer);
        let (_guest, vif) = attach(&dom0, 1, nic("ovsbr0"));
        assert_fails(&vif, &[words]);
    }
}

#[test]
fn a_server_that_is_silent_or_never_ends_is_given_up() {
    let endless: [Words; 2] =
        [|_| Some(vec![]), |_| Some([br#"{"id":null,"method":"note","params":["#.to_vec(), vec![b'1'; 2 << 20]].concat())];
    for answer in endless {
        let dom0 = dom0();
        impostor(dom0.machine(), answer);
        let (_guest, vif) = attach(&dom0, 1, nic("ovsbr0"));
        let start = Instant::now();
        assert_fails(&vif, &["asking Open vSwitch's database failed"]);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

/// Guests on two hosts, one logical switch: they reach each other through the tunnel, and nobody sends by another's address.
#[test]
fn guests_of_a_logical_switch_reach_each_other_across_hosts() {
    let fleet = Fleet::start().unwrap();
    let [one, other] = &fleet.hosts;
    let second_port = format!("{OTHER_UUID}-0");
    fleet.add_logical_port("office", "web0", "00:16:3e:00:01:00 10.9.0.1").unwrap();
    fleet.add_logical_port("office", &second_port, "00:16:3e:00:02:00 10.9.0.2").unwrap();
    let (first, first_vif) = one.start_guest(1, "web", UUID, Some("web0")).unwrap();
    let (second, _second_vif) = other.start_guest(2, "db", OTHER_UUID, None).unwrap();
    first.configure(0, "10.9.0.1/24", None).unwrap();
    second.configure(0, "10.9.0.2/24", None).unwrap();
    fleet.await_bound("web0").unwrap();
    fleet.await_bound(&second_port).unwrap();
    assert_reaches(first.machine(), "10.9.0.2");
    assert_reaches(second.machine(), "10.9.0.1");

    first.machine().ip("address add 10.9.0.66/24 dev eth0").unwrap();
    let spoofed = || first.machine().run("ping", ["-n", "-q", "-c1", "-W1", "-I", "10.9.0.66", "10.9.0.2"]).is_ok();
    assert!(!spoofed());
    // Without port security the very same packet passes.
    fleet.nbctl(&["lsp-set-port-security", "web0"]).unwrap();
    wait_for("an answer to the other source", Duration::from_secs(20), || Ok(spoofed())).unwrap();
    fleet.nbctl(&["lsp-set-port-security", "web0", "00:16:3e:00:01:00 10.9.0.1"]).unwrap();
    assert!(!spoofed());
    assert_reaches(first.machine(), "10.9.0.2");

    first_vif.disappear().unwrap();
    assert_silent_success(&first_vif.hotplug(Hotplug::Offline).unwrap());
    assert!(!ports(&one.switch, "br-int").contains(&"web0".to_owned()));
    assert!(!answers(second.machine(), "10.9.0.1"));
}
