//! What is asked of a bridge for the port of one guest.

use crate::guest_filter::{GuestFilter, Strictness, Tags};
use crate::host::{GroupMask, Link, PortSettings, Switch, VlanFiltering};
use crate::invocation::shortened;
use crate::mac_address::MacAddress;
use crate::plan::Refusal;
use crate::request::vif::Cards;
use crate::vlan::{InvalidVlans, PortVlans};

/// Whether a bridge believes what a guest's frames say of where Ethernet addresses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortHardening {
    /// As it does for any port.
    #[default]
    Learns,
    /// It learns nothing from the port, and no other port takes the guest's address away.
    Fixed(MacAddress),
}

impl PortHardening {
    /// Of a guest that is held to its Ethernet address strictly. An emulated card has the same address at a port of its own, and the guest
    /// goes from one to the other as it likes.
    #[must_use]
    pub fn under(filter: Option<&GuestFilter>, cards: Cards) -> Self {
        match filter {
            Some(filter) if filter.strictness == Strictness::Strict && cards == Cards::Paravirtual => Self::Fixed(filter.mac),
            _ => Self::Learns,
        }
    }
}

/// Which of the guest's frames the packet filter is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Those that the bridge shows it.
    #[default]
    AsItIs,
    /// All of them.
    All,
}

impl Shown {
    /// Of a guest that is held to something.
    #[must_use]
    pub const fn under(filter: Option<&GuestFilter>) -> Self {
        if filter.is_some() { Self::All } else { Self::AsItIs }
    }
}

/// What a guest's port shall be. What is not asked for stays as the bridge, or an administrator, has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortWish {
    /// `vlan=`
    pub vlans: Option<PortVlans>,
    /// `isolated=`
    pub isolated: Option<Switch>,
    /// Follows from the policy against forged addresses.
    pub hardening: PortHardening,
    /// Follows from whether there is one.
    pub shown: Shown,
}

impl PortWish {
    /// From the words of `vlan=` and `isolated=`; an empty one counts as none.
    ///
    /// # Errors
    /// When one makes no sense; the sentence names the place.
    pub fn parse(vlan: Option<&str>, isolated: Option<&str>) -> Result<Self, Refusal> {
        let given = |word: &&str| !word.is_empty();
        let vlans = vlan.filter(given).map(str::parse).transpose();
        Ok(Self {
            vlans: vlans.map_err(|error: InvalidVlans| Refusal::plain(error.to_string()))?,
            isolated: isolated.filter(given).map(parse_isolated).transpose()?,
            hardening: PortHardening::Learns,
            shown: Shown::AsItIs,
        })
    }

    /// The settings that a port with the settings `now` shall have.
    #[must_use]
    pub fn applied_to(&self, now: &PortSettings) -> PortSettings {
        let mut wanted = now.clone();
        if let Some(vlans) = &self.vlans {
            wanted.vlans = vlans.clone();
        }
        wanted.isolated = self.isolated.unwrap_or(now.isolated);
        if let PortHardening::Fixed(mac) = self.hardening {
            wanted.learning = Switch::Off;
            wanted.stations = [mac].into();
        }
        if self.shown == Shown::All {
            wanted.groups = now.groups.and(GroupMask::PAST_THE_FILTER);
        }
        wanted
    }

    /// Whether the guest's frames may carry a VLAN's tag.
    #[must_use]
    pub fn tags(&self) -> Tags {
        if self.vlans.as_ref().is_some_and(PortVlans::has_tagged) { Tags::Allowed } else { Tags::Refused }
    }

    /// Whether `bridge` can do what is asked for.
    ///
    /// # Errors
    /// When VLANs are asked for and it keeps none apart. The bridge is the administrator's: it would change for every other port as well.
    pub fn check(&self, bridge: &Link) -> Result<(), Refusal> {
        match (&self.vlans, bridge.vlan_filtering) {
            (Some(_), VlanFiltering::Off) => Err(Refusal {
                reason: format!(
                    "The bridge {0} does not keep VLANs apart, so vlan= cannot be put into effect: have it do so (`ip link set {0} \
                     type bridge vlan_filtering 1`), or leave vlan= out",
                    bridge.name
                ),
                for_guest: "The bridge does not keep VLANs apart, so vlan= cannot be put into effect: set vlan_filtering of the \
                            bridge, or leave vlan= out"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

fn parse_isolated(word: &str) -> Result<Switch, Refusal> {
    match word {
        "yes" => Ok(Switch::On),
        "no" => Ok(Switch::Off),
        other => {
            let other = shortened(other);
            Err(Refusal::plain(format!("isolated={} makes no sense: it is yes or no", other.escape_default())))
        }
    }
}
