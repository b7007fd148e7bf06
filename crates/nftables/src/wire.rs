//! Netlink as bytes: messages and attributes, written and read (include/uapi/linux/netlink.h).
//!
//! Unlike rtnetlink, nf_tables has its numbers in network byte order.

use crate::Error;

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `struct nfgenmsg` (nfnetlink.h).
pub(crate) const FAMILY_HEADER: usize = 4;
/// `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;

pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_CAPPED: u16 = 0x100;
pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSG_OVERRUN: u16 = 4;

/// Flags within the kind of an attribute: `NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`.
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Attributes being written.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    size: Size,
}

/// Whether all attributes fit the 16 bits of their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Fits,
    TooLarge,
}

/// Room for what most messages say, in bytes, so that they do not move while they are written.
const USUAL_BODY: usize = 256;

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_BODY), size: Size::Fits }
    }
}

impl Writer {
    /// An attribute with these bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.framed(kind, |writer| writer.bytes.extend_from_slice(value));
    }

    /// An attribute with the bytes that `value` appends.
    pub fn appended(&mut self, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
        self.framed(kind, |writer| value(&mut writer.bytes));
    }

    /// An attribute with a text, closed by a zero.
    pub fn text(&mut self, kind: u16, value: &[u8]) {
        self.framed(kind, |writer| {
            writer.bytes.extend_from_slice(value);
            writer.bytes.push(0);
        });
    }

    /// An attribute with a number of 32 bits.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute with a number of 64 bits.
    pub fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute with attributes in it.
    pub fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        self.framed(kind | NLA_F_NESTED, content);
    }

    fn framed(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        let [low, high] = kind.to_ne_bytes();
        self.bytes.extend_from_slice(&[0, 0, low, high]);
        content(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.size = Size::TooLarge,
        }
        let padding = self.bytes.len().wrapping_neg() % 4;
        self.bytes.extend_from_slice(&[0; 3][..padding]);
    }

    /// The attributes, or nothing where one of them is larger than netlink can say.
    pub fn finish(self) -> Option<Vec<u8>> {
        (self.size == Size::Fits).then_some(self.bytes)
    }
}

/// Appends a message to `packet`.
pub(crate) fn append_message(packet: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, body: &[u8]) {
    let length = u32::try_from(HEADER + FAMILY_HEADER + body.len()).unwrap_or(u32::MAX);
    let ([l0, l1, l2, l3], [k0, k1], [f0, f1]) = (length.to_ne_bytes(), kind.to_ne_bytes(), flags.to_ne_bytes());
    let ([s0, s1, s2, s3], [r0, r1]) = (sequence.to_ne_bytes(), resource.to_be_bytes());
    // The four zeros are the sender's port, which the kernel fills in; the one behind the family is NFNETLINK_V0.
    let header = [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, 0, 0, 0, 0, family, 0, r0, r1];
    packet.reserve(header.len() + body.len());
    packet.extend_from_slice(&header);
    packet.extend_from_slice(body); // Attributes are padded already.
}

/// A message as received, its payload not believed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// Takes the first message off a datagram.
pub(crate) fn take_message<'a>(rest: &mut &'a [u8]) -> Result<Received<'a>, Error> {
    let nonsense = || Error::nonsense("a message is cut short");
    let header = rest.first_chunk::<HEADER>().ok_or_else(nonsense)?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).map_err(|_| nonsense())?;
    let payload = rest.get(HEADER..length).ok_or_else(nonsense)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok(Received {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        payload,
    })
}

/// Messages as they were received, one behind the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages(Vec<u8>);

impl Messages {
    /// Makes room for as many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Appends a whole message, which [`take_message`] took.
    pub fn push(&mut self, message: &[u8]) {
        self.0.extend_from_slice(message);
        // The last of a datagram need not be padded.
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// What is in each of them.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || if rest.is_empty() { None } else { take_message(&mut rest).ok() }).map(|message| message.payload)
    }
}

/// The attributes of a message or of another attribute, all of which have a length that can be. Where a kind occurs twice, the last one
/// counts, as in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

/// What an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub number: u16,
    pub content: Content,
}

/// What is in an attribute, as far as its sender says: the kernel does not always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Attributes,
    Bytes,
}

impl Kind {
    const fn parse(word: u16) -> Self {
        let content = if word & NLA_F_NESTED == 0 { Content::Bytes } else { Content::Attributes };
        Self { number: word & NLA_TYPE_MASK, content }
    }
}

impl<'a> Attributes<'a> {
    /// Looks at the attributes' lengths.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        while take_attribute(&mut rest)?.is_some() {}
        Ok(Self(bytes))
    }

    /// All of them, in order.
    pub fn all(self) -> impl Iterator<Item = (Kind, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || take_attribute(&mut rest).ok().flatten())
    }

    /// Every attribute of a kind, in order.
    pub fn each(self, kind: u16) -> impl Iterator<Item = &'a [u8]> {
        self.all().filter(move |(seen, _)| seen.number == kind).map(|(_, value)| value)
    }

    /// The bytes of an attribute.
    pub fn bytes(self, kind: u16) -> Option<&'a [u8]> {
        self.each(kind).last()
    }

    /// The bytes of several attributes, found in one pass.
    pub fn pick<const N: usize>(self, kinds: [u16; N]) -> [Option<&'a [u8]>; N] {
        let mut found = [None; N];
        for (kind, value) in self.all() {
            if let Some(place) = kinds.iter().position(|wanted| *wanted == kind.number) {
                found[place] = Some(value);
            }
        }
        found
    }

    /// The bytes of an attribute that must be there.
    pub fn required(self, kind: u16, what: &'static str) -> Result<&'a [u8], Error> {
        self.bytes(kind).ok_or_else(|| Error::nonsense(what))
    }

    /// A text, without its closing zero.
    pub fn text(self, kind: u16) -> Option<&'a [u8]> {
        self.bytes(kind).map(until_zero)
    }

    /// A number of 32 bits.
    pub fn u32(self, kind: u16) -> Result<Option<u32>, Error> {
        Ok(self.fixed(kind)?.map(u32::from_be_bytes))
    }

    /// A number of 64 bits.
    pub fn u64(self, kind: u16) -> Result<Option<u64>, Error> {
        Ok(self.fixed(kind)?.map(u64::from_be_bytes))
    }

    /// The attributes in an attribute.
    pub fn nested(self, kind: u16) -> Result<Option<Self>, Error> {
        self.bytes(kind).map(Self::parse).transpose()
    }

    fn fixed<const N: usize>(self, kind: u16) -> Result<Option<[u8; N]>, Error> {
        self.bytes(kind).map(fixed).transpose()
    }
}

/// A number of 32 bits.
pub(crate) fn number(bytes: &[u8]) -> Result<u32, Error> {
    fixed(bytes).map(u32::from_be_bytes)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::nonsense("a number has a wrong length"))
}

/// Takes the first attribute off a list of them; nothing at its end.
fn take_attribute<'a>(rest: &mut &'a [u8]) -> Result<Option<(Kind, &'a [u8])>, Error> {
    let Some(&[l0, l1, k0, k1]) = rest.first_chunk::<ATTRIBUTE_HEADER>() else { return Ok(None) };
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let value = rest.get(ATTRIBUTE_HEADER..length).ok_or_else(|| Error::nonsense("an attribute has a wrong length"))?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok(Some((Kind::parse(u16::from_ne_bytes([k0, k1])), value)))
}

/// What stands before the first zero.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_come_back_as_written() {
        let mut writer = Writer::default();
        writer.nested(3, |inner| {
            inner.u32(1, 7);
            inner.text(2, b"abc");
        });
        writer.u64(4, 9);
        let bytes = writer.finish().unwrap();
        let outer = Attributes::parse(&bytes).unwrap();
        let inner = outer.nested(3).unwrap().unwrap();
        assert_eq!((inner.u32(1).unwrap(), inner.text(2), outer.u64(4).unwrap()), (Some(7), Some(&b"abc"[..]), Some(9)));
    }

    #[test]
    fn attribute_too_large_for_its_length_is_noticed() {
        let mut writer = Writer::default();
        writer.nested(1, |inner| inner.bytes(1, &[0; 65_532]));
        assert_eq!(writer.finish(), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_attributes_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(attributes) = Attributes::parse(&bytes) {
                for kind in 0..20 {
                    let _ = (attributes.u32(kind), attributes.u64(kind), attributes.text(kind), attributes.nested(kind));
                }
            }
            let mut rest = bytes.as_slice();
            while let Ok(message) = take_message(&mut rest) {
                prop_assert!(message.payload.len() <= bytes.len());
            }
        }
    }
}
