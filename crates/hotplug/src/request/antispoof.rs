//! `antispoof=`: whether a guest is held to its own addresses.

use ipnetwork::IpNetwork;

use crate::guest_filter::{GuestFilter, Strictness, Tags, Way};
use crate::interface_name::InterfaceName;
use crate::invocation::shortened;
use crate::mac_address::MacAddress;
use crate::plan::Refusal;

/// A word of `antispoof=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AntiSpoof {
    /// `no`: no filter.
    No,
    /// `yes`: as `ip` where the guest's addresses are known, else `strict`.
    Yes,
    /// `ip`: its own addresses only.
    Addresses,
    /// `strict`: its own addresses only, and nothing that only servers and routers say.
    Strict,
}

impl AntiSpoof {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Addresses => "ip",
            Self::Strict => "strict",
        }
    }

    /// The name of the file in our folder below /run that keeps the word for all guests of a network: a bridge's name, or one of
    /// [`ROUTED_NETWORK`] and [`TRANSLATED_NETWORK`].
    #[must_use]
    pub fn file_name(network: &str) -> String {
        format!("antispoof.{network}")
    }

    /// From a word; nothing from none.
    ///
    /// # Errors
    /// When it is another one.
    pub fn parse(word: Option<&str>) -> Result<Option<Self>, Refusal> {
        let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(None) };
        let known = [Self::No, Self::Yes, Self::Addresses, Self::Strict].into_iter().find(|known| known.word() == word);
        known.map(Some).ok_or_else(|| {
            Refusal::plain(format!("antispoof={} is none of no, yes, ip and strict", shortened(word).escape_default()))
        })
    }
}

/// What the network of all guests of vif-route is called here. No bridge has a slash in its name, but a file has none either, so it is a
/// name that is too long for a bridge.
pub const ROUTED_NETWORK: &str = "guests-of-vif-route";
/// The same for vif-nat.
pub const TRANSLATED_NETWORK: &str = "guests-of-vif-nat";

/// A guest's addresses, and who says so.
#[derive(Clone, Copy, Debug)]
pub enum Addresses<'a> {
    /// Its configuration.
    Given(&'a [IpNetwork]),
    /// The program that serves it: they are enforced only where somebody asks for that.
    WorkedOut(&'a [IpNetwork]),
}

impl<'a> Addresses<'a> {
    fn list(self) -> &'a [IpNetwork] {
        match self {
            Self::Given(list) | Self::WorkedOut(list) => list,
        }
    }
}

/// What is known about a guest for its filter.
#[derive(Clone, Copy, Debug)]
pub struct Suspect<'a> {
    /// The interface, by the name that it will have.
    pub device: &'a InterfaceName,
    /// The name that its driver gave it, where that is another one.
    pub renamed_from: Option<&'a InterfaceName>,
    /// How its frames come in.
    pub way: Way,
    /// Its Ethernet address, as the toolstack says it.
    pub mac: Option<&'a str>,
    /// Its addresses and networks.
    pub addresses: Addresses<'a>,
    /// Whether its frames may carry a VLAN tag.
    pub tags: Tags,
}

/// What was said about a guest's filter, the nearest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// For this guest.
    pub own: Option<AntiSpoof>,
    /// For all guests of its network.
    pub of_network: Option<AntiSpoof>,
}

impl Wishes {
    /// The filter that the guest gets; nothing where it gets none. Where nobody said anything, a guest whose addresses were given is held to
    /// them.
    ///
    /// # Errors
    /// When the filter lacks something that it needs to know.
    pub fn filter(self, suspect: &Suspect<'_>) -> Result<Option<GuestFilter>, Refusal> {
        let list = suspect.addresses.list();
        let known = !list.is_empty();
        let given = matches!(suspect.addresses, Addresses::Given(_));
        let strictness = match (self.own.or(self.of_network), known) {
            (Some(AntiSpoof::No), _) | (None, false) => return Ok(None),
            (None, true) if !given => return Ok(None),
            (Some(AntiSpoof::Addresses), false) if self.own.is_none() => return Ok(None),
            (Some(AntiSpoof::Addresses), false) => {
                return Err(Refusal::plain(
                    "antispoof=ip holds a guest to its addresses, and none is given: give them with ip=, or say antispoof=strict to hold it to its Ethernet address",
                ));
            }
            (Some(AntiSpoof::Strict), _) | (Some(AntiSpoof::Yes), false) => Strictness::Strict,
            (Some(AntiSpoof::Addresses | AntiSpoof::Yes) | None, true) => Strictness::Addresses,
        };
        let addresses = if known { list.iter().map(|network| permitted(*network)).collect() } else { anything() };
        let filter = GuestFilter {
            device: suspect.device.clone(),
            renamed_from: suspect.renamed_from.cloned(),
            way: suspect.way,
            mac: mac_of(suspect)?,
            strictness,
            tags: suspect.tags,
            addresses,
        };
        filter.checked().map(Some).map_err(|error| Refusal::plain(format!("ip= cannot be enforced: {error}")))
    }
}

fn mac_of(suspect: &Suspect<'_>) -> Result<MacAddress, Refusal> {
    let device = suspect.device;
    let text = suspect.mac.ok_or_else(|| {
        Refusal::plain(format!(
            "the guest of {device} is to be held to its addresses, and XenStore does not say its Ethernet address: set its key mac, or say antispoof=no"
        ))
    })?;
    let mac: MacAddress =
        text.parse().map_err(|error| Refusal::plain(format!("the XenStore key mac of this interface: {error}")))?;
    match mac.octets()[0] & 1 {
        0 => Ok(mac),
        _ => Err(Refusal::plain(format!("the XenStore key mac of this interface: {mac} is a group's address, and no guest's"))),
    }
}

/// `192.168.1.7/24` is an address and the length of its network; `192.168.1.0/24` is the network.
fn permitted(network: IpNetwork) -> IpNetwork {
    if network.network() == network.ip() { network } else { network.ip().into() }
}

/// For a guest that is held to its Ethernet address only.
fn anything() -> Vec<IpNetwork> {
    [IpNetwork::new([0, 0, 0, 0].into(), 0), IpNetwork::new([0_u16; 8].into(), 0)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(own: &str, of_network: &str, ip: &str, mac: Option<&str>) -> Result<Option<String>, Refusal> {
        let addresses: Vec<IpNetwork> = ip.split_whitespace().map(|text| text.parse().unwrap()).collect();
        let device = "vif1.0".parse().unwrap();
        let suspect = Suspect {
            device: &device,
            renamed_from: None,
            way: Way::Bridged,
            mac,
            addresses: Addresses::Given(&addresses),
            tags: Tags::Refused,
        };
        let wishes = Wishes { own: AntiSpoof::parse(Some(own))?, of_network: AntiSpoof::parse(Some(of_network))? };
        Ok(wishes.filter(&suspect)?.map(|filter| filter.to_string()))
    }

    const MAC: &str = "00:16:3e:01:02:03";

    #[test]
    fn who_is_filtered_how() {
        let table = [
            ("", "", "", None),
            ("", "", "10.0.0.1", Some("ip 10.0.0.1")),
            ("no", "strict", "10.0.0.1", None),
            ("", "no", "10.0.0.1", None),
            ("", "yes", "10.0.0.1", Some("ip 10.0.0.1")),
            ("", "yes", "", Some("strict 0.0.0.0/0 ::/0")),
            ("", "ip", "", None),
            ("", "strict", "10.0.0.1", Some("strict 10.0.0.1")),
            ("ip", "strict", "10.0.0.1", Some("ip 10.0.0.1")),
            ("strict", "", "", Some("strict 0.0.0.0/0 ::/0")),
            ("ip", "", "192.168.1.7/24 192.168.2.0/24 2001:db8::1/64", Some("ip 192.168.1.7 192.168.2.0/24 2001:db8::1")),
        ];
        for (own, of_network, ip, expected) in table {
            let expected = expected.map(|text| format!("{MAC} {text}"));
            assert_eq!(filter(own, of_network, ip, Some(MAC)), Ok(expected), "{own} {of_network} {ip}");
        }
    }

    #[test]
    fn addresses_that_nobody_gave_are_enforced_where_that_is_asked_for() {
        let device = "vif1.0".parse().unwrap();
        let addresses = ["10.0.1.1".parse().unwrap()];
        let addresses = Addresses::WorkedOut(&addresses);
        let suspect =
            Suspect { device: &device, renamed_from: None, way: Way::Routed, mac: Some(MAC), addresses, tags: Tags::Refused };
        let filtered = |own| Wishes { own, of_network: None }.filter(&suspect).unwrap().is_some();
        assert_eq!([None, Some(AntiSpoof::No), Some(AntiSpoof::Yes)].map(filtered), [false, false, true]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let refused = |own, ip, mac| filter(own, "", ip, mac).unwrap_err().reason;
        assert!(refused("ip", "", Some(MAC)).contains("give them with ip="));
        assert!(refused("", "10.0.0.1", None).contains("set its key mac"));
        assert!(refused("strict", "", Some("01:00:5e:00:00:01")).contains("a group's address"));
        assert!(refused("maybe", "", Some(MAC)).contains("none of no, yes, ip and strict"));
        assert!(refused("", "2000::/3", Some(MAC)).contains("too wide"));
    }
}
