//! `xen-network explain`

use std::net::IpAddr;

use super::style;
use crate::inspect::explain::{Question, stations, text};
use crate::inspect::model::{Backend, Examined};
use crate::inspect::toolstack::listed;
use crate::invocation::{Format, Invocation, shortened};
use crate::plan::Refusal;
use crate::report::{Report, Trouble};
use crate::system::System;

/// Says what becomes of a guest's packet on its way.
pub(super) fn explain(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let name = invocation.surplus().first().map(String::as_str).or_else(|| invocation.variable("vif"));
    let name = name.ok_or_else(|| Refusal::plain("which interface? Say it as in: xen-network explain vif1.0"))?;
    let to = address(invocation, "to")?;
    let from = address(invocation, "from")?;
    let protocol = protocol(invocation)?;
    let examined = system.examine()?;
    let ruleset = system.forwarding_rules().map_err(|error| error.to_string());
    let vif = find(&examined, name)?;
    let way = match to {
        Some(to) => system.device_towards(to)?,
        None => None,
    };
    let from = from.or_else(|| {
        let same_family = |address: &IpAddr| to.is_none_or(|to| to.is_ipv4() == address.is_ipv4());
        vif.addresses.iter().map(ipnetwork::IpNetwork::ip).find(same_family)
    });
    let question = Question { vif, from, to, protocol, way, ruleset: &ruleset };
    let stations = stations(&examined, &question);
    Ok(Report::printed(match invocation.format() {
        Format::Text => text(&examined.seen, &question, &stations, style()),
        Format::Json => {
            format!("{:#}\n", serde_json::json!({ "vif": vif, "from": question.from, "to": to, "stations": stations }))
        }
    }))
}

fn address(invocation: &Invocation, variable: &str) -> Result<Option<IpAddr>, Refusal> {
    let given = invocation.variable(variable).filter(|text| !text.is_empty());
    given.map(str::parse).transpose().map_err(|_| {
        let text = shortened(given.unwrap_or_default());
        Refusal::plain(format!("{variable}={} is no address such as 192.168.1.1 or 2001:db8::1", text.escape_default()))
    })
}

/// By its name or its number (IANA's protocol numbers).
fn protocol(invocation: &Invocation) -> Result<Option<u8>, Refusal> {
    const NAMES: [(&str, u8); 5] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)];
    let given = invocation.variable("protocol").filter(|text| !text.is_empty());
    let number = |text: &str| NAMES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number).or_else(|| text.parse().ok());
    given.map(|text| number(text).ok_or(text)).transpose().map_err(|text| {
        let text = shortened(text);
        Refusal::plain(format!(
            "protocol={} is no protocol such as tcp, udp, icmp, icmpv6, or a number from 0 to 255",
            text.escape_default()
        ))
    })
}

fn find<'a>(examined: &'a Examined, name: &str) -> Result<&'a Backend, Refusal> {
    let vifs = match &examined.seen.store.0 {
        Ok(store) => &store.vifs,
        Err(reason) => return Err(Refusal::plain(format!("{reason}; without it nothing is known of guests"))),
    };
    vifs.iter().find(|vif| vif.device_names().any(|own| own == name)).ok_or_else(|| {
        let known: Vec<String> = vifs.iter().map(|vif| examined.seen.name_of(vif)).collect();
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", listed(&known)) };
        Refusal::plain(format!("no guest has an interface {}: {known}", shortened(name).escape_default()))
    })
}
