//! xen-network on simulated hosts: faults that `doctor` must find, and whose remedy must clear them; the tree, the picture, the JSON.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

#[path = "xen_network/host.rs"]
mod host;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use host::Host;
use serde_json::Value;
use testbed::bench::status::crowd;
use testbed::firewalld::Firewalld;
use testbed::guest::{Guest, Hotplug, Nic, Outcome};
use testbed::machine::workspace;

#[test]
fn healthy_hosts_of_every_mode_have_no_finding() {
    for host in [Host::plain(), Host::bridged(), Host::private_bridge(), Host::nat(), Host::routed()] {
        host.assert_healthy();
    }
}

// Guests' interfaces

#[test]
fn a_vif_is_down() {
    let host = Host::bridged();
    host.ip("link set vif1.0 down");
    host.assert_mended_by_typing("vif-down");
    host.assert_healthy();
}

#[test]
fn a_routed_vif_is_down_and_has_lost_its_routes() {
    let host = Host::routed();
    host.ip("link set vif1.0 down");
    host.assert_found("guest-route");
    host.assert_mended_by_typing("vif-down");
    host.assert_healthy();
}

#[test]
fn a_vif_has_another_mtu_than_its_bridge() {
    let host = Host::bridged();
    host.ip("link set vif1.0 mtu 1400");
    host.assert_mended_by_typing("vif-mtu");
}

#[test]
fn a_vif_has_another_mtu_than_its_configuration() {
    let host = Host::nat();
    host.backend(1, "mtu", "1400");
    host.assert_mended_by_typing("vif-mtu");
}

#[test]
fn a_vif_is_no_port_of_its_bridge() {
    let host = Host::bridged();
    for line in ["link set vif1.0 nomaster", "link set vif2.0 nomaster"] {
        host.ip(line);
    }
    assert_eq!(host.assert_found("vif-not-in-bridge").len(), 2);
    host.assert_mended_by_typing("vif-not-in-bridge");
    host.assert_healthy();
}

#[test]
fn a_program_has_failed() {
    let host = Host::bridged();
    host.backend(1, "hotplug-error", "Could not find bridge device xenbr0");
    host.backend(1, "hotplug-status", "error");
    let found = host.assert_found("hotplug-status");
    assert!(found[0]["reason"].as_str().unwrap().contains("Could not find bridge device xenbr0"));
    host.assert_mended_by_typing("hotplug-status");
}

#[test]
fn a_program_was_never_called() {
    let mut host = Host::bridged();
    let guest = Guest::new(3).unwrap();
    let vif = guest.attach(&host.dom0, Nic::on_bridge("eth0")).unwrap();
    host.assert_mended_by_typing("hotplug-status");
    host.guests.push((guest, vif));
}

#[test]
fn a_vif_in_xenstore_has_no_device() {
    let host = Host::bridged();
    host.guests[0].1.disappear().unwrap();
    host.stand_in("modprobe", "exit 0");
    // What xl network-detach leads to.
    host.stand_in("xl", "[ \"$1\" = network-detach ] || exit 1; echo \"$2 $3\" >/run/detached");
    host.assert_found("vif-without-device");
    host.shell(&commands_of(&host, "vif-without-device").join("\n"));
    assert_eq!(host.shell("cat /run/detached"), "1 0\n");
    host.guests[0].1.remove_store().unwrap();
    host.assert_mended("vif-without-device");
    // What the vif program would have done.
    host.shell("xen-network gc");
    host.assert_healthy();
}

#[test]
fn a_device_belongs_to_no_guest() {
    let host = Host::bridged();
    host.guests[0].1.remove_store().unwrap();
    host.assert_mended_by_typing("device-without-vif");
    let left = host.found("device-without-vif");
    assert_eq!(left[0]["severity"], "note", "{left:#?}");
}

#[test]
fn a_guest_asks_for_a_bridge_that_is_not_there() {
    let host = Host::bridged();
    host.backend(1, "bridge", "xenbr7");
    host.assert_found("vif-bridge-missing");
    host.ip("link add xenbr7 type bridge");
    host.ip("link set xenbr7 up");
    host.shell(&commands_after_making_the_bridge(&host));
    host.assert_mended("vif-bridge-missing");
    host.assert_mended("vif-not-in-bridge");
}

/// The command that `doctor` printed for a guest whose bridge was missing.
fn commands_after_making_the_bridge(host: &Host) -> String {
    let line = "vif=vif1.0 XENBUS_PATH=backend/vif/1/0 /etc/xen/scripts/vif-bridge online type_if=vif";
    host.backend(1, "bridge", "xenbr8");
    assert_eq!(commands_of(host, "vif-bridge-missing"), [line]);
    host.backend(1, "bridge", "xenbr7");
    line.to_owned()
}

/// A guest whose configuration says antispoof=strict.
fn filtered() -> Host {
    let host = Host::bridged();
    host.backend(1, "antispoof", "strict");
    host.shell("xen-network reload");
    host.assert_healthy();
    host
}

#[test]
fn the_guest_filter_was_flushed() {
    let host = filtered();
    host.shell("nft flush ruleset");
    let found = host.assert_found("guest-filter");
    assert!(found[0]["what"].as_str().unwrap().contains("vif1.0"), "{found:#?}");
    host.assert_mended_by_typing("guest-filter");
    host.assert_healthy();
}

#[test]
fn the_guest_filter_was_changed_by_hand() {
    let host = filtered();
    for act in [
        "nft flush chain bridge xen-guests refused",
        "nft 'add table bridge xen-guests { flags dormant; }'",
        "nft flush set bridge xen-guests macs",
    ] {
        host.shell(act);
        host.assert_found("guest-filter-tables");
        host.assert_mended_by_typing("guest-filter-tables");
        host.assert_healthy();
    }
}

#[test]
fn the_filter_and_what_it_dropped_are_shown() {
    let host = filtered();
    let guest = host.guests[0].0.machine();
    guest.ip("address add 192.168.1.66/24 dev eth0").unwrap();
    let _ = guest.run("ping", ["-c1", "-W1", "192.168.1.1"]);
    let filtered = host.json("status")["filter"]["vif1.0"].clone();
    assert!(filtered["dropped"].as_u64().unwrap() > 0, "{filtered:#}");
    assert!(host.says("status").contains("filter strict, "));
    assert_eq!(stopped(&host, "vif1.0 from=192.168.1.66 to=192.168.1.1"), ["filter"]);
    assert_eq!(stopped(&host, "vif1.0 from=192.168.1.101 to=192.168.1.1"), NOWHERE);
}

#[test]
fn the_guest_filter_has_a_guest_that_is_gone() {
    let host = filtered();
    host.guests[0].1.disappear().unwrap();
    host.guests[0].1.remove_store().unwrap();
    host.assert_mended_by_typing("orphan-filter");
    host.assert_healthy();
}

#[test]
fn an_interface_with_a_name_of_its_own_is_called_by_it_and_cleared_away_by_it() {
    let mut host = Host::bridged();
    let nic = Nic { vifname: Some("mail0".to_owned()), ip: Some("192.168.1.103".to_owned()), ..Nic::on_bridge("eth0") };
    host.start_guest(3, "mail", nic);
    host.assert_healthy();
    assert_eq!(host.shell("xen-network gc"), "nothing of ours is left over\n");
    host.ip("link set mail0 down");
    let found = host.assert_found("vif-down");
    assert_eq!(found[0]["what"], "mail0 of mail (domain 3) is down");
    host.assert_mended_by_typing("vif-down");
    for name in ["mail0", "vif3.0"] {
        assert!(host.says(&format!("explain {name} to=192.168.1.1")).starts_with("mail0 of mail (domain 3)"));
    }
    let (_, vif) = host.guests.last().unwrap();
    vif.disappear().unwrap();
    vif.remove_store().unwrap();
    let found = host.assert_found("orphan-filter");
    assert!(found[0]["what"].as_str().unwrap().contains("mail0"), "{found:#?}");
    host.assert_mended_by_typing("orphan-filter");
    host.assert_healthy();
}

#[test]
fn two_guests_have_one_address() {
    let host = Host::bridged();
    host.backend(2, "ip", "192.168.1.102 192.168.1.101");
    host.assert_found("duplicate-address");
    host.backend(2, "ip", "192.168.1.102");
    host.assert_mended("duplicate-address");
}

#[test]
fn a_guest_has_the_hosts_address() {
    let host = Host::bridged();
    host.backend(1, "ip", "192.168.1.100");
    host.assert_found("duplicate-address");
}

#[test]
fn two_guests_have_one_ethernet_address() {
    let host = Host::bridged();
    let mac = host.guests[0].1.mac();
    host.backend(2, "mac", &mac);
    host.assert_found("duplicate-mac");
    host.backend(2, "mac", "00:16:3e:00:00:02");
    host.assert_mended("duplicate-mac");
}

// Bridges

#[test]
fn a_bridge_is_down() {
    let host = Host::bridged();
    host.ip("link set eth0 down");
    host.assert_mended_by_typing("bridge-down");
}

#[test]
fn a_way_out_is_down() {
    let host = Host::bridged();
    host.ip("link set peth0 down");
    host.assert_mended_by_typing("uplink");
    host.assert_healthy();
}

#[test]
fn a_way_out_has_no_link() {
    let host = Host::bridged();
    host.router().ip("link set lan down").unwrap();
    host.assert_found("uplink");
    host.router().ip("link set lan up").unwrap();
    host.assert_mended("uplink");
}

#[test]
fn guests_wait_for_spanning_tree() {
    let host = Host::bridged();
    host.ip("link set eth0 type bridge stp_state 1 forward_delay 1500");
    host.assert_mended_by_typing("spanning-tree");
    host.assert_healthy();
}

#[test]
fn network_manager_manages_what_was_bridged() {
    let host = Host::bridged();
    let number = host.shell("cat /sys/class/net/peth0/ifindex").trim().to_owned();
    let file = format!("/run/NetworkManager/devices/{number}");
    host.machine().write_file(&file, "[device]\nmanaged=true\n").unwrap();
    host.stand_in("nmcli", &format!("[ \"$*\" = 'device set peth0 managed no' ] && printf '[device]\\nmanaged=false\\n' >{file}"));
    host.assert_mended_by_typing("manager");
}

#[test]
fn networkd_manages_what_was_bridged() {
    let host = Host::bridged();
    let number = host.shell("cat /sys/class/net/peth0/ifindex").trim().to_owned();
    let file = format!("/run/systemd/netif/links/{number}");
    host.machine().write_file(&file, "ADMIN_STATE=configured\n").unwrap();
    host.shell("mkdir -p /etc/systemd/network");
    host.stand_in(
        "networkctl",
        &format!("grep -q Unmanaged=yes /etc/systemd/network/00-xen-peth0.network && echo ADMIN_STATE=unmanaged >{file}"),
    );
    host.assert_mended_by_typing("manager");
}

// Toolstack

#[test]
fn xenstore_does_not_answer() {
    let host = Host::bridged();
    host.shell("mv /run/xenstored/socket /run/xenstored/away");
    host.stand_in("systemctl", "[ \"$*\" = 'start xenstored' ] && mv /run/xenstored/away /run/xenstored/socket");
    let found = host.assert_found("xenstore");
    assert!(found[0]["severity"] == "problem");
    assert!(host.says("status").contains("XenStore does not answer"));
    host.assert_mended_by_typing("xenstore");
    host.assert_healthy();
}

#[test]
fn xl_conf_names_a_program_that_is_not_there() {
    let host = Host::plain();
    host.machine().write_file("/etc/xen/xl.conf", "vif.default.script=\"vif-briDge\"\n").unwrap();
    let found = host.assert_found("script-path");
    assert!(found[0]["what"].as_str().unwrap().contains("/etc/xen/scripts/vif-briDge"));
    host.machine().write_file("/etc/xen/xl.conf", "vif.default.script=\"vif-bridge\"\n").unwrap();
    host.assert_mended("script-path");
}

#[test]
fn xend_config_names_a_program_that_is_not_executable() {
    let host = Host::plain();
    host.machine().write_file("/etc/xen/scripts/my-network", "#!/bin/sh\n").unwrap();
    host.machine().write_file("/etc/xen/xend-config.sxp", "(network-script 'my-network netdev=eth0')\n").unwrap();
    host.assert_mended_by_typing("script-path");
}

#[test]
fn xenstore_names_a_program_that_is_not_there() {
    let host = Host::bridged();
    host.backend(1, "script", "/etc/xen/scripts/gone");
    host.assert_found("script-path");
}

#[test]
fn xls_default_bridge_is_not_there() {
    let host = Host::plain();
    host.machine().write_file("/etc/xen/xl.conf", "vif.default.bridge=\"xenbr0\"\n").unwrap();
    host.assert_mended_by_typing("default-bridge");
}

#[test]
fn nobody_calls_the_programs() {
    let host = Host::plain();
    host.machine().write_file("/etc/xen/xl.conf", "run_hotplug_scripts=0\n").unwrap();
    host.assert_mended_by_typing("udev-and-toolstack");
}

#[test]
fn xl_and_xenstore_disagree_on_who_calls_the_programs() {
    let host = Host::bridged();
    host.machine().write_file("/etc/xen/xl.conf", "autoballoon=0\nrun_hotplug_scripts=0\n").unwrap();
    host.machine().write_file("/etc/udev/rules.d/xen-backend.rules", "").unwrap();
    host.assert_mended("udev-and-toolstack");
    host.write("/local/domain/0/libxl/disable_udev", "1");
    host.assert_mended_by_typing("udev-and-toolstack");
    assert_eq!(host.machine().read_file("/etc/xen/xl.conf").unwrap(), "autoballoon=0\n");
}

#[test]
fn xl_and_udev_both_call_the_programs() {
    let host = Host::bridged();
    host.machine().write_file("/etc/xen/xl.conf", "run_hotplug_scripts=1\n").unwrap();
    host.machine().write_file("/etc/udev/rules.d/xen-backend.rules", "").unwrap();
    let write = "[ \"$1\" = libxl/disable_udev ] && echo \"$2\" >/run/written";
    host.stand_in("xenstore-write", write);
    host.shell(&commands_of(&host, "udev-and-toolstack").join("\n"));
    assert_eq!(host.shell("cat /run/written"), "1\n");
    host.write("/local/domain/0/libxl/disable_udev", "1");
    host.assert_mended("udev-and-toolstack");
}

#[test]
fn others_may_write_to_a_hook_or_own_it() {
    for spoil in [
        "chmod 775 /etc/xen/scripts/vif-post.d/a.hook",
        "chown 1000 /etc/xen/scripts/vif-post.d/a.hook",
        "chmod 777 /etc/xen/scripts/vif-post.d",
    ] {
        let host = Host::plain();
        host.machine().write_program("/etc/xen/scripts/vif-post.d/a.hook", "true\n").unwrap();
        host.assert_healthy();
        host.shell(spoil);
        host.assert_mended_by_typing("hooks");
    }
}

#[test]
fn a_hook_is_never_run() {
    let host = Host::plain();
    host.machine().write_file("/etc/xen/scripts/vif-post.d/a.hook", "true\n").unwrap();
    host.assert_mended_by_typing("hooks");
}

#[test]
fn programs_have_complained() {
    let host = Host::plain();
    let line =
        "vif-bridge: the hook /etc/xen/scripts/vif-post.d/a.hook did not end: all hooks together have 20 s, and it was stopped\n";
    host.machine().write_file("/var/log/xen/xen-hotplug.log", format!("+ set -x\n{line}")).unwrap();
    let found = host.assert_found("log");
    assert!(found[0]["what"].as_str().unwrap().contains("took too long"));
    host.assert_mended_by_typing("log");
}

#[test]
fn ipv6_is_switched_off() {
    let host = Host::plain();
    host.machine().set_sysctl("net.ipv6.conf.all.disable_ipv6", "1").unwrap();
    host.assert_mended_by_typing("kernel-ipv6");
}

// Routing

#[test]
fn forwarding_was_switched_off() {
    for host in [Host::nat(), Host::routed(), Host::private_bridge()] {
        host.machine().set_sysctl("net.ipv4.ip_forward", "0").unwrap();
        host.assert_mended_by_typing("forwarding");
        host.assert_healthy();
    }
}

#[test]
fn nobody_has_made_the_host_a_router() {
    let mut host = Host::plain();
    host.start_guest(1, "web", Nic::routed("vif-nat", "192.168.2.1"));
    host.assert_found("masquerade");
    host.assert_mended_by_typing("forwarding");
    host.assert_healthy();
}

#[test]
fn a_setting_was_changed() {
    let host = Host::routed();
    host.machine().set_sysctl("net.ipv4.conf.eth0.proxy_arp", "0").unwrap();
    host.assert_mended_by_typing("settings");
    host.assert_healthy();
}

#[test]
fn the_ruleset_was_flushed() {
    for host in [Host::nat(), Host::private_bridge()] {
        host.shell("nft flush ruleset");
        host.assert_mended_by_typing("masquerade");
        host.assert_healthy();
    }
}

#[test]
fn a_chain_of_others_drops_what_guests_send() {
    for host in [Host::nat(), Host::private_bridge()] {
        host.shell("nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'");
        host.assert_mended_by_typing("dropping-chain");
        host.assert_healthy();
    }
}

#[test]
fn the_host_does_not_answer_for_the_gateway() {
    let host = Host::nat();
    host.machine().set_sysctl("net/ipv4/conf/vif1.0/proxy_arp", "0").unwrap();
    host.assert_mended_by_typing("proxy-arp");
    host.assert_healthy();
}

#[test]
fn a_guests_routes_are_lost() {
    let host = Host::routed();
    host.ip("route flush dev vif1.0 scope link proto boot");
    host.ip("-6 route del 2001:db8:2::1 dev vif1.0");
    host.shell("ip route flush dev vif1.0");
    assert_eq!(host.assert_found("guest-route").len(), 2);
    host.assert_mended_by_typing("guest-route");
}

#[test]
fn dnsmasq_does_not_run() {
    let host = Host::nat();
    host.machine().write_file("/etc/dnsmasq.d/xen-network.conf", "# ours\n").unwrap();
    host.stand_in(
        "systemctl",
        "[ \"$*\" = 'start dnsmasq' ] && cp /bin/sleep /run/dnsmasq && { /run/dnsmasq 600 >/dev/null 2>&1 & }",
    );
    host.assert_mended_by_typing("dnsmasq");
}

// Leftovers

#[test]
fn a_run_was_killed_halfway() {
    let host = Host::bridged();
    let journal = format!("{}/network-bridge.journal", host.run_folder());
    host.ip("link set vif1.0 down");
    let step = "[{\"SetLink\":{\"device\":\"vif1.0\",\"change\":{\"state\":\"Up\"}}}]\n";
    host.shell(&format!("umask 077; printf '%s' '{step}' >{journal}"));
    let shown = host.says("gc --dry-run");
    assert!(shown.contains("take back the killed run of network-bridge"), "{shown}");
    host.assert_mended_by_typing("killed-run");
    host.assert_healthy();
}

#[test]
fn what_the_programs_remember_makes_no_sense() {
    for name in ["network-bridge.json", "network-router.json"] {
        let host = Host::plain();
        let folder = host.run_folder();
        host.shell(&format!("echo nonsense >{folder}/{name}"));
        host.assert_mended_by_typing("unreadable-record");
    }
}

#[test]
fn a_bridge_was_deleted_behind_our_back() {
    let host = Host::bridged();
    host.ip("link delete eth0");
    host.assert_mended_by_typing("record-of-bridge");
}

#[test]
fn a_private_bridge_was_deleted_behind_our_back() {
    let host = Host::private_bridge();
    host.ip("link delete br0");
    host.assert_found("vif-bridge-missing");
    host.assert_mended_by_typing("session-without-device");
    host.shell(&commands_of(&host, "vif-not-in-bridge").join("\n"));
    host.assert_healthy();
}

#[test]
fn the_way_out_of_a_session_is_gone() {
    let host = Host::nat();
    host.ip("link set eth0 name lan0");
    host.assert_mended_by_typing("session-without-device");
}

#[test]
fn rules_are_for_devices_that_are_gone() {
    let host = Host::nat();
    host.shell(
        "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; }
         add rule ip filter FORWARD iifname \"vif9.0\" counter accept comment \"xen-network:vif9.0\"
         add rule ip filter FORWARD iifname \"eth7\" counter accept comment \"somebody else\"'",
    );
    let before = host.shell("nft list ruleset");
    let shown = host.says("gc --dry-run");
    assert!(shown.contains("nft delete rule ip filter FORWARD # comment \"xen-network:vif9.0\""), "{shown}");
    assert_eq!(host.shell("nft list ruleset"), before);
    host.assert_mended_by_typing("orphan-accept");
    assert!(host.shell("nft list ruleset").contains("somebody else"));
    host.assert_healthy();
}

#[test]
fn addresses_are_translated_for_nobody() {
    let host = Host::nat();
    host.shell(&format!("rm {}/network-router.json", host.run_folder()));
    host.assert_mended_by_typing("orphan-masquerade");
}

#[test]
fn vif_route_remembers_an_interface_that_is_gone() {
    let host = Host::routed();
    let folder = host.run_folder();
    host.ip("-6 neighbour add proxy 2001:db8:9::9 dev eth0");
    let proxy = "[{\"device\":\"eth0\",\"address\":\"2001:db8:9::9\",\"kind\":\"Proxy\"}]";
    host.shell(&format!("printf '%s' '{proxy}' >{folder}/vif9.0.json"));
    host.assert_mended_by_typing("orphan-memory");
    let left = host.shell("ip -6 neighbour show proxy");
    assert!(!left.contains("2001:db8:9::9"), "{left}");
    host.assert_healthy();
}

#[test]
fn dnsmasq_is_told_of_a_guest_that_is_gone() {
    let host = Host::nat();
    host.shell("mkdir -p /run/xen-network-dhcp; echo x >/run/xen-network-dhcp/guest-vif9.0@10.0.9.1");
    host.assert_mended_by_typing("orphan-dhcp");
    host.assert_healthy();
}

#[test]
fn gc_removes_nothing_that_somebody_needs_and_nothing_without_xenstore() {
    let host = Host::routed();
    let before = host.shell("nft list ruleset; find /run/xen-network -type f | sort; ip -6 neighbour show proxy");
    assert_eq!(host.says("gc"), "nothing of ours is left over\n");
    host.shell("nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; }; add rule ip filter FORWARD iifname \"vif9.0\" accept comment \"xen-network:vif9.0\"'");
    host.shell("mv /run/xenstored/socket /run/xenstored/away");
    let outcome = Outcome::of(&mut host.tool("gc")).unwrap();
    assert!(outcome.status == Some(1) && outcome.stderr.contains("nobody can tell which guests are gone"), "{outcome}");
    host.shell("mv /run/xenstored/away /run/xenstored/socket");
    host.says("gc");
    host.shell("nft delete table ip filter");
    assert_eq!(host.shell("nft list ruleset; find /run/xen-network -type f | sort; ip -6 neighbour show proxy"), before);
}

#[test]
fn gc_sweeps_what_killed_runs_have_left_half_written() {
    let host = Host::nat();
    let folder = host.run_folder();
    // No process has such a number (proc(5), pid_max); the second name is that of a process that is at work.
    let drafts = format!("{folder}/.vif9.0.json.4194304 /run/xen-network-dhcp/.guest-vif9.0@10.0.9.1.4194304");
    host.shell(&format!("mkdir -p /run/xen-network-dhcp; touch {drafts} {folder}/.vif9.0.json.1"));
    host.says("gc");
    let left = host.shell("find /run/xen-network /run/xen-network-dhcp -name '.*.*[0-9]'");
    assert_eq!(left.trim(), format!("{folder}/.vif9.0.json.1"));
}

/// What `doctor` says is to be typed.
fn commands_of(host: &Host, id: &str) -> Vec<String> {
    let found = host.assert_found(id);
    found
        .iter()
        .flat_map(|finding| finding["commands"].as_array().unwrap())
        .map(|command| command.as_str().unwrap().to_owned())
        .collect()
}

// What is shown

/// Compares with a reviewed file; `BLESS=1` writes it anew.
#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path: PathBuf = workspace().join("tests/cases/xen_network").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} is another one; BLESS=1 writes it anew", path.display());
}

/// Without what the devices lost and the filter dropped while they came up, which is another number each time.
fn without_counts(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let end = ["lost ", "; lost "].iter().filter_map(|words| line.find(words)).min().unwrap_or(line.len());
        let line = line[..end].trim_end();
        match line.find(" dropped") {
            Some(end) => {
                let start = line[..end].rfind(", ").unwrap();
                format!("{}{}", &line[..start], &line[end + " dropped".len()..])
            }
            None => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn status_shows_each_mode_as_a_tree_and_as_a_picture() {
    let mut bridged = Host::bridged();
    bridged.start_guest(3, "mail", Nic { vifname: Some("mail0".to_owned()), mtu: Some(1400), ..Nic::on_bridge("eth0") });
    bridged.ip("link set vif2.0 down");
    let fourth = Guest::new(4).unwrap();
    let vif = fourth.attach(&bridged.dom0, Nic::on_bridge("eth0")).unwrap();
    vif.disappear().unwrap();
    bridged.guests.push((fourth, vif));
    bridged.backend(1, "antispoof", "strict");
    bridged.shell("xen-network reload");
    for (name, host) in
        [("bridged", bridged), ("private-bridge", Host::private_bridge()), ("nat", Host::nat()), ("routed", Host::routed())]
    {
        assert_golden(&format!("{name}.txt"), &without_counts(&host.says("status")));
        assert_golden(&format!("{name}.dot"), &without_counts(&host.says("status --dot")));
    }
}

#[test]
fn status_as_json_has_what_the_tree_has_and_more() {
    let host = Host::bridged();
    let status = host.json("status");
    let device = |name: &str| status["devices"].as_array().unwrap().iter().find(|device| device["name"] == name).unwrap().clone();
    assert_eq!(device("vif1.0")["master"], "eth0");
    assert_eq!(device("vif1.0")["port_state"], "forwarding");
    assert_eq!(device("eth0")["bridge"]["spanning_tree"], "Off");
    let vifs = status["store"]["vifs"].as_array().unwrap();
    assert_eq!(vifs.len(), 2);
    assert_eq!(vifs[0]["guest"], "web");
    assert_eq!(vifs[0]["uuid"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(vifs[0]["addresses"][0], "192.168.1.101/32");
    assert_eq!(vifs[0]["hotplug_status"], "connected");
    let outcome = Outcome::of(&mut host.tool("status --json --dot")).unwrap();
    assert_eq!(outcome.status, Some(1), "{outcome}");
}

#[test]
fn a_guests_name_cannot_forge_lines_or_move_the_cursor() {
    let host = Host::bridged();
    host.write("/local/domain/1/name", "web\x1b[2J\n`- vif9.0\"; evil");
    for words in ["status", "status --dot", "doctor", "explain vif1.0"] {
        let text = host.says(words);
        assert!(!text.contains('\x1b') && !text.lines().any(|line| line.starts_with("`- vif9.0")), "{text}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let host = Host::bridged();
    let on_terminal = |environment: &str| {
        // The machine's own /dev has no pseudo-terminals.
        let inside = format!(
            "nsenter --target={} --net --mount -- env TERM=xterm {environment} /etc/xen/scripts/xen-network status",
            host.machine().pid()
        );
        let output = Command::new("script").args(["-qec", &inside, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(on_terminal("LANG=C.UTF-8").contains("\x1b[32mup\x1b[0m"));
    let plain = on_terminal("NO_COLOR=1");
    assert!(plain.contains("vif1.0") && !plain.contains('\x1b'), "{plain}");
    assert!(!host.says("status").contains('\x1b'));
}

/// `xl create` on a terminal is not told every step of a vif program; who calls it himself is.
#[test]
fn steps_are_for_who_calls_a_program_himself() {
    let host = Host::bridged();
    let call = |from: &str| {
        let inside = format!(
            "nsenter --target={} --net --mount -- env vif=vif1.0 XENBUS_PATH=backend/vif/1/0 /etc/xen/scripts/vif-bridge online {from}",
            host.machine().pid()
        );
        let output = Command::new("script").args(["-qec", &inside, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(call("</dev/null"), "");
    assert!(call("").contains("vif-bridge online of vif1.0: done"));
}

// explain

/// The stations where a packet is dropped, or may be.
fn stopped(host: &Host, words: &str) -> Vec<String> {
    let answer = host.json(&format!("explain {words}"));
    let stations = answer["stations"].as_array().unwrap();
    assert!(stations.len() > 1 || stations[0]["fate"] == "dropped", "{answer:#}");
    stations
        .iter()
        .filter(|station| station["fate"] != "passes")
        .map(|station| station["station"].as_str().unwrap().to_owned())
        .collect()
}

const NOWHERE: [&str; 0] = [];

#[test]
fn explain_lets_pass_what_passes() {
    assert_eq!(stopped(&Host::bridged(), "vif1.0 to=192.168.1.1"), NOWHERE);
    assert_eq!(stopped(&Host::private_bridge(), "vif1.0 to=198.51.100.1"), NOWHERE);
    assert_eq!(stopped(&Host::nat(), "vif1.0 from=192.168.2.1 to=198.51.100.1"), NOWHERE);
    // The LAN's router may or may not know the way back.
    assert_eq!(stopped(&Host::routed(), "vif1.0 to=198.51.100.1"), ["translation"]);
}

#[test]
fn explain_finds_where_a_routed_packet_is_dropped() {
    let host = Host::nat();
    assert_eq!(stopped(&host, "vif1.0 from=192.168.9.9 to=198.51.100.1"), ["filter", "route back"]);
    host.machine().set_sysctl("net.ipv4.ip_forward", "0").unwrap();
    assert_eq!(stopped(&host, "vif1.0 to=198.51.100.1"), ["forwarding"]);
    host.machine().set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    host.machine().set_sysctl("net/ipv4/conf/vif1.0/proxy_arp", "0").unwrap();
    host.machine().set_sysctl("net/ipv4/conf/vif1.0/rp_filter", "1").unwrap();
    assert_eq!(stopped(&host, "vif1.0 from=192.168.9.9 to=198.51.100.1"), ["filter", "gateway", "reverse path"]);
    host.shell("nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'");
    host.shell("nft delete table inet xen-network");
    host.ip("route delete default");
    assert_eq!(stopped(&host, "vif1.0 to=198.51.100.1"), ["gateway", "route", "packet filter"]);
    host.ip("link set vif1.0 down");
    assert_eq!(stopped(&host, "vif1.0")[0], "device");
}

#[test]
fn explain_finds_where_a_bridged_packet_is_dropped() {
    let host = Host::bridged();
    host.ip("link set peth0 down");
    assert_eq!(stopped(&host, "vif1.0"), ["uplink"]);
    host.ip("link set vif1.0 nomaster");
    assert_eq!(stopped(&host, "vif1.0"), ["bridge"]);
    host.backend(1, "hotplug-status", "error");
    host.backend(1, "state", "2");
    assert_eq!(stopped(&host, "vif1.0"), ["program", "guest", "bridge"]);
    let text = host.says("explain vif1.0");
    assert!(text.ends_with("The packet is dropped.\n"), "{text}");
    for (words, complaint) in [
        ("explain", "which interface?"),
        ("explain vif7.0", "no guest has an interface vif7.0: there are vif1.0, vif2.0"),
        ("explain vif1.0 to=nowhere", "to=nowhere is no address"),
        ("explain vif1.0 protocol=http", "protocol=http is no protocol such as tcp"),
    ] {
        let outcome = Outcome::of(&mut host.tool(words)).unwrap();
        assert!(outcome.status == Some(1) && outcome.stderr.contains(complaint), "{words}: {outcome}");
    }
}

/// The stations of this name, each with what becomes of the packet and why.
fn told_of(host: &Host, station: &str, words: &str) -> Vec<(String, String)> {
    let answer = host.json(&format!("explain {words}"));
    let stations = answer["stations"].as_array().unwrap().iter().filter(|seen| seen["station"] == station);
    let text = |seen: &Value, field: &str| seen[field].as_str().unwrap().to_owned();
    stations.map(|seen| (text(seen, "fate"), text(seen, "why"))).collect()
}

#[test]
fn explain_names_the_rule_of_others_that_decides() {
    let host = Host::nat();
    let load = "table ip admin {
            chain blocked { ip daddr 9.9.9.0/24 reject; }
            chain late { type filter hook forward priority 10; policy accept; oifname \"eth0\" jump blocked; tcp dport 25 drop; }
            chain early { type filter hook forward priority -10; policy drop; ct state established,related accept; iifname \"vif*\" accept; }
            chain other { type filter hook input priority 0; policy drop; }
        }";
    host.machine().write_file("/run/admin.nft", load).unwrap();
    host.shell("nft -f /run/admin.nft");
    let pass = "ip admin early (priority -10) accepts it: iifname \"vif*\" accept";
    let told = |words: &str| told_of(&host, "packet filter", words);
    let [early, late] = &told("vif1.0 to=9.9.9.9")[..] else { panic!() };
    assert_eq!(*early, ("passes".to_owned(), pass.to_owned()));
    let why = "ip admin late (priority 10) drops it: ip daddr 9.9.9.0/24 reject (in the chain blocked)";
    assert_eq!(*late, ("dropped".to_owned(), why.to_owned()));
    assert!(host.says("explain vif1.0 to=9.9.9.9").ends_with("The packet is dropped.\n"));
    let [_, late] = &told("vif1.0 to=198.51.100.1")[..] else { panic!() };
    let policy = "ip admin late (priority 10) lets it pass: none of its rules decides, and its policy is accept";
    assert_eq!(*late, ("perhaps".to_owned(), format!("{policy}; cannot judge this rule: tcp dport 25 drop")));
    let [_, late] = &told("vif1.0 to=198.51.100.1 protocol=udp")[..] else { panic!() };
    assert_eq!(*late, ("passes".to_owned(), policy.to_owned()));
    // What explain says is so.
    host.guests[0].0.configure(0, "192.168.2.1/24", Some("192.168.2.128")).unwrap();
    host.router().ip("address add 9.9.9.9/32 dev lan").unwrap();
    assert!(host.guests[0].0.machine().run("ping", ["-c1", "-W1", "9.9.9.9"]).is_err());
    assert!(reaches_the_router(&host));
    host.shell("nft delete table ip admin");
    assert!(host.guests[0].0.machine().run("ping", ["-c1", "-W2", "9.9.9.9"]).is_ok());
    // Rules of iptables-nft are read as well; a chain that drops at its end has the remedy beside it.
    host.shell("iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i vif1.0 -s 192.168.2.0/24 -d 9.9.9.9 -j ACCEPT");
    let [one] = &told("vif1.0 to=9.9.9.9")[..] else { panic!() };
    assert_eq!(one.0, "passes", "{one:?}");
    let [one] = &told("vif1.0 to=9.9.9.8")[..] else { panic!() };
    assert_eq!(one.0, "dropped", "{one:?}");
    let answer = host.json("explain vif1.0 to=9.9.9.8");
    let stations = answer["stations"].as_array().unwrap();
    let commands = stations.iter().find(|seen| seen["station"] == "packet filter").unwrap()["commands"].clone();
    assert_eq!(commands[0], "nft 'add rule ip filter FORWARD iifname \"vif1.0\" counter accept comment \"xen-network:vif1.0\"'");
}

#[test]
fn explain_names_the_rule_of_others_that_decides_on_a_bridge() {
    let host = Host::bridged();
    let load = "table bridge admin { chain forward { type filter hook forward priority 0; policy accept;
            ether type arp accept; iifname \"vif1.0\" oifname \"peth0\" ip daddr 192.168.1.7 drop; ip daddr { 192.168.1.8, 192.168.1.9 } drop
        }
        }";
    host.machine().write_file("/run/admin.nft", load).unwrap();
    host.shell("nft -f /run/admin.nft");
    let told = |words: &str| told_of(&host, "bridge filter", words);
    let [one] = &told("vif1.0 to=192.168.1.7")[..] else { panic!() };
    let why = "bridge admin forward (priority 0) drops it: iifname \"vif1.0\" oifname \"peth0\" ip daddr 192.168.1.7 drop";
    assert_eq!(*one, ("dropped".to_owned(), why.to_owned()));
    let [one] = &told("vif1.0 to=192.168.1.1")[..] else { panic!() };
    assert!(one.0 == "perhaps" && one.1.ends_with("cannot judge this rule: ip daddr { 192.168.1.8, 192.168.1.9 } drop"), "{one:?}");
    let [one] = &told("vif2.0 from=192.168.1.102")[..] else { panic!() };
    assert_eq!(one.0, "perhaps");
}

// watch

#[test]
fn watch_tells_of_a_guest_that_comes_and_goes() {
    let host = Host::bridged();
    let mut watching = host.machine().spawn(host.tool("watch").stdout(Stdio::piped())).unwrap();
    let mut lines = BufReader::new(watching.child().stdout.take().unwrap()).lines().map(|line| line.unwrap());
    // Whatever comes first: that it listens is known once it has told of a change.
    let began = Instant::now();
    let mut toggles = 0;
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.by_ref().try_for_each(|line| sender.send(line)));
    while told.try_recv().is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "watch says nothing");
        host.ip(if toggles % 2 == 0 { "link set vif2.0 down" } else { "link set vif2.0 up" });
        toggles += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let guest = Guest::new(7).unwrap();
    let vif = guest.attach(&host.dom0, Nic::on_bridge("eth0")).unwrap();
    vif.hotplug(Hotplug::Online).unwrap().success().unwrap();
    vif.disappear().unwrap();
    vif.hotplug(Hotplug::Offline).unwrap().success().unwrap();
    vif.remove_store().unwrap();
    let mut expected = vec![
        "vif7.0 is new, down, MTU 1500",
        "vif7.0 is a port of eth0",
        "vif7.0 is up",
        "vif7.0 in XenStore: hotplug-status is connected",
        "vif7.0 is gone",
        "vif7.0 is gone from XenStore",
    ];
    while !expected.is_empty() {
        let line = told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("not told: {expected:?}"));
        let (time, event) = line.split_once("  ").unwrap();
        assert!(time.len() == 9 && time.ends_with('Z'), "{line}");
        expected.retain(|wanted| *wanted != event);
    }
}

// guard

/// How long the rules may be away. They are back within milliseconds; the rest is for a machine with other work.
const SHORT: Duration = Duration::from_secs(5);

/// A guard on a host, and what it says it has put right.
fn guard(host: &Host) -> (testbed::machine::Running, std::sync::mpsc::Receiver<String>) {
    let mut guarding = host.machine().spawn(host.tool("guard").stdout(Stdio::piped())).unwrap();
    let lines = BufReader::new(guarding.child().stdout.take().unwrap()).lines();
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (guarding, told)
}

/// Waits until it says so.
#[track_caller]
fn await_word(told: &std::sync::mpsc::Receiver<String>, part: &str) {
    let until = Instant::now() + SHORT;
    loop {
        let line = told.recv_timeout(until.saturating_duration_since(Instant::now()));
        if line.unwrap_or_else(|_| panic!("not told: {part}")).contains(part) {
            return;
        }
    }
}

#[test]
fn guard_puts_the_filter_back_whenever_somebody_takes_it_away() {
    let host = filtered();
    host.shell("nft flush ruleset");
    let (_guarding, told) = guard(&host);
    // What was gone before it began.
    await_word(&told, "filter these guests");
    host.assert_healthy();
    for spoil in ["flush ruleset", "delete table bridge xen-guests", "flush table bridge xen-guests"] {
        host.shell(&format!("nft '{spoil}'"));
        let began = Instant::now();
        await_word(&told, "filter these guests");
        println!("{spoil}: back after {:?}", began.elapsed());
        host.assert_healthy();
    }
    // The guest is held to its address again.
    assert_eq!(stopped(&host, "vif1.0 from=192.168.1.66 to=192.168.1.1"), ["filter"]);
}

#[test]
fn guard_puts_back_what_lets_guests_pass_in_the_chains_of_others() {
    let host = Host::nat();
    let (_guarding, told) = guard(&host);
    let load = "nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'";
    host.shell(load);
    await_word(&told, "filter FORWARD");
    host.assert_healthy();
    // As a firewall is loaded anew.
    host.shell(&format!("nft delete table ip filter; {load}"));
    await_word(&told, "filter FORWARD");
    host.shell("nft flush ruleset");
    await_word(&told, "masquerade");
    host.assert_healthy();
}

/// A guest behind the host's address; firewalld rejects what goes from the zone of guests to that of the LAN, so that our rule in its chain
/// has to let it pass.
fn beside_firewalld() -> (Host, Firewalld) {
    let mut host = Host::plain();
    let firewalld = Firewalld::start(host.machine(), "public").unwrap();
    host.shell("firewall-cmd --permanent --zone=work --add-interface=eth0 && firewall-cmd --reload");
    host.shell("network-nat start");
    host.start_guest(1, "web", Nic::routed("vif-nat", "192.168.2.1"));
    host.guests[0].0.configure(0, "192.168.2.1/24", Some("192.168.2.128")).unwrap();
    host.assert_healthy();
    assert!(reaches_the_router(&host));
    (host, firewalld)
}

fn reaches_the_router(host: &Host) -> bool {
    host.guests[0].0.machine().run("ping", ["-c1", "-W2", "192.168.1.1"]).is_ok()
}

#[test]
fn a_reload_of_firewalld_cuts_guests_off_and_leaves_their_filter() {
    let (host, _firewalld) = beside_firewalld();
    host.shell("firewall-cmd --reload");
    assert!(!reaches_the_router(&host), "firewalld does not reject it: nothing is shown here");
    assert!(host.says("status").contains("filter ip"));
    host.assert_mended_by_typing("dropping-chain");
    assert!(reaches_the_router(&host));
    host.shell("firewall-cmd --reload");
    host.shell("xen-network reload");
    assert!(reaches_the_router(&host));
    host.assert_healthy();
}

#[test]
fn guard_puts_everything_back_after_reloads_of_firewalld() {
    let (host, _firewalld) = beside_firewalld();
    let (_guarding, told) = guard(&host);
    host.shell("firewall-cmd --reload");
    await_word(&told, "firewalld filter_FORWARD");
    assert!(reaches_the_router(&host));
    host.assert_healthy();
    host.shell("nft flush ruleset");
    await_word(&told, "filter these guests");
    host.assert_healthy();
    assert!(stopped(&host, "vif1.0 from=192.168.2.66 to=192.168.1.1").contains(&"filter".to_owned()));
    assert!(reaches_the_router(&host));
}

#[test]
fn guard_leaves_guests_that_come_and_go_to_their_programs() {
    let mut host = filtered();
    let (mut guarding, told) = guard(&host);
    host.shell("nft flush ruleset");
    await_word(&told, "filter these guests");
    host.start_guest(7, "late", Nic { ip: Some("192.168.1.107".to_owned()), ..Nic::on_bridge("eth0") });
    let (_guest, vif) = host.guests.pop().unwrap();
    vif.hotplug(Hotplug::Offline).unwrap().success().unwrap();
    vif.disappear().unwrap();
    vif.remove_store().unwrap();
    // Others' own rules are no business of its.
    host.shell("nft 'table ip mine { chain one { }; }'; nft add rule ip mine one accept; nft delete table ip mine");
    host.shell("nft flush ruleset");
    await_word(&told, "filter these guests");
    assert!(told.try_recv().is_err(), "one word for one flush");
    host.assert_healthy();
    assert!(guarding.child().try_wait().unwrap().is_none());
}

// Many guests

/// How many interfaces a large host has.
const MANY: u16 = 500;

#[test]
fn a_host_with_many_guests_is_shown_whole() {
    let host = Host::bridged();
    crowd(&host.dom0, "eth0", MANY).unwrap();
    host.shell("xen-network reload");
    for (words, rounds) in [("status", 9), ("status --json", 5), ("doctor", 3)] {
        let mut times: Vec<Duration> = (0..rounds).map(|_| Outcome::of(&mut host.tool(words)).unwrap().duration).collect();
        times.sort();
        println!("xen-network {words}, {} interfaces: {:?} (median of {rounds}, nsenter(1) included)", MANY + 2, times[rounds / 2]);
    }
    let text = host.says("status");
    assert_eq!(text.lines().filter(|line| line.contains(" (domain ")).count(), usize::from(MANY) + 2);
    assert_eq!(host.json("status")["store"]["vifs"].as_array().unwrap().len(), usize::from(MANY) + 2);
    host.assert_healthy();
}
