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
    let examined = system.examine()?;
    let vif = find(&examined, name)?;
    let way = match to {
        Some(to) => system.device_towards(to)?,
        None => None,
    };
    let from = from.or_else(|| {
        let same_family = |address: &IpAddr| to.is_none_or(|to| to.is_ipv4() == address.is_ipv4());
        vif.addresses.iter().map(ipnetwork::IpNetwork::ip).find(same_family)
    });
    let question = Question { vif, from, to, way };
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
