//! Looking at the host. Nothing here changes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::connection::KernelError;
use super::link::{self, Which};
use super::{System, SystemError, address, bridge_port, file, neighbour, route, rule, sysctl};
use crate::host::{Address, Family, Holder, Host, Link, LiveRename, Route, VlanFiltering};
use crate::interface_name::InterfaceName;
use crate::sysctl::{Sysctl, SysctlKey};
use crate::vlan::PortVlans;

/// How much of a host to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The devices and their addresses: enough for a guest's device.
    Addresses,
    /// Routes, policy rules, neighbour entries and renaming as well: all that a device can take along.
    Everything,
}

/// Whether a neighbour answered when it was asked for its Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did.
    Yes,
    /// It did not, within the limit; or its entry was set by hand, so that the kernel never asks.
    No,
}

impl System {
    /// A device; nothing where there is none of that name.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn link(&mut self, name: &InterfaceName) -> Result<Option<Link>, SystemError> {
        let failed = SystemError::in_act(format!("looking for the device {name}"));
        let seen = link::by_name(&mut self.kernel, name).map_err(&failed)?;
        seen.map(|seen| seen.into_link(&mut self.kernel)).transpose().map_err(&failed)
    }

    /// Those of the devices `names` that there are, in the order of `names`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn links(&mut self, names: &[InterfaceName]) -> Result<Vec<Link>, SystemError> {
        names.iter().filter_map(|name| self.link(name).transpose()).collect()
    }

    /// Those of `names` that are still to be looked at where their device is to go: what is gone, or about to be, is not waited for.
    pub fn left_of<'a>(names: impl Iterator<Item = &'a InterfaceName>) -> Vec<InterfaceName> {
        names.filter(|name| link::is_there(name)).cloned().collect()
    }

    /// The name of the device that has `second` as another name, if there is one.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn first_name(&mut self, second: &InterfaceName) -> Result<Option<InterfaceName>, SystemError> {
        let name = link::first_name(&mut self.kernel, second);
        name.map_err(SystemError::in_act(format!("looking for a device with the second name {second}")))
    }

    /// Every bridge, in the kernel's order, which is that of their numbers.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn bridges(&mut self) -> Result<Vec<Link>, SystemError> {
        self.list_links(Which::Bridges).map_err(SystemError::in_act("listing the bridges"))
    }

    /// Every device, in the kernel's order.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn every_link(&mut self) -> Result<Vec<Link>, SystemError> {
        self.list_links(Which::All).map_err(SystemError::in_act("listing the devices"))
    }

    /// The ports of a bridge (or the devices of a bond), in the kernel's order; none where there is no such bridge.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ports_of(&mut self, bridge: &InterfaceName) -> Result<Vec<Link>, SystemError> {
        let failed = SystemError::in_act(format!("listing the ports of {bridge}"));
        match link::by_name(&mut self.kernel, bridge).map_err(&failed)? {
            Some(seen) => self.list_links(Which::PortsOf(seen.number)).map_err(&failed),
            None => Ok(vec![]),
        }
    }

    /// The devices on `device` that keep it out of any bridge (macvlan, ipvlan and their taps, macsec), as far as they are in this namespace.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn interceptors_of(&mut self, device: &Link) -> Result<Vec<Link>, SystemError> {
        let failed = SystemError::in_act(format!("listing the devices on {}", device.name));
        match device.index {
            Some(number) => self.list_links(Which::Intercepting(number)).map_err(failed),
            None => Ok(vec![]),
        }
    }

    fn list_links(&mut self, which: Which) -> Result<Vec<Link>, KernelError> {
        let list = link::list(&mut self.kernel, which)?;
        list.into_iter().map(|seen| seen.into_link(&mut self.kernel)).collect()
    }

    /// The addresses of a device, in the kernel's order; none where there is no such device.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn addresses(&mut self, device: &InterfaceName) -> Result<Vec<Address>, SystemError> {
        let list = address::list(&mut self.kernel, device);
        none_if_gone(list).map_err(SystemError::in_act(format!("listing the addresses of {device}")))
    }

    /// Notes what the bridge of a port keeps of it beside what its link shows: the VLANs, where they are kept apart, and the stations. Nothing
    /// for a device that is not in `host`, or no port.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn note_port(&mut self, host: &mut Host, device: &InterfaceName) -> Result<(), SystemError> {
        let Some(bridge) = host.link(device).and_then(|link| link.master.clone()) else { return Ok(()) };
        let failed = SystemError::in_act(format!("looking at {device} as a port of {bridge}"));
        let bridge = match host.link(&bridge) {
            Some(link) => Some(link.clone()),
            None => self.link(&bridge)?,
        };
        let Some(bridge) = bridge.filter(Link::is_bridge) else { return Ok(()) };
        let vlans = match bridge.vlan_filtering {
            VlanFiltering::Off => PortVlans::default(),
            VlanFiltering::On { .. } => bridge_port::vlans(&mut self.kernel, device).map_err(&failed)?,
        };
        let stations = bridge_port::stations(&mut self.kernel, device).map_err(&failed)?;
        if let Some(link) = host.links.iter_mut().find(|link| link.name == *device) {
            (link.port.vlans, link.port.stations) = (vlans, stations);
        }
        Ok(())
    }

    /// The device of the best default route, IPv4 before IPv6.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn default_device(&mut self) -> Result<Option<InterfaceName>, SystemError> {
        let routes = match self.taken_default_route(Family::V4)? {
            Some(route) => vec![route],
            None => self.default_routes()?,
        };
        Ok(routes.iter().find_map(|route| route.path.first_device().cloned()))
    }

    /// The default route of the main table that this host sends by, where one question tells.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn taken_default_route(&mut self, family: Family) -> Result<Option<Route>, SystemError> {
        route::taken_default(&mut self.kernel, family).map_err(SystemError::in_act("looking for the default route"))
    }

    /// The default routes of the main table, IPv4 before IPv6, each family in the kernel's order: the first one is taken first.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn default_routes(&mut self) -> Result<Vec<Route>, SystemError> {
        route::list_default(&mut self.kernel).map_err(SystemError::in_act("listing the default routes"))
    }

    /// Notes who has an IPv4 address for itself.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn note_holder(&mut self, host: &mut Host, address: Ipv4Addr) -> Result<(), SystemError> {
        let holder: Holder =
            route::holder(&mut self.kernel, address).map_err(SystemError::in_act(format!("looking who has {address}")))?;
        host.holders.insert(address, holder);
        Ok(())
    }

    /// The device by which packets to `address` leave; nothing when no route leads there.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn device_towards(&mut self, address: IpAddr) -> Result<Option<InterfaceName>, SystemError> {
        route::device_towards(&mut self.kernel, address).map_err(SystemError::in_act(format!("looking for the way to {address}")))
    }

    /// A kernel setting; nothing where the kernel has none such.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sysctl(&mut self, sysctl: &Sysctl) -> Result<Option<String>, SystemError> {
        sysctl::read(sysctl).map_err(SystemError::in_act(format!("reading the setting {sysctl}")))
    }

    /// The settings `keys` of every device.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn settings_of_all(&mut self, keys: &[(Family, SysctlKey)]) -> Result<BTreeMap<Sysctl, String>, SystemError> {
        let mut settings = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            let devices = sysctl::devices(family).map_err(SystemError::in_act("listing the devices that have settings"))?;
            let wanted: Vec<&SysctlKey> = keys.iter().filter(|(of, _)| *of == family).map(|(_, key)| key).collect();
            for device in &devices {
                for key in &wanted {
                    let sysctl = Sysctl::of_device(family, device, key);
                    settings.extend(self.sysctl(&sysctl)?.map(|value| (sysctl, value)));
                }
            }
        }
        Ok(settings)
    }

    /// Whether this kernel renames devices that are up; found out with `device`, or with the loopback device, without changing either.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn live_rename(&mut self, device: &InterfaceName) -> Result<LiveRename, SystemError> {
        let answer = link::live_rename(&mut self.kernel, device);
        answer.map_err(SystemError::in_act(format!("finding out whether {device} can be renamed while it is up")))
    }

    /// What there is of `devices`, and of the settings `keys` for them and for devices yet to come. Devices that are not there are left
    /// out.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn host_of(&mut self, devices: &[InterfaceName], depth: Depth, keys: &[(Family, SysctlKey)]) -> Result<Host, SystemError> {
        let mut host = Host { links: self.links(devices)?, ..Host::default() };
        for device in devices {
            host.addresses.extend(self.addresses(device)?);
            for (family, key) in keys {
                self.note_sysctl(&mut host, Sysctl::of_device(*family, device, key))?;
            }
        }
        for (family, key) in keys {
            self.note_sysctl(&mut host, Sysctl::of_new_devices(*family, key))?;
        }
        if depth == Depth::Everything {
            self.look_deeper(&mut host, devices)?;
        }
        Ok(host)
    }

    /// Notes a setting, where the kernel has it.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn note_sysctl(&mut self, host: &mut Host, sysctl: Sysctl) -> Result<(), SystemError> {
        if let Some(value) = self.sysctl(&sysctl)? {
            host.sysctls.insert(sysctl, value);
        }
        Ok(())
    }

    /// Notes a setting of a device that has been looked for in this run: what the kernel told of it then is not asked again.
    ///
    /// # Errors
    /// As for [`System::note_sysctl`].
    pub fn note_setting_of_seen(&mut self, host: &mut Host, sysctl: Sysctl) -> Result<(), SystemError> {
        match sysctl.device_of_proxy_arp().and_then(|device| self.kernel.proxy_arp_of(device)) {
            Some(value) => {
                host.sysctls.insert(sysctl, value.to_string());
                Ok(())
            }
            None => self.note_sysctl(host, sysctl),
        }
    }

    /// Notes the routes that leave by a device, and the neighbour entries that somebody set on it; none where there is no such device.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn note_routes_and_neighbours(&mut self, host: &mut Host, device: &InterfaceName) -> Result<(), SystemError> {
        let routes = none_if_gone(route::list(&mut self.kernel, device));
        for route in routes.map_err(SystemError::in_act(format!("listing the routes over {device}")))? {
            // One that leaves by several devices is found at each of them.
            if !host.routes.contains(&route) {
                host.routes.push(route);
            }
        }
        let neighbours = none_if_gone(neighbour::list(&mut self.kernel, device));
        let failed = SystemError::in_act(format!("listing the neighbour entries of {device}"));
        host.neighbours.extend(neighbours.map_err(failed)?);
        Ok(())
    }

    /// Notes whether requests for `address` are answered on `device`.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn note_proxy(&mut self, host: &mut Host, device: &InterfaceName, address: IpAddr) -> Result<(), SystemError> {
        let failed = SystemError::in_act(format!("looking for the proxy entry of {address} on {device}"));
        host.neighbours.extend(neighbour::proxy(&mut self.kernel, device, address).map_err(failed)?);
        Ok(())
    }

    /// Notes the text of a file.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is not text.
    pub fn note_file(&mut self, host: &mut Host, path: &Path) -> Result<(), SystemError> {
        let text = file::read(path).map_err(SystemError::in_act(format!("reading {}", path.display())))?;
        host.files.insert(path.to_owned(), text);
        Ok(())
    }

    fn look_deeper(&mut self, host: &mut Host, devices: &[InterfaceName]) -> Result<(), SystemError> {
        for device in devices {
            self.note_routes_and_neighbours(host, device)?;
        }
        host.rules = rule::list(&mut self.kernel).map_err(SystemError::in_act("listing the policy rules"))?;
        if let Some(first) = devices.first() {
            host.live_rename = self.live_rename(first)?;
        }
        Ok(())
    }

    /// Whether `address` answers on `device` when the kernel asks it for its Ethernet address, by ARP or neighbour discovery. Waits for
    /// at most `limit`, and no longer than the answer takes.
    ///
    /// # Errors
    /// When there is no such device, or the kernel cannot ask on it.
    pub fn neighbour_answers(&mut self, device: &InterfaceName, address: IpAddr, limit: Duration) -> Result<Answer, SystemError> {
        match neighbour::await_answer(&mut self.kernel, device, address, limit) {
            Ok(()) => Ok(Answer::Yes),
            Err(error) if error.is(Errno::ETIMEDOUT) || error.is(Errno::ENOTSUP) => Ok(Answer::No),
            Err(error) => Err(SystemError::in_act(format!("asking for {address} on {device}"))(error)),
        }
    }
}

/// A device may vanish between two looks: it has nothing then.
fn none_if_gone<T>(list: Result<Vec<T>, KernelError>) -> Result<Vec<T>, KernelError> {
    match list {
        Err(error) if error.is(Errno::ENODEV) => Ok(vec![]),
        list => list,
    }
}
