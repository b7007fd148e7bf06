//! What `vif-openvswitch` is asked beyond what all vif programs are: a bridge with its VLANs, and whose the interface is.

use std::collections::BTreeMap;

use crate::interface_name::InterfaceName;
use crate::invocation::shortened;
use crate::mac_address::MacAddress;
use crate::openvswitch::{ExternalId, PortVlans, VlanId};
use crate::plan::Refusal;
use crate::request::vif::{Vif, VifKind};

/// The bridge that is asked for, and the VLANs of the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvsBridge {
    /// The bridge.
    pub name: InterfaceName,
    /// The port's VLANs.
    pub vlans: PortVlans,
}

impl OvsBridge {
    /// From `NAME[.TAG][:TRUNK[:TRUNK]...]`.
    ///
    /// # Errors
    /// When it is not of this form; the sentence says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = |cause: &dyn std::fmt::Display| {
            let shown = shortened(text);
            Refusal::plain(format!(
                "bridge={} is not of the form NAME[.TAG][:TRUNK[:TRUNK]...], such as ovsbr0, ovsbr0.7 or ovsbr0:10:20: {cause}",
                shown.escape_default()
            ))
        };
        let (place, trunks) = text.split_once(':').map_or((text, None), |(place, trunks)| (place, Some(trunks)));
        let (name, tag) = place.split_once('.').map_or((place, None), |(name, tag)| (name, Some(tag)));
        let vlan = |word: &str| word.parse::<VlanId>().map_err(|error| wrong(&error));
        Ok(Self {
            name: name.parse().map_err(|error| wrong(&error))?,
            vlans: PortVlans {
                tag: tag.map(vlan).transpose()?,
                trunks: trunks.into_iter().flat_map(|list| list.split(':')).map(vlan).collect::<Result<_, _>>()?,
            },
        })
    }

    /// The bridge of the backend's key, else of a variable.
    ///
    /// # Errors
    /// When there is neither, or it is malformed.
    pub fn asked(given: Option<&str>) -> Result<Self, Refusal> {
        given.map_or_else(
            || Err(Refusal::plain("No Open vSwitch bridge was named: say bridge=NAME[.TAG][:TRUNK[:TRUNK]...]")),
            Self::parse,
        )
    }
}

/// What the toolstack says of the guest itself. A driver domain may not be allowed to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestIdentity {
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
}

/// Whose an interface is, for the port's external ids.
///
/// `iface-id` is what was `given` for it, else the `vifname`, which an administrator has chosen as well, else `UUID-NUMBER`: the guest's UUID
/// and the number of the interface among its own, which stay the same when the guest starts anew or moves to another host. The emulated
/// device is another port than the vif and has `-emu` behind it, as OVN binds one interface of an id.
#[must_use]
pub fn external_ids(vif: &Vif, guest: &GuestIdentity, mac: Option<&str>, given: Option<&str>) -> BTreeMap<ExternalId, String> {
    let (_, number) = vif.numbers();
    let chosen = given.map(|id| match vif.kind {
        VifKind::Vif => id.to_owned(),
        VifKind::Tap => format!("{id}-emu"),
    });
    let by_uuid = || {
        let suffix = if vif.kind == VifKind::Tap { "-emu" } else { "" };
        guest.uuid.as_ref().map(|uuid| format!("{uuid}-{number}{suffix}"))
    };
    // The name of an emulated device has its -emu already.
    let iface_id = chosen.or_else(|| vif.renamed.as_ref().map(ToString::to_string)).or_else(by_uuid);
    // In small letters, as every reader of the database writes them.
    let mac = mac.and_then(|text| text.parse::<MacAddress>().ok()).map(|mac| mac.to_string());
    let pairs = [
        (ExternalId::AttachedMac, mac),
        (ExternalId::IfaceId, iface_id),
        (ExternalId::XenVif, Some(vif.device.to_string())),
        (ExternalId::XenVmName, guest.name.clone()),
        (ExternalId::XenVmUuid, guest.uuid.clone()),
    ];
    pairs.into_iter().filter_map(|(id, value)| Some((id, printable(&value?)))).filter(|(_, value)| !value.is_empty()).collect()
}

/// A text that does not disturb the terminal of whoever looks into the database, or our log.
fn printable(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> (Option<u16>, Vec<u16>) {
        let bridge = OvsBridge::parse(text).unwrap();
        assert_eq!(bridge.name.as_str(), "ovsbr0");
        (bridge.vlans.tag.map(u16::from), bridge.vlans.trunks.into_iter().map(u16::from).collect())
    }

    #[test]
    fn a_bridge_may_have_a_tag_and_trunks() {
        assert_eq!(ids("ovsbr0"), (None, vec![]));
        assert_eq!(ids("ovsbr0.7"), (Some(7), vec![]));
        assert_eq!(ids("ovsbr0:20:10"), (None, vec![10, 20]));
        assert_eq!(ids("ovsbr0.007:1:4095"), (Some(7), vec![1, 4095]));
    }

    #[test]
    fn what_is_no_bridge_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "empty"),
            (".7", "empty"),
            ("ovsbr0.", "\"\""),
            ("ovsbr0:", "\"\""),
            ("ovsbr0.4096", "\"4096\""),
            ("ovsbr0.7.8", "\"7.8\""),
            ("ovsbr0:1::2", "\"\""),
            ("ovsbr0:+1", "\"+1\""),
            ("ovsbr0:1,2", "\"1,2\""),
            ("ovsbr0 -- del-br x", "interface name"),
            ("ovsbr0-with-a-long-name", "too long"),
        ] {
            let refusal = OvsBridge::parse(text).unwrap_err();
            assert!(refusal.reason.contains(part), "{text}: {refusal}");
        }
        assert!(OvsBridge::asked(None).unwrap_err().reason.contains("bridge=NAME"));
    }
}
