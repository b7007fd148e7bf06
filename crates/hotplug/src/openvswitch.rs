//! Ports of Open vSwitch, as values.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::interface_name::InterfaceName;

/// The number of a VLAN as Open vSwitch has it (vswitch.ovsschema, table Port): 0 stands for frames that bear a priority and no VLAN.
pub type VlanId = crate::vlan::VlanId<0, 4095>;

/// What a port's frames have to do with VLANs (ovs-vswitchd.conf.db(5), table Port).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PortVlans {
    /// The guest sends and receives without a tag, and is in this VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<VlanId>,
    /// The guest tags its frames itself, and may use these VLANs; none listed are all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub trunks: BTreeSet<VlanId>,
}

/// A key in the external ids of an interface by which a controller, or we ourselves, know whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalId {
    /// The guest's Ethernet address.
    AttachedMac,
    /// The port of a logical switch that this is (ovn-architecture(7)).
    IfaceId,
    /// The device's name by its driver, `vif3.0`, however it is called now.
    XenVif,
    /// The guest's name.
    XenVmName,
    /// The guest's UUID.
    XenVmUuid,
}

impl ExternalId {
    /// All that are ours to set and to remove.
    pub const ALL: [Self; 5] = [Self::AttachedMac, Self::IfaceId, Self::XenVif, Self::XenVmName, Self::XenVmUuid];

    /// The key as the database has it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::AttachedMac => "attached-mac",
            Self::IfaceId => "iface-id",
            Self::XenVif => "xen-vif",
            Self::XenVmName => "xen-vm-name",
            Self::XenVmUuid => "xen-vm-uuid",
        }
    }
}

/// A guest's device as the port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsPort {
    /// The device, and the port, which share the name.
    pub device: InterfaceName,
    /// The bridge.
    pub bridge: InterfaceName,
    /// Its VLANs.
    #[serde(default)]
    pub vlans: PortVlans,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<ExternalId, String>,
}

impl OvsPort {
    /// Whether this is a port that a hotplug program for guests has made, this one or Xen's script: both write at least one of these.
    #[must_use]
    pub fn is_a_guests(&self) -> bool {
        [ExternalId::AttachedMac, ExternalId::XenVif, ExternalId::XenVmUuid].iter().any(|id| self.ids.contains_key(id))
    }

    /// Whether two ports, one of them perhaps left by a guest that is gone, serve one guest's interface.
    #[must_use]
    pub fn same_guest(&self, other: &Self) -> bool {
        let same = |id| self.ids.get(&id) == other.ids.get(&id);
        same(ExternalId::XenVmUuid) && same(ExternalId::AttachedMac)
    }
}
