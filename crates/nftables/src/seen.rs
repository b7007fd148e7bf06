//! What the kernel shows of tables, chains, rules and elements. Its answers are not believed until parsed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::encode::{USERDATA_COMMENT, chain, element, padded, rule, table};
use crate::expression::{
    DATA_VALUE, DATA_VERDICT, EXPRESSION_DATA, EXPRESSION_NAME, IMMEDIATE_DATA, IMMEDIATE_DREG, LIST_ELEMENT, NF_ACCEPT, NF_DROP,
    NFT_GOTO, NFT_JUMP, NFT_RETURN, VERDICT_CHAIN, VERDICT_CODE, VERDICT_REGISTER, write_rule,
};
use crate::wire::{Attributes, Content, FAMILY_HEADER, Writer, number, until_zero};
use crate::{
    ChainId, ChainKind, DataType, Element, Error, Family, Field, Hook, Name, Policy, Priority, Ranges, Rule, RuleHandle, TableId,
    Value, Verdict,
};

/// The family and the attributes of a message.
pub(crate) fn open(payload: &[u8]) -> Result<(Option<Family>, Attributes<'_>), Error> {
    let short = || Error::nonsense("a message is too short");
    let family = Family::from_number(*payload.first().ok_or_else(short)?);
    Ok((family, Attributes::parse(payload.get(FAMILY_HEADER..).ok_or_else(short)?)?))
}

/// A table of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSeen {
    /// Whether its chains see packets.
    pub activity: Activity,
    /// Who may change it.
    pub owner: Owner,
    /// How many sets, maps, chains and other objects it has.
    pub parts: u32,
}

/// Whether a table's chains see packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// They do.
    Active,
    /// They do not: somebody put the table to sleep (`NFT_TABLE_F_DORMANT`).
    Dormant,
}

/// Who may change a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Everybody who may change any.
    Anybody,
    /// Only the process that made it, firewalld for one: others are told EPERM (`NFT_TABLE_F_OWNER`).
    OneProcess,
}

impl TableSeen {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Error> {
        const NFT_TABLE_F_DORMANT: u32 = 1;
        const NFT_TABLE_F_OWNER: u32 = 2;
        let (_, attributes) = open(payload)?;
        let flags = attributes.u32(table::FLAGS)?.unwrap_or(0);
        Ok(Self {
            activity: if flags & NFT_TABLE_F_DORMANT == 0 { Activity::Active } else { Activity::Dormant },
            owner: if flags & NFT_TABLE_F_OWNER == 0 { Owner::Anybody } else { Owner::OneProcess },
            parts: attributes.u32(table::USE)?.unwrap_or(0),
        })
    }
}

/// A chain of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSeen {
    /// Which it is.
    pub id: ChainId,
    /// The kernel's number for it.
    pub handle: u64,
    /// Where packets enter it, if they do.
    pub base: Option<BaseSeen>,
    /// How many rules it has, and how many rules and elements lead to it, together.
    pub uses: u32,
}

/// Where and how packets enter a chain of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseSeen {
    /// The point on a packet's way; nothing where it is one this crate does not know.
    pub hook: Option<Hook>,
    /// Its place among the chains of that hook.
    pub priority: Priority,
    /// What becomes of a packet that no rule decides on.
    pub policy: Policy,
    /// What its rules may do; nothing where that is a kind this crate does not know.
    pub kind: Option<ChainKind>,
    /// Whose packets, at the hooks of single devices. The bytes are the kernel's.
    pub devices: Vec<Name>,
}

impl ChainSeen {
    /// Nothing for a chain of a family this crate does not know.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, Error> {
        let (family, attributes) = open(payload)?;
        let Some(family) = family else { return Ok(None) };
        let table = until_zero(attributes.required(chain::TABLE, "a chain has no table")?);
        let name = until_zero(attributes.required(chain::NAME, "a chain has no name")?);
        let id = TableId::new(family, Name::told(table)).chain(&Name::told(name));
        let handle = attributes.u64(chain::HANDLE)?.unwrap_or(0);
        let uses = attributes.u32(chain::USE)?.unwrap_or(0);
        let hook = attributes.nested(chain::HOOK)?;
        let base = hook.map(|hook| BaseSeen::parse(family, &attributes, &hook)).transpose()?;
        Ok(Some(Self { id, handle, base, uses }))
    }
}

/// Where packets enter a chain; nothing where they do not, or where this crate does not know it.
pub(crate) fn hook_of_chain(payload: &[u8]) -> Result<Option<Hook>, Error> {
    let (family, attributes) = open(payload)?;
    let (Some(family), Some(hook)) = (family, attributes.nested(chain::HOOK)?) else { return Ok(None) };
    Ok(hook.u32(chain::HOOK_NUMBER)?.and_then(|number| Hook::from_number(family, number)))
}

/// What a chain counts ([`ChainSeen::uses`]) where it is one of `table`.
pub(crate) fn uses_within(payload: &[u8], table: &TableId) -> Result<u32, Error> {
    let (family, attributes) = open(payload)?;
    let [name, uses] = attributes.pick([chain::TABLE, chain::USE]);
    let is_of_table = family == Some(table.family) && name.map(until_zero) == Some(table.name.as_bytes());
    uses.filter(|_| is_of_table).map_or(Ok(0), number)
}

/// The chain that a rule is in.
pub(crate) fn chain_of_rule(payload: &[u8]) -> Result<Name, Error> {
    let (_, attributes) = open(payload)?;
    Ok(Name::told(until_zero(attributes.required(rule::CHAIN, "a rule has no chain")?)))
}

impl BaseSeen {
    fn parse(family: Family, attributes: &Attributes<'_>, hook: &Attributes<'_>) -> Result<Self, Error> {
        let number = hook.u32(chain::HOOK_NUMBER)?.ok_or_else(|| Error::nonsense("a base chain has no hook"))?;
        let priority = hook.u32(chain::HOOK_PRIORITY)?.unwrap_or(0);
        let policy = match attributes.u32(chain::POLICY)? {
            Some(0) => Policy::Drop,
            _ => Policy::Accept,
        };
        // A single device is told twice, by itself and as a list.
        let many = hook.nested(chain::HOOK_DEVICES)?;
        let listed = many.iter().flat_map(|list| list.each(LIST_ELEMENT)).map(until_zero);
        let devices = hook.text(chain::HOOK_DEVICE).into_iter().chain(listed).map(Name::told);
        let devices = devices.collect::<BTreeSet<_>>().into_iter().collect();
        Ok(Self {
            hook: Hook::from_number(family, number),
            priority: Priority(i32::from_be_bytes(priority.to_be_bytes())),
            policy,
            kind: attributes.text(chain::TYPE).and_then(ChainKind::from_word),
            devices,
        })
    }
}

/// A rule of the kernel's, as far as one must know it to find one's own and to put another beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSeen {
    /// Which it is.
    pub handle: RuleHandle,
    /// Its comment, where it has one that is text.
    pub comment: Option<String>,
    /// Whether every packet reaches its end.
    pub condition: Condition,
    /// What it does at its end.
    pub end: End,
    /// All that it does, as the kernel tells it.
    expressions: Vec<u8>,
}

/// Whether every packet reaches a rule's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every packet does: nothing in the rule asks anything.
    Always,
    /// Perhaps not.
    Sometimes,
}

/// What a rule does at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It decides.
    Verdict(Verdict),
    /// It drops and says so to the sender.
    Reject,
    /// Something else: it counts, translates, or asks something this crate does not know.
    Other,
}

impl RuleSeen {
    /// Whether no packet gets past this rule: it drops or rejects every one.
    #[must_use]
    pub fn stops_everything(&self) -> bool {
        self.condition == Condition::Always && matches!(self.end, End::Reject | End::Verdict(Verdict::Drop))
    }

    /// Whether it does what `rule` does in a table of `family`, and nothing else: what the kernel tells has all that we would send it,
    /// and beyond that only what is left at its default. The numbers that a counter has counted do not matter.
    ///
    /// # Errors
    /// When the kernel's answer makes no sense, or `rule` cannot be said.
    pub fn does_the_same(&self, family: Family, rule: &Rule) -> Result<bool, Error> {
        let mut writer = Writer::default();
        write_rule(&mut writer, family, rule);
        let sent = writer.finish().ok_or_else(|| Error::Unsayable("a rule is too large".to_owned()))?;
        let (sent, told) = (Attributes::parse(&sent)?, Attributes::parse(&self.expressions)?);
        let pairs = sent.each(LIST_ELEMENT).zip(told.each(LIST_ELEMENT));
        if sent.each(LIST_ELEMENT).count() != told.each(LIST_ELEMENT).count() {
            return Ok(false);
        }
        for (sent, told) in pairs {
            if !is_told(sent, told)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All that it does.
    pub(crate) fn expressions(&self) -> Result<Attributes<'_>, Error> {
        Attributes::parse(&self.expressions)
    }

    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Error> {
        let (_, attributes) = open(payload)?;
        let handle = attributes.u64(rule::HANDLE)?.ok_or_else(|| Error::nonsense("a rule has no handle"))?;
        let (mut condition, mut end) = (Condition::Always, End::Other);
        if let Some(list) = attributes.nested(rule::EXPRESSIONS)? {
            for bytes in list.each(LIST_ELEMENT) {
                end = match Expression::parse(bytes)? {
                    Expression::End(end) => end,
                    Expression::Harmless => End::Other,
                    Expression::Question => {
                        condition = Condition::Sometimes;
                        End::Other
                    }
                };
            }
        }
        let comment = attributes.bytes(rule::USERDATA).and_then(comment_of);
        let expressions = attributes.bytes(rule::EXPRESSIONS).unwrap_or_default().to_vec();
        Ok(Self { handle: RuleHandle(handle), comment, condition, end, expressions })
    }
}

/// Whether the kernel's word for an expression says what ours does.
fn is_told(sent: &[u8], told: &[u8]) -> Result<bool, Error> {
    let (ours, theirs) = (Attributes::parse(sent)?, Attributes::parse(told)?);
    let is_counter = ours.text(EXPRESSION_NAME) == Some(b"counter");
    match (is_counter, ours.text(EXPRESSION_NAME) == theirs.text(EXPRESSION_NAME)) {
        (_, false) => Ok(false),
        (true, true) => Ok(true),
        (false, true) => holds_all(&ours, &theirs),
    }
}

/// Whether `told` has every attribute of `sent`, and of its own only what is zero.
fn holds_all(sent: &Attributes<'_>, told: &Attributes<'_>) -> Result<bool, Error> {
    for (kind, value) in sent.all() {
        let Some(seen) = told.bytes(kind.number) else { return Ok(false) };
        let same = match kind.content {
            Content::Attributes => holds_all(&Attributes::parse(value)?, &Attributes::parse(seen)?)?,
            Content::Bytes => value == seen,
        };
        if !same {
            return Ok(false);
        }
    }
    let is_ours = |number: u16| sent.bytes(number).is_some();
    Ok(told.all().all(|(kind, value)| is_ours(kind.number) || value.iter().all(|byte| *byte == 0)))
}

/// Where in a base chain a rule must stand to have its say before the chain stops everything: before the rule that does so, or, where
/// there is none, at the end.
#[must_use]
pub fn place_before_the_stop(rules: &[RuleSeen]) -> crate::Place {
    match rules.iter().find(|rule| rule.stops_everything()) {
        Some(rule) => crate::Place::Before(rule.handle),
        None => crate::Place::End,
    }
}

/// What an expression means for the question whether every packet reaches a rule's end, and how it ends.
enum Expression {
    End(End),
    /// It asks nothing.
    Harmless,
    /// It asks something, or may.
    Question,
}

impl Expression {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let attributes = Attributes::parse(bytes)?;
        let name = attributes.text(EXPRESSION_NAME).unwrap_or_default();
        let data = attributes.nested(EXPRESSION_DATA)?;
        Ok(match (name, data) {
            (b"immediate", Some(data)) => immediate(&data)?,
            (b"reject", _) => Self::End(End::Reject),
            // iptables-nft's own: NFTA_TARGET_NAME and NFTA_MATCH_NAME (nf_tables_compat.h) are both 1.
            (b"target", Some(data)) if data.text(1) == Some(b"REJECT") => Self::End(End::Reject),
            (b"match", Some(data)) if data.text(1) == Some(b"comment") => Self::Harmless,
            (b"counter" | b"log" | b"notrack" | b"last", _) => Self::Harmless,
            _ => Self::Question,
        })
    }
}

/// A value put into a register: a verdict if it is that of verdicts.
fn immediate(data: &Attributes<'_>) -> Result<Expression, Error> {
    if data.u32(IMMEDIATE_DREG)? != Some(VERDICT_REGISTER) {
        return Ok(Expression::Harmless);
    }
    let content = data.nested(IMMEDIATE_DATA)?;
    let verdict = content.as_ref().map(verdict_of).transpose()?.flatten();
    Ok(Expression::End(verdict.map_or(End::Other, End::Verdict)))
}

/// The verdict in a piece of data; nothing where it is one this crate does not know.
pub(crate) fn verdict_of(data: &Attributes<'_>) -> Result<Option<Verdict>, Error> {
    let Some(verdict) = data.nested(DATA_VERDICT)? else { return Ok(None) };
    let code = verdict.u32(VERDICT_CODE)?.map(|code| i32::from_be_bytes(code.to_be_bytes()));
    let chain = verdict.text(VERDICT_CHAIN).map(Name::told);
    Ok(match (code, chain) {
        (Some(NF_ACCEPT), _) => Some(Verdict::Accept),
        (Some(NF_DROP), _) => Some(Verdict::Drop),
        (Some(NFT_RETURN), _) => Some(Verdict::Return),
        (Some(NFT_JUMP), Some(chain)) => Some(Verdict::Jump(chain)),
        (Some(NFT_GOTO), Some(chain)) => Some(Verdict::Goto(chain)),
        _ => None,
    })
}

/// The comment in a rule's user data, which is a list of kind, length and value.
fn comment_of(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        if *kind == USERDATA_COMMENT {
            return String::from_utf8(until_zero(value).to_vec()).ok();
        }
        userdata = behind;
    }
    None
}

/// An element of a set, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ElementSeen {
    /// The element.
    pub element: Element,
    /// In how long it will end by itself.
    pub expires: Option<Duration>,
    /// What found it, where it counts.
    pub traffic: Option<Traffic>,
}

/// What a counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// An element before its key is understood.
struct RawElement {
    first: Vec<u8>,
    last: Option<Vec<u8>>,
    role: Role,
    verdict: Option<Verdict>,
    timeout: Option<Duration>,
    expires: Option<Duration>,
    traffic: Option<Traffic>,
    comment: Option<String>,
}

/// What an element is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// The first value behind a range.
    End,
    /// A value, or the first of a range.
    Key,
}

/// The elements in the messages of a dump, whose keys are of these types.
pub(crate) fn parse_elements<'a>(
    messages: impl IntoIterator<Item = &'a [u8]>,
    key: &[DataType],
    ranges: Ranges,
) -> Result<Vec<ElementSeen>, Error> {
    let mut raw = vec![];
    for payload in messages {
        let (_, attributes) = open(payload)?;
        if let Some(list) = attributes.nested(element::LIST_ELEMENTS)? {
            for bytes in list.each(LIST_ELEMENT) {
                raw.extend(RawElement::parse(bytes)?);
            }
        }
    }
    match (ranges, key) {
        (Ranges::Allowed, [part]) => join_intervals(raw, *part),
        _ => raw.into_iter().map(|element| element.with_parts(key)).collect(),
    }
}

/// What a message says of the element that was asked for.
pub(crate) fn parse_element(payload: &[u8], asked: &Element) -> Result<ElementSeen, Error> {
    let (_, attributes) = open(payload)?;
    let list = attributes.nested(element::LIST_ELEMENTS)?;
    let nothing = || Error::nonsense("no element in it");
    let bytes = list.iter().flat_map(|list| list.each(LIST_ELEMENT)).next().ok_or_else(nothing)?;
    Ok(RawElement::parse(bytes)?.ok_or_else(nothing)?.with_key(asked.key.clone()))
}

/// A range in a tree is two elements: where it begins, and the first value behind it, which is missing behind the greatest.
fn join_intervals(mut raw: Vec<RawElement>, part: DataType) -> Result<Vec<ElementSeen>, Error> {
    raw.sort_by(|one, other| (&one.first, one.role).cmp(&(&other.first, other.role)));
    let mut elements = vec![];
    let mut rest = raw.into_iter().peekable();
    while let Some(start) = rest.next() {
        if start.role == Role::End {
            continue;
        }
        let last = match rest.peek() {
            Some(end) if end.role == Role::End => predecessor(end.first.clone()),
            _ => vec![u8::MAX; start.first.len()],
        };
        let field = read_range(part, &start.first, &last)?;
        elements.push(start.with_key(vec![field]));
    }
    Ok(elements)
}

/// The number before this one.
fn predecessor(mut bytes: Vec<u8>) -> Vec<u8> {
    for byte in bytes.iter_mut().rev() {
        let (previous, borrow) = byte.overflowing_sub(1);
        *byte = previous;
        if !borrow {
            break;
        }
    }
    bytes
}

fn read_range(part: DataType, first: &[u8], last: &[u8]) -> Result<Field, Error> {
    Ok(Field::between(read_value(part, first)?, read_value(part, last)?))
}

fn read_value(part: DataType, bytes: &[u8]) -> Result<Value, Error> {
    part.read(bytes).ok_or_else(|| Error::nonsense(format!("a set's key is no {part}")))
}

impl RawElement {
    /// Nothing for the element that stands for everything else (`*`), which has no key.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let attributes = Attributes::parse(bytes)?;
        let flags = attributes.u32(element::FLAGS)?.unwrap_or(0);
        if flags & element::CATCH_ALL != 0 {
            return Ok(None);
        }
        let value = |kind| Ok::<_, Error>(attributes.nested(kind)?.and_then(|data| data.bytes(DATA_VALUE).map(<[u8]>::to_vec)));
        let span = |kind| Ok::<_, Error>(attributes.u64(kind)?.map(Duration::from_millis));
        let first = value(element::KEY)?.ok_or_else(|| Error::nonsense("a set's element has no key"))?;
        let data = attributes.nested(element::DATA)?;
        Ok(Some(Self {
            first,
            last: value(element::KEY_END)?,
            role: if flags & element::INTERVAL_END == 0 { Role::Key } else { Role::End },
            verdict: data.as_ref().map(verdict_of).transpose()?.flatten(),
            timeout: span(element::TIMEOUT)?,
            expires: span(element::EXPIRATION)?,
            traffic: traffic_of(&attributes)?,
            comment: attributes.bytes(element::USERDATA).and_then(comment_of),
        }))
    }

    /// With a key whose parts stand side by side.
    fn with_parts(self, key: &[DataType]) -> Result<ElementSeen, Error> {
        let last = self.last.clone().unwrap_or_else(|| self.first.clone());
        let mut parts = vec![];
        let mut place = 0;
        for part in key {
            let short = || Error::nonsense("a set's key is too short");
            let low = self.first.get(place..place + part.length()).ok_or_else(short)?;
            let high = last.get(place..place + part.length()).ok_or_else(short)?;
            parts.push(read_range(*part, low, high)?);
            place += padded(part.length());
        }
        Ok(self.with_key(parts))
    }

    fn with_key(self, key: Vec<Field>) -> ElementSeen {
        // A note that is none of ours may have signs that ours have not.
        let comment = self.comment.and_then(|text| text.parse().ok());
        let element = Element { key, verdict: self.verdict, timeout: self.timeout, limit: None, comment };
        ElementSeen { element, expires: self.expires, traffic: self.traffic }
    }
}

/// The counter of an element: kernels tell it as its only expression, or in a list of them.
fn traffic_of(attributes: &Attributes<'_>) -> Result<Option<Traffic>, Error> {
    const NFTA_COUNTER_BYTES: u16 = 1;
    const NFTA_COUNTER_PACKETS: u16 = 2;
    let list = attributes.nested(element::EXPRESSIONS)?;
    let listed = list.iter().flat_map(|list| list.each(LIST_ELEMENT));
    for bytes in attributes.bytes(element::EXPRESSION).into_iter().chain(listed) {
        let expression = Attributes::parse(bytes)?;
        if expression.text(EXPRESSION_NAME) == Some(b"counter")
            && let Some(data) = expression.nested(EXPRESSION_DATA)?
        {
            let number = |kind| Ok::<_, Error>(data.u64(kind)?.unwrap_or(0));
            return Ok(Some(Traffic { packets: number(NFTA_COUNTER_PACKETS)?, bytes: number(NFTA_COUNTER_BYTES)? }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Step;
    use crate::{Base, Chain, Operation, Rule, Selector, Set, Statement, Table};

    /// Messages as the kernel sends them, which has the attributes it was sent in its answers; the handles are put before them.
    fn honest() -> Vec<Vec<u8>> {
        let vif = || Value::Interface("vif1.0".parse().unwrap());
        let mut table = Table::new(Family::Bridge, "xen".parse().unwrap());
        let mut guests = Set::verdict_map("guests".parse().unwrap(), [DataType::Interface, DataType::Ipv4Address]);
        guests.ranges = Ranges::Allowed;
        let prefix = Field::Prefix(Value::Ipv4Address([10, 0, 0, 0].into()), 8);
        let jump = Verdict::Jump("guest".parse().unwrap());
        guests.elements = vec![Element::new([vif().into(), prefix]).with_verdict(jump).with_timeout(Duration::from_secs(9))];
        let mut chain = Chain::base("forward".parse().unwrap(), Base::filter(Family::Bridge, Hook::Forward));
        let rule = Rule::new([Selector::Iifname.is(vif()), Statement::Counter, Statement::DROP]);
        chain.rules.push(rule.with_comment("ours".parse().unwrap()));
        table.sets.push(guests);
        table.chains.push(chain);
        let batch = [Operation::AddTable(table)].into_iter().collect::<crate::Batch>();
        batch.steps().map(|(_, step)| as_answer(&step)).collect()
    }

    fn as_answer(step: &Step<'_>) -> Vec<u8> {
        let message = crate::encode::message(step, 1).unwrap();
        let mut handle = Writer::default();
        if matches!(step, Step::AddRule { .. }) {
            handle.u64(rule::HANDLE, 7);
        }
        [vec![message.family.number(), 0, 0, 0], handle.finish().unwrap(), message.body].concat()
    }

    const KEY: [DataType; 2] = [DataType::Interface, DataType::Ipv4Address];

    #[test]
    fn answers_are_understood() {
        let [_, _, chain, elements, rule] = honest().try_into().unwrap();
        let chain = ChainSeen::parse(&chain).unwrap().unwrap();
        assert_eq!((chain.id.to_string(), chain.base.unwrap().priority), ("bridge xen forward".to_owned(), Priority(-200)));
        let rule = RuleSeen::parse(&rule).unwrap();
        assert_eq!((rule.comment.as_deref(), rule.condition, rule.handle), (Some("ours"), Condition::Sometimes, RuleHandle(7)));
        assert_eq!(rule.end, End::Verdict(Verdict::Drop));
        let elements = parse_elements([elements.as_slice()], &KEY, Ranges::Allowed).unwrap();
        assert_eq!(elements[0].element.to_string(), "\"vif1.0\" . 10.0.0.0/8 timeout 9s : jump guest");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn hostile_answers_are_an_error_or_something_but_never_a_panic(
            which in 0..5_usize,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            whole in any::<bool>(),
        ) {
            let mut answer = honest().swap_remove(which);
            for (place, byte) in changes {
                let place = place.index(answer.len());
                answer[place] = byte;
            }
            if !whole {
                answer.truncate(cut.index(answer.len()));
            }
            let _ = (TableSeen::parse(&answer), ChainSeen::parse(&answer), RuleSeen::parse(&answer));
            for key in [&KEY[..], &KEY[..1], &[DataType::Ipv6Address, DataType::Mark, DataType::EtherAddress], &[]] {
                for ranges in [Ranges::None, Ranges::Allowed] {
                    let _ = parse_elements([answer.as_slice()], key, ranges);
                }
            }
            let _ = parse_element(&answer, &Element::new([]));
        }
    }
}
