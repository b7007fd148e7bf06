//! Every guest's interface in XenStore, read in a few round trips.

use std::collections::BTreeMap;
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
/// What is read of an interface whose program has failed, besides.
const ERROR_KEY: &str = "hotplug-error";

/// How much is read of each guest. XenStore has no way to read a folder at once: every key is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What the tree of `status` shows.
    Shown,
    /// All that is known.
    Whole,
}

impl Detail {
    /// The keys of each interface.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Shown => &["script", "hotplug-status", "mac", "ip", "vifname"],
            Self::Whole => &["script", "hotplug-status", "mac", "ip", "vifname", "state", "bridge", "mtu", "vlan"],
        }
    }

    /// The keys of each domain.
    fn domain_keys(self) -> &'static [&'static str] {
        match self {
            Self::Shown => &["name"],
            Self::Whole => &["name", "vm"],
        }
    }
}

impl System {
    /// Every guest's interface.
    ///
    /// # Errors
    /// Where there is no store, or it does not answer.
    pub fn guests_interfaces(&mut self, detail: Detail) -> xenstore::Result<Store> {
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
            for key in detail.domain_keys() {
                paths.push(StorePath::parse(&format!("/local/domain/{domain}/{key}"))?);
            }
        }
        for (domain, handle) in &vifs {
            for key in detail.keys() {
                paths.push(StorePath::parse(&format!("{FOLDER}/{domain}/{handle}/{key}"))?);
            }
        }
        let values = client.read_many(&paths)?;
        let mut store = assemble(&domains, &vifs, detail, values.into_iter().map(text));
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

fn assemble(domains: &[u16], vifs: &[(u16, u32)], detail: Detail, mut values: impl Iterator<Item = Option<String>>) -> Store {
    let udev_disabled = if values.next().flatten().is_some() { Switch::On } else { Switch::Off };
    let mut guests = BTreeMap::new();
    for domain in domains {
        let mut told = told(detail.domain_keys(), &mut values);
        guests.insert(*domain, (told.remove("name"), told.remove("vm")));
    }
    let mut store = Store { vifs: vec![], udev_disabled };
    for (domain, handle) in vifs {
        let (name, vm) = guests.get(domain).cloned().unwrap_or_default();
        let mut told = told(detail.keys(), &mut values);
        let mut key = |key: &str| told.remove(key);
        store.vifs.push(Backend {
            domain: *domain,
            handle: *handle,
            guest: name.as_deref().map(printable),
            uuid: vm.as_deref().and_then(|vm| vm.strip_prefix("/vm/").map(printable)),
            script: key("script").as_deref().map(printable),
            state: key("state").and_then(|state| state.parse().ok()),
            hotplug_status: key("hotplug-status").as_deref().map(printable),
            hotplug_error: None,
            mac: key("mac").and_then(|mac| mac.parse().ok()),
            addresses: key("ip").as_deref().map(addresses_in).unwrap_or_default(),
            bridge: key("bridge").and_then(|bridge| bridge.parse().ok()),
            mtu: key("mtu").and_then(|mtu| mtu.parse().ok()),
            vifname: key("vifname").and_then(|name| name.parse().ok()),
            vlan: key("vlan").as_deref().map(printable),
        });
    }
    store
}

/// The next values, by their keys; those that there are.
fn told(keys: &[&'static str], values: impl Iterator<Item = Option<String>>) -> BTreeMap<&'static str, String> {
    keys.iter().zip(values).filter_map(|(key, value)| Some((*key, value?))).collect()
}

/// The addresses in the key `ip`; words that are none are passed over.
fn addresses_in(text: &str) -> Vec<IpNetwork> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tree_does_not_show_is_not_read() {
        let values = ["1", "web", "/etc/xen/scripts/vif-nat", "connected", "00:16:3e:00:00:01", "10.0.0.2", "web0"];
        let store = assemble(&[7], &[(7, 0)], Detail::Shown, values.into_iter().map(|value| Some(value.to_owned())));
        let [vif] = &store.vifs[..] else { panic!("{store:?}") };
        assert_eq!((vif.guest.as_deref(), vif.uuid.as_deref(), vif.state), (Some("web"), None, None));
        assert_eq!(vif.device_names().collect::<Vec<_>>(), ["web0", "vif7.0"]);
    }

    #[test]
    fn values_find_their_interface() {
        let domains = [1, 2];
        let vifs = [(1, 0), (1, 1), (2, 0)];
        let mut values: Vec<Option<String>> = vec![Some("1".into()), Some("web".into()), Some("/vm/u-1".into()), None, None];
        for number in 0..3 {
            values.extend(Detail::Whole.keys().iter().map(|key| match *key {
                "state" => Some(number.to_string()),
                "ip" => Some("192.168.1.101 fe80::1 nonsense".to_owned()),
                key => Some(format!("{key}{number}")),
            }));
        }
        let store = assemble(&domains, &vifs, Detail::Whole, values.into_iter());
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
