//! Values that packets are compared with, and their types.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::until_zero;
use crate::{
    ArpOperation, ConnectionStates, EtherType, Icmpv6Type, InterfaceName, IpVersion, PayloadBase, Presence, Protocol, Selector,
};

/// `IFNAMSIZ`: how long an interface's name is in a register, zeros behind it (include/uapi/linux/if.h).
pub(crate) const INTERFACE_NAME_LENGTH: usize = 16;

/// What a part of a set's key is. The numbers, which only tell nft(8) how to print, are its own (nftables, `enum datatypes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// The name of an interface.
    Interface,
    /// A MAC address.
    EtherAddress,
    /// An IPv4 address.
    Ipv4Address,
    /// An IPv6 address.
    Ipv6Address,
    /// What a frame carries.
    EtherType,
    /// What an IP packet carries.
    Protocol,
    /// A port of TCP or UDP.
    Port,
    /// What an ARP packet says.
    ArpOperation,
    /// What an ICMPv6 packet says.
    Icmpv6Type,
    /// The packet's mark.
    Mark,
    /// The name of the device by which an answer would leave ([`Selector::WayBack`]); older nft takes it for another type than other names
    /// of interfaces, so that a set for it is shown by the field.
    WayBack,
    /// Bytes of a packet that have no name in nft. A set with such a part is shown by the fields it is for (`typeof`): to nft, bytes at one
    /// place are as good as those at any other of the same length, and never the same as something that has a type.
    Payload {
        /// Which header the offset counts from.
        base: PayloadBase,
        /// In bytes.
        offset: u32,
        /// In bytes, 1 to 16.
        length: u32,
    },
}

impl DataType {
    /// Its number in nft.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Payload { .. } => 4,
            Self::WayBack => 5,
            Self::Ipv4Address => 7,
            Self::Ipv6Address => 8,
            Self::EtherAddress => 9,
            Self::EtherType => 10,
            Self::ArpOperation => 11,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => 19,
            Self::Icmpv6Type => 29,
            Self::Interface => 41,
        }
    }

    /// Its length in bytes.
    pub(crate) const fn length(self) -> usize {
        match self {
            Self::Protocol | Self::Icmpv6Type => 1,
            Self::EtherType | Self::ArpOperation | Self::Port => 2,
            Self::Ipv4Address | Self::Mark => 4,
            Self::EtherAddress => 6,
            Self::Ipv6Address | Self::Interface | Self::WayBack => 16,
            Self::Payload { length, .. } => length as usize,
        }
    }

    /// The value that `bytes` stand for; nothing where they are none of this type.
    pub(crate) fn read(self, bytes: &[u8]) -> Option<Value> {
        Some(match self {
            Self::Interface | Self::WayBack => {
                let name = bytes.first_chunk::<INTERFACE_NAME_LENGTH>()?;
                Value::Interface(std::str::from_utf8(until_zero(name)).ok()?.parse().ok()?)
            }
            Self::EtherAddress => Value::EtherAddress(*bytes.first_chunk()?),
            Self::Ipv4Address => Value::Ipv4Address(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            Self::Ipv6Address => Value::Ipv6Address(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
            Self::EtherType => Value::EtherType(EtherType(u16::from_be_bytes(*bytes.first_chunk()?))),
            Self::Protocol => Value::Protocol(Protocol(*bytes.first()?)),
            Self::Port => Value::Port(u16::from_be_bytes(*bytes.first_chunk()?)),
            Self::ArpOperation => Value::ArpOperation(ArpOperation(u16::from_be_bytes(*bytes.first_chunk()?))),
            Self::Icmpv6Type => Value::Icmpv6Type(Icmpv6Type(*bytes.first()?)),
            Self::Mark => Value::Mark(u32::from_ne_bytes(*bytes.first_chunk()?)),
            Self::Payload { length, .. } => Value::Bytes(bytes.get(..usize::try_from(length).ok()?)?.to_vec()),
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::Interface => "ifname",
            Self::WayBack => return Selector::WayBack.fmt(f),
            Self::EtherAddress => "ether_addr",
            Self::Ipv4Address => "ipv4_addr",
            Self::Ipv6Address => "ipv6_addr",
            Self::EtherType => "ether_type",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::ArpOperation => "arp_op",
            Self::Icmpv6Type => "icmpv6_type",
            Self::Mark => "mark",
            Self::Payload { base, offset, length } => return Selector::Payload { base, offset, length }.fmt(f),
        })
    }
}

/// A value, as it stands in a packet or about one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// The name of an interface.
    Interface(InterfaceName),
    /// A MAC address.
    EtherAddress([u8; 6]),
    /// An IPv4 address.
    Ipv4Address(Ipv4Addr),
    /// An IPv6 address.
    Ipv6Address(Ipv6Addr),
    /// What a frame carries.
    EtherType(EtherType),
    /// What an IP packet carries.
    Protocol(Protocol),
    /// A port of TCP or UDP.
    Port(u16),
    /// What an ARP packet says.
    ArpOperation(ArpOperation),
    /// What an ICMPv6 packet says.
    Icmpv6Type(Icmpv6Type),
    /// The packet's mark.
    Mark(u32),
    /// IPv4 or IPv6.
    IpVersion(IpVersion),
    /// States of a connection.
    ConnectionStates(ConnectionStates),
    /// Whether something is there.
    Presence(Presence),
    /// A small number.
    U8(u8),
    /// A number in network byte order.
    U16(u16),
    /// Bytes as they stand in a packet.
    Bytes(Vec<u8>),
}

impl Value {
    /// A network as [`Selector::Network`](crate::Selector::Network) sees it: the first `bits` bits of `address`, and their number in the last
    /// byte.
    #[must_use]
    pub fn network(address: IpAddr, bits: u8) -> Self {
        fn coded<const LENGTH: usize>(mut octets: [u8; LENGTH], bits: u8) -> [u8; LENGTH] {
            let (mask, code) = (prefix_mask(LENGTH, bits), network_code(LENGTH, bits));
            for ((octet, mask), code) in octets.iter_mut().zip(mask).zip(code) {
                *octet = *octet & mask ^ code;
            }
            octets
        }
        match address {
            IpAddr::V4(address) => Self::Ipv4Address(coded(address.octets(), bits).into()),
            IpAddr::V6(address) => Self::Ipv6Address(coded(address.octets(), bits).into()),
        }
    }

    /// What the kernel compares with: network byte order for what stands in packets, the host's for what is said about them.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(INTERFACE_NAME_LENGTH);
        self.append_to(&mut bytes);
        bytes
    }

    /// The same, behind other bytes.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Interface(name) => {
                let end = bytes.len() + INTERFACE_NAME_LENGTH;
                bytes.extend_from_slice(name.as_str().as_bytes());
                bytes.resize(end, 0);
            }
            Self::EtherAddress(address) => bytes.extend_from_slice(address),
            Self::Ipv4Address(address) => bytes.extend_from_slice(&address.octets()),
            Self::Ipv6Address(address) => bytes.extend_from_slice(&address.octets()),
            Self::EtherType(EtherType(number))
            | Self::ArpOperation(ArpOperation(number))
            | Self::Port(number)
            | Self::U16(number) => bytes.extend_from_slice(&number.to_be_bytes()),
            Self::Protocol(Protocol(number)) | Self::Icmpv6Type(Icmpv6Type(number)) | Self::U8(number) => bytes.push(*number),
            Self::Mark(mark) => bytes.extend_from_slice(&mark.to_ne_bytes()),
            Self::IpVersion(version) => bytes.push(version.number()),
            Self::ConnectionStates(states) => bytes.extend_from_slice(&states.0.to_ne_bytes()),
            Self::Presence(presence) => bytes.push(u8::from(*presence == Presence::Present)),
            Self::Bytes(own) => bytes.extend_from_slice(own),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => name.fmt(f),
            Self::EtherAddress([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Ipv4Address(address) => address.fmt(f),
            Self::Ipv6Address(address) => address.fmt(f),
            Self::EtherType(number) => number.fmt(f),
            Self::Protocol(number) => number.fmt(f),
            Self::Port(number) => number.fmt(f),
            Self::ArpOperation(number) => number.fmt(f),
            Self::Icmpv6Type(number) => number.fmt(f),
            Self::Mark(mark) => write!(f, "0x{mark:08x}"),
            Self::IpVersion(version) => version.fmt(f),
            Self::ConnectionStates(states) => states.fmt(f),
            Self::Presence(presence) => presence.fmt(f),
            Self::U8(number) => number.fmt(f),
            Self::U16(number) => number.fmt(f),
            Self::Bytes(bytes) => write_hexadecimal(f, bytes),
        }
    }
}

/// As one number, the way nft shows a field that has no name.
fn write_hexadecimal(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut rest = bytes.iter().skip_while(|byte| **byte == 0);
    write!(f, "0x{:x}", rest.next().unwrap_or(&0))?;
    rest.try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl From<&InterfaceName> for Value {
    fn from(name: &InterfaceName) -> Self {
        Self::Interface(name.clone())
    }
}

impl From<[u8; 6]> for Value {
    fn from(address: [u8; 6]) -> Self {
        Self::EtherAddress(address)
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4Address(address),
            IpAddr::V6(address) => Self::Ipv6Address(address),
        }
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::Ipv4Address(address)
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::Ipv6Address(address)
    }
}

impl From<EtherType> for Value {
    fn from(number: EtherType) -> Self {
        Self::EtherType(number)
    }
}

impl From<Protocol> for Value {
    fn from(number: Protocol) -> Self {
        Self::Protocol(number)
    }
}

impl From<ArpOperation> for Value {
    fn from(number: ArpOperation) -> Self {
        Self::ArpOperation(number)
    }
}

impl From<Icmpv6Type> for Value {
    fn from(number: Icmpv6Type) -> Self {
        Self::Icmpv6Type(number)
    }
}

impl From<IpVersion> for Value {
    fn from(version: IpVersion) -> Self {
        Self::IpVersion(version)
    }
}

impl From<ConnectionStates> for Value {
    fn from(states: ConnectionStates) -> Self {
        Self::ConnectionStates(states)
    }
}

impl From<Presence> for Value {
    fn from(presence: Presence) -> Self {
        Self::Presence(presence)
    }
}

/// One value or many: what a packet's field is compared with, or a part of an element's key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Only this.
    Exact(Value),
    /// Whatever begins with as many bits of this value. The bits behind them do not count.
    Prefix(Value, u8),
    /// From one to another, both included.
    Range(Value, Value),
}

impl Field {
    /// The smallest and the greatest value.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Exact(value) => (value.bytes(), value.bytes()),
            Self::Range(first, last) => (first.bytes(), last.bytes()),
            Self::Prefix(value, bits) => {
                let value = value.bytes();
                let mask = prefix_mask(value.len(), *bits);
                let masked = value.iter().zip(mask);
                masked.map(|(byte, mask)| (byte & mask, byte | !mask)).unzip()
            }
        }
    }

    /// The smallest value, behind other bytes.
    pub(crate) fn append_first_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Exact(value) | Self::Range(value, _) => value.append_to(bytes),
            Self::Prefix(..) => bytes.extend_from_slice(&self.bounds().0),
        }
    }

    /// The greatest value, behind other bytes.
    pub(crate) fn append_last_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Exact(value) | Self::Range(_, value) => value.append_to(bytes),
            Self::Prefix(..) => bytes.extend_from_slice(&self.bounds().1),
        }
    }

    /// How many bytes each of its values has.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        match self {
            Self::Exact(value) | Self::Prefix(value, _) => vec![value.bytes().len()],
            Self::Range(first, last) => vec![first.bytes().len(), last.bytes().len()],
        }
    }

    /// The field that reaches from one value to another.
    pub(crate) fn between(first: Value, last: Value) -> Self {
        let (low, high) = (first.bytes(), last.bytes());
        if low == high {
            return Self::Exact(first);
        }
        for bits in 0..u8::try_from(low.len() * 8).unwrap_or(u8::MAX) {
            let prefix = Self::Prefix(first.clone(), bits);
            let mask = prefix_mask(low.len(), bits);
            if low.iter().zip(mask).all(|(byte, mask)| byte & !mask == 0) && prefix.bounds().1 == high {
                return prefix;
            }
        }
        Self::Range(first, last)
    }
}

/// `bits` ones, then zeros, in `length` bytes.
pub(crate) fn prefix_mask(length: usize, bits: u8) -> Vec<u8> {
    let bits = usize::from(bits);
    let byte = |place: usize| match bits.saturating_sub(place * 8) {
        0 => 0,
        ones @ 1..8 => u8::MAX << (8 - ones),
        _ => u8::MAX,
    };
    (0..length).map(byte).collect()
}

/// Zeros, and the number `bits` in the last of `length` bytes.
pub(crate) fn network_code(length: usize, bits: u8) -> Vec<u8> {
    let mut code = vec![0; length];
    if let Some(last) = code.last_mut() {
        *last = bits;
    }
    code
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => value.fmt(f),
            Self::Prefix(value, bits) => write!(f, "{value}/{bits}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl<T: Into<Value>> From<T> for Field {
    fn from(value: T) -> Self {
        Self::Exact(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Value {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn prefix_reaches_from_its_first_to_its_last_address() {
        let (first, last) = Field::Prefix(ip("10.1.0.0"), 17).bounds();
        assert_eq!((first, last), (vec![10, 1, 0, 0], vec![10, 1, 127, 255]));
        assert_eq!(Field::Prefix(ip("10.1.2.3"), 17).bounds().0, [10, 1, 0, 0]);
        let (_, last) = Field::Prefix(ip("::"), 0).bounds();
        assert_eq!(last, [0xff; 16]);
    }

    #[test]
    fn bounds_become_the_field_they_came_from() {
        for field in [
            Field::Exact(ip("10.0.0.1")),
            Field::Prefix(ip("10.0.0.0"), 31),
            Field::Prefix(ip("0.0.0.0"), 0),
            Field::Prefix(ip("fe80::"), 10),
            Field::Range(ip("10.0.0.1"), ip("10.0.0.2")),
        ] {
            let (Field::Exact(first) | Field::Prefix(first, _) | Field::Range(first, _)) = &field;
            let kind = if first.bytes().len() == 4 { DataType::Ipv4Address } else { DataType::Ipv6Address };
            let last = kind.read(&field.bounds().1).unwrap();
            assert_eq!(Field::between(first.clone(), last), field);
        }
    }

    #[test]
    fn values_come_back_from_their_bytes() {
        for (kind, value) in [
            (DataType::Interface, Value::Interface("vif1.0".parse().unwrap())),
            (DataType::EtherAddress, Value::EtherAddress([0, 0x16, 0x3e, 1, 2, 3])),
            (DataType::EtherType, EtherType::ARP.into()),
            (DataType::Protocol, Protocol::UDP.into()),
            (DataType::Port, Value::Port(67)),
            (DataType::ArpOperation, ArpOperation::REPLY.into()),
            (DataType::Icmpv6Type, Icmpv6Type::NEIGHBOR_SOLICIT.into()),
            (DataType::Mark, Value::Mark(0x1234)),
        ] {
            assert_eq!(value.bytes().len(), kind.length(), "{kind}");
            assert_eq!(kind.read(&value.bytes()), Some(value));
        }
    }
}
