//! Looking at all of a host at once: a few questions, however many guests there are.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;

use super::attributes::Attributes;
use super::connection::{KernelError, Message};
use super::guests::Detail;
use super::link::{self, HEADER};
use super::{System, SystemError, address, bridge_port, route};
use crate::host::{Address, Link, Route, Switch};
use crate::inspect::model::{BridgeSettings, Device, Filtered, LookedStore, Lost, PortState, Seen};
use crate::interface_name::InterfaceName;

const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BRPORT_STATE: u16 = 1;
/// Places of `rx_dropped` and `tx_dropped` in `struct rtnl_link_stats64` (include/uapi/linux/if_link.h).
const RX_DROPPED: usize = 6;
const TX_DROPPED: usize = 7;

impl System {
    /// Everything that the status shows, and of guests in that detail.
    ///
    /// # Errors
    /// When the kernel does not tell. A XenStore that does not answer is no error, but part of what was seen.
    pub fn survey(&mut self, detail: Detail) -> Result<Seen, SystemError> {
        let devices = self.devices()?;
        let addresses = self.all_addresses(&devices)?;
        let uplink = self.default_device()?;
        let store = LookedStore(self.guests_interfaces(detail).map_err(|error| error.to_string()));
        let filters = self.guest_filters_with_drops()?;
        let filter = filters.into_iter().map(|(filter, dropped)| (filter.device.clone(), Filtered { filter, dropped })).collect();
        Ok(Seen::new(devices, addresses, uplink, store, filter))
    }

    /// Every device, in the kernel's order.
    pub(super) fn devices(&mut self) -> Result<Vec<Device>, SystemError> {
        let failed = SystemError::in_act("listing the devices");
        let messages =
            self.kernel.connection().and_then(|connection| connection.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())));
        let mut found = vec![];
        for message in messages.map_err(&failed)? {
            let Some(seen) = link::Seen::parse(&message).map_err(&failed)? else { continue };
            self.kernel.learn(&seen.name, seen.number);
            found.push((seen, details(&message).map_err(&failed)?));
        }
        let keeps_apart = |(seen, _): &(link::Seen, Details)| seen.keeps_vlans_apart();
        let mut vlans = match found.iter().any(keeps_apart) {
            true => bridge_port::all_vlans(&mut self.kernel).map_err(SystemError::in_act("listing the VLANs of the bridges"))?,
            false => BTreeMap::new(),
        };
        let device = |(seen, details): (link::Seen, Details)| {
            let (number, carrier) = (seen.number, seen.carrier());
            let mut link: Link = seen.into_link(&mut self.kernel)?;
            link.port.vlans = vlans.remove(&number).unwrap_or_default();
            let Details { port_state, bridge, lost } = details;
            Ok(Device { link, carrier, port_state, bridge, lost })
        };
        found.into_iter().map(device).collect::<Result<_, KernelError>>().map_err(&failed)
    }

    fn all_addresses(&mut self, devices: &[Device]) -> Result<Vec<Address>, SystemError> {
        let names: BTreeMap<u32, &InterfaceName> =
            devices.iter().filter_map(|device| Some((device.link.index?, &device.link.name))).collect();
        address::list_all(&mut self.kernel, &names).map_err(SystemError::in_act("listing the addresses"))
    }

    /// The routes of the main table, of both families, in the kernel's order.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn main_routes(&mut self) -> Result<Vec<Route>, SystemError> {
        route::list_main(&mut self.kernel).map_err(SystemError::in_act("listing the routes"))
    }
}

/// What a device is besides.
#[derive(Debug, Default, PartialEq, Eq)]
struct Details {
    port_state: Option<PortState>,
    bridge: Option<BridgeSettings>,
    lost: Lost,
}

fn details(message: &Message) -> Result<Details, KernelError> {
    let attributes = Attributes::behind(&message.body, HEADER)?;
    let lost = attributes.bytes(IFLA_STATS64).map(lost_in).unwrap_or_default();
    let Some(info) = attributes.bytes(IFLA_LINKINFO) else { return Ok(Details { lost, ..Details::default() }) };
    let info = Attributes::parse(info)?;
    let bridge = match (link::is_bridge(&info)?, info.bytes(IFLA_INFO_DATA)) {
        (true, Some(data)) => Some(bridge_in(&Attributes::parse(data)?)?),
        _ => None,
    };
    let port_state = match (info.text(IFLA_INFO_SLAVE_KIND)?, info.bytes(IFLA_INFO_SLAVE_DATA)) {
        (Some("bridge"), Some(data)) => Attributes::parse(data)?.u8(IFLA_BRPORT_STATE)?.map(PortState::from_number),
        _ => None,
    };
    Ok(Details { port_state, bridge, lost })
}

fn bridge_in(data: &Attributes<'_>) -> Result<BridgeSettings, KernelError> {
    let switch = |on: bool| if on { Switch::On } else { Switch::Off };
    Ok(BridgeSettings {
        spanning_tree: switch(data.u32(IFLA_BR_STP_STATE)?.unwrap_or_default() != 0),
        forward_delay: data.u32(IFLA_BR_FORWARD_DELAY)?.unwrap_or_default(),
    })
}

fn lost_in(statistics: &[u8]) -> Lost {
    let number = |place: usize| {
        let bytes = statistics.get(place * 8..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u64::from_ne_bytes(*bytes)).unwrap_or_default()
    };
    Lost { received: number(RX_DROPPED), sent: number(TX_DROPPED) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::attributes::attribute;
    use super::*;

    #[test]
    fn a_port_tells_its_state_and_what_it_lost() {
        let mut statistics = vec![0; 24 * 8];
        statistics[6 * 8] = 5;
        statistics[7 * 8] = 7;
        let info = [attribute(4, b"bridge\0"), attribute(5, &attribute(1, &[3]))].concat();
        let body = [vec![0; HEADER], attribute(IFLA_STATS64, &statistics), attribute(IFLA_LINKINFO, &info)].concat();
        let details = details(&Message { kind: 16, body }).unwrap();
        assert_eq!(details.port_state, Some(PortState::Forwarding));
        assert_eq!(details.lost, Lost { received: 5, sent: 7 });
    }

    proptest! {
        #[test]
        fn hostile_messages_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = details(&Message { kind: 16, body });
        }
    }
}
