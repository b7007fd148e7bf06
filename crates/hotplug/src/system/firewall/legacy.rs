//! The FORWARD chains of x_tables, which the older iptables keeps beside nf_tables.
//!
//! Their table is exchanged whole, in a layout that only the tool knows (include/uapi/linux/netfilter_ipv4/ip_tables.h), so the tool
//! does it. It is started only on hosts whose kernel says that such a table is in use.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{getpid, gettid};

use super::super::child::{find_program, output_of};
use crate::firewall::{AcceptPlace, ChainFamily, ChainKeeper, DroppingChain, ForwardAccept, ForwardChain, Traffic};
use crate::host::Host;
use crate::interface_name::InterfaceName;

/// How long the tool may take, its wait for its own lock (/run/xtables.lock) included.
const LIMIT: Duration = Duration::from_secs(10);
const FAMILIES: [ChainFamily; 2] = [ChainFamily::Ip, ChainFamily::Ip6];

/// Notes the chains that drop, and our own rules for `devices` in them.
pub(super) fn observe(host: &mut Host, devices: &[InterfaceName]) -> Result<(), String> {
    for family in families_in_use() {
        let listing = output_of(&tool(family)?, &["-w", "5", "-S", "FORWARD"], LIMIT)?;
        let chain =
            ForwardChain { keeper: ChainKeeper::LegacyTables, family, table: "filter".to_owned(), name: "FORWARD".to_owned() };
        let place = place_in(&listing);
        let ours = devices.iter().flat_map(|device| Traffic::ALL.map(|traffic| (device, traffic)));
        for (device, traffic) in ours.filter(|(device, traffic)| listing.lines().any(|line| is_signed(line, device, *traffic))) {
            let place = place.unwrap_or(AcceptPlace::End);
            host.forward_accepts.push(ForwardAccept { chain: chain.clone(), place, device: device.clone(), traffic });
        }
        host.dropping_chains.extend(place.map(|place| DroppingChain { chain, place }));
    }
    Ok(())
}

/// Every rule of ours in those chains, whatever device it is for.
pub(super) fn signed() -> Result<Vec<ForwardAccept>, String> {
    let mut accepts = vec![];
    for family in families_in_use() {
        let listing = output_of(&tool(family)?, &["-w", "5", "-S", "FORWARD"], LIMIT)?;
        let chain =
            ForwardChain { keeper: ChainKeeper::LegacyTables, family, table: "filter".to_owned(), name: "FORWARD".to_owned() };
        for (device, traffic) in listing.lines().filter_map(comment_in).filter_map(ForwardAccept::signed).collect::<BTreeSet<_>>() {
            accepts.push(ForwardAccept { chain: chain.clone(), place: AcceptPlace::End, device, traffic });
        }
    }
    Ok(accepts)
}

fn families_in_use() -> impl Iterator<Item = ChainFamily> {
    let folder = own_network_folder();
    FAMILIES.into_iter().filter(move |family| is_in_use(&folder, *family))
}

/// Whether the kernel keeps a filter table of this family (net/netfilter/x_tables.c, `xt_table_seq_show()`).
fn is_in_use(folder: &Path, family: ChainFamily) -> bool {
    let name = match family {
        ChainFamily::Ip6 => "ip6_tables_names",
        ChainFamily::Ip | ChainFamily::Inet => "ip_tables_names",
    };
    // Five short names at most.
    let mut names = [0; 256];
    let length = File::open(folder.join(name)).and_then(|mut file| file.read(&mut names)).unwrap_or_default();
    names.get(..length).is_some_and(|names| names.split(|byte| *byte == b'\n').any(|name| name == b"filter"))
}

/// A program's only thread is known by a shorter way, on which the kernel has less to look up; threads of tests are in namespaces of
/// their own.
fn own_network_folder() -> PathBuf {
    let whose = if gettid() == getpid() { "self" } else { "thread-self" };
    ["/proc", whose, "net"].iter().collect()
}

fn tool(family: ChainFamily) -> Result<PathBuf, String> {
    let names = match family {
        ChainFamily::Ip6 => ["ip6tables-legacy", "ip6tables"],
        ChainFamily::Ip | ChainFamily::Inet => ["iptables-legacy", "iptables"],
    };
    let [name, _] = names;
    names.into_iter().find_map(find_program).ok_or_else(|| {
        format!("the kernel has rules of {name}, but that program is not installed, so nothing can be said of them: install it")
    })
}

/// Reads what `iptables -S FORWARD` may say.
#[cfg(feature = "fuzz")]
pub(in crate::system) fn read_listing(listing: &str) {
    assert!(place_in(listing) != Some(AcceptPlace::Before(0)));
    listing.lines().filter_map(comment_in).filter_map(ForwardAccept::signed).for_each(drop);
}

/// Where an accept belongs; nothing in a chain that lets pass what no rule decides on. Rules are counted from 1.
fn place_in(listing: &str) -> Option<AcceptPlace> {
    let rules = listing.lines().filter(|line| line.starts_with("-A FORWARD"));
    let stops = |line: &str| matches!(line, "-A FORWARD -j DROP") || line.starts_with("-A FORWARD -j REJECT");
    if let Some(number) = rules.enumerate().find(|(_, line)| stops(line)).and_then(|(place, _)| u64::try_from(place + 1).ok()) {
        return Some(AcceptPlace::Before(number));
    }
    listing.lines().any(|line| line == "-P FORWARD DROP").then_some(AcceptPlace::End)
}

fn is_signed(line: &str, device: &InterfaceName, traffic: Traffic) -> bool {
    comment_in(line).is_some_and(|comment| comment == ForwardAccept::signature(device, traffic))
}

/// The comment of a rule, as far as its first space: a signature has none.
fn comment_in(line: &str) -> Option<&str> {
    let mut words = line.split(' ').skip_while(|word| *word != "--comment").skip(1);
    words.next().map(|word| word.trim_matches('"'))
}

/// A rule for each direction, or one for what is bridged. Rules that are there already are not added once more: a deletion that is taken back
/// may never have been done.
pub(super) fn add(accept: &ForwardAccept) -> Result<(), String> {
    let listing = output_of(&tool(accept.chain.family)?, &["-w", "5", "-S", "FORWARD"], LIMIT)?;
    let ours = listing.lines().filter(|line| is_signed(line, &accept.device, accept.traffic));
    if ours.count() >= matches_of(accept).len() {
        return Ok(());
    }
    for packets in matches_of(accept) {
        let number;
        let mut words = vec!["-w", "5"];
        match accept.place {
            AcceptPlace::End => words.extend(["-A", "FORWARD"]),
            AcceptPlace::Head => words.extend(["-I", "FORWARD"]),
            AcceptPlace::Before(place) => {
                number = place.to_string();
                words.extend(["-I", "FORWARD", &number]);
            }
        }
        if let Err(error) = run(accept, &words, &packets) {
            // One of two may be in place by now.
            let _ = delete(accept);
            return Err(error);
        }
    }
    Ok(())
}

/// What the rules ask of a packet.
fn matches_of(accept: &ForwardAccept) -> Vec<Vec<&str>> {
    let device = accept.device.as_str();
    match accept.traffic {
        Traffic::FromAndTo => vec![vec!["-i", device], vec!["-o", device]],
        Traffic::Bridged => vec![vec!["-i", device, "-o", device]],
    }
}

/// The rules that we have signed for the device.
pub(super) fn delete(accept: &ForwardAccept) -> Result<(), String> {
    let failures: Vec<String> =
        matches_of(accept).iter().filter_map(|packets| run(accept, &["-w", "5", "-D", "FORWARD"], packets).err()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

fn run(accept: &ForwardAccept, begin: &[&str], packets: &[&str]) -> Result<(), String> {
    let signature = ForwardAccept::signature(&accept.device, accept.traffic);
    let rest = ["-m", "comment", "--comment", &signature, "-j", "ACCEPT"];
    output_of(&tool(accept.chain.family)?, &[begin, packets, &rest].concat(), LIMIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accept_goes_where_the_chain_decides() {
        assert_eq!(place_in("-P FORWARD ACCEPT\n-A FORWARD -i eth0 -j DROP\n"), None);
        assert_eq!(place_in("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"), Some(AcceptPlace::End));
        let rejecting =
            "-P FORWARD ACCEPT\n-A FORWARD -i eth1 -j ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n";
        assert_eq!(place_in(rejecting), Some(AcceptPlace::Before(2)));
    }

    #[test]
    fn a_rule_is_ours_by_its_whole_signature() {
        let device: InterfaceName = "vif1.1".parse().unwrap();
        let rule = |comment: &str| format!("-A FORWARD -i vif1.1 -m comment --comment {comment} -j ACCEPT");
        assert!(is_signed(&rule("\"xen-network:vif1.1\""), &device, Traffic::FromAndTo));
        assert!(is_signed(&rule("xen-network:vif1.1"), &device, Traffic::FromAndTo));
        assert!(!is_signed(&rule("xen-network:vif1.1:bridged"), &device, Traffic::FromAndTo));
        assert!(is_signed(&rule("xen-network:vif1.1:bridged"), &device, Traffic::Bridged));
        assert!(!is_signed(&rule("\"xen-network:vif1.10\""), &device, Traffic::FromAndTo));
        assert!(!is_signed("-A FORWARD -i vif1.1 -j ACCEPT", &device, Traffic::FromAndTo));
    }
}
