//! Chains of others where packets are forwarded: what becomes of a packet there, rule by rule, as far as rules can be judged.

use std::collections::BTreeMap;

use nftables::{BaseSeen, ChainId, Ending, Family, Hook, Judgement, Name, Packet, Policy, RuleSeen, TableId, Verdict};

use super::explain::Fate;
use crate::{firewall, guest_filter};

/// Rules that are looked at for one packet: chains may lead to others again and again.
const MOST_RULES: usize = 20_000;
/// Doubtful rules that are told of.
const MOST_DOUBTS: usize = 4;

/// The packet filter, as far as it is in nf_tables.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// Every chain.
    pub chains: BTreeMap<ChainId, Chain>,
    /// Rules in the words of nft(8), by table and handle; empty where nft is not installed.
    pub words: BTreeMap<(TableId, u64), String>,
}

/// A chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Where packets enter it, if they do.
    pub base: Option<BaseSeen>,
    /// Its rules, first to last.
    pub rules: Vec<RuleSeen>,
}

/// What becomes of a packet in a base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage<'a> {
    /// The chain.
    pub chain: &'a ChainId,
    /// Whether it passes.
    pub fate: Fate,
    /// Which rule decides, and which cannot be judged.
    pub why: String,
}

impl Ruleset {
    /// What becomes of a packet in each base chain of these families where packets are forwarded, in their order. Our own tables are left
    /// out.
    #[must_use]
    pub fn passages(&self, families: &[Family], packet: &Packet) -> Vec<Passage<'_>> {
        let ours = [firewall::TABLE, guest_filter::ruleset::TABLE];
        let mut bases: Vec<(&ChainId, &Chain, &BaseSeen)> = self
            .chains
            .iter()
            .filter(|(id, _)| families.contains(&id.table.family) && packet.is_seen_by(id.table.family))
            .filter(|(id, _)| !ours.contains(&id.table.name.to_string().as_str()))
            .filter_map(|(id, chain)| Some((id, chain, chain.base.as_ref().filter(|base| base.hook == Some(Hook::Forward))?)))
            .collect();
        bases.sort_by_key(|(_, _, base)| base.priority);
        bases.into_iter().map(|(id, chain, base)| self.passage(id, chain, base, packet)).collect()
    }

    fn passage<'a>(&'a self, id: &'a ChainId, chain: &Chain, base: &BaseSeen, packet: &Packet) -> Passage<'a> {
        let mut walk = Walk { ruleset: self, packet, base: id, left: MOST_RULES, doubts: vec![] };
        let stop = walk.through(id, chain);
        let (passes, decision) = match (stop, base.policy) {
            (Some(Stop { does: Effect::Passes, by }), _) => (true, format!("accepts it: {by}")),
            (Some(Stop { by, .. }), _) => (false, format!("drops it: {by}")),
            (None, Policy::Accept) => (true, "lets it pass: none of its rules decides, and its policy is accept".to_owned()),
            (None, Policy::Drop) => (false, "drops it: none of its rules accepts it, and its policy is drop".to_owned()),
        };
        let decided = if passes { Effect::Passes } else { Effect::Drops };
        let doubts: Vec<&Stop> = walk.doubts.iter().filter(|doubt| doubt.does != decided).collect();
        let fate = match (doubts.is_empty(), passes) {
            (false, _) => Fate::Perhaps,
            (true, true) => Fate::Passes,
            (true, false) => Fate::Dropped,
        };
        let mut why = format!("{id} (priority {}) {decision}", base.priority);
        if let Some((last, first)) = doubts.get(..doubts.len().min(MOST_DOUBTS)).and_then(<[_]>::split_last) {
            let named: Vec<&str> = first.iter().chain([last]).map(|doubt| doubt.by.as_str()).collect();
            let rules = if doubts.len() == 1 { "this rule" } else { "these rules" };
            why = format!("{why}; cannot judge {rules}: {}", named.join("; "));
            if doubts.len() > MOST_DOUBTS {
                why = format!("{why}; and {} more", doubts.len() - MOST_DOUBTS);
            }
        }
        Passage { chain: id, fate, why }
    }

    /// A rule as an administrator knows it.
    fn words_of(&self, base: &ChainId, chain: &ChainId, rule: &RuleSeen) -> String {
        let words = self.words.get(&(chain.table.clone(), rule.handle.0)).cloned();
        let words = words.unwrap_or_else(|| format!("the rule with handle {}", rule.handle.0));
        if base == chain { words } else { format!("{words} (in the chain {})", chain.name) }
    }
}

/// What a rule does to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Passes,
    Drops,
    /// Either, or it leads past other rules.
    Unknown,
}

/// A rule that decides, or may.
struct Stop {
    does: Effect,
    by: String,
}

/// A packet on its way through a base chain and those that it leads to.
struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet,
    base: &'a ChainId,
    left: usize,
    doubts: Vec<Stop>,
}

impl Walk<'_> {
    /// The rule that decides; nothing where the chain comes to its end.
    fn through(&mut self, id: &ChainId, chain: &Chain) -> Option<Stop> {
        for rule in &chain.rules {
            let Some(left) = self.left.checked_sub(1) else {
                self.doubts.push(Stop { does: Effect::Unknown, by: "all rules behind the first thousands".to_owned() });
                return None;
            };
            self.left = left;
            let stop = |does| Stop { does, by: self.ruleset.words_of(self.base, id, rule) };
            match rule.judge(id.table.family, self.packet) {
                Ok(Judgement::Passes | Judgement::Applies(Ending::Nothing) | Judgement::Perhaps(Ending::Nothing)) => {}
                Ok(Judgement::Applies(Ending::Verdict(Verdict::Accept))) => return Some(stop(Effect::Passes)),
                Ok(Judgement::Applies(Ending::Reject | Ending::Verdict(Verdict::Drop))) => return Some(stop(Effect::Drops)),
                Ok(Judgement::Applies(Ending::Verdict(Verdict::Return))) => return None,
                Ok(Judgement::Applies(Ending::Verdict(Verdict::Jump(name)))) => {
                    if let Some(stop) = self.into(id, &name) {
                        return Some(stop);
                    }
                }
                Ok(Judgement::Applies(Ending::Verdict(Verdict::Goto(name)))) => return self.into(id, &name),
                Ok(Judgement::Perhaps(Ending::Verdict(Verdict::Jump(name)))) => {
                    let by = self.ruleset.words_of(self.base, id, rule);
                    let does = self.effect_of(id, &name);
                    self.doubts.extend(does.map(|does| Stop { does, by }));
                }
                Ok(Judgement::Perhaps(Ending::Verdict(Verdict::Accept))) => self.doubts.push(stop(Effect::Passes)),
                Ok(Judgement::Perhaps(Ending::Reject | Ending::Verdict(Verdict::Drop))) => self.doubts.push(stop(Effect::Drops)),
                Ok(Judgement::Applies(Ending::Unknown) | Judgement::Perhaps(_)) | Err(_) => self.doubts.push(stop(Effect::Unknown)),
            }
        }
        None
    }

    /// What a chain does to the packet; nothing where it lets every such packet come back.
    fn effect_of(&mut self, from: &ChainId, name: &Name) -> Option<Effect> {
        let before = self.doubts.len();
        let stop = self.into(from, name);
        let doubtful = self.doubts.len() > before;
        self.doubts.truncate(before);
        match (stop, doubtful) {
            (None, false) => None,
            (Some(stop), false) => Some(stop.does),
            (_, true) => Some(Effect::Unknown),
        }
    }

    fn into(&mut self, from: &ChainId, name: &Name) -> Option<Stop> {
        let ruleset = self.ruleset;
        let id = from.table.chain(name);
        let chain = ruleset.chains.get(&id)?;
        self.through(&id, chain)
    }
}
