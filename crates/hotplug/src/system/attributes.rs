//! Reading a message of the kernel: a fixed header, then attributes (include/uapi/linux/netlink.h, `struct nlattr`).

use std::net::IpAddr;

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};

use super::connection::KernelError;
use crate::host::{Family, RawAttribute};

/// The attributes of a message, none of them believed yet. Where a kind occurs twice, the last one counts, as in the kernel.
#[derive(Debug)]
pub(super) struct Attributes<'a>(Vec<(u16, &'a [u8])>);

/// Room for what the kernel tells of a device, so that the list does not move while it is made.
const USUAL_COUNT: usize = 64;

impl<'a> Attributes<'a> {
    /// Takes the attributes apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, KernelError> {
        let mut list = Vec::with_capacity(USUAL_COUNT.min(bytes.len() / NLA_HEADER_SIZE));
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute?;
            let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
            let value = attribute.into_inner().get(NLA_HEADER_SIZE..end).ok_or_else(|| nonsense("an attribute", kind))?;
            list.push((kind, value));
        }
        Ok(Self(list))
    }

    /// The attributes behind a header of `header` bytes.
    pub fn behind(body: &'a [u8], header: usize) -> Result<Self, KernelError> {
        let rest = body.get(header.next_multiple_of(4)..);
        Self::parse(rest.ok_or_else(|| KernelError::Nonsense("a message is too short".to_owned()))?)
    }

    /// Every attribute, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        self.0.iter().copied()
    }

    /// Those whose kind is not among `known`, as they are.
    pub fn others(&self, known: &[u16]) -> Vec<RawAttribute> {
        let unknown = self.iter().filter(|(kind, _)| !known.contains(kind));
        unknown.map(|(kind, value)| RawAttribute { kind, value: value.to_vec() }).collect()
    }

    /// The bytes of an attribute.
    pub fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().rev().find(|(seen, _)| *seen == kind).map(|(_, value)| *value)
    }

    /// An attribute of one byte.
    pub fn u8(&self, kind: u16) -> Result<Option<u8>, KernelError> {
        self.fixed::<1>(kind).map(|value| value.map(|[byte]| byte))
    }

    /// A number of 16 bits.
    pub fn u16(&self, kind: u16) -> Result<Option<u16>, KernelError> {
        self.fixed(kind).map(|value| value.map(u16::from_ne_bytes))
    }

    /// A number of 32 bits.
    pub fn u32(&self, kind: u16) -> Result<Option<u32>, KernelError> {
        self.fixed(kind).map(|value| value.map(u32::from_ne_bytes))
    }

    /// A number of 32 bits at `place` of an attribute that is a structure.
    pub fn u32_within(&self, kind: u16, place: usize) -> Result<Option<u32>, KernelError> {
        let Some(bytes) = self.bytes(kind) else { return Ok(None) };
        let number = bytes.get(place * 4..).and_then(|rest| rest.first_chunk::<4>());
        number.map(|number| Some(u32::from_ne_bytes(*number))).ok_or_else(|| nonsense("a structure", kind))
    }

    /// A text, with or without its closing zero.
    pub fn text(&self, kind: u16) -> Result<Option<&'a str>, KernelError> {
        let Some(bytes) = self.bytes(kind) else { return Ok(None) };
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(bytes.get(..end).unwrap_or_default()).map(Some).map_err(|_| nonsense("a text", kind))
    }

    /// An address of `family`.
    pub fn address(&self, kind: u16, family: Family) -> Result<Option<IpAddr>, KernelError> {
        Ok(match family {
            Family::V4 => self.fixed::<4>(kind)?.map(IpAddr::from),
            Family::V6 => self.fixed::<16>(kind)?.map(IpAddr::from),
        })
    }

    fn fixed<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, KernelError> {
        let Some(bytes) = self.bytes(kind) else { return Ok(None) };
        bytes.try_into().map(Some).map_err(|_| nonsense("a value", kind))
    }
}

/// `family`'s number in messages (`AF_INET`, `AF_INET6`), back as a family.
pub(super) fn family_of(number: u8) -> Option<Family> {
    match i32::from(number) {
        nix::libc::AF_INET => Some(Family::V4),
        nix::libc::AF_INET6 => Some(Family::V6),
        _ => None,
    }
}

fn nonsense(what: &str, kind: u16) -> KernelError {
    KernelError::Nonsense(format!("{what} (attribute {kind}) has a wrong length or content"))
}

/// An attribute as on the wire.
#[cfg(test)]
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_attributes_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in 0..40_usize) {
            if let Ok(attributes) = Attributes::behind(&bytes, header) {
                for (kind, value) in attributes.iter() {
                    prop_assert!(value.len() <= bytes.len());
                    let _ = (attributes.u8(kind), attributes.u16(kind), attributes.u32(kind), attributes.text(kind), attributes.u32_within(kind, 2));
                    let _ = (attributes.address(kind, Family::V4), attributes.address(kind, Family::V6));
                }
            }
        }
    }

    #[test]
    fn last_of_two_attributes_counts() {
        let bytes = [8, 0, 4, 0, 1, 0, 0, 0, 8, 0, 4, 0, 2, 0, 0, 0];
        assert_eq!(Attributes::parse(&bytes).unwrap().u32(4).unwrap(), Some(u32::from_ne_bytes([2, 0, 0, 0])));
    }
}
