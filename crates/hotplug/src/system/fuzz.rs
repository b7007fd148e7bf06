//! The parsers of what the kernel, files of other programs and Open vSwitch say, opened to crates/fuzz. Not among what the programs are
//! built from.

use super::kernel::Kernel;
use super::{
    address, bridge_port, connection, firewall, ifupdown, link, lock, manager, neighbour, network_root, route, rule, watch,
};
use crate::host::Family;
use crate::interface_name::InterfaceName;
use crate::vlan::PortVlans;
use netlink_packet_route::route::RouteAttribute;

/// The number of the device that tables are asked about, and its name.
const NUMBER: u32 = 2;

/// Reads one datagram of rtnetlink as all that it could be the answer to.
///
/// # Panics
/// Where there is a fault.
pub fn rtnetlink(datagram: &[u8], device: &InterfaceName) {
    let (sender, _events) = std::sync::mpsc::channel();
    let _ = watch::tell_all(datagram, &sender);
    let Ok(messages) = connection::messages_in(datagram) else { return };
    let mut kernel = Kernel::default();
    kernel.learn(device, NUMBER);
    let mut vlans = PortVlans::default();
    for message in messages {
        let _ = link::Seen::parse(&message).map(|seen| seen.map(link::Seen::without_master));
        let _ = address::parse(&message, device, NUMBER);
        let _ = neighbour::parse(&message, NUMBER);
        let _ = bridge_port::take_vlans(&message, &mut vlans);
        for family in [Family::V4, Family::V6] {
            let _ = rule::parse(&message, family);
            let _ = route::parse(&mut kernel, &message, family, &RouteAttribute::Table(254));
        }
    }
}

/// Reads the text of a file as that of each file that other programs, or the kernel, keep.
///
/// # Panics
/// Where there is a fault.
pub fn files_of_others(text: &str, device: &InterfaceName) {
    let _ = ifupdown::logical_name(text, device);
    assert!(ifupdown::logical_lines(text).iter().all(|line| !line.contains('\n')));
    if let Some(mount) = network_root::root_mount(text) {
        let _ = network_root::by_file_system(&mount);
    }
    let _ = network_root::by_kernel_words(text);
    let _ = network_root::root_needs_network(text);
    let _ = (manager::is_network_managers(text), manager::is_networkds(text), manager::dhcp_socket(text, NUMBER));
    assert!(lock::find_holder(text, 0xfd01, 7) != Some(0));
    firewall::read_listing(text);
}
