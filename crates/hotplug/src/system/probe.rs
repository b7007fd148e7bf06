//! What this kernel can do: tried out in a network namespace that is made for it and goes with the trial.

use std::net::IpAddr;

use nix::sched::{CloneFlags, unshare};

use super::System;
use super::firewall::Firewall;
use super::kernel::Kernel as KernelConnection;
use super::link;
use crate::firewall::Masquerade;
use crate::guest_filter::{GuestFilter, Strictness, Tags, Way};
use crate::host::Family as IpFamily;
use crate::inspect::model::{Ipv6, Kernel, Look, Trials};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::NewBridge;

/// Tries it out.
pub(super) fn kernel() -> Kernel {
    let tried = std::thread::scope(|scope| scope.spawn(|| unshare(CloneFlags::CLONE_NEWNET).map(|()| trials())).join());
    let trials = match tried {
        Ok(Ok(trials)) => Ok(trials),
        Ok(Err(errno)) => Err(format!("no network namespace can be made to try it in: {}", errno.desc())),
        Err(_) => Err("the trial broke off".to_owned()),
    };
    Kernel { trials, ipv6: ipv6(), bridged_packets: System::bridged_packets_in_chains() }
}

fn trials() -> Trials {
    let nat_table = "lo".parse().map_err(|_| "no such name".to_owned()).and_then(|device| {
        let masquerade = Masquerade { family: IpFamily::V4, device };
        Firewall::default().add_masquerade(&masquerade).map_err(|error| error.to_string())
    });
    Trials { nat_table, guest_filters: guest_filters(), bridge: bridge() }
}

/// A guest's filter, in the tables of both ways: they need modules that a kernel with nf_tables may lack (nft_meta_bridge, nft_limit, nft_fib_inet).
fn guest_filters() -> Look<()> {
    let device: InterfaceName = "lo".parse().map_err(|_| "no such name".to_owned())?;
    for way in [Way::Bridged, Way::Routed] {
        let filter = GuestFilter {
            device: device.clone(),
            renamed_from: None,
            way,
            mac: MacAddress::new([0, 0x16, 0x3e, 0, 0, 1]),
            strictness: Strictness::Strict,
            tags: Tags::default(),
            addresses: vec![IpAddr::from([192, 0, 2, 1]).into()],
        };
        Firewall::default().try_to_set(&filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn bridge() -> Look<()> {
    let name = "trial".parse().map_err(|_| "no such name".to_owned())?;
    let bridge = NewBridge { name, mac: None, mtu: 1500, transmit_queue: 1000 };
    link::create_bridge(&mut KernelConnection::default(), &bridge).map_err(|error| error.to_string())
}

fn ipv6() -> Ipv6 {
    match std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6") {
        Ok(value) if value.trim() == "0" => Ipv6::On,
        Ok(_) => Ipv6::Off,
        Err(_) => Ipv6::Missing,
    }
}
