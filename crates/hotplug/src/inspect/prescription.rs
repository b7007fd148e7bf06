//! Commands as an administrator would type them.

use super::model::Backend;
use crate::dhcp::Server;
use crate::firewall::{AcceptPlace, ChainFamily, ChainKeeper, DroppingChain, ForwardAccept, Masquerade, Traffic};
use crate::host::Family;
use crate::interface_name::InterfaceName;
use crate::sessions::{Held, Owner, SessionKey, Sessions};

/// Where toolstacks look for the programs.
pub const SCRIPTS: &str = "/etc/xen/scripts";

/// Has the program in charge set a guest's interface up.
#[must_use]
pub fn online(vif: &Backend) -> String {
    call_of(vif, "online")
}

fn call_of(vif: &Backend, command: &str) -> String {
    let script = vif.script.as_deref().unwrap_or("vif-bridge");
    let folder = if script.starts_with('/') { String::new() } else { format!("{SCRIPTS}/") };
    format!("vif={} XENBUS_PATH={} {folder}{script} {command} type_if=vif", vif.kernel_name(), vif.path())
}

/// Takes down what is left of the interface of a guest that is gone.
#[must_use]
pub fn offline(domain: u16, handle: u32) -> String {
    format!("vif=vif{domain}.{handle} XENBUS_PATH=backend/vif/{domain}/{handle} {SCRIPTS}/vif-bridge offline type_if=vif")
}

/// Starts a session with the words that it must have been started with, as far as its record tells.
#[must_use]
pub fn start(key: &SessionKey, sessions: &Sessions) -> String {
    let mut words = vec![format!("{SCRIPTS}/{} start netdev={}", key.program, key.netdev)];
    words.extend(key.bridge.as_ref().map(|bridge| format!("bridge={bridge}")));
    let held: Vec<&Held> =
        sessions.holdings.iter().filter(|holding| holding.sessions.contains(key)).map(|holding| &holding.what).collect();
    let addresses: Vec<String> = held
        .iter()
        .filter_map(|held| match held {
            Held::Address { device, network, .. } if Some(device) == key.bridge.as_ref() => Some(network.to_string()),
            _ => None,
        })
        .collect();
    if !addresses.is_empty() {
        words.push(format!("address={}", addresses.join(",")));
    }
    let translates =
        |family: Family| held.iter().any(|held| matches!(held, Held::Masquerade { masquerade, .. } if masquerade.family == family));
    let forwards_ipv6 = held.iter().any(|held| {
        matches!(held, Held::Setting(setting) if setting.sysctl.is_forwarding_of_the_host() && setting.sysctl.family() == Family::V6)
    });
    if key.program == Owner::NetworkRoute && translates(Family::V4) {
        words.push("masquerade=yes".to_owned());
    }
    words.push(format!(
        "ipv6={}",
        if translates(Family::V6) {
            "nat"
        } else if forwards_ipv6 {
            "yes"
        } else {
            "no"
        }
    ));
    if key.program == Owner::NetworkNat {
        let server = held.iter().find_map(|held| match held {
            Held::Dhcp { server: Server::Dnsmasq(_), .. } => Some("dnsmasq"),
            Held::Dhcp { server: Server::Dhcpd(_), .. } => Some("dhcpd"),
            _ => None,
        });
        words.push(format!("dhcp={}", server.unwrap_or("no")));
    }
    words.join(" ")
}

/// Stops a session.
#[must_use]
pub fn stop(key: &SessionKey) -> String {
    let bridge = key.bridge.as_ref().map(|bridge| format!(" bridge={bridge}")).unwrap_or_default();
    format!("{SCRIPTS}/{} stop netdev={}{bridge}", key.program, key.netdev)
}

/// The rules of ours that a chain lacks.
#[must_use]
pub fn accept(chain: &DroppingChain, device: &InterfaceName, traffic: Traffic) -> Vec<String> {
    let signature = ForwardAccept::signature(device, traffic);
    match chain.chain.keeper {
        ChainKeeper::NfTables => {
            let (verb, place) = match chain.place {
                AcceptPlace::End => ("add", String::new()),
                AcceptPlace::Head => ("insert", String::new()),
                AcceptPlace::Before(handle) => ("insert", format!(" position {handle}")),
            };
            let rule = |packets: String| {
                format!("nft '{verb} rule {}{place} {packets} counter accept comment \"{signature}\"'", chain.chain)
            };
            match traffic {
                Traffic::FromAndTo => vec![rule(format!("iifname \"{device}\"")), rule(format!("oifname \"{device}\""))],
                Traffic::Bridged => vec![rule(format!("iifname \"{device}\" oifname \"{device}\""))],
            }
        }
        ChainKeeper::LegacyTables => {
            let tool = if chain.chain.family == ChainFamily::Ip6 { "ip6tables-legacy" } else { "iptables-legacy" };
            let name = &chain.chain.name;
            let place = match chain.place {
                AcceptPlace::End => format!("-A {name}"),
                AcceptPlace::Head => format!("-I {name}"),
                AcceptPlace::Before(number) => format!("-I {name} {number}"),
            };
            let rule = |packets: String| format!("{tool} {place} {packets} -m comment --comment {signature} -j ACCEPT");
            match traffic {
                Traffic::FromAndTo => vec![rule(format!("-i {device}")), rule(format!("-o {device}"))],
                Traffic::Bridged => vec![rule(format!("-i {device} -o {device}"))],
            }
        }
    }
}

/// What translates nothing any more.
#[must_use]
pub fn masquerade_words(masquerade: &Masquerade) -> String {
    let family = match masquerade.family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    format!("{family} out of {}", masquerade.device)
}

/// Puts our rules back.
pub const RELOAD: &str = "xen-network reload";
/// Removes what is ours and nobody's.
pub const GC: &str = "xen-network gc";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::ForwardChain;

    fn session() -> Sessions {
        let text = r#"{"holdings":[
            {"what":{"bridge":{"name":"br0","origin":"Made","state":"Down"}},"sessions":[{"program":"network-nat","netdev":"eth0","bridge":"br0"}]},
            {"what":{"address":{"device":"br0","network":"192.168.2.1/24","origin":"Made"}},"sessions":[{"program":"network-nat","netdev":"eth0","bridge":"br0"}]},
            {"what":{"masquerade":{"masquerade":{"family":"V4","device":"eth0"},"origin":"Made"}},"sessions":[{"program":"network-nat","netdev":"eth0","bridge":"br0"}]}]}"#;
        Sessions::from_text(text).unwrap()
    }

    #[test]
    fn a_session_is_started_again_with_its_own_words() {
        let sessions = session();
        let key = sessions.keys().into_iter().next().unwrap();
        let expected = "/etc/xen/scripts/network-nat start netdev=eth0 bridge=br0 address=192.168.2.1/24 ipv6=no dhcp=no";
        assert_eq!(start(&key, &sessions), expected);
        assert_eq!(stop(&key), "/etc/xen/scripts/network-nat stop netdev=eth0 bridge=br0");
    }

    #[test]
    fn rules_go_where_the_chain_decides() {
        let chain = |keeper, place| DroppingChain {
            chain: ForwardChain { keeper, family: ChainFamily::Ip, table: "filter".to_owned(), name: "FORWARD".to_owned() },
            place,
        };
        let device = "vif1.0".parse().unwrap();
        let rules = accept(&chain(ChainKeeper::NfTables, AcceptPlace::Before(7)), &device, Traffic::Bridged);
        let expected = "nft 'insert rule ip filter FORWARD position 7 iifname \"vif1.0\" oifname \"vif1.0\" counter accept comment \"xen-network:vif1.0:bridged\"'";
        assert_eq!(rules, [expected]);
        let rules = accept(&chain(ChainKeeper::LegacyTables, AcceptPlace::End), &device, Traffic::FromAndTo);
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0], "iptables-legacy -A FORWARD -i vif1.0 -m comment --comment xen-network:vif1.0 -j ACCEPT");
    }
}
