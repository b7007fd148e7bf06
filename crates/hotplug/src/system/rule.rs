//! Policy rules (`ip rule`).

use ipnetwork::IpNetwork;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAttribute, RuleFlags, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::attributes::{Attributes, family_of};
use super::connection::{KernelError, Message};
use super::kernel::Kernel;
use crate::host::{Family, Rule};
use crate::interface_name::InterfaceName;

/// `RTM_NEWRULE`, the kind of every entry of the table.
const RTM_NEWRULE: u16 = 32;
/// `struct fib_rule_hdr`, in bytes.
const HEADER: usize = 12;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_TABLE: u16 = 15;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
/// What is taken apart here; all else is carried along as it is.
const KNOWN: [u16; 7] = [FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_PRIORITY, FRA_TABLE, FRA_OIFNAME, FRA_PAD];
/// The flag that is somebody's choice: `not` (`FIB_RULE_INVERT`). The others tell what the kernel made of the rule.
const CHOSEN_FLAGS: u32 = 2;

/// Every rule of both families, in the kernel's order, which is that of their priorities.
pub(super) fn list(kernel: &mut Kernel) -> Result<Vec<Rule>, KernelError> {
    let mut list = vec![];
    for (family, number) in [(Family::V4, AddressFamily::Inet), (Family::V6, AddressFamily::Inet6)] {
        let mut message = RuleMessage::default();
        message.header.family = number;
        let entries = match kernel.connection()?.dump(RouteNetlinkMessage::GetRule(message)) {
            // A kernel without policy routing for this family.
            Err(error) if error.is(Errno::EAFNOSUPPORT) || error.is(Errno::EOPNOTSUPP) => vec![],
            entries => entries?,
        };
        for entry in entries {
            list.extend(parse(&entry, family)?);
        }
    }
    Ok(list)
}

/// An entry of the table; nothing when it is of another family, or bound to a device that nobody can ask us for by its name.
pub(super) fn parse(message: &Message, family: Family) -> Result<Option<Rule>, KernelError> {
    if message.kind != RTM_NEWRULE {
        return Err(KernelError::Nonsense(format!("message {} in place of a rule", message.kind)));
    }
    let header = RuleHeader::parse(&message.body)?;
    if family_of(header.family.into()) != Some(family) {
        return Ok(None);
    }
    let attributes = Attributes::behind(&message.body, HEADER)?;
    let name = |kind: u16| attributes.text(kind).map(|text| text.map(str::parse::<InterfaceName>).transpose());
    let (Ok(incoming), Ok(outgoing)) = (name(FRA_IIFNAME)?, name(FRA_OIFNAME)?) else { return Ok(None) };
    let network = |kind: u16, length: u8| -> Result<Option<IpNetwork>, KernelError> {
        let Some(address) = attributes.address(kind, family)? else { return Ok(None) };
        let network = IpNetwork::new(address, length);
        network.map(Some).map_err(|_| KernelError::Nonsense("the length of a rule's network".to_owned()))
    };
    Ok(Some(Rule {
        family,
        priority: attributes.u32(FRA_PRIORITY)?.unwrap_or_default(),
        incoming,
        outgoing,
        from: network(FRA_SRC, header.src_len)?,
        to: network(FRA_DST, header.dst_len)?,
        table: attributes.u32(FRA_TABLE)?.unwrap_or_else(|| header.table.into()),
        action: header.action.into(),
        flags: header.flags.bits() & CHOSEN_FLAGS,
        tos: header.tos,
        other: attributes.others(&KNOWN),
    }))
}

/// Adds a rule; one that is there already is as good.
pub(super) fn add(kernel: &mut Kernel, rule: &Rule) -> Result<(), KernelError> {
    match kernel.connection()?.change(RouteNetlinkMessage::NewRule(message(rule)), NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.is(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// Takes a rule away.
pub(super) fn delete(kernel: &mut Kernel, rule: &Rule) -> Result<(), KernelError> {
    kernel.connection()?.change(RouteNetlinkMessage::DelRule(message(rule)), 0)
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = match rule.family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    header.src_len = rule.from.map_or(0, |network| network.prefix());
    header.dst_len = rule.to.map_or(0, |network| network.prefix());
    header.tos = rule.tos;
    header.table = u8::try_from(rule.table).unwrap_or_default();
    header.action = rule.action.into();
    header.flags = RuleFlags::from_bits_retain(rule.flags);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.extend(rule.from.map(|network| RuleAttribute::Source(network.ip())));
    attributes.extend(rule.to.map(|network| RuleAttribute::Destination(network.ip())));
    attributes.extend(rule.incoming.as_ref().map(|name| RuleAttribute::Iifname(name.to_string())));
    attributes.extend(rule.outgoing.as_ref().map(|name| RuleAttribute::Oifname(name.to_string())));
    attributes.extend(rule.other.iter().map(|raw| RuleAttribute::Other(DefaultNla::new(raw.kind, raw.value.clone()))));
    message
}
