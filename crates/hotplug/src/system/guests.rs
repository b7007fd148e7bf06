//! Every guest's interface in XenStore, read in a few round trips.

use std::str;

use ipnetwork::IpNetwork;
use xenstore::StorePath;

use super::System;
use crate::host::Switch;
use crate::inspect::model::{Backend, Store, printable};

/// The folder of all of them, relative to the domain that their other ends are in.
pub(super) const FOLDER: &str = "backend/vif";
/// Tells udev's calls to do nothing, where it exists.
const DISABLE_UDEV: &str = "libxl/disable_udev";
/// What is read of each interface.
const KEYS: [&str; 9] = ["script", "state", "hotplug-status", "mac", "ip", "bridge", "mtu", "vifname", "vlan"];
/// What is read of an interface whose program has failed, besides.
const ERROR_KEY: &str = "hotplug-error";
/// What is read of each domain.
const DOMAIN_KEYS: [&str; 2] = ["name", "vm"];

impl System {
    /// Every guest's interface.
    ///
    /// # Errors
    /// Where there is no store, or it does not answer.
    pub fn guests_interfaces(&mut self) -> xenstore::Result<Store> {
        let client = self.store()?;
        let folder = StorePath::parse(FOLDER)?;
        let domains: Vec<u16> = numbers(client.list(&folder)?);
        let folders: Vec<StorePath> = domains.iter().filter_map(|domain| folder.join(&domain.to_string()).ok()).collect();
        let handles = client.list_many(&folders)?;
        let vifs: Vec<(u16, u32)> = domains
            .iter()
            .zip(handles)
            .flat_map(|(domain, list)| numbers(list).into_iter().map(|handle| (*domain, handle)))
            .collect();
        let mut paths = vec![StorePath::parse(DISABLE_UDEV)?];
        for domain in &domains {
            for key in DOMAIN_KEYS {
                paths.push(StorePath::parse(&format!("/local/domain/{domain}/{key}"))?);
            }
        }
        for (domain, handle) in &vifs {
            for key in KEYS {
                paths.push(StorePath::parse(&format!("{FOLDER}/{domain}/{handle}/{key}"))?);
            }
        }
        let values = client.read_many(&paths)?;
        let mut store = assemble(&domains, &vifs, values.into_iter().map(text));
        let failed: Vec<&mut Backend> =
            store.vifs.iter_mut().filter(|vif| vif.hotplug_status.as_deref() == Some("error")).collect();
        let paths: Result<Vec<StorePath>, _> =
            failed.iter().map(|vif| StorePath::parse(&format!("{}/{ERROR_KEY}", vif.path()))).collect();
        let errors = client.read_many(&paths?)?;
        for (vif, error) in failed.into_iter().zip(errors) {
            vif.hotplug_error = text(error).as_deref().map(printable);
        }
        Ok(store)
    }
}

/// The names that are numbers, in order; others are none of ours.
fn numbers<N: str::FromStr + Ord>(names: Option<Vec<String>>) -> Vec<N> {
    let mut numbers: Vec<N> = names.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort();
    numbers
}

/// A value as text; an empty one, and one that is no text, counts as none.
fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.is_empty())
}

fn assemble(domains: &[u16], vifs: &[(u16, u32)], mut values: impl Iterator<Item = Option<String>>) -> Store {
    let mut next = || values.next().flatten();
    let udev_disabled = if next().is_some() { Switch::On } else { Switch::Off };
    let known: Vec<(u16, Option<String>, Option<String>)> = domains.iter().map(|domain| (*domain, next(), next())).collect();
    let mut store = Store { vifs: vec![], udev_disabled };
    for (domain, handle) in vifs {
        let guest = known.iter().find(|(number, ..)| number == domain);
        let printed = |text: Option<String>| text.as_deref().map(printable);
        store.vifs.push(Backend {
            domain: *domain,
            handle: *handle,
            guest: guest.and_then(|(_, name, _)| name.as_deref()).map(printable),
            uuid: guest.and_then(|(_, _, vm)| vm.as_deref()?.strip_prefix("/vm/").map(printable)),
            script: printed(next()),
            state: next().and_then(|state| state.parse().ok()),
            hotplug_status: printed(next()),
            hotplug_error: None,
            mac: next().and_then(|mac| mac.parse().ok()),
            addresses: next().as_deref().map(addresses_in).unwrap_or_default(),
            bridge: next().and_then(|bridge| bridge.parse().ok()),
            mtu: next().and_then(|mtu| mtu.parse().ok()),
            vifname: next().and_then(|name| name.parse().ok()),
            vlan: printed(next()),
        });
    }
    store
}

/// The addresses in the key `ip`; words that are none are passed over.
fn addresses_in(text: &str) -> Vec<IpNetwork> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_find_their_interface() {
        let domains = [1, 2];
        let vifs = [(1, 0), (1, 1), (2, 0)];
        let mut values: Vec<Option<String>> = vec![Some("1".into()), Some("web".into()), Some("/vm/u-1".into()), None, None];
        for number in 0..3 {
            values.extend(KEYS.map(|key| match key {
                "state" => Some(number.to_string()),
                "ip" => Some("192.168.1.101 fe80::1 nonsense".to_owned()),
                key => Some(format!("{key}{number}")),
            }));
        }
        let store = assemble(&domains, &vifs, values.into_iter());
        assert_eq!(store.udev_disabled, Switch::On);
        let [first, second, third] = &store.vifs[..] else { panic!("{store:?}") };
        assert_eq!((first.guest.as_deref(), first.uuid.as_deref(), first.state), (Some("web"), Some("u-1"), Some(0)));
        assert_eq!(second.vifname.as_ref().map(ToString::to_string).as_deref(), Some("vifname1"));
        assert_eq!((third.domain, third.guest.clone(), third.addresses.len()), (2, None, 2));
    }

    #[test]
    fn names_that_are_no_numbers_are_passed_over() {
        let names = ["10", "x", "2", "70000"].map(str::to_owned).to_vec();
        assert_eq!(numbers::<u16>(Some(names)), [2, 10]);
    }
}
