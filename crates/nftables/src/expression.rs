//! Rules as the kernel takes them: expressions that load registers and compare them.
//!
//! There are 16 registers of 4 bytes, and one for the verdict. A value fills whole registers, zeros behind it. Several values that are
//! looked up together stand side by side.

use crate::rule::{LimitSide, Membership, RateLimit};
use crate::selector::{Known, Link, MetaKey, Source};
use crate::value::{network_code, prefix_mask};
use crate::wire::Writer;
use crate::{Error, EtherType, Family, Field, Name, Rule, Selector, Statement, Test, Value, Verdict};

/// `NFTA_LIST_ELEM`
pub(crate) const LIST_ELEMENT: u16 = 1;
/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`
pub(crate) const EXPRESSION_NAME: u16 = 1;
pub(crate) const EXPRESSION_DATA: u16 = 2;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`
pub(crate) const DATA_VALUE: u16 = 1;
pub(crate) const DATA_VERDICT: u16 = 2;
/// `NFTA_VERDICT_CODE`, `NFTA_VERDICT_CHAIN`
pub(crate) const VERDICT_CODE: u16 = 1;
pub(crate) const VERDICT_CHAIN: u16 = 2;
/// `NFTA_IMMEDIATE_DREG`, `NFTA_IMMEDIATE_DATA`
pub(crate) const IMMEDIATE_DREG: u16 = 1;
pub(crate) const IMMEDIATE_DATA: u16 = 2;

/// `NFT_REG_VERDICT`
pub(crate) const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG32_00`
pub(crate) const FIRST_REGISTER: u32 = 8;

/// `NF_DROP`, `NF_ACCEPT` (include/uapi/linux/netfilter.h); the others are of `enum nft_verdicts`.
pub(crate) const NF_DROP: i32 = 0;
pub(crate) const NF_ACCEPT: i32 = 1;
pub(crate) const NFT_JUMP: i32 = -3;
pub(crate) const NFT_GOTO: i32 = -4;
pub(crate) const NFT_RETURN: i32 = -5;

/// `ARPHRD_ETHER` (include/uapi/linux/if_arp.h)
const ARPHRD_ETHER: u16 = 1;

/// Refuses a rule that compares a field with something of another length: the kernel would compare what happens to stand in the
/// registers behind it.
pub(crate) fn check_rule(rule: &Rule) -> Result<(), Error> {
    for statement in &rule.statements {
        let Statement::Match(selector, test) = statement else { continue };
        let lengths = match test {
            Test::Is(field) | Test::IsNot(field) => field.lengths(),
            Test::MaskedIs { mask, value } | Test::MaskedIsNot { mask, value } => vec![mask.bytes().len(), value.bytes().len()],
        };
        if lengths.iter().any(|length| *length != selector.length()) {
            return Err(Error::Unsayable(format!("`{statement}` compares things of different lengths")));
        }
    }
    Ok(())
}

/// Writes the expressions of `rule`, which is in a table of `family`.
pub(crate) fn write_rule(writer: &mut Writer, family: Family, rule: &Rule) {
    let mut expressions = Expressions { writer, family, known: Known::of(family) };
    for statement in &rule.statements {
        expressions.statement(statement);
    }
}

/// Writes a verdict as a piece of data.
pub(crate) fn write_verdict(writer: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (NF_ACCEPT, None),
        Verdict::Drop => (NF_DROP, None),
        Verdict::Jump(chain) => (NFT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (NFT_GOTO, Some(chain)),
        Verdict::Return => (NFT_RETURN, None),
    };
    writer.nested(DATA_VERDICT, |verdict| {
        verdict.bytes(VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            verdict.text(VERDICT_CHAIN, chain.as_bytes());
        }
    });
}

/// The expressions of one rule, being written.
pub(crate) struct Expressions<'a> {
    writer: &'a mut Writer,
    family: Family,
    known: Known,
}

impl Expressions<'_> {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match(selector, test) => self.test(*selector, test),
            Statement::Lookup(selectors, membership, set) => {
                self.load_all(selectors);
                self.lookup(set, LookupFor::Membership(*membership));
            }
            Statement::Add(set, selectors, limit) => {
                self.load_all(selectors);
                self.add(set, *limit);
            }
            Statement::Counter => self.expression("counter", |_| ()),
            Statement::Limit(limit) => self.limit(*limit),
            Statement::Masquerade => self.expression("masq", |_| ()),
            Statement::Verdict(verdict) => self.expression("immediate", |data| {
                data.u32(IMMEDIATE_DREG, VERDICT_REGISTER);
                data.nested(IMMEDIATE_DATA, |data| write_verdict(data, verdict));
            }),
            Statement::VerdictMap(selectors, map) => {
                self.load_all(selectors);
                self.lookup(map, LookupFor::Verdict);
            }
        }
    }

    /// An expression: its name, and its attributes.
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Writer)) {
        self.writer.nested(LIST_ELEMENT, |element| {
            element.text(EXPRESSION_NAME, name.as_bytes());
            element.nested(EXPRESSION_DATA, data);
        });
    }

    fn test(&mut self, selector: Selector, test: &Test) {
        self.need(selector);
        match test {
            Test::Is(field) => {
                self.compare(selector, field, Sense::Same);
                self.learn(selector, field);
            }
            Test::IsNot(field) => self.compare(selector, field, Sense::Different),
            Test::MaskedIs { mask, value } => self.masked(selector, mask, value, Sense::Same),
            Test::MaskedIsNot { mask, value } => self.masked(selector, mask, value, Sense::Different),
        }
    }

    /// Loads values side by side.
    fn load_all(&mut self, selectors: &[Selector]) {
        for selector in selectors {
            self.need(*selector);
        }
        let mut register = FIRST_REGISTER;
        for selector in selectors {
            selector.load(self, register);
            register = register.saturating_add(u32::try_from(selector.length().div_ceil(4)).unwrap_or(u32::MAX));
        }
    }

    /// Asks for what must hold for a field to be there, unless that is known.
    fn need(&mut self, selector: Selector) {
        let needs = selector.needs();
        if needs.link == Some(Link::Ethernet) && self.known.link.is_none() {
            Source::Meta(MetaKey::IifType).load(self, FIRST_REGISTER);
            self.cmp(CompareWith::Equal, &ARPHRD_ETHER.to_ne_bytes());
            self.known.link = Some(Link::Ethernet);
        }
        if needs.link == Some(Link::Vlan) && self.known.link != Some(Link::Vlan) {
            self.test(Selector::EtherType, &Test::Is(EtherType::VLAN.into()));
        }
        if let Some(network) = needs.network.filter(|network| self.known.network != Some(*network)) {
            self.need_network(network);
        }
        if let Some(transport) = needs.transport.filter(|transport| self.known.transport != Some(*transport)) {
            self.test(Selector::L4Protocol, &Test::Is(transport.into()));
        }
    }

    fn need_network(&mut self, network: EtherType) {
        match self.family {
            Family::Bridge | Family::Netdev => self.test(Selector::Protocol, &Test::Is(network.into())),
            _ => {
                let family = match network {
                    EtherType::IP => Family::Ip,
                    EtherType::IP6 => Family::Ip6,
                    // Nothing else passes here, so this never matches.
                    _ => Family::Arp,
                };
                Source::Meta(MetaKey::NfProto).load(self, FIRST_REGISTER);
                self.cmp(CompareWith::Equal, &[family.number()]);
                self.known.network = Some(network);
            }
        }
    }

    /// Notes what is known from here on.
    fn learn(&mut self, selector: Selector, field: &Field) {
        let Field::Exact(value) = field else { return };
        match (selector, value) {
            (Selector::EtherType, Value::EtherType(EtherType::VLAN)) => self.known.link = Some(Link::Vlan),
            (Selector::EtherType | Selector::Protocol, Value::EtherType(network)) => self.known.network = Some(*network),
            (Selector::IpVersion, Value::IpVersion(version)) => self.known.network = Some(version.ether_type()),
            (Selector::L4Protocol | Selector::IpProtocol | Selector::Ip6NextHeader, Value::Protocol(protocol)) => {
                self.known.transport = Some(*protocol);
            }
            _ => {}
        }
    }

    fn compare(&mut self, selector: Selector, field: &Field, sense: Sense) {
        match (selector, field) {
            // The kernel keeps the state as a bit, and nft asks whether it is one of those given.
            (Selector::ConnectionState, Field::Exact(states)) => {
                selector.load(self, FIRST_REGISTER);
                self.mask(&states.bytes());
                self.cmp(sense.opposite().operator(), &[0; 4]);
            }
            (Selector::VlanId, Field::Exact(value)) => {
                selector.load(self, FIRST_REGISTER);
                // The other four bits of the tag are its priority (IEEE 802.1Q).
                self.mask(&[0x0f, 0xff]);
                self.cmp(sense.operator(), &value.bytes());
            }
            (_, Field::Exact(value)) => {
                selector.load(self, FIRST_REGISTER);
                self.cmp(sense.operator(), &value.bytes());
            }
            (_, Field::Prefix(_, bits)) => self.compare_prefix(selector, &field.bounds().0, *bits, sense),
            (_, Field::Range(first, last)) => {
                selector.load(self, FIRST_REGISTER);
                self.range(&first.bytes(), &last.bytes(), sense);
            }
        }
    }

    /// A prefix of whole bytes is compared as a shorter field, as nft does; any other by a mask.
    fn compare_prefix(&mut self, selector: Selector, value: &[u8], bits: u8, sense: Sense) {
        let bytes = u32::from(bits / 8);
        let beginning = value.get(..usize::from(bits / 8));
        match (selector.source(), beginning) {
            (Source::Payload { base, offset, .. }, Some(beginning)) if bits.is_multiple_of(8) && bits > 0 => {
                Source::Payload { base, offset, length: bytes }.load(self, FIRST_REGISTER);
                self.cmp(sense.operator(), beginning);
            }
            _ => {
                selector.load(self, FIRST_REGISTER);
                self.mask(&prefix_mask(value.len(), bits));
                self.cmp(sense.operator(), value);
            }
        }
    }

    fn masked(&mut self, selector: Selector, mask: &Value, value: &Value, sense: Sense) {
        selector.load(self, FIRST_REGISTER);
        self.mask(&mask.bytes());
        self.cmp(sense.operator(), &value.bytes());
    }

    /// `NFTA_CMP_*`
    fn cmp(&mut self, operator: CompareWith, value: &[u8]) {
        self.expression("cmp", |data| {
            data.u32(1, as_told(FIRST_REGISTER));
            data.u32(2, operator.number());
            data.nested(3, |data| data.bytes(DATA_VALUE, value));
        });
    }

    /// Both ends included. For what is inside nft takes two comparisons, for what is outside `NFTA_RANGE_*`.
    fn range(&mut self, first: &[u8], last: &[u8], sense: Sense) {
        match sense {
            Sense::Same => {
                self.cmp(CompareWith::GreaterOrEqual, first);
                self.cmp(CompareWith::LessOrEqual, last);
            }
            Sense::Different => self.expression("range", |data| {
                data.u32(1, as_told(FIRST_REGISTER));
                data.u32(2, 1); // NFT_RANGE_NEQ
                data.nested(3, |data| data.bytes(DATA_VALUE, first));
                data.nested(4, |data| data.bytes(DATA_VALUE, last));
            }),
        }
    }

    /// (register & mask) ^ 0
    fn mask(&mut self, mask: &[u8]) {
        self.bitwise(FIRST_REGISTER, mask, &vec![0; mask.len()]);
    }

    /// The first bits of an address, and their number in its last byte.
    fn keep_network(&mut self, register: u32, length: usize, bits: u8) {
        self.bitwise(register, &prefix_mask(length, bits), &network_code(length, bits));
    }

    /// `NFTA_BITWISE_*`: (register & mask) ^ change
    fn bitwise(&mut self, register: u32, mask: &[u8], change: &[u8]) {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        self.expression("bitwise", |data| {
            data.u32(1, as_told(register));
            data.u32(2, as_told(register));
            data.u32(3, length);
            data.nested(4, |data| data.bytes(DATA_VALUE, mask));
            data.nested(5, |data| data.bytes(DATA_VALUE, change));
        });
    }

    /// `NFTA_LOOKUP_*`
    fn lookup(&mut self, set: &Name, purpose: LookupFor) {
        self.expression("lookup", |data| {
            data.text(1, set.as_bytes());
            data.u32(2, as_told(FIRST_REGISTER));
            match purpose {
                LookupFor::Membership(Membership::In) => {}
                LookupFor::Membership(Membership::NotIn) => data.u32(5, 1), // NFT_LOOKUP_F_INV
                LookupFor::Verdict => data.u32(3, VERDICT_REGISTER),
            }
        });
    }

    /// `NFTA_DYNSET_*`
    fn add(&mut self, set: &Name, limit: Option<RateLimit>) {
        self.expression("dynset", |data| {
            data.text(1, set.as_bytes());
            data.u32(3, 0); // NFT_DYNSET_OP_ADD
            data.u32(4, as_told(FIRST_REGISTER));
            if let Some(limit) = limit {
                data.nested(7, |expression| {
                    expression.text(EXPRESSION_NAME, b"limit");
                    expression.nested(EXPRESSION_DATA, |data| write_limit(data, limit));
                });
            }
        });
    }

    fn limit(&mut self, limit: RateLimit) {
        self.expression("limit", |data| write_limit(data, limit));
    }
}

/// A register by the number that the kernel tells it by: every fourth one has a name of its own from the time when registers were four times
/// as large (`nft_dump_register()` in net/netfilter/nf_tables_api.c). It takes either; said this way, rules can be compared.
const fn as_told(register: u32) -> u32 {
    const REGISTERS_IN_ONE: u32 = 4;
    match register.checked_sub(FIRST_REGISTER) {
        Some(place) if place.is_multiple_of(REGISTERS_IN_ONE) => place / REGISTERS_IN_ONE + 1,
        _ => register,
    }
}

/// `NFTA_LIMIT_*`
pub(crate) fn write_limit(data: &mut Writer, limit: RateLimit) {
    data.u64(1, limit.packets);
    data.u64(2, limit.per.seconds());
    data.u32(3, limit.burst);
    data.u32(4, 0); // NFT_LIMIT_PKTS
    data.u32(5, u32::from(limit.side == LimitSide::Over)); // NFT_LIMIT_F_INV
}

impl Source {
    /// Has the kernel put it into a register.
    pub(crate) fn load(self, expressions: &mut Expressions<'_>, register: u32) {
        match self {
            // NFTA_META_*
            Self::Meta(key) => expressions.expression("meta", |data| {
                data.u32(1, as_told(register));
                data.u32(2, key.number());
            }),
            // NFTA_PAYLOAD_*
            Self::Payload { base, offset, length } => expressions.expression("payload", |data| {
                data.u32(1, as_told(register));
                data.u32(2, base.number());
                data.u32(3, offset);
                data.u32(4, length);
            }),
            Self::Network { base, offset, length, bits } => {
                Self::Payload { base, offset, length }.load(expressions, register);
                expressions.keep_network(register, usize::try_from(length).unwrap_or_default(), bits);
            }
            // NFTA_FIB_*
            Self::WayBack => expressions.expression("fib", |data| {
                data.u32(1, as_told(register));
                data.u32(2, 2); // NFT_FIB_RESULT_OIFNAME
                data.u32(3, 1); // NFTA_FIB_F_SADDR
            }),
            // NFTA_CT_*
            Self::ConnectionState => expressions.expression("ct", |data| {
                data.u32(1, as_told(register));
                data.u32(2, 0); // NFT_CT_STATE
            }),
            Self::ExtensionField { header, offset, length } => expressions.expression("exthdr", |data| {
                data.u32(1, as_told(register));
                data.bytes(2, &[header.number()]);
                data.u32(3, offset);
                data.u32(4, length);
                data.u32(6, 0); // NFT_EXTHDR_OP_IPV6
            }),
            // NFTA_EXTHDR_*
            Self::ExtensionHeader(header) => expressions.expression("exthdr", |data| {
                data.u32(1, as_told(register));
                data.bytes(2, &[header.number()]);
                data.u32(3, 0);
                data.u32(4, 1);
                data.u32(5, 1); // NFT_EXTHDR_F_PRESENT
                data.u32(6, 0); // NFT_EXTHDR_OP_IPV6
            }),
        }
    }
}

/// `enum nft_cmp_ops`
#[derive(Clone, Copy)]
enum CompareWith {
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
}

impl CompareWith {
    const fn number(self) -> u32 {
        match self {
            Self::Equal => 0,
            Self::NotEqual => 1,
            Self::LessOrEqual => 3,
            Self::GreaterOrEqual => 5,
        }
    }
}

/// Whether a value must be this, or anything else.
#[derive(Clone, Copy)]
enum Sense {
    Same,
    Different,
}

impl Sense {
    const fn operator(self) -> CompareWith {
        match self {
            Self::Same => CompareWith::Equal,
            Self::Different => CompareWith::NotEqual,
        }
    }

    const fn opposite(self) -> Self {
        match self {
            Self::Same => Self::Different,
            Self::Different => Self::Same,
        }
    }
}

/// What is asked of a set.
#[derive(Clone, Copy)]
enum LookupFor {
    Membership(Membership),
    Verdict,
}
