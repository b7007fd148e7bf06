//! Files: those of DHCP servers, our own journals and records, and those of others that are looked at.

use std::net::Ipv4Addr;

use hotplug::dhcp::Resolver;
use hotplug::dhcp::dhcpd::{self, Include};
use hotplug::dhcp::dnsmasq::{self, Interfaces};
use hotplug::guest_filter::Noted;
use hotplug::inspect::toolstack::{XlConf, complaints, xend_scripts};
use hotplug::interface_name::InterfaceName;
use hotplug::operation::Operation;
use hotplug::record::Record;
use hotplug::sessions::Sessions;

use super::chosen;

fn device() -> InterfaceName {
    "vif3.0".parse().unwrap()
}

/// Files of dnsmasq and of ISC dhcpd, and resolv.conf: the first byte chooses which.
pub(crate) fn dhcp(input: &[u8]) {
    let Some((choice, rest)) = chosen(input) else { return };
    let text = String::from_utf8_lossy(rest);
    match choice % 5 {
        0 => assert!(Resolver::parse(&text).name_servers.len() <= 3),
        1 => drop(dnsmasq::holder_of(&text, Ipv4Addr::new(10, 0, 3, 1))),
        2 => {
            let options = dnsmasq::options_of_command_line(&text);
            let _ = (Interfaces::of(&[text.clone().into_owned(), options]), dnsmasq::option_value(&text, "pid-file"));
            let blocks = dnsmasq::subnets(&text);
            assert!(blocks.iter().all(|(_, lines)| lines.is_empty() || lines.ends_with('\n')));
        }
        3 => include(&text),
        _ => configuration(&text),
    }
}

/// The file that we write: what was read is written and read again as the same.
fn include(text: &str) {
    let include = Include::parse(text);
    if let Some(written) = include.to_text() {
        assert_eq!(Include::parse(&written), include);
    }
    let mut fewer = include;
    fewer.remove(&device());
    assert!(fewer.hosts.iter().all(|host| host.device != device()));
}

/// The administrator's files: what we put there goes again, and nothing else.
fn configuration(text: &str) {
    let _ = dhcpd::declared_networks(text);
    let with = dhcpd::with_argument(text, &device());
    assert_eq!(with.lines().count(), text.lines().count());
    let without = dhcpd::without_argument(&with, &device());
    assert_eq!(dhcpd::without_argument(&without, &device()), without);
}

/// The first byte chooses which file it is taken to be.
pub(crate) fn own_and_others(input: &[u8]) {
    let Some((choice, rest)) = chosen(input) else { return };
    let text = String::from_utf8_lossy(rest);
    match choice % 5 {
        0 => journal_line(&text),
        1 => {
            if let Ok(sessions) = Sessions::from_text(&text) {
                assert_eq!(Sessions::from_text(&sessions.to_text()).as_ref(), Ok(&sessions));
                drop((sessions.keys(), sessions.settings().count(), sessions.bridges().count()));
            }
        }
        2 => {
            if let Some(record) = Record::from_text(&text) {
                assert_eq!(Record::from_text(&record.to_text()).as_ref(), Some(&record));
            }
        }
        3 => {
            let _ = text.parse::<Noted>();
            drop((XlConf::parse(&text), xend_scripts(&text)));
            assert!(complaints(&text).iter().all(|line| !line.contains(char::is_control)));
        }
        _ => hotplug::system::fuzz::files_of_others(&text, &device()),
    }
}

/// A line of a journal is taken back step by step: each step says what it is, and is written again as it was read.
fn journal_line(text: &str) {
    let Ok(operations) = serde_json::from_str::<Vec<Operation>>(text) else { return };
    for operation in &operations {
        assert!(!operation.to_string().is_empty());
    }
    let again: Vec<Operation> = serde_json::from_str(&serde_json::to_string(&operations).unwrap()).unwrap();
    assert_eq!(again, operations);
}
