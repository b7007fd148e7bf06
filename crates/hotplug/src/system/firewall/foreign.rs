//! Chains of others in nf_tables: those of iptables-nft, of firewalld, of an administrator's own ruleset.

use std::collections::BTreeSet;
use std::time::Duration;

use nftables::{
    Batch, ChainSeen, Comment, Connection, Family, Hook, Owner, Place, Policy, Rule, RuleSeen, Selector, Statement, Value,
};
use nftables::{ChainId, Error, TableId, place_before_the_stop};
use nix::errno::Errno;

use super::super::child::{find_program, output_of};
use super::{Firewall, FirewallError, Result, name_of};
use crate::firewall::{AcceptPlace, ChainFamily, ChainKeeper, DroppingChain, ForwardAccept, ForwardChain, TABLE, Traffic};
use crate::host::Host;
use crate::inspect::chains::{Chain as SeenChain, Ruleset};
use crate::inspect::model::printable;
use crate::interface_name::InterfaceName;

/// How long nft may take to list a table.
const NFT_LIMIT: Duration = Duration::from_secs(10);
/// firewalld's table and chain. Zones decide in chains that it jumps to, with a reject at the end of each, so that only the head is early
/// enough (firewalld, src/firewall/core/nftables.py).
const FIREWALLD: (&str, &str) = ("firewalld", "filter_FORWARD");

/// Notes the chains that drop what is forwarded, and our own rules for `devices` in chains at that hook.
pub(super) fn observe(firewall: &mut Firewall, host: &mut Host, devices: &[InterfaceName]) -> Result<()> {
    let Some(connection) = firewall.connection_if_any()? else { return Ok(()) };
    let chains = match connection.chains_at(Hook::Forward) {
        // A kernel without nf_tables has no chains in it.
        Err(error) if error.is(Errno::EOPNOTSUPP) || error.is(Errno::EINVAL) => return Ok(()),
        chains => chains?,
    };
    for (chain, known) in chains.iter().filter_map(|chain| Some((chain, described(chain)?))) {
        let rules = connection.rules(&chain.id)?;
        let place = place_in(&known, chain, &rules);
        for (device, traffic) in devices.iter().flat_map(|device| Traffic::ALL.map(|traffic| (device, traffic))) {
            let signature = ForwardAccept::signature(device, traffic);
            if rules.iter().any(|rule| rule.comment.as_ref() == Some(&signature)) {
                let place = place.unwrap_or(AcceptPlace::End);
                host.forward_accepts.push(ForwardAccept { chain: known.clone(), place, device: device.clone(), traffic });
            }
        }
        match place {
            Some(_) if belongs_to_its_maker(connection, &chain.id.table)? => log::warn!(
                "the chain {known} drops what it does not know, and only its maker may change it: if guests cannot be reached, tell that program to let them pass (firewalld: firewall-cmd --zone=trusted --add-interface=DEVICE)"
            ),
            Some(place) => host.dropping_chains.push(DroppingChain { chain: known, place }),
            None => {}
        }
    }
    Ok(())
}

/// Every rule of ours in chains of others at that hook, whatever device it is for.
pub(super) fn signed(firewall: &mut Firewall) -> Result<Vec<ForwardAccept>> {
    let Some(connection) = firewall.connection_if_any()? else { return Ok(vec![]) };
    let chains = match connection.chains_at(Hook::Forward) {
        Err(error) if error.is(Errno::EOPNOTSUPP) || error.is(Errno::EINVAL) => return Ok(vec![]),
        chains => chains?,
    };
    let mut accepts: Vec<ForwardAccept> = vec![];
    for (chain, known) in chains.iter().filter_map(|chain| Some((chain, described(chain)?))) {
        let rules = connection.rules(&chain.id)?;
        let comments = rules.iter().filter_map(|rule| rule.comment.as_deref());
        for (device, traffic) in comments.filter_map(ForwardAccept::signed).collect::<BTreeSet<_>>() {
            accepts.push(ForwardAccept { chain: known.clone(), place: AcceptPlace::End, device, traffic });
        }
    }
    Ok(accepts)
}

/// All chains with their rules, and the words of nft(8) for them, where it is installed.
pub(super) fn ruleset(firewall: &mut Firewall) -> Result<Ruleset> {
    let mut ruleset = Ruleset::default();
    let Some(connection) = firewall.connection_if_any()? else { return Ok(ruleset) };
    let chains = match connection.chains() {
        Err(error) if error.is(Errno::EOPNOTSUPP) || error.is(Errno::EINVAL) => return Ok(ruleset),
        chains => chains?,
    };
    let is_forward = |chain: &&ChainSeen| chain.base.as_ref().is_some_and(|base| base.hook == Some(Hook::Forward));
    let tables: BTreeSet<TableId> = chains.iter().filter(is_forward).map(|chain| chain.id.table.clone()).collect();
    for chain in chains.into_iter().filter(|chain| tables.contains(&chain.id.table)) {
        let rules = connection.rules(&chain.id)?;
        ruleset.chains.insert(chain.id, SeenChain { base: chain.base, rules });
    }
    for table in tables {
        for (handle, words) in words_of(&table) {
            ruleset.words.insert((table.clone(), handle), words);
        }
    }
    Ok(ruleset)
}

/// What nft says of the rules of a table, by handle: it ends each with `# handle NUMBER`.
fn words_of(table: &TableId) -> Vec<(u64, String)> {
    let (family, name) = (table.family.to_string(), table.name.to_string());
    let listed = find_program("nft").and_then(|nft| output_of(&nft, &["-a", "list", "table", &family, &name], NFT_LIMIT).ok());
    let rule = |line: &str| {
        let (words, handle) = line.rsplit_once("# handle ")?;
        Some((handle.trim().parse().ok()?, printable(words.trim())))
    };
    listed.unwrap_or_default().lines().filter_map(rule).collect()
}

/// A chain at the forward hook of IP that is not ours.
fn described(chain: &ChainSeen) -> Option<ForwardChain> {
    let base = chain.base.as_ref()?;
    let family = match chain.id.table.family {
        Family::Ip => ChainFamily::Ip,
        Family::Ip6 => ChainFamily::Ip6,
        Family::Inet => ChainFamily::Inet,
        _ => return None,
    };
    let (table, name) = (chain.id.table.name.to_string(), chain.id.name.to_string());
    let wanted = base.hook == Some(Hook::Forward) && table != TABLE;
    wanted.then_some(ForwardChain { keeper: ChainKeeper::NfTables, family, table, name })
}

/// Where an accept belongs in a chain that drops; nothing for one that lets pass what no rule decides on.
fn place_in(known: &ForwardChain, chain: &ChainSeen, rules: &[RuleSeen]) -> Option<AcceptPlace> {
    if (known.table.as_str(), known.name.as_str()) == FIREWALLD {
        return Some(AcceptPlace::Head);
    }
    match place_before_the_stop(rules) {
        Place::Before(handle) => Some(AcceptPlace::Before(handle.0)),
        _ => chain.base.as_ref().filter(|base| base.policy == Policy::Drop).map(|_| AcceptPlace::End),
    }
}

fn belongs_to_its_maker(connection: &mut Connection, table: &TableId) -> Result<bool> {
    Ok(connection.table(table)?.is_some_and(|table| table.owner == Owner::OneProcess))
}

/// A rule for each direction, or one for what is bridged. Rules that are there already are not added once more: a deletion that is taken back
/// may never have been done.
pub(super) fn add(connection: &mut Connection, accept: &ForwardAccept) -> Result<()> {
    let chain = id_of(&accept.chain)?;
    let signature = ForwardAccept::signature(&accept.device, accept.traffic);
    if connection.rules(&chain)?.iter().any(|rule| rule.comment.as_ref() == Some(&signature)) {
        return Ok(());
    }
    let mut batch = Batch::new();
    let device = Value::Interface(name_of(&accept.device)?);
    let (from, to) = (Selector::Iifname.is(device.clone()), Selector::Oifname.is(device));
    let matches = match accept.traffic {
        Traffic::FromAndTo => vec![vec![from], vec![to]],
        Traffic::Bridged => vec![vec![from, to]],
    };
    for packets in matches {
        // With a counter, as iptables-nft's own rules have one.
        let rule = Rule::new(packets.into_iter().chain([Statement::Counter, Statement::ACCEPT]))
            .with_comment(signature.parse::<Comment>()?);
        match accept.place {
            AcceptPlace::End => batch.append_rule(chain.clone(), rule),
            AcceptPlace::Head => batch.insert_rule(chain.clone(), rule),
            AcceptPlace::Before(handle) => batch.insert_rule_before(chain.clone(), nftables::RuleHandle(handle), rule),
        }
    }
    Ok(connection.send(&batch)?)
}

/// Every rule that we have signed for the device.
pub(super) fn delete(connection: &mut Connection, accept: &ForwardAccept) -> Result<()> {
    let chain = id_of(&accept.chain)?;
    let signature = ForwardAccept::signature(&accept.device, accept.traffic);
    let mut batch = Batch::new();
    for rule in connection.rules(&chain)?.iter().filter(|rule| rule.comment.as_ref() == Some(&signature)) {
        batch.delete_rule(chain.clone(), rule.handle);
    }
    match batch.is_empty() {
        true => Err(FirewallError::Absent),
        false => connection.send(&batch).map_err(gone_is_absent),
    }
}

/// Somebody else may have emptied the chain between our look and our change.
fn gone_is_absent(error: Error) -> FirewallError {
    if error.is(Errno::ENOENT) { FirewallError::Absent } else { error.into() }
}

fn id_of(chain: &ForwardChain) -> Result<ChainId> {
    let family = match chain.family {
        ChainFamily::Ip => Family::Ip,
        ChainFamily::Ip6 => Family::Ip6,
        ChainFamily::Inet => Family::Inet,
    };
    Ok(TableId::new(family, chain.table.parse()?).chain(&chain.name.parse()?))
}
