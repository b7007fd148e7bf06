//! Ports of bridges (`bridge link`, `bridge vlan`, `bridge fdb`).

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkMessage, LinkProtoInfoBridge,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::attributes::Attributes;
use super::connection::{KernelError, Message};
use super::kernel::Kernel;
use crate::host::Switch;
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::PortChange;
use crate::vlan::{Egress, Ingress, PortVlans, VlanId, VlanSpan};

/// `IFLA_BRPORT_*` (include/uapi/linux/if_link.h).
pub(super) const IFLA_BRPORT_LEARNING: u16 = 8;
pub(super) const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;
pub(super) const IFLA_BRPORT_ISOLATED: u16 = 33;

const RTM_SETLINK: u16 = 19;
const RTM_DELLINK: u16 = 17;
const RTM_NEWNEIGH: u16 = 28;
/// `struct ndmsg`, in bytes.
const NEIGHBOUR_HEADER: usize = 12;
const NDA_LLADDR: u16 = 2;

/// VLANs by themselves (include/uapi/linux/if_bridge.h), since Linux 5.6. The older way to ask, by `RTM_GETLINK`, lists the ports of every
/// bridge of the host.
const RTM_NEWVLAN: u16 = 112;
const RTM_GETVLAN: u16 = 114;
/// `struct br_vlan_msg`, in bytes.
const VLAN_HEADER: usize = 8;
const BRIDGE_VLANDB_ENTRY: u16 = 1;
const BRIDGE_VLANDB_ENTRY_INFO: u16 = 1;
const BRIDGE_VLANDB_ENTRY_RANGE: u16 = 2;

/// A message about a port. Without a flag that says otherwise it is for its bridge (net/core/rtnetlink.c, `rtnl_bridge_setlink()`).
fn about_port(kind: u16, number: u32, attributes: Vec<LinkAttribute>) -> Message {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = number;
    message.attributes = attributes;
    // The same structure in all messages about devices; their kinds differ.
    Message { kind, ..Message::from(RouteNetlinkMessage::SetLink(message)) }
}

/// Changes what the bridge does with a port.
pub(super) fn set(kernel: &mut Kernel, device: &InterfaceName, change: PortChange) -> Result<(), KernelError> {
    let message = setting(kernel.number_of(device)?, change);
    kernel.connection()?.change(message, 0)
}

fn setting(number: u32, change: PortChange) -> Message {
    let settings = [(IFLA_BRPORT_LEARNING, change.learning), (IFLA_BRPORT_ISOLATED, change.isolated)];
    let attribute = |kind, value: Vec<u8>| LinkProtoInfoBridge::Other(DefaultNla::new(kind, value));
    let switches = settings.into_iter().filter_map(|(kind, switch)| Some(attribute(kind, vec![u8::from(switch? == Switch::On)])));
    let groups = change.groups.map(|mask| attribute(IFLA_BRPORT_GROUP_FWD_MASK, mask.0.to_ne_bytes().to_vec()));
    about_port(RTM_SETLINK, number, vec![LinkAttribute::ProtoInfoBridge(switches.chain(groups).collect())])
}

/// Makes a port a member of VLANs.
pub(super) fn add_vlans(kernel: &mut Kernel, device: &InterfaceName, vlans: &VlanSpan) -> Result<(), KernelError> {
    let message = vlans_message(RTM_SETLINK, kernel.number_of(device)?, vlans);
    kernel.connection()?.change(message, 0)
}

/// Takes a port out of VLANs.
pub(super) fn delete_vlans(kernel: &mut Kernel, device: &InterfaceName, first: VlanId, last: VlanId) -> Result<(), KernelError> {
    let vlans = VlanSpan { first, last, egress: Egress::Tagged, ingress: Ingress::Tagged };
    let message = vlans_message(RTM_DELLINK, kernel.number_of(device)?, &vlans);
    kernel.connection()?.change(message, 0)
}

/// Several VLANs are named by the first and the last one.
fn vlans_message(kind: u16, number: u32, vlans: &VlanSpan) -> Message {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Untagged, vlans.egress == Egress::Untagged);
    flags.set(BridgeVlanInfoFlags::Pvid, vlans.ingress == Ingress::Untagged);
    let entry = |id: VlanId, place| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags: flags | place, vid: id.into() });
    let entries = match vlans.first == vlans.last {
        true => vec![entry(vlans.first, BridgeVlanInfoFlags::empty())],
        false => {
            vec![entry(vlans.first, BridgeVlanInfoFlags::RangeBegin), entry(vlans.last, BridgeVlanInfoFlags::RangeEnd)]
        }
    };
    about_port(kind, number, vec![LinkAttribute::AfSpecBridge(entries)])
}

/// The VLANs that a port is a member of.
pub(super) fn vlans(kernel: &mut Kernel, device: &InterfaceName) -> Result<PortVlans, KernelError> {
    let question = vlans_question(kernel.number_of(device)?);
    let mut vlans = PortVlans::default();
    for message in kernel.connection()?.dump(question)? {
        take_vlans(&message, &mut vlans)?;
    }
    Ok(vlans)
}

/// The VLANs of all ports, by their numbers.
pub(super) fn all_vlans(kernel: &mut Kernel) -> Result<BTreeMap<u32, PortVlans>, KernelError> {
    let mut all: BTreeMap<u32, PortVlans> = BTreeMap::new();
    for message in kernel.connection()?.dump(vlans_question(0))? {
        // `struct br_vlan_msg` has the device's number in its second word.
        let number = message.body.get(4..8).and_then(|bytes| bytes.first_chunk());
        let number = number.ok_or_else(|| KernelError::Nonsense("VLANs without a device".to_owned()))?;
        take_vlans(&message, all.entry(u32::from_ne_bytes(*number)).or_default())?;
    }
    Ok(all)
}

fn vlans_question(number: u32) -> Message {
    let [a, b, c, d] = number.to_ne_bytes();
    Message { kind: RTM_GETVLAN, body: vec![AddressFamily::Bridge.into(), 0, 0, 0, a, b, c, d] }
}

pub(super) fn take_vlans(message: &Message, vlans: &mut PortVlans) -> Result<(), KernelError> {
    if message.kind != RTM_NEWVLAN {
        return Err(KernelError::Nonsense(format!("message {} in place of VLANs", message.kind)));
    }
    let entries = Attributes::behind(&message.body, VLAN_HEADER)?;
    for (_, entry) in entries.iter().filter(|(kind, _)| *kind == BRIDGE_VLANDB_ENTRY) {
        let entry = Attributes::parse(entry)?;
        let nonsense = || KernelError::Nonsense("a VLAN without its number".to_owned());
        let info = BridgeVlanInfo::try_from(entry.bytes(BRIDGE_VLANDB_ENTRY_INFO).ok_or_else(nonsense)?)?;
        let id = |number: u16| VlanId::try_from(number).map_err(|error| KernelError::Nonsense(error.to_string()));
        let first = id(info.vid)?;
        vlans.add(&VlanSpan {
            first,
            last: entry.u16(BRIDGE_VLANDB_ENTRY_RANGE)?.map_or(Ok(first), id)?,
            egress: if info.flags.contains(BridgeVlanInfoFlags::Untagged) { Egress::Untagged } else { Egress::Tagged },
            ingress: if info.flags.contains(BridgeVlanInfoFlags::Pvid) { Ingress::Untagged } else { Ingress::Tagged },
        });
    }
    Ok(())
}

/// The addresses that somebody has tied to a port for good: what other ports say does not move them.
pub(super) fn stations(kernel: &mut Kernel, device: &InterfaceName) -> Result<BTreeSet<MacAddress>, KernelError> {
    let number = kernel.number_of(device)?;
    let mut question = NeighbourMessage::default();
    question.header.family = AddressFamily::Bridge;
    // Of a table of this family the kernel shows one port's part (net/core/rtnetlink.c, `valid_fdb_dump_strict()`).
    question.header.ifindex = number;
    let mut stations = BTreeSet::new();
    for message in kernel.connection()?.dump(RouteNetlinkMessage::GetNeighbour(question))? {
        stations.extend(station_in(&message, number)?);
    }
    Ok(stations)
}

/// A static entry shows as one that needs no ARP (net/bridge/br_fdb.c, `fdb_to_nud()`).
fn station_in(message: &Message, number: u32) -> Result<Option<MacAddress>, KernelError> {
    if message.kind != RTM_NEWNEIGH {
        return Err(KernelError::Nonsense(format!("message {} in place of a forwarding entry", message.kind)));
    }
    let header = NeighbourHeader::parse(&message.body)?;
    let tied = header.state == NeighbourState::Noarp && header.flags.contains(NeighbourFlags::Sticky);
    if header.ifindex != number || !tied {
        return Ok(None);
    }
    let attributes = Attributes::behind(&message.body, NEIGHBOUR_HEADER)?;
    Ok(attributes.bytes(NDA_LLADDR).and_then(|bytes| bytes.try_into().ok()).map(MacAddress::new))
}

/// Ties an address to a port, whatever is known of it.
pub(super) fn add_station(kernel: &mut Kernel, device: &InterfaceName, mac: MacAddress) -> Result<(), KernelError> {
    let message = station(kernel.number_of(device)?, mac);
    kernel.connection()?.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Unties it.
pub(super) fn delete_station(kernel: &mut Kernel, device: &InterfaceName, mac: MacAddress) -> Result<(), KernelError> {
    let message = station(kernel.number_of(device)?, mac);
    kernel.connection()?.change(RouteNetlinkMessage::DelNeighbour(message), 0)
}

fn station(number: u32, mac: MacAddress) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = number;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::GroupMask;

    fn span_of(first: u16, last: u16) -> VlanSpan {
        let id = |number: u16| VlanId::try_from(number).unwrap();
        VlanSpan { first: id(first), last: id(last), egress: Egress::Tagged, ingress: Ingress::Tagged }
    }

    /// `bridge` of iproute2 6.1 sent these for device 5, as strace shows them.
    #[test]
    fn messages_are_those_of_iproute2() {
        let header = [7, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // AF_BRIDGE, device 5
        let body = |attributes: &[u8]| [&header, attributes].concat();

        let pvid = VlanSpan { egress: Egress::Untagged, ingress: Ingress::Untagged, ..span_of(10, 10) };
        let message = vlans_message(RTM_SETLINK, 5, &pvid);
        assert_eq!(message.body, body(&[12, 0, 26, 0, 8, 0, 2, 0, 6, 0, 10, 0]), "vlan add dev v0 vid 10 pvid untagged");
        assert_eq!(message.kind, 19);

        let bytes = [20, 0, 26, 0, 8, 0, 2, 0, 8, 0, 100, 0, 8, 0, 2, 0, 16, 0, 150, 0];
        assert_eq!(vlans_message(RTM_SETLINK, 5, &span_of(100, 150)).body, body(&bytes), "vlan add dev v0 vid 100-150");

        let message = vlans_message(RTM_DELLINK, 5, &span_of(20, 22));
        assert_eq!(
            message.body,
            body(&[20, 0, 26, 0, 8, 0, 2, 0, 8, 0, 20, 0, 8, 0, 2, 0, 16, 0, 22, 0]),
            "vlan del dev v0 vid 20-22"
        );
        assert_eq!(message.kind, 17);

        let change = PortChange { isolated: Some(Switch::On), learning: Some(Switch::Off), groups: None };
        let bytes = [20, 0, 12, 0x80, 5, 0, 8, 0, 0, 0, 0, 0, 5, 0, 33, 0, 1, 0, 0, 0];
        assert_eq!(setting(5, change).body, body(&bytes), "link set dev v0 isolated on learning off");

        let change = PortChange { groups: Some(GroupMask::PAST_THE_FILTER), ..PortChange::default() };
        assert_eq!(setting(5, change).body, body(&[12, 0, 12, 0x80, 6, 0, 31, 0, 1, 0x40, 0, 0]), "group_fwd_mask 0x4001");
    }

    #[test]
    fn vlans_are_asked_for_one_port() {
        let Message { kind, body } = vlans_question(5);
        assert_eq!((kind, body), (RTM_GETVLAN, vec![7, 0, 0, 0, 5, 0, 0, 0]));
    }

    /// VLANs 10 (PVID, untagged), 20 to 22 (tagged) and 30 (untagged), as `br_vlan_fill_vids()` (net/bridge/br_vlan.c) writes them.
    #[test]
    fn vlans_are_read() {
        let mut body = vec![7, 0, 0, 0, 5, 0, 0, 0];
        body.extend([12, 0, 1, 0x80, 8, 0, 1, 0, 6, 0, 10, 0]);
        body.extend([20, 0, 1, 0x80, 8, 0, 1, 0, 0, 0, 20, 0, 6, 0, 2, 0, 22, 0, 0, 0]);
        body.extend([12, 0, 1, 0x80, 8, 0, 1, 0, 4, 0, 30, 0]);
        let mut vlans = PortVlans::default();
        take_vlans(&Message { kind: RTM_NEWVLAN, body }, &mut vlans).unwrap();
        assert_eq!(vlans, "10p/20-22/30u".parse().unwrap());
    }

    #[test]
    fn nonsense_is_an_error() {
        let reject = |kind, entry: &[u8]| {
            let body = [&[7, 0, 0, 0, 5, 0, 0, 0], entry].concat();
            take_vlans(&Message { kind, body }, &mut PortVlans::default()).unwrap_err()
        };
        reject(RTM_NEWNEIGH, &[]);
        reject(RTM_NEWVLAN, &[4, 0, 1, 0x80]);
        reject(RTM_NEWVLAN, &[12, 0, 1, 0x80, 8, 0, 1, 0, 6, 0, 0, 0]);
        reject(RTM_NEWVLAN, &[12, 0, 1, 0x80, 8, 0, 1, 0, 6, 0, 255, 15]);
        reject(RTM_NEWVLAN, &[12, 0, 1, 0x80, 6, 0, 1, 0, 6, 0, 0, 0]);
        reject(RTM_NEWVLAN, &[20, 0, 1, 0x80, 8, 0, 1, 0, 0, 0, 20, 0, 6, 0, 2, 0, 0, 0, 0, 0]);
        reject(RTM_NEWVLAN, &[40, 0, 1, 0x80]);
    }
}
