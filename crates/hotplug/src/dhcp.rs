//! Addresses for guests by DHCP: what is handed out, and the servers that hand it out.
//!
//! Two servers of others are configured, each in files of our own beside the administrator's: [`dnsmasq`] and ISC's [`dhcpd`].

pub mod dhcpd;
pub mod dnsmasq;
mod resolver;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use crate::interface_name::InterfaceName;
use crate::invocation::shortened;
use crate::mac_address::MacAddress;
use crate::plan::Refusal;
use dhcpd::Dhcpd;
use dnsmasq::Dnsmasq;
pub use resolver::Resolver;

/// How long a lease lasts, in seconds. A guest asks again after half of it.
pub const LEASE_SECONDS: u32 = 3600;

/// What the word `dhcp=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpWish {
    /// Nothing. The server that network-nat has told of the guest's network serves it, else, as with Xen's scripts, ISC dhcpd where
    /// /etc/dhcpd.conf is.
    Unsaid,
    /// `no`: nobody serves.
    No,
    /// `yes`: dnsmasq where it is installed as a service, else ISC dhcpd.
    Yes,
    /// `dnsmasq`.
    Dnsmasq,
    /// `dhcpd`.
    Dhcpd,
}

impl DhcpWish {
    /// From the word as it was given; an empty one is none.
    ///
    /// # Errors
    /// When it is no such word.
    pub fn parse(word: Option<&str>) -> Result<Self, Refusal> {
        match word.filter(|word| !word.is_empty()) {
            None => Ok(Self::Unsaid),
            Some("no") => Ok(Self::No),
            Some("yes") => Ok(Self::Yes),
            Some("dnsmasq") => Ok(Self::Dnsmasq),
            Some("dhcpd") => Ok(Self::Dhcpd),
            Some(other) => Err(Refusal::plain(format!(
                "unknown word dhcp={}: it is no, yes, dnsmasq or dhcpd",
                shortened(other).escape_default()
            ))),
        }
    }
}

/// A server of this host, and where its files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Server {
    /// dnsmasq.
    Dnsmasq(Dnsmasq),
    /// ISC dhcpd.
    Dhcpd(Dhcpd),
}

impl Server {
    /// The variables that hooks of vif-nat see of the server. They tell of ISC dhcpd's files; of dnsmasq there is nothing to tell.
    #[must_use]
    pub fn hook_variables(&self) -> Vec<(String, String)> {
        let Self::Dhcpd(dhcpd) = self else { return vec![] };
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        vec![
            ("dhcpd_conf_file".to_owned(), dhcpd.configuration.display().to_string()),
            ("dhcpd_init_file".to_owned(), text(&dhcpd.init_script)),
            ("dhcpd_arg_file".to_owned(), text(&dhcpd.arguments)),
        ]
    }
}

/// A guest's interface as a DHCP server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The guest's name.
    pub name: HostName,
    /// Its interface's Ethernet address.
    pub mac: MacAddress,
    /// The address it gets.
    pub address: Ipv4Addr,
    /// Its default router: dom0's end of the link.
    pub router: Ipv4Addr,
    /// The device in dom0 that leads to it.
    pub device: InterfaceName,
}

/// A network whose hosts are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The network.
    pub network: Ipv4Network,
    /// Who gets an address there.
    pub clients: Clients,
    /// The domain that they are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<HostName>,
    /// The name servers that they are told. Without any, a server that answers questions for names itself offers itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<Ipv4Addr>,
}

/// Who gets an address in a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clients {
    /// The guests that vif-nat lists, each on an interface of its own.
    Listed,
    /// Whoever asks on a bridge.
    OnBridge {
        /// The bridge.
        bridge: InterfaceName,
        /// The clients' router: as a rule the host's own address on the bridge.
        router: Ipv4Addr,
    },
}

impl Subnet {
    /// The bridge whose clients it serves.
    #[must_use]
    pub fn bridge(&self) -> Option<&InterfaceName> {
        match &self.clients {
            Clients::Listed => None,
            Clients::OnBridge { bridge, .. } => Some(bridge),
        }
    }

    /// The addresses that are handed out to whoever asks, first and last: the upper half of the network, so that the lower half is free
    /// for addresses that are set by hand. `None` where it is too small to hold one.
    #[must_use]
    pub fn pool(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let Clients::OnBridge { router, .. } = &self.clients else { return None };
        let (first, last) = (u32::from(self.network.network()), u32::from(self.network.broadcast()));
        let (mut low, mut high) = (first + (last - first).div_ceil(2), last.checked_sub(1)?);
        let router = u32::from(*router);
        if router == low {
            low += 1;
        } else if (low..=high).contains(&router) {
            // Whatever is longer of what the router leaves.
            if router - low > high - router { high = router - 1 } else { low = router + 1 }
        }
        (low > first && low <= high).then(|| (low.into(), high.into()))
    }
}

/// The name of a host or a domain: labels of letters, digits and hyphens, joined by dots (RFC 1123, section 2.1).
///
/// Servers read names out of files in which a quote, a brace or a line's end means something, so nothing else may stand in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Longest name, and longest label of one, in bytes (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Why a text is not the name of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHostName(String);

impl fmt::Display for InvalidHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.chars().take(40).collect();
        write!(
            f,
            "{text:?} cannot be the name of a host or a domain: letters, digits and hyphens may stand in one, and dots between them"
        )
    }
}

impl std::error::Error for InvalidHostName {}

impl HostName {
    /// The name of a guest's network card: `dom7` for the first, `dom7-2` for the second (handle 1), as Xen's vif-nat calls them.
    #[must_use]
    pub fn of_guest(domain: u16, handle: u32) -> Self {
        match handle {
            0 => Self(format!("dom{domain}")),
            _ => Self(format!("dom{domain}-{}", u64::from(handle) + 1)),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = |label: &str| {
            (1..=LABEL_MAX).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.len() <= NAME_MAX && text.split('.').all(label) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidHostName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidHostName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a device's name may stand in files that a shell or a server reads: the kernel takes signs there that mean something to both.
///
/// # Errors
/// When it may not; the sentence says what to do.
pub(crate) fn fit_for_files(device: &InterfaceName) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match device.as_str().bytes().all(plain) {
        true => Ok(()),
        false => Err(Refusal::plain(format!(
            "{device} cannot be served by DHCP: only letters, digits, '.', '-' and '_' may stand in the name of its interface; choose another one or say dhcp=no"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_word_is_read_and_nothing_else() {
        assert_eq!(DhcpWish::parse(None), Ok(DhcpWish::Unsaid));
        assert_eq!(DhcpWish::parse(Some("")), Ok(DhcpWish::Unsaid));
        let words = [("no", DhcpWish::No), ("yes", DhcpWish::Yes), ("dnsmasq", DhcpWish::Dnsmasq), ("dhcpd", DhcpWish::Dhcpd)];
        for (word, wish) in words {
            assert_eq!(DhcpWish::parse(Some(word)), Ok(wish));
        }
        for word in ["on", "YES", "yes ", "isc", "\u{1b}[2J", &"x".repeat(10_000)] {
            let sentence = DhcpWish::parse(Some(word)).unwrap_err().to_string();
            assert!(sentence.ends_with(": it is no, yes, dnsmasq or dhcpd") && sentence.len() < 200, "{sentence}");
            assert!(!sentence.contains('\u{1b}'), "{sentence}");
        }
    }

    #[test]
    fn guests_are_named_as_xens_vif_nat_names_them() {
        for (domain, handle, name) in [(1, 0, "dom1"), (1, 1, "dom1-2"), (512, 3, "dom512-4"), (7, u32::MAX, "dom7-4294967296")] {
            let made = HostName::of_guest(domain, handle);
            assert_eq!(made.as_str(), name);
            assert_eq!(name.parse(), Ok(made));
        }
    }

    #[test]
    fn names_are_letters_digits_and_hyphens() {
        for name in ["a", "dom7-2", "Example.ORG", "3com.com", &"a".repeat(63), &format!("{}b", "a.".repeat(100))] {
            assert!(name.parse::<HostName>().is_ok(), "{name}");
        }
        let long = "a.".repeat(127);
        for name in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a\"", "a;", "a\n", "a#", "{", "é", &"a".repeat(64), &long] {
            assert!(name.parse::<HostName>().is_err(), "{name}");
        }
    }

    fn on_bridge(network: &str, router: &str) -> Subnet {
        let clients = Clients::OnBridge { bridge: "br0".parse().unwrap(), router: router.parse().unwrap() };
        Subnet { network: network.parse().unwrap(), clients, domain: None, name_servers: vec![] }
    }

    #[test]
    fn a_pool_is_the_upper_half_without_the_router() {
        for (network, router, first, last) in [
            ("192.168.2.0/24", "192.168.2.1", "192.168.2.128", "192.168.2.254"),
            ("192.168.2.0/24", "192.168.2.254", "192.168.2.128", "192.168.2.253"),
            ("192.168.2.0/24", "192.168.2.128", "192.168.2.129", "192.168.2.254"),
            ("192.168.2.0/24", "192.168.2.140", "192.168.2.141", "192.168.2.254"),
            ("10.0.0.0/8", "10.0.0.1", "10.128.0.0", "10.255.255.254"),
            ("192.168.2.0/30", "192.168.2.1", "192.168.2.2", "192.168.2.2"),
        ] {
            let pool = on_bridge(network, router).pool().unwrap();
            assert_eq!((pool.0.to_string(), pool.1.to_string()), (first.to_owned(), last.to_owned()), "{network} {router}");
        }
        assert_eq!(on_bridge("192.168.2.0/30", "192.168.2.2").pool(), None);
        assert_eq!(on_bridge("192.168.2.0/31", "192.168.2.0").pool(), None);
        assert_eq!(on_bridge("192.168.2.1/32", "192.168.2.1").pool(), None);
    }

    #[test]
    fn names_that_mean_something_to_a_shell_stay_out_of_its_files() {
        fit_for_files(&"vif1.0".parse().unwrap()).unwrap();
        for name in ["$(reboot)", "a`id`", "a\"b", "a;b", "a\\", "a#b", "a=b", "a,b", "*"] {
            assert!(fit_for_files(&name.parse().unwrap()).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_pool_never_holds_the_router_nor_the_ends(network: u32, prefix in 0u8..=32, router: u32) {
            let network = Ipv4Network::new(network.into(), prefix).unwrap();
            let size = u32::from(network.mask());
            let router = Ipv4Addr::from((u32::from(network.network()) & size) | (router & !size));
            let clients = Clients::OnBridge { bridge: "br0".parse().unwrap(), router };
            let subnet = Subnet { network, clients, domain: None, name_servers: vec![] };
            if let Some((first, last)) = subnet.pool() {
                prop_assert!(first <= last && first > network.network() && last < network.broadcast());
                prop_assert!(router < first || router > last);
            }
        }

        #[test]
        fn nothing_but_plain_signs_is_a_name(text in "\\PC{0,70}|[a-c.-]{0,70}") {
            if let Ok(name) = text.parse::<HostName>() {
                prop_assert!(name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')));
            }
        }
    }
}
