//! `xen-network reload`: the guests' filters and all other rules of ours, as they should be, whoever has flushed them.

use crate::firewall::Masquerade;
use crate::guest_filter::{GuestFilter, Way};
use crate::host::Host;
use crate::interface_name::InterfaceName;
use crate::operation::Operation;
use crate::plan::draft::Draft;
use crate::plan::{Plan, forwarding};
use crate::sessions::{Held, Sessions};

/// What a guest's interface is to be held to, as XenStore tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The interface.
    pub device: InterfaceName,
    /// How its frames come in.
    pub way: Way,
    /// What is known of its filter.
    pub filter: Told,
}

/// What XenStore tells of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// This one.
    Filter(GuestFilter),
    /// None, by the guest's own word.
    Off,
    /// Nothing: a filter that is there was asked for in another way, and stays.
    Nothing,
}

/// What else relies on rules of ours.
#[derive(Clone, Debug, Default)]
pub struct Rules<'a> {
    /// What network-nat and network-route have set up.
    pub sessions: Option<&'a Sessions>,
    /// Bridges whose frames others' chains see, and must let pass.
    pub bridged: &'a [InterfaceName],
}

/// Everything as it should be, on a host seen as `host`: with the interfaces that are there, and all filters that are there.
#[must_use]
pub fn reload(verdicts: &[Verdict], rules: &Rules<'_>, host: &Host) -> Plan {
    let mut draft = Draft::new(host);
    let wanted = wanted(verdicts, host);
    if !same(&wanted, &host.guest_filters) || !host.guest_damage.is_empty() {
        draft.must(Operation::ReplaceGuestFilters(wanted));
    }
    for masquerade in rules.sessions.into_iter().flat_map(masquerades) {
        if !draft.host.masquerades.contains(masquerade) {
            draft.must(Operation::AddMasquerade(masquerade.clone()));
        }
    }
    for verdict in verdicts.iter().filter(|verdict| verdict.way == Way::Routed) {
        forwarding::accept(&mut draft, &verdict.device);
    }
    for bridge in rules.sessions.into_iter().flat_map(Sessions::bridges) {
        forwarding::accept(&mut draft, bridge);
    }
    for bridge in rules.bridged {
        forwarding::accept_bridged(&mut draft, bridge);
    }
    draft.plan
}

/// The filters of interfaces that are there; those of others are orphans.
fn wanted(verdicts: &[Verdict], host: &Host) -> Vec<GuestFilter> {
    let verdict_of = |filter: &GuestFilter| {
        verdicts.iter().find(|verdict| verdict.device == filter.device && verdict.way == filter.way).map(|verdict| &verdict.filter)
    };
    let told = verdicts.iter().filter_map(|verdict| match &verdict.filter {
        Told::Filter(filter) => Some(filter.clone()),
        Told::Off | Told::Nothing => None,
    });
    let kept = host
        .guest_filters
        .iter()
        .filter(|filter| host.link(&filter.device).is_some() && matches!(verdict_of(filter), None | Some(Told::Nothing)));
    let mut wanted: Vec<GuestFilter> = told.chain(kept.cloned()).collect();
    wanted.sort();
    wanted
}

fn same(wanted: &[GuestFilter], seen: &[GuestFilter]) -> bool {
    let matches = |filter: &GuestFilter| {
        seen.iter().any(|seen| seen.device == filter.device && seen.way == filter.way && seen.same_rules(filter))
    };
    wanted.len() == seen.len() && wanted.iter().all(matches)
}

fn masquerades(sessions: &Sessions) -> impl Iterator<Item = &Masquerade> {
    sessions.holdings.iter().filter_map(|holding| match &holding.what {
        Held::Masquerade { masquerade, .. } => Some(masquerade),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest_filter::{Strictness, Tags};
    use crate::host::{AdminState, Link, LinkKind, PortSettings, Switch, VlanFiltering};

    fn filter(device: &str, address: &str) -> GuestFilter {
        GuestFilter {
            device: device.parse().unwrap(),
            renamed_from: None,
            way: Way::Bridged,
            mac: "00:16:3e:00:00:01".parse().unwrap(),
            strictness: Strictness::Addresses,
            tags: Tags::Refused,
            addresses: vec![address.parse().unwrap()],
        }
    }

    fn link(name: &str) -> Link {
        Link {
            name: name.parse().unwrap(),
            index: None,
            kind: LinkKind::Physical,
            mac: None,
            mtu: 1500,
            transmit_queue: 0,
            state: AdminState::Up,
            promiscuous: Switch::Off,
            all_multicast: Switch::Off,
            master: None,
            alias: None,
            vlan_filtering: VlanFiltering::Off,
            port: PortSettings::default(),
        }
    }

    fn verdict(device: &str, filter: Told) -> Verdict {
        Verdict { device: device.parse().unwrap(), way: Way::Bridged, filter }
    }

    #[test]
    fn what_xenstore_tells_goes_before_what_is_there_and_orphans_go() {
        let host = Host {
            links: ["vif1.0", "vif2.0", "vif3.0"].map(link).to_vec(),
            guest_filters: ["vif1.0", "vif2.0", "vif3.0", "vif9.0"].map(|device| filter(device, "10.0.0.1")).to_vec(),
            ..Host::default()
        };
        let verdicts = [
            verdict("vif1.0", Told::Filter(filter("vif1.0", "10.0.0.9"))),
            verdict("vif2.0", Told::Off),
            verdict("vif3.0", Told::Nothing),
        ];
        let plan = reload(&verdicts, &Rules::default(), &host);
        let expected = vec![filter("vif1.0", "10.0.0.9"), filter("vif3.0", "10.0.0.1")];
        assert_eq!(plan, Plan::single(Operation::ReplaceGuestFilters(expected)));
        let after = host.after(&plan.steps[0].operation);
        assert_eq!(reload(&verdicts, &Rules::default(), &after), Plan::default());
    }
}
