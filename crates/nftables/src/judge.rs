//! What a rule of somebody else's makes of a packet, as far as the rule asks for what is known of the packet.
//!
//! A rule loads registers and compares them. A byte that nobody knows makes a comparison doubtful; a comparison that fails, or a rule
//! that asks only for what is known, leaves no doubt.

use std::net::IpAddr;

use crate::expression::{
    DATA_VALUE, EXPRESSION_DATA, EXPRESSION_NAME, FIRST_REGISTER, IMMEDIATE_DATA, IMMEDIATE_DREG, LIST_ELEMENT, VERDICT_REGISTER,
};
use crate::seen::{RuleSeen, verdict_of};
use crate::selector::MetaKey;
use crate::wire::Attributes;
use crate::{Error, Family, Verdict};

/// A device of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
}

/// What is known of a packet that begins a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The device it comes in by.
    pub from: Option<Device>,
    /// The device it goes out by.
    pub to: Option<Device>,
    /// The bridge that both are ports of.
    pub bridge: Option<String>,
    /// Its Ethernet source address.
    pub mac: Option<[u8; 6]>,
    /// Its source.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: Option<IpAddr>,
    /// Its protocol (IANA's protocol numbers): 6 is TCP.
    pub protocol: Option<u8>,
}

/// What a rule makes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is for other packets.
    Passes,
    /// It is for this one, and ends so.
    Applies(Ending),
    /// It asks for what is not known. If it is for this packet, it ends so.
    Perhaps(Ending),
}

/// What a rule does to the packets that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing that matters for whether they pass.
    Nothing,
    /// It decides.
    Verdict(Verdict),
    /// It drops them and says so to the sender.
    Reject,
    /// Something that this crate does not read.
    Unknown,
}

const AF_INET: u8 = 2;
const NFPROTO_BRIDGE: u8 = 7;
const AF_INET6: u8 = 10;
const ARPHRD_ETHER: u16 = 1;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// `NF_CT_STATE_BIT(IP_CT_NEW)` (include/uapi/linux/netfilter/nf_conntrack_common.h).
const STATE_NEW: u32 = 8;

/// Bytes of which some may not be known.
type Bytes = Vec<Option<u8>>;

fn known(bytes: &[u8]) -> Bytes {
    bytes.iter().map(|byte| Some(*byte)).collect()
}

impl Packet {
    /// Whether chains of a family see it; in doubt they do.
    #[must_use]
    pub fn is_seen_by(&self, family: Family) -> bool {
        match (family, self.address()) {
            (Family::Ip, Some(address)) => address.is_ipv4(),
            (Family::Ip6, Some(address)) => address.is_ipv6(),
            _ => true,
        }
    }

    fn address(&self) -> Option<IpAddr> {
        self.source.or(self.destination)
    }

    fn by_version<T>(&self, four: T, six: T) -> Option<T> {
        self.address().map(|address| if address.is_ipv4() { four } else { six })
    }

    /// `enum nft_meta_keys`, `NFT_META_*`.
    fn meta(&self, family: Family, key: u32) -> Option<Bytes> {
        const IIF: u32 = 4;
        const OIF: u32 = 5;
        const IIFNAME: u32 = MetaKey::Iifname.number();
        const OIFNAME: u32 = MetaKey::Oifname.number();
        const IIFTYPE: u32 = MetaKey::IifType.number();
        const NFPROTO: u32 = MetaKey::NfProto.number();
        const L4PROTO: u32 = MetaKey::L4Proto.number();
        const PROTOCOL: u32 = MetaKey::Protocol.number();
        const BRI_IIFNAME: u32 = 17;
        const BRI_OIFNAME: u32 = 18;
        let name = |name: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(16, 0);
            known(&bytes)
        };
        match key {
            PROTOCOL => self.by_version(ETH_P_IP, ETH_P_IPV6).map(|number| known(&number.to_be_bytes())),
            IIF => self.from.as_ref().map(|device| known(&device.number.to_ne_bytes())),
            OIF => self.to.as_ref().map(|device| known(&device.number.to_ne_bytes())),
            IIFNAME => self.from.as_ref().map(|device| name(&device.name)),
            OIFNAME => self.to.as_ref().map(|device| name(&device.name)),
            BRI_IIFNAME | BRI_OIFNAME => self.bridge.as_deref().map(name),
            IIFTYPE => Some(known(&ARPHRD_ETHER.to_ne_bytes())),
            NFPROTO if family == Family::Bridge => Some(known(&[NFPROTO_BRIDGE])),
            NFPROTO => self.by_version(AF_INET, AF_INET6).map(|number| known(&[number])),
            L4PROTO => self.protocol.map(|number| known(&[number])),
            _ => None,
        }
    }

    /// A piece of a header.
    fn payload(&self, base: u32, offset: usize, length: usize) -> Option<Bytes> {
        const LINK: u32 = 0;
        const NETWORK: u32 = 1;
        let header = match base {
            LINK => self.link_header(),
            NETWORK => self.network_header()?,
            _ => return None,
        };
        Some(header.get(offset..offset.checked_add(length)?)?.to_vec())
    }

    fn link_header(&self) -> Bytes {
        let mut header = vec![None; 14];
        fill(&mut header, 6, self.mac.map(|mac| mac.to_vec()));
        fill(&mut header, 12, self.by_version(ETH_P_IP, ETH_P_IPV6).map(|number| number.to_be_bytes().to_vec()));
        header
    }

    fn network_header(&self) -> Option<Bytes> {
        let octets = |address: Option<IpAddr>| {
            address.map(|address| match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            })
        };
        // RFC 791, section 3.1, and RFC 8200, section 3.
        let (length, protocol, source, destination) = self.by_version((20, 9, 12, 16), (40, 6, 8, 24))?;
        let mut header = vec![None; length];
        fill(&mut header, protocol, self.protocol.map(|number| vec![number]));
        fill(&mut header, source, octets(self.source));
        fill(&mut header, destination, octets(self.destination));
        Some(header)
    }
}

fn fill(header: &mut Bytes, offset: usize, value: Option<Vec<u8>>) {
    for (place, byte) in header.iter_mut().skip(offset).zip(value.unwrap_or_default()) {
        *place = Some(byte);
    }
}

/// The registers, byte by byte.
struct Registers([Option<u8>; Registers::SIZE]);

impl Registers {
    const SIZE: usize = 64;

    /// The place of a register, whichever of its two numbers is told.
    fn place(number: u32) -> Option<usize> {
        let place = match number {
            1..=4 => (number - 1) * 16,
            FIRST_REGISTER..=23 => (number - FIRST_REGISTER) * 4,
            _ => return None,
        };
        usize::try_from(place).ok()
    }

    /// A value fills whole registers of four bytes.
    fn put(&mut self, register: Option<u32>, value: Option<Bytes>) {
        const LONGEST: usize = 16;
        let Some(place) = register.and_then(Self::place) else { return };
        let value = value.unwrap_or(vec![None; LONGEST]);
        let padded = value.iter().copied().chain(std::iter::repeat(Some(0)));
        let length = value.len().next_multiple_of(4);
        self.0.iter_mut().skip(place).take(length).zip(padded).for_each(|(byte, value)| *byte = value);
    }

    fn get(&self, register: Option<u32>, length: usize) -> Option<Bytes> {
        let place = register.and_then(Self::place)?;
        Some(self.0.get(place..place.checked_add(length)?)?.to_vec())
    }
}

/// Whether a comparison holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Perhaps,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What an expression is for the rule.
enum Meaning {
    Goes(Holds),
    Ends(Ending),
}

impl RuleSeen {
    /// What the rule, of a chain of `family`, makes of a packet.
    ///
    /// # Errors
    /// When the kernel's answer makes no sense.
    pub fn judge(&self, family: Family, packet: &Packet) -> Result<Judgement, Error> {
        let mut registers = Registers([None; Registers::SIZE]);
        let mut doubtful = false;
        let mut ending = Ending::Nothing;
        for bytes in self.expressions()?.each(LIST_ELEMENT) {
            match meaning(bytes, family, packet, &mut registers)? {
                Meaning::Goes(Holds::No) => return Ok(Judgement::Passes),
                Meaning::Goes(Holds::Perhaps) => doubtful = true,
                Meaning::Goes(Holds::Yes) => {}
                Meaning::Ends(end) => ending = end,
            }
        }
        Ok(if doubtful { Judgement::Perhaps(ending) } else { Judgement::Applies(ending) })
    }
}

fn meaning(bytes: &[u8], family: Family, packet: &Packet, registers: &mut Registers) -> Result<Meaning, Error> {
    let attributes = Attributes::parse(bytes)?;
    let name = attributes.text(EXPRESSION_NAME).unwrap_or_default();
    let Some(data) = attributes.nested(EXPRESSION_DATA)? else {
        return Ok(Meaning::Goes(if is_harmless(name) { Holds::Yes } else { Holds::Perhaps }));
    };
    let number = |kind: u16| data.u32(kind);
    let size = |kind: u16| Ok::<_, Error>(usize::try_from(data.u32(kind)?.unwrap_or(0)).unwrap_or(usize::MAX));
    let goes = match name {
        // NFTA_META_DREG, NFTA_META_KEY; with NFTA_META_SREG it sets something.
        b"meta" => {
            registers.put(number(1)?, packet.meta(family, number(2)?.unwrap_or(u32::MAX)));
            Holds::Yes
        }
        // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN; with NFTA_PAYLOAD_SREG it writes.
        b"payload" => {
            registers.put(number(1)?, packet.payload(number(2)?.unwrap_or(u32::MAX), size(3)?, size(4)?));
            Holds::Yes
        }
        // NFTA_CT_DREG, NFTA_CT_KEY: NFT_CT_STATE is 0.
        b"ct" => {
            let state = (number(2)? == Some(0)).then(|| known(&STATE_NEW.to_ne_bytes()));
            registers.put(number(1)?, state);
            Holds::Yes
        }
        b"bitwise" => {
            bitwise(&data, registers)?;
            Holds::Yes
        }
        b"cmp" => compare(&data, registers)?,
        b"range" => range(&data, registers)?,
        b"immediate" => return immediate(&data, registers),
        b"reject" => return Ok(Meaning::Ends(Ending::Reject)),
        b"queue" | b"fwd" | b"tproxy" | b"synproxy" => return Ok(Meaning::Ends(Ending::Unknown)),
        // A verdict map has NFTA_LOOKUP_DREG.
        b"lookup" if number(3)? == Some(VERDICT_REGISTER) => return Ok(Meaning::Ends(Ending::Unknown)),
        // iptables-nft's own: NFTA_TARGET_NAME and NFTA_MATCH_NAME are both 1.
        b"target" => return Ok(Meaning::Ends(ending_of_target(data.text(1).unwrap_or_default()))),
        b"match" if data.text(1) == Some(b"comment") => Holds::Yes,
        other if is_harmless(other) => Holds::Yes,
        _ => Holds::Perhaps,
    };
    Ok(Meaning::Goes(goes))
}

/// Expressions that every packet gets past, and that do not decide.
fn is_harmless(name: &[u8]) -> bool {
    matches!(name, b"counter" | b"log" | b"notrack" | b"last" | b"flow_offload" | b"dup")
}

fn ending_of_target(name: &[u8]) -> Ending {
    match name {
        b"REJECT" => Ending::Reject,
        b"LOG" | b"NFLOG" | b"MARK" | b"CONNMARK" | b"TCPMSS" | b"CT" | b"TRACE" | b"CHECKSUM" | b"CLASSIFY" | b"DSCP" | b"TEE" => {
            Ending::Nothing
        }
        _ => Ending::Unknown,
    }
}

fn immediate(data: &Attributes<'_>, registers: &mut Registers) -> Result<Meaning, Error> {
    let content = data.nested(IMMEDIATE_DATA)?;
    let register = data.u32(IMMEDIATE_DREG)?;
    if register == Some(VERDICT_REGISTER) {
        let verdict = content.as_ref().map(verdict_of).transpose()?.flatten();
        return Ok(Meaning::Ends(verdict.map_or(Ending::Unknown, Ending::Verdict)));
    }
    registers.put(register, content.as_ref().and_then(|data| data.bytes(DATA_VALUE)).map(known));
    Ok(Meaning::Goes(Holds::Yes))
}

/// `NFTA_BITWISE_*`: (register & mask) ^ change. Shifts and the operations of newer kernels are not read.
fn bitwise(data: &Attributes<'_>, registers: &mut Registers) -> Result<(), Error> {
    const BOOL: u32 = 0;
    let (mask, change) = (value_in(data, 4)?, value_in(data, 5)?);
    let value = registers.get(data.u32(1)?, mask.len());
    let changed = value.filter(|_| data.u32(6).ok().flatten().unwrap_or(BOOL) == BOOL && mask.len() == change.len()).map(|value| {
        let bytes = value.into_iter().zip(mask.iter().zip(&change));
        bytes
            .map(|(byte, (mask, change))| if *mask == 0 { Some(*change) } else { byte.map(|byte| (byte & mask) ^ change) })
            .collect()
    });
    registers.put(data.u32(2)?, changed);
    Ok(())
}

/// `NFTA_CMP_*`
fn compare(data: &Attributes<'_>, registers: &Registers) -> Result<Holds, Error> {
    let wanted = value_in(data, 3)?;
    let Some(value) = registers.get(data.u32(1)?, wanted.len()) else { return Ok(Holds::Perhaps) };
    let differs = value.iter().zip(&wanted).any(|(byte, wanted)| byte.is_some_and(|byte| byte != *wanted));
    let value: Option<Vec<u8>> = value.into_iter().collect();
    // `enum nft_cmp_ops`
    Ok(match (data.u32(2)?, value) {
        (Some(0), _) if differs => Holds::No,
        (Some(1), _) if differs => Holds::Yes,
        (_, None) => Holds::Perhaps,
        (Some(0), Some(value)) => (value == wanted).into(),
        (Some(1), Some(value)) => (value != wanted).into(),
        (Some(2), Some(value)) => (value < wanted).into(),
        (Some(3), Some(value)) => (value <= wanted).into(),
        (Some(4), Some(value)) => (value > wanted).into(),
        (Some(5), Some(value)) => (value >= wanted).into(),
        _ => Holds::Perhaps,
    })
}

/// `NFTA_RANGE_*`, both ends included.
fn range(data: &Attributes<'_>, registers: &Registers) -> Result<Holds, Error> {
    let (first, last) = (value_in(data, 3)?, value_in(data, 4)?);
    let value: Option<Vec<u8>> = registers.get(data.u32(1)?, first.len()).and_then(|value| value.into_iter().collect());
    Ok(match (data.u32(2)?, value) {
        (Some(0), Some(value)) => (first <= value && value <= last).into(),
        (Some(1), Some(value)) => (value < first || last < value).into(),
        _ => Holds::Perhaps,
    })
}

fn value_in(data: &Attributes<'_>, kind: u16) -> Result<Vec<u8>, Error> {
    let nested = data.nested(kind)?;
    Ok(nested.as_ref().and_then(|data| data.bytes(DATA_VALUE)).unwrap_or_default().to_vec())
}
