//! Changes as messages of nf_tables.

use std::time::Duration;

use crate::batch::{ElementAct, Place, Step};
use crate::expression::{
    DATA_VALUE, EXPRESSION_DATA, EXPRESSION_NAME, LIST_ELEMENT, check_rule, write_limit, write_rule, write_verdict,
};
use crate::wire::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, Writer};
use crate::{
    Base, Chain, ChainId, Comment, Counters, Data, DataType, Element, Error, Family, Field, Filled, Policy, Ranges, Rule, Selector,
    Set, SetId, TableId, Timeouts,
};

/// `NFNL_SUBSYS_NFTABLES` (nfnetlink.h): the upper half of every message's kind.
pub(crate) const SUBSYSTEM: u16 = 10;

/// `enum nf_tables_msg_types`
pub(crate) mod kind {
    pub(crate) const NEWTABLE: u16 = 0;
    pub(crate) const GETTABLE: u16 = 1;
    pub(crate) const DELTABLE: u16 = 2;
    pub(crate) const NEWCHAIN: u16 = 3;
    pub(crate) const GETCHAIN: u16 = 4;
    pub(crate) const DELCHAIN: u16 = 5;
    pub(crate) const NEWRULE: u16 = 6;
    pub(crate) const GETRULE: u16 = 7;
    pub(crate) const DELRULE: u16 = 8;
    pub(crate) const NEWSET: u16 = 9;
    pub(crate) const GETSET: u16 = 10;
    pub(crate) const DELSET: u16 = 11;
    pub(crate) const NEWSETELEM: u16 = 12;
    pub(crate) const GETSETELEM: u16 = 13;
    pub(crate) const DELSETELEM: u16 = 14;
    pub(crate) const NEWGEN: u16 = 15;
    pub(crate) const GETGEN: u16 = 16;
}

/// `NFTA_TABLE_*`
pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const USE: u16 = 3;
}

/// `NFTA_CHAIN_*` and `NFTA_HOOK_*`
pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const HANDLE: u16 = 2;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const USE: u16 = 6;
    pub(crate) const TYPE: u16 = 7;

    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const HOOK_DEVICE: u16 = 3;
    pub(crate) const HOOK_DEVICES: u16 = 4;
}

/// `NFTA_RULE_*`
pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const POSITION: u16 = 6;
    pub(crate) const USERDATA: u16 = 7;
}

/// `NFTA_SET_*` and `NFTA_SET_DESC_*`
pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LENGTH: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const TIMEOUT: u16 = 11;
    pub(crate) const USERDATA: u16 = 13;
    pub(crate) const EXPRESSION: u16 = 17;

    pub(crate) const DESCRIPTION_SIZE: u16 = 1;
    pub(crate) const DESCRIPTION_CONCATENATION: u16 = 2;
    pub(crate) const FIELD_LENGTH: u16 = 1;
}

/// `NFTA_SET_ELEM_LIST_*` and `NFTA_SET_ELEM_*`
pub(crate) mod element {
    pub(crate) const LIST_TABLE: u16 = 1;
    pub(crate) const LIST_SET: u16 = 2;
    pub(crate) const LIST_ELEMENTS: u16 = 3;

    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const TIMEOUT: u16 = 4;
    pub(crate) const EXPIRATION: u16 = 5;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const EXPRESSION: u16 = 7;
    pub(crate) const KEY_END: u16 = 10;
    pub(crate) const EXPRESSIONS: u16 = 11;

    /// `NFT_SET_ELEM_INTERVAL_END`
    pub(crate) const INTERVAL_END: u32 = 1;
    /// `NFT_SET_ELEM_CATCHALL`
    pub(crate) const CATCH_ALL: u32 = 2;
}

/// `enum nft_set_flags`
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_EVAL: u32 = 0x20;
const NFT_SET_CONCAT: u32 = 0x80;
/// `NFT_DATA_VERDICT`
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;

/// What a comment is called within the user data of a rule: a byte that says what it is, one that says how long, the text and a zero
/// (libnftnl, `NFTNL_UDATA_RULE_COMMENT`; nft and iptables-nft read it).
pub(crate) const USERDATA_COMMENT: u8 = 0;

/// A message for the kernel, without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// One of [`kind`].
    pub kind: u16,
    /// `NLM_F_*`, besides those that every message has.
    pub flags: u16,
    pub family: Family,
    pub body: Vec<u8>,
}

impl Message {
    pub fn new(kind: u16, flags: u16, family: Family, body: impl FnOnce(&mut Writer)) -> Result<Self, Error> {
        let mut writer = Writer::default();
        body(&mut writer);
        let too_large =
            || Error::Unsayable("a rule or a set element is larger than a netlink message can hold (64 KiB)".to_owned());
        Ok(Self { kind, flags, family, body: writer.finish().ok_or_else(too_large)? })
    }
}

/// The message for one step; `id` is a number that no other set of the batch has.
pub(crate) fn message(step: &Step<'_>, id: u32) -> Result<Message, Error> {
    match step {
        Step::CreateTable(table) => Message::new(kind::NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, table.family, |body| {
            body.text(table::NAME, table.name.as_bytes());
        }),
        Step::AddTable(table) => {
            Message::new(kind::NEWTABLE, NLM_F_CREATE, table.family, |body| body.text(table::NAME, table.name.as_bytes()))
        }
        Step::DeleteTable(table) => {
            Message::new(kind::DELTABLE, 0, table.family, |body| body.text(table::NAME, table.name.as_bytes()))
        }
        Step::AddSet(table, set) => Message::new(kind::NEWSET, NLM_F_CREATE, table.family, |body| {
            name_set(body, &table.set(&set.name));
            write_set(body, set, id);
        }),
        Step::DeleteSet(set) => Message::new(kind::DELSET, 0, set.table.family, |body| name_set(body, set)),
        Step::FlushSet(set) => Message::new(kind::DELSETELEM, 0, set.table.family, |body| name_element_list(body, set)),
        Step::AddChain(table, chain) => {
            let hook = chain.base.as_ref().map(|base| hook_number(table.family, base)).transpose()?;
            Message::new(kind::NEWCHAIN, NLM_F_CREATE, table.family, |body| {
                name_chain(body, &table.chain(&chain.name));
                write_base(body, chain, hook);
            })
        }
        Step::DeleteChain(chain) => Message::new(kind::DELCHAIN, 0, chain.table.family, |body| name_chain(body, chain)),
        Step::FlushChain(chain) => Message::new(kind::DELRULE, 0, chain.table.family, |body| name_rules(body, chain)),
        Step::Elements { act, set, ranges, elements } => {
            check_keys(set, *ranges, elements)?;
            let (kind, flags) = match act {
                ElementAct::Add => (kind::NEWSETELEM, NLM_F_CREATE),
                ElementAct::Delete => (kind::DELSETELEM, 0),
            };
            Message::new(kind, flags, set.table.family, |body| {
                name_element_list(body, set);
                write_elements(body, elements, *ranges);
            })
        }
        Step::AddRule { chain, place, rule } => rule_message(chain, *place, rule),
        Step::DeleteRule { chain, handle } => Message::new(kind::DELRULE, 0, chain.table.family, |body| {
            name_rules(body, chain);
            body.u64(rule::HANDLE, handle.0);
        }),
    }
}

fn check_keys(set: &SetId, ranges: Ranges, elements: &[Element]) -> Result<(), Error> {
    let exact = |element: &&Element| element.key.iter().all(|field| matches!(field, Field::Exact(_)));
    match elements.iter().find(|element| ranges == Ranges::None && !exact(element)) {
        Some(element) => Err(Error::Unsayable(format!("the set {set} holds no ranges, so {element} cannot be an element of it"))),
        None => Ok(()),
    }
}

pub(crate) fn name_set(body: &mut Writer, set: &SetId) {
    body.text(set::TABLE, set.table.name.as_bytes());
    body.text(set::NAME, set.name.as_bytes());
}

pub(crate) fn name_element_list(body: &mut Writer, set: &SetId) {
    body.text(element::LIST_TABLE, set.table.name.as_bytes());
    body.text(element::LIST_SET, set.name.as_bytes());
}

pub(crate) fn name_rules_of_table(body: &mut Writer, table: &TableId) {
    body.text(rule::TABLE, table.name.as_bytes());
}

pub(crate) fn name_rules(body: &mut Writer, chain: &ChainId) {
    name_rules_of_table(body, &chain.table);
    body.text(rule::CHAIN, chain.name.as_bytes());
}

fn name_chain(body: &mut Writer, chain: &ChainId) {
    body.text(chain::TABLE, chain.table.name.as_bytes());
    body.text(chain::NAME, chain.name.as_bytes());
}

fn hook_number(family: Family, base: &Base) -> Result<u32, Error> {
    base.hook.number(family).ok_or_else(|| Error::Unsayable(format!("tables of the family {family} have no hook {}", base.hook)))
}

fn write_base(body: &mut Writer, chain: &Chain, hook: Option<u32>) {
    let (Some(base), Some(hook)) = (&chain.base, hook) else { return };
    body.nested(chain::HOOK, |place| {
        place.u32(chain::HOOK_NUMBER, hook);
        place.bytes(chain::HOOK_PRIORITY, &base.priority.0.to_be_bytes());
        if let Some(device) = &base.device {
            place.text(chain::HOOK_DEVICE, device.as_str().as_bytes());
        }
    });
    let policy = match base.policy {
        Policy::Drop => 0,   // NF_DROP
        Policy::Accept => 1, // NF_ACCEPT
    };
    body.u32(chain::POLICY, policy);
    body.text(chain::TYPE, base.kind.word().as_bytes());
}

fn rule_message(chain: &ChainId, place: Place, rule: &Rule) -> Result<Message, Error> {
    check_rule(rule)?;
    // A new rule stands at the head of its chain, or before the rule at its position, unless it is to be appended
    // (nf_tables_newrule() in net/netfilter/nf_tables_api.c).
    let flags = match place {
        Place::End => NLM_F_CREATE | NLM_F_APPEND,
        Place::Head | Place::Before(_) => NLM_F_CREATE,
    };
    Message::new(kind::NEWRULE, flags, chain.table.family, |body| {
        name_rules(body, chain);
        if let Place::Before(handle) = place {
            body.u64(rule::POSITION, handle.0);
        }
        body.nested(rule::EXPRESSIONS, |list| write_rule(list, chain.table.family, rule));
        if let Some(comment) = &rule.comment {
            body.bytes(rule::USERDATA, &comment_userdata(comment));
        }
    })
}

fn comment_userdata(comment: &Comment) -> Vec<u8> {
    let text = comment.as_str().as_bytes();
    // At most 129, as Comment sees to.
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[USERDATA_COMMENT, length], text, &[0]].concat()
}

/// How a key looks in registers.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn write_set(body: &mut Writer, set: &Set, id: u32) {
    let concatenated = set.key.len() > 1;
    let intervals = set.ranges == Ranges::Allowed;
    let flag = |bit, condition: bool| if condition { bit } else { 0 };
    let flags = flag(NFT_SET_INTERVAL, intervals)
        | flag(NFT_SET_MAP, set.data == Data::Verdict)
        | flag(NFT_SET_TIMEOUT, set.timeouts == Timeouts::Allowed)
        | flag(NFT_SET_EVAL, set.filled == Filled::ByPackets)
        | flag(NFT_SET_CONCAT, intervals && concatenated);
    body.u32(set::FLAGS, flags);
    // nft's number for several types is made of theirs, six bits each.
    body.u32(set::KEY_TYPE, set.key.iter().fold(0, |number, part| number << 6 | part.number()));
    body.u32(set::KEY_LENGTH, key_length(set));
    if set.data == Data::Verdict {
        body.u32(set::DATA_TYPE, NFT_DATA_VERDICT);
    }
    body.u32(set::ID, id);
    if let Some(lifetime) = set.lifetime {
        body.u64(set::TIMEOUT, milliseconds(lifetime));
    }
    if set.size.is_some() || (intervals && concatenated) {
        body.nested(set::DESCRIPTION, |description| write_description(description, set));
    }
    let fields = set.fields();
    if let [part] = set.key.as_slice() {
        let fields = fields.map(|fields| typeof_userdata(&fields)).unwrap_or_default();
        body.bytes(set::USERDATA, &[byte_order_userdata(*part), fields].concat());
    } else if let Some(fields) = fields {
        body.bytes(set::USERDATA, &typeof_userdata(&fields));
    }
    if set.counters == Counters::PerElement {
        body.nested(set::EXPRESSION, |expression| {
            expression.text(EXPRESSION_NAME, b"counter");
            expression.nested(EXPRESSION_DATA, |_| ());
        });
    }
}

/// Without this nft takes the name of an interface for empty (libnftnl, `NFTNL_UDATA_SET_KEYBYTEORDER`; nftables, `enum byteorder`).
fn byte_order_userdata(part: DataType) -> Vec<u8> {
    const KEY_BYTE_ORDER: u8 = 0;
    let order: u32 = match part {
        DataType::Interface | DataType::WayBack | DataType::Mark => 1, // the host's
        _ => 2,                                                        // the network's
    };
    let [a, b, c, d] = order.to_ne_bytes();
    vec![KEY_BYTE_ORDER, 4, a, b, c, d]
}

/// The fields that a set is for, by which nft shows it (`typeof`), in its own numbers (nftables, `expr_ops.build_udata`,
/// `NFTNL_UDATA_SET_KEY_TYPEOF`; those of 1.0.6 and 1.1.3 are the same). Attributes here have one byte for their kind and one for their length.
fn typeof_userdata(fields: &[Selector]) -> Vec<u8> {
    const KEY_TYPEOF: u8 = 3;
    const CONCATENATION: u32 = 13;
    let of_key = match fields {
        [field] => field_userdata(*field),
        fields => {
            let each = (0..).zip(fields).map(|(place, field)| short(place, &field_userdata(*field)));
            [short_number(0, CONCATENATION), short(1, &each.collect::<Vec<_>>().concat())].concat()
        }
    };
    short(KEY_TYPEOF, &of_key)
}

/// What sort of expression a field is, and which.
fn field_userdata(field: Selector) -> Vec<u8> {
    const META: u32 = 9;
    const PAYLOAD: u32 = 7;
    const IIFNAME: u32 = 6;
    const FIB: u32 = 26;
    const OIFNAME: u32 = 2;
    const SOURCE: u32 = 1;
    const ETHERNET: u32 = 17;
    const ETHERNET_SOURCE: u32 = 2;
    const IP: u32 = 12;
    const IP_SOURCE: u32 = 11;
    let numbers =
        |numbers: &[u32]| (0..).zip(numbers).map(|(kind, number)| short_number(kind, *number)).collect::<Vec<_>>().concat();
    let (sort, which) = match field {
        Selector::Iifname => (META, numbers(&[IIFNAME])),
        Selector::WayBack => (FIB, numbers(&[OIFNAME, SOURCE])),
        Selector::EtherSource => (PAYLOAD, numbers(&[ETHERNET, ETHERNET_SOURCE])),
        Selector::IpSource => (PAYLOAD, numbers(&[IP, IP_SOURCE])),
        // Of no protocol and no template; nft counts the headers from 1, and in bits.
        Selector::Payload { base, offset, length } => (PAYLOAD, numbers(&[0, 0, base.number() + 1, offset * 8, length * 8])),
        // No set is for another: Set::fields().
        _ => (PAYLOAD, vec![]),
    };
    [short_number(0, sort), short(1, &which)].concat()
}

fn short(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, u8::try_from(value.len()).unwrap_or(u8::MAX)], value].concat()
}

fn short_number(kind: u8, number: u32) -> Vec<u8> {
    short(kind, &number.to_ne_bytes())
}

fn key_length(set: &Set) -> u32 {
    let length = match set.key.as_slice() {
        [single] => single.length(),
        parts => parts.iter().map(|part| padded(part.length())).sum(),
    };
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The set's size, and for ranges in several parts how long each part is, in bytes whatever nf_tables.h says (nft_set_desc_concat()).
fn write_description(description: &mut Writer, set: &Set) {
    if let Some(size) = set.size {
        description.u32(set::DESCRIPTION_SIZE, size);
    }
    if set.ranges == Ranges::Allowed && set.key.len() > 1 {
        description.nested(set::DESCRIPTION_CONCATENATION, |fields| {
            for part in &set.key {
                let length = u32::try_from(part.length()).unwrap_or(u32::MAX);
                fields.nested(LIST_ELEMENT, |field| field.u32(set::FIELD_LENGTH, length));
            }
        });
    }
}

pub(crate) fn write_elements(body: &mut Writer, elements: &[Element], ranges: Ranges) {
    body.nested(element::LIST_ELEMENTS, |list| {
        for element in elements {
            match (ranges, element.key.as_slice()) {
                (Ranges::Allowed, [field]) => write_interval(list, element, field),
                _ => list.nested(LIST_ELEMENT, |item| {
                    write_key(item, element::KEY, &element.key, Field::append_first_to);
                    if ranges == Ranges::Allowed {
                        write_key(item, element::KEY_END, &element.key, Field::append_last_to);
                    }
                    write_belongings(item, element);
                }),
            }
        }
    });
}

/// A range in a tree (net/netfilter/nft_set_rbtree.c) is two elements: where it begins, and the first value behind it.
fn write_interval(list: &mut Writer, element: &Element, field: &Field) {
    let (first, last) = field.bounds();
    list.nested(LIST_ELEMENT, |item| {
        item.nested(element::KEY, |key| key.bytes(DATA_VALUE, &first));
        write_belongings(item, element);
    });
    if let Some(behind) = successor(last) {
        list.nested(LIST_ELEMENT, |item| {
            item.nested(element::KEY, |key| key.bytes(DATA_VALUE, &behind));
            item.u32(element::FLAGS, element::INTERVAL_END);
        });
    }
}

/// The next number; nothing behind the greatest.
pub(crate) fn successor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            return Some(bytes);
        }
    }
    None
}

/// One end of a key: a single field as it is, several side by side, each padded.
fn write_key(item: &mut Writer, kind: u16, key: &[Field], append: impl Fn(&Field, &mut Vec<u8>)) {
    let write = |bytes: &mut Vec<u8>| {
        for field in key {
            let start = bytes.len();
            append(field, bytes);
            if key.len() > 1 {
                bytes.resize(start + padded(bytes.len() - start), 0);
            }
        }
    };
    item.nested(kind, |item| item.appended(DATA_VALUE, write));
}

fn write_belongings(item: &mut Writer, element: &Element) {
    if let Some(verdict) = &element.verdict {
        item.nested(element::DATA, |data| write_verdict(data, verdict));
    }
    if let Some(timeout) = element.timeout {
        item.u64(element::TIMEOUT, milliseconds(timeout));
    }
    if let Some(limit) = element.limit {
        item.nested(element::EXPRESSION, |expression| {
            expression.text(EXPRESSION_NAME, b"limit");
            expression.nested(EXPRESSION_DATA, |data| write_limit(data, limit));
        });
    }
    if let Some(comment) = &element.comment {
        item.bytes(element::USERDATA, &comment_userdata(comment));
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    #![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

    use super::*;
    use crate::{InterfaceName, Statement, Value};

    fn xen() -> TableId {
        TableId::new(Family::Inet, "xen".parse().unwrap())
    }

    #[test]
    fn rule_has_the_bytes_that_the_header_files_say() {
        let vif: InterfaceName = "vif1.0".parse().unwrap();
        let rule = Rule::new([Selector::Iifname.is(&vif), Statement::ACCEPT]).with_comment("ours".parse().unwrap());
        let chain = xen().chain(&"forward".parse().unwrap());
        let message = message(&Step::AddRule { chain, place: Place::End, rule: &rule }, 1).unwrap();
        let expected = [
            b"\x08\0\x01\0xen\0".as_slice(), // NFTA_RULE_TABLE
            b"\x0c\0\x02\0forward\0",        // NFTA_RULE_CHAIN
            b"\x90\0\x04\x80",               // NFTA_RULE_EXPRESSIONS, nested
            b"\x24\0\x01\x80",               //   NFTA_LIST_ELEM
            b"\x09\0\x01\0meta\0\0\0\0",     //     NFTA_EXPR_NAME, padded
            b"\x14\0\x02\x80",               //     NFTA_EXPR_DATA
            b"\x08\0\x01\0\0\0\0\x01",       //       NFTA_META_DREG: NFT_REG_1
            b"\x08\0\x02\0\0\0\0\x06",       //       NFTA_META_KEY: NFT_META_IIFNAME
            b"\x38\0\x01\x80",               //   NFTA_LIST_ELEM
            b"\x08\0\x01\0cmp\0",            //     NFTA_EXPR_NAME
            b"\x2c\0\x02\x80",               //     NFTA_EXPR_DATA
            b"\x08\0\x01\0\0\0\0\x01",       //       NFTA_CMP_SREG
            b"\x08\0\x02\0\0\0\0\0",         //       NFTA_CMP_OP: NFT_CMP_EQ
            b"\x18\0\x03\x80",               //       NFTA_CMP_DATA
            b"\x14\0\x01\0",                 //         NFTA_DATA_VALUE: all of IFNAMSIZ
            b"vif1.0\0\0\0\0\0\0\0\0\0\0",   //
            b"\x30\0\x01\x80",               //   NFTA_LIST_ELEM
            b"\x0e\0\x01\0immediate\0\0\0",  //     NFTA_EXPR_NAME, padded
            b"\x1c\0\x02\x80",               //     NFTA_EXPR_DATA
            b"\x08\0\x01\0\0\0\0\0",         //       NFTA_IMMEDIATE_DREG: NFT_REG_VERDICT
            b"\x10\0\x02\x80\x0c\0\x02\x80", //       NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT
            b"\x08\0\x01\0\0\0\0\x01",       //         NFTA_VERDICT_CODE: NF_ACCEPT
            b"\x0b\0\x07\0\0\x05ours\0\0",   // NFTA_RULE_USERDATA: comment, 5 bytes, padded
        ]
        .concat();
        assert_eq!(message, Message { kind: 6, flags: 0xc00, family: Family::Inet, body: expected });
    }

    #[test]
    fn set_has_the_bytes_that_the_header_files_say() {
        let key = [DataType::Interface, DataType::EtherAddress, DataType::Ipv4Address];
        let set = Set::new("guests".parse().unwrap(), key);
        let message = message(&Step::AddSet(xen(), &set), 9).unwrap();
        let expected = [
            b"\x08\0\x01\0xen\0".as_slice(), // NFTA_SET_TABLE
            b"\x0b\0\x02\0guests\0\0",       // NFTA_SET_NAME, padded
            b"\x08\0\x03\0\0\0\0\0",         // NFTA_SET_FLAGS
            b"\x08\0\x04\0\0\x02\x92\x47",   // NFTA_SET_KEY_TYPE: 41, 9 and 7, six bits each
            b"\x08\0\x05\0\0\0\0\x1c",       // NFTA_SET_KEY_LEN: 16, 6 padded to 8, and 4
            b"\x08\0\x0a\0\0\0\0\x09",       // NFTA_SET_ID
        ]
        .concat();
        assert_eq!(message, Message { kind: 9, flags: 0x400, family: Family::Inet, body: expected });
    }

    #[test]
    fn address_space_has_an_end() {
        assert_eq!(successor(vec![0, 255, 255]), Some(vec![1, 0, 0]));
        assert_eq!(successor(vec![255, 255]), None);
        let all = Element::new([Field::Prefix(Value::Ipv4Address([0, 0, 0, 0].into()), 0)]);
        let set = xen().set(&"all".parse().unwrap());
        let step = Step::Elements { act: ElementAct::Add, set, ranges: Ranges::Allowed, elements: &[all] };
        let body = message(&step, 1).unwrap().body;
        // One element: the beginning without an end behind it.
        assert_eq!(body.len(), b"\x08\0\x01\0xen\0\x08\0\x02\0all\0".len() + 4 + 4 + 4 + 8);
    }
}
