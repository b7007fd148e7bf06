//! VLANs of a bridge port (IEEE 802.1Q), and the words in which xl's `vlan=` asks for them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invocation::shortened;

/// The number of a VLAN: of a Linux bridge, if nothing else is said, 1 to 4094; 0 and 4095 stand for no VLAN in a tag (IEEE 802.1Q, table 9-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId<const FIRST: u16 = 1, const LAST: u16 = 4094>(u16);

/// Why a number, or a word, is not the number of a VLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVlanId {
    word: String,
    allowed: RangeInclusive<u16>,
}

impl fmt::Display for InvalidVlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, allowed } = self;
        write!(f, "{:?} is not the number of a VLAN, {} to {}", shortened(word), allowed.start(), allowed.end())
    }
}

impl std::error::Error for InvalidVlanId {}

impl<const FIRST: u16, const LAST: u16> VlanId<FIRST, LAST> {
    fn invalid(word: impl Into<String>) -> InvalidVlanId {
        InvalidVlanId { word: word.into(), allowed: FIRST..=LAST }
    }
}

impl<const FIRST: u16, const LAST: u16> TryFrom<u16> for VlanId<FIRST, LAST> {
    type Error = InvalidVlanId;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        if (FIRST..=LAST).contains(&number) { Ok(Self(number)) } else { Err(Self::invalid(number.to_string())) }
    }
}

/// Digits and nothing else.
impl<const FIRST: u16, const LAST: u16> FromStr for VlanId<FIRST, LAST> {
    type Err = InvalidVlanId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|_| digits);
        number.and_then(|number| Self::try_from(number).ok()).ok_or_else(|| Self::invalid(text))
    }
}

impl<const FIRST: u16, const LAST: u16> From<VlanId<FIRST, LAST>> for u16 {
    fn from(id: VlanId<FIRST, LAST>) -> Self {
        id.0
    }
}

impl<const FIRST: u16, const LAST: u16> fmt::Display for VlanId<FIRST, LAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How frames of a VLAN leave by a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Egress {
    /// With the VLAN's tag.
    Tagged,
    /// Without a tag.
    Untagged,
}

/// How frames get into a VLAN from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ingress {
    /// Only those that carry its tag.
    Tagged,
    /// Those without a tag as well: the VLAN is the port's PVID.
    Untagged,
}

/// Neighbouring VLANs that a port is a member of in one and the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanSpan {
    /// The first one.
    pub first: VlanId,
    /// The last one, not before the first. A PVID stands by itself.
    pub last: VlanId,
    /// How frames leave.
    pub egress: Egress,
    /// How frames get in.
    pub ingress: Ingress,
}

/// The VLANs that a port is a member of.
///
/// From a text, exactly one of them is the PVID; the kernel knows ports without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PortVlans {
    members: BTreeMap<VlanId, Egress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pvid: Option<VlanId>,
}

impl PortVlans {
    /// What a bridge makes of a new port: a member of its default VLAN alone, which is the PVID and leaves untagged.
    #[must_use]
    pub fn of_new_port(default: Option<VlanId>) -> Self {
        Self { members: default.map(|id| (id, Egress::Untagged)).into_iter().collect(), pvid: default }
    }

    /// Whether some VLAN's frames carry their tags on the port.
    #[must_use]
    pub fn has_tagged(&self) -> bool {
        self.members.values().any(|egress| *egress == Egress::Tagged)
    }

    /// The VLAN of frames without a tag.
    #[must_use]
    pub fn pvid(&self) -> Option<VlanId> {
        self.pvid
    }

    /// Adds VLANs, or changes how the port is a member of them, as the kernel does (net/bridge/br_vlan.c, `__vlan_add_flags()`).
    pub fn add(&mut self, span: &VlanSpan) {
        for number in span.first.0..=span.last.0 {
            let id = VlanId(number);
            self.members.insert(id, span.egress);
            match span.ingress {
                Ingress::Untagged => self.pvid = Some(id),
                Ingress::Tagged => self.pvid = self.pvid.filter(|pvid| *pvid != id),
            }
        }
    }

    /// Takes the VLANs from `first` to `last` away.
    pub fn delete(&mut self, first: VlanId, last: VlanId) {
        let gone = first..=last;
        self.members.retain(|id, _| !gone.contains(id));
        self.pvid = self.pvid.filter(|id| !gone.contains(id));
    }

    /// All VLANs, as few spans as possible.
    #[must_use]
    pub fn spans(&self) -> Vec<VlanSpan> {
        self.spans_of(self.members.keys().copied())
    }

    /// The VLANs of which `other` is no member at all.
    #[must_use]
    pub fn absent_from(&self, other: &Self) -> Vec<VlanSpan> {
        self.spans_of(self.members.keys().copied().filter(|id| !other.members.contains_key(id)))
    }

    /// The VLANs of which `other` is no member, or one in another way.
    #[must_use]
    pub fn unlike(&self, other: &Self) -> Vec<VlanSpan> {
        self.spans_of(self.members.keys().copied().filter(|id| self.way_of(*id) != other.way_of(*id)))
    }

    fn way_of(&self, id: VlanId) -> Option<(Egress, Ingress)> {
        let ingress = if self.pvid == Some(id) { Ingress::Untagged } else { Ingress::Tagged };
        self.members.get(&id).map(|egress| (*egress, ingress))
    }

    fn spans_of(&self, ids: impl Iterator<Item = VlanId>) -> Vec<VlanSpan> {
        let mut spans: Vec<VlanSpan> = vec![];
        for id in ids {
            let Some((egress, ingress)) = self.way_of(id) else { continue };
            match spans.last_mut() {
                Some(span) if span.last.0 + 1 == id.0 && span.egress == egress && span.ingress == ingress => span.last = id,
                _ => spans.push(VlanSpan { first: id, last: id, egress, ingress }),
            }
        }
        spans
    }
}

/// Why a text is no list of VLANs, and where in it that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVlans {
    text: String,
    /// Characters before the place.
    place: usize,
    trouble: Trouble,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Unexpected { expected: &'static str },
    NoVlan { number: String },
    Backwards { first: VlanId, last: VlanId },
    NoOffset,
    Twice { id: VlanId },
    SecondPvid { first: VlanId, second: VlanId },
    NoPvid,
}

impl fmt::Display for InvalidVlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, place, trouble } = self;
        write!(f, "vlan={} is no list of VLANs such as 10p/20-22: at character {}, ", shortened(text).escape_default(), place + 1)?;
        match trouble {
            Trouble::Unexpected { expected } => match text.chars().nth(*place) {
                Some(found) => write!(f, "'{}' stands where {expected} is expected", found.escape_default()),
                None => write!(f, "it ends where {expected} is expected"),
            },
            Trouble::NoVlan { number } => write!(f, "{} is no VLAN: their numbers go from 1 to 4094", shortened(number)),
            Trouble::Backwards { first, last } => write!(f, "the range goes backwards, from {first} to {last}"),
            Trouble::NoOffset => f.write_str("an offset of 0 names one VLAN again and again: it is expected to be 1 or more"),
            Trouble::Twice { id } => write!(f, "VLAN {id} is named a second time"),
            Trouble::SecondPvid { first, second } => {
                write!(f, "{second} is a second PVID beside {first}: untagged frames belong to one VLAN only")
            }
            Trouble::NoPvid => f.write_str("it ends without a PVID: mark the VLAN of untagged frames with p, as in 10p"),
        }
    }
}

impl std::error::Error for InvalidVlans {}

/// The grammar of xl-network-configuration(5), key `vlan`, since Xen 4.19:
///
/// ```text
/// list = term *( "/" term )
/// term = id [ "p" / "u" ] / id "-" id [ "u" ] / id "+" offset "x" count [ "u" ]
/// ```
///
/// `p` marks the PVID, which is untagged; `u` untagged VLANs; `100+10x4` is 100 and `count` more, each `offset` further. One VLAN is the PVID; a
/// single one need not say so.
impl FromStr for PortVlans {
    type Err = InvalidVlans;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, place: 0, vlans: Self::default() };
        reader.term()?;
        while reader.place < text.len() {
            reader.expect(b'/', "'/' or the end")?;
            reader.term()?;
        }
        reader.settle_pvid()
    }
}

/// A text being read. All that has been read is ASCII, so that bytes and characters are one.
struct Reader<'a> {
    text: &'a str,
    place: usize,
    vlans: PortVlans,
}

/// A number and where it stood.
struct Number {
    digits: String,
    place: usize,
}

impl Reader<'_> {
    fn failed(&self, place: usize, trouble: Trouble) -> InvalidVlans {
        InvalidVlans { text: self.text.to_owned(), place, trouble }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    fn expect(&mut self, sign: u8, expected: &'static str) -> Result<(), InvalidVlans> {
        if self.takes(sign) { Ok(()) } else { Err(self.failed(self.place, Trouble::Unexpected { expected })) }
    }

    fn takes(&mut self, sign: u8) -> bool {
        let there = self.next() == Some(sign);
        self.place += usize::from(there);
        there
    }

    fn number(&mut self, expected: &'static str) -> Result<Number, InvalidVlans> {
        let place = self.place;
        let digits: String = self.text[place..].chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Err(self.failed(place, Trouble::Unexpected { expected }));
        }
        self.place += digits.len();
        Ok(Number { digits, place })
    }

    fn vlan(&mut self) -> Result<(VlanId, usize), InvalidVlans> {
        let Number { digits, place } = self.number("the number of a VLAN")?;
        match digits.parse() {
            Ok(id) => Ok((id, place)),
            Err(_) => Err(self.failed(place, Trouble::NoVlan { number: digits })),
        }
    }

    fn term(&mut self) -> Result<(), InvalidVlans> {
        let (first, place) = self.vlan()?;
        if self.takes(b'-') {
            self.range(first, place)
        } else if self.takes(b'+') {
            self.series(first, place)
        } else if self.takes(b'p') {
            self.pvid(first, place)
        } else {
            let egress = self.egress();
            self.require_end("'p', 'u', '-', '+', '/' or the end")?;
            self.member(first, egress, place)
        }
    }

    fn range(&mut self, first: VlanId, place: usize) -> Result<(), InvalidVlans> {
        let (last, _) = self.vlan()?;
        let egress = self.egress();
        self.require_end("'u', '/' or the end")?;
        if last < first {
            return Err(self.failed(place, Trouble::Backwards { first, last }));
        }
        (first.0..=last.0).try_for_each(|number| self.member(VlanId(number), egress, place))
    }

    fn series(&mut self, first: VlanId, place: usize) -> Result<(), InvalidVlans> {
        let offset = self.number("the offset, a number,")?;
        self.expect(b'x', "'x' and a count")?;
        let count = self.number("the count, a number,")?;
        let egress = self.egress();
        self.require_end("'u', '/' or the end")?;
        let step: u64 = offset.digits.parse().unwrap_or(u64::MAX);
        let count: u64 = count.digits.parse().unwrap_or(u64::MAX);
        if step == 0 {
            return Err(self.failed(offset.place, Trouble::NoOffset));
        }
        let mut number = u64::from(first.0);
        for _ in 0..=count {
            let id = u16::try_from(number).ok().and_then(|number| VlanId::try_from(number).ok());
            let id = id.ok_or_else(|| self.failed(place, Trouble::NoVlan { number: number.to_string() }))?;
            self.member(id, egress, place)?;
            number = number.saturating_add(step);
        }
        Ok(())
    }

    fn pvid(&mut self, id: VlanId, place: usize) -> Result<(), InvalidVlans> {
        self.require_end("'/' or the end")?;
        self.member(id, Egress::Untagged, place)?;
        match self.vlans.pvid.replace(id) {
            Some(first) => Err(self.failed(place, Trouble::SecondPvid { first, second: id })),
            None => Ok(()),
        }
    }

    fn egress(&mut self) -> Egress {
        if self.takes(b'u') { Egress::Untagged } else { Egress::Tagged }
    }

    /// Looks whether the term ends here.
    fn require_end(&self, expected: &'static str) -> Result<(), InvalidVlans> {
        match self.next() {
            None | Some(b'/') => Ok(()),
            Some(_) => Err(self.failed(self.place, Trouble::Unexpected { expected })),
        }
    }

    fn member(&mut self, id: VlanId, egress: Egress, place: usize) -> Result<(), InvalidVlans> {
        match self.vlans.members.insert(id, egress) {
            Some(_) => Err(self.failed(place, Trouble::Twice { id })),
            None => Ok(()),
        }
    }

    fn settle_pvid(self) -> Result<PortVlans, InvalidVlans> {
        if self.vlans.pvid.is_some() {
            return Ok(self.vlans);
        }
        let mut members = self.vlans.members.keys();
        match (members.next(), members.next()) {
            (Some(only), None) => Ok(PortVlans::of_new_port(Some(*only))),
            _ => Err(self.failed(self.text.len(), Trouble::NoPvid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `bridge vlan show` lists them.
    fn shown(text: &str) -> String {
        let vlans: PortVlans = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let words = vlans.members.keys().map(|id| match vlans.way_of(*id) {
            Some((Egress::Untagged, Ingress::Untagged)) => format!("{id} PVID Egress Untagged"),
            Some((Egress::Untagged, Ingress::Tagged)) => format!("{id} Egress Untagged"),
            Some((Egress::Tagged, Ingress::Untagged)) => format!("{id} PVID"),
            Some((Egress::Tagged, Ingress::Tagged)) | None => id.to_string(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn examples_of_the_manual() {
        assert_eq!(shown("10"), "10 PVID Egress Untagged");
        assert_eq!(shown("10p/20"), "10 PVID Egress Untagged, 20");
        // The manual's sentence and its example disagree; decisions/0012 says which one counts.
        assert_eq!(shown("10p/100+10x4"), "10 PVID Egress Untagged, 100, 110, 120, 130, 140");
    }

    #[test]
    fn every_form_of_a_term() {
        assert_eq!(shown("1p/10-12/20-21u"), "1 PVID Egress Untagged, 10, 11, 12, 20 Egress Untagged, 21 Egress Untagged");
        assert_eq!(shown("20/10p"), "10 PVID Egress Untagged, 20");
        assert_eq!(shown("10p/5u"), "5 Egress Untagged, 10 PVID Egress Untagged");
        assert_eq!(shown("10p/30+1x0"), "10 PVID Egress Untagged, 30");
        assert_eq!(shown("10p/30+5x1u"), "10 PVID Egress Untagged, 30 Egress Untagged, 35 Egress Untagged");
    }

    #[test]
    fn a_single_vlan_is_the_pvid_whatever_it_is_called() {
        for text in ["10", "10u", "10p", "10-10", "10+5x0", "0010"] {
            assert_eq!(shown(text), "10 PVID Egress Untagged", "{text}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (text, sentence) in [
            ("", "at character 1, it ends where the number of a VLAN is expected"),
            ("p", "at character 1, 'p' stands where the number of a VLAN is expected"),
            ("10p/", "at character 5, it ends where the number of a VLAN is expected"),
            ("10p//20", "at character 5, '/' stands where the number of a VLAN is expected"),
            ("10p 20", "at character 4, ' ' stands where '/' or the end is expected"),
            ("10,20", "at character 3, ',' stands where 'p', 'u', '-', '+', '/' or the end is expected"),
            ("10up", "at character 4, 'p' stands where 'p', 'u', '-', '+', '/' or the end is expected"),
            ("10P", "at character 3, 'P' stands where 'p', 'u', '-', '+', '/' or the end is expected"),
            ("10p/20-30p", "at character 10, 'p' stands where 'u', '/' or the end is expected"),
            ("10p/20-", "at character 8, it ends where the number of a VLAN is expected"),
            ("10p/30-20", "at character 5, the range goes backwards, from 30 to 20"),
            ("10p/20+", "at character 8, it ends where the offset, a number, is expected"),
            ("10p/20+5", "at character 9, it ends where 'x' and a count is expected"),
            ("10p/20+5x", "at character 10, it ends where the count, a number, is expected"),
            ("10p/20+5x2p", "at character 11, 'p' stands where 'u', '/' or the end is expected"),
            ("10p/20+0x2", "at character 8, an offset of 0 "),
            ("10p/4000+10x10", "at character 5, 4100 is no VLAN: their numbers go from 1 to 4094"),
            ("10p/1+9999999999999999999999x99999999999999999999", "at character 5, 18446744073709551615 is no VLAN"),
            ("0", "at character 1, 0 is no VLAN: their numbers go from 1 to 4094"),
            ("10p/4095", "at character 5, 4095 is no VLAN"),
            ("10p/99999999999999999999", "at character 5, 99999999999999999999 is no VLAN"),
            ("10p/20/15-25", "at character 8, VLAN 20 is named a second time"),
            ("10p/10", "at character 5, VLAN 10 is named a second time"),
            ("10p/20p", "at character 5, 20 is a second PVID beside 10"),
            ("10/20", "at character 6, it ends without a PVID"),
            ("10-12u", "at character 7, it ends without a PVID"),
            ("10p/é", "at character 5, '\\u{e9}' stands where the number of a VLAN is expected"),
            ("-1", "at character 1, '-' stands where the number of a VLAN is expected"),
        ] {
            let error = text.parse::<PortVlans>().unwrap_err().to_string();
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn tags_are_seen() {
        assert!(!"10".parse::<PortVlans>().unwrap().has_tagged());
        assert!(!"10p/20u".parse::<PortVlans>().unwrap().has_tagged());
        assert!("10p/20u/30".parse::<PortVlans>().unwrap().has_tagged());
    }

    /// The list in the words of the grammar.
    fn written(vlans: &PortVlans) -> String {
        let term = |span: &VlanSpan| match (span.ingress, span.egress, span.first == span.last) {
            (Ingress::Untagged, _, _) => format!("{}p", span.first),
            (_, Egress::Untagged, true) => format!("{}u", span.first),
            (_, Egress::Untagged, false) => format!("{}-{}u", span.first, span.last),
            (_, Egress::Tagged, true) => span.first.to_string(),
            (_, Egress::Tagged, false) => format!("{}-{}", span.first, span.last),
        };
        vlans.spans().iter().map(term).collect::<Vec<_>>().join("/")
    }

    fn any_vlans() -> impl Strategy<Value = PortVlans> {
        let members = prop::collection::btree_map(1..=40_u16, prop::bool::ANY, 1..30);
        (members, any::<prop::sample::Index>()).prop_map(|(members, pvid)| {
            let egress = |untagged| if untagged { Egress::Untagged } else { Egress::Tagged };
            let mut members: BTreeMap<VlanId, Egress> =
                members.into_iter().map(|(number, untagged)| (VlanId(number), egress(untagged))).collect();
            let pvid = *pvid.get(&members.keys().copied().collect::<Vec<_>>());
            members.insert(pvid, Egress::Untagged);
            PortVlans { members, pvid: Some(pvid) }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(vlans in any_vlans()) {
            prop_assert_eq!(written(&vlans).parse::<PortVlans>().unwrap(), vlans);
        }

        #[test]
        fn hostile_texts_are_an_error_with_a_place_in_them_or_one_pvid(text in "[0-9pux+/ é-]{0,40}") {
            match text.parse::<PortVlans>() {
                Ok(vlans) => {
                    prop_assert_eq!(vlans.members.get(&vlans.pvid().unwrap()), Some(&Egress::Untagged));
                    prop_assert!(vlans.members.keys().all(|id| (1..=4094).contains(&id.0)));
                }
                Err(error) => {
                    prop_assert!(error.place <= text.chars().count());
                    let place = format!("at character {}", error.place + 1);
                    prop_assert!(error.to_string().contains(&place));
                }
            }
        }

        #[test]
        fn what_is_absent_and_what_is_unlike_leads_from_one_to_the_other(from in any_vlans(), to in any_vlans()) {
            let mut now = from.clone();
            for span in from.absent_from(&to) {
                now.delete(span.first, span.last);
            }
            for span in to.unlike(&now) {
                now.add(&span);
            }
            prop_assert_eq!(now, to);
        }
    }
}
