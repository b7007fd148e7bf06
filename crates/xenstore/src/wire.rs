//! Messages as they stand on the wire (Xen's `xen/include/public/io/xs_wire.h`).

use crate::error::ProtocolError;

/// Longest payload of a message in either direction, in bytes (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;
/// Length of a message's header, in bytes: four 32-bit numbers in the machine's own byte order (`struct xsd_sockmsg`).
pub const HEADER: usize = 16;

/// What a message is (`enum xsd_sockmsg_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)] // The names are the protocol's; docs/misc/xenstore.txt explains each.
pub enum Kind {
    Control = 0,
    Directory = 1,
    Read = 2,
    GetPermissions = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Release = 9,
    GetDomainPath = 10,
    Write = 11,
    MakeDirectory = 12,
    Remove = 13,
    SetPermissions = 14,
    WatchEvent = 15,
    Error = 16,
    IsDomainIntroduced = 17,
    Resume = 18,
    SetTarget = 19,
    Restrict = 20,
    ResetWatches = 21,
    DirectoryPart = 22,
}

/// All kinds, each at the place of its number.
const KINDS: [Kind; 23] = [
    Kind::Control,
    Kind::Directory,
    Kind::Read,
    Kind::GetPermissions,
    Kind::Watch,
    Kind::Unwatch,
    Kind::TransactionStart,
    Kind::TransactionEnd,
    Kind::Introduce,
    Kind::Release,
    Kind::GetDomainPath,
    Kind::Write,
    Kind::MakeDirectory,
    Kind::Remove,
    Kind::SetPermissions,
    Kind::WatchEvent,
    Kind::Error,
    Kind::IsDomainIntroduced,
    Kind::Resume,
    Kind::SetTarget,
    Kind::Restrict,
    Kind::ResetWatches,
    Kind::DirectoryPart,
];

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u32) -> Option<Kind> {
        KINDS.get(usize::try_from(number).ok()?).copied()
    }

    /// The kind's number on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// What the request does, for messages: "XenStore refused to …".
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Kind::Control => "control xenstored",
            Kind::Directory | Kind::DirectoryPart => "list",
            Kind::Read => "read",
            Kind::GetPermissions => "read the permissions of",
            Kind::Watch => "watch",
            Kind::Unwatch => "stop watching",
            Kind::TransactionStart => "start a transaction",
            Kind::TransactionEnd => "end a transaction",
            Kind::Introduce => "introduce a domain",
            Kind::Release => "release a domain",
            Kind::GetDomainPath => "name a domain's directory",
            Kind::Write => "write",
            Kind::MakeDirectory => "make the directory",
            Kind::Remove => "remove",
            Kind::SetPermissions => "set the permissions of",
            Kind::WatchEvent => "wait for a watch event",
            Kind::Error => "report an error",
            Kind::IsDomainIntroduced => "tell whether a domain is introduced",
            Kind::Resume => "resume a domain",
            Kind::SetTarget => "set a domain's target",
            Kind::Restrict => "restrict the connection",
            Kind::ResetWatches => "reset all watches",
        }
    }
}

/// A message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// The client's number for the request, copied into the reply; 0 in watch events.
    pub request: u32,
    /// The transaction, 0 for none.
    pub transaction: u32,
    /// The payload's length in bytes, at most [`PAYLOAD_MAX`].
    pub length: usize,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// Where the kind is unknown or the payload would be too long.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Header, ProtocolError> {
        let [kind, request, transaction, length] = words(bytes);
        let kind = Kind::from_number(kind).ok_or(ProtocolError::UnknownKind(kind))?;
        match usize::try_from(length) {
            Ok(length) if length <= PAYLOAD_MAX => Ok(Header { kind, request, transaction, length }),
            _ => Err(ProtocolError::TooLong(length)),
        }
    }

    /// The header as it stands on the wire.
    #[allow(clippy::cast_possible_truncation)] // A payload's length is at most PAYLOAD_MAX.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = [self.kind.number(), self.request, self.transaction, self.length as u32];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }
}

/// The four numbers of a header.
fn words(bytes: &[u8; HEADER]) -> [u32; 4] {
    let mut words = [0; 4];
    let (quads, _) = bytes.as_chunks::<4>();
    for (word, quad) in words.iter_mut().zip(quads) {
        *word = u32::from_ne_bytes(*quad);
    }
    words
}

/// Appends a whole message, its payload given in pieces, to `out`.
///
/// # Errors
/// The payload's length in bytes, where it is more than [`PAYLOAD_MAX`]; `out` is then unchanged.
pub fn append(out: &mut Vec<u8>, kind: Kind, request: u32, transaction: u32, payload: &[&[u8]]) -> Result<(), usize> {
    let length = payload.iter().map(|piece| piece.len()).sum();
    if length > PAYLOAD_MAX {
        return Err(length);
    }
    out.extend_from_slice(&Header { kind, request, transaction, length }.encode());
    for piece in payload {
        out.extend_from_slice(piece);
    }
    Ok(())
}

/// The first message of a row of whole ones made by [`append`], and the rest of the row.
pub(crate) fn split_first_message(row: &[u8]) -> (&[u8], &[u8]) {
    let header = row.first_chunk::<HEADER>().and_then(|header| Header::parse(header).ok());
    let end = header.map_or(row.len(), |header| HEADER + header.length);
    row.split_at_checked(end).unwrap_or((row, &[]))
}

/// Cuts a stream of bytes into messages. It holds at most one read's worth of bytes and one unfinished message.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// Takes bytes as they arrive, in pieces of any size.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, `None` until more bytes arrive.
    ///
    /// # Errors
    /// Where the bytes are no message. The stream is then lost: there is no telling where the next one starts.
    pub fn next_message(&mut self) -> Result<Option<(Header, &[u8])>, ProtocolError> {
        let rest = &self.bytes[self.start..];
        let Some((header, after)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::parse(header)?;
        if after.len() < header.length {
            return Ok(None);
        }
        let payload = self.start + HEADER;
        self.start = payload + header.length;
        Ok(Some((header, &self.bytes[payload..self.start])))
    }

    /// How many bytes of an unfinished message are here.
    pub fn unfinished(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// The strings of a payload that is a row of them, each ended by a NUL.
///
/// # Errors
/// Where the last one has no NUL or a byte is not ASCII, named by the message's kind.
pub(crate) fn strings(kind: Kind, payload: &[u8]) -> Result<Vec<&str>, ProtocolError> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let malformed = || ProtocolError::Payload(kind);
    let body = payload.strip_suffix(b"\0").ok_or_else(malformed)?;
    body.split(|byte| *byte == 0).map(|name| std::str::from_utf8(name).map_err(|_| malformed())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Message = (Header, Vec<u8>);

    /// Cuts `stream` at `cuts` and gives the pieces to an inbox; the messages that came out of it, and its last word.
    fn feed(stream: &[u8], cuts: &[usize]) -> (Vec<Message>, Result<usize, ProtocolError>) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let (mut inbox, mut seen) = (Inbox::default(), Vec::new());
        for piece in places.windows(2) {
            inbox.take(&stream[piece[0]..piece[1]]);
            loop {
                match inbox.next_message() {
                    Ok(Some((header, payload))) => seen.push((header, payload.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (seen, Err(error)),
                }
            }
        }
        let unfinished = inbox.unfinished();
        (seen, Ok(unfinished))
    }

    #[test]
    fn numbers_are_those_of_the_header_file() {
        for (number, kind) in (0..).zip(KINDS) {
            assert_eq!(kind.number(), number);
            assert_eq!(Kind::from_number(number), Some(kind));
        }
        assert_eq!(Kind::from_number(23), None);
        assert_eq!(Kind::from_number(0xffff), None);
        assert_eq!((Kind::Read.number(), Kind::Write.number(), Kind::DirectoryPart.number()), (2, 11, 22));
    }

    #[test]
    fn layout_is_type_request_transaction_length() {
        let header = Header { kind: Kind::Write, request: 7, transaction: 9, length: 3 };
        let expected: Vec<u8> = [11u32, 7, 9, 3].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(header.encode().as_slice(), expected);
        assert_eq!(Header::parse(&header.encode()), Ok(header));
    }

    #[test]
    fn too_long_is_an_error_before_the_payload_arrives() {
        let mut bytes = Header { kind: Kind::Read, request: 0, transaction: 0, length: 0 }.encode();
        bytes[12..].copy_from_slice(&4097u32.to_ne_bytes());
        assert_eq!(Header::parse(&bytes), Err(ProtocolError::TooLong(4097)));
        bytes[12..].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Header::parse(&bytes), Err(ProtocolError::TooLong(u32::MAX)));
    }

    #[test]
    fn append_refuses_what_does_not_fit_and_adds_nothing() {
        let mut out = vec![1, 2, 3];
        assert_eq!(append(&mut out, Kind::Write, 1, 0, &[&[0; 4000], &[0; 97]]), Err(4097));
        assert_eq!(out, [1, 2, 3]);
        assert_eq!(append(&mut out, Kind::Write, 1, 0, &[&[0; 4000], &[0; 96]]), Ok(()));
        assert_eq!(out.len(), 3 + HEADER + PAYLOAD_MAX);
    }

    #[test]
    fn strings_need_their_last_nul() {
        assert_eq!(strings(Kind::Directory, b""), Ok(vec![]));
        assert_eq!(strings(Kind::Directory, b"a\0bc\0"), Ok(vec!["a", "bc"]));
        assert_eq!(strings(Kind::Directory, b"a\0b"), Err(ProtocolError::Payload(Kind::Directory)));
        assert_eq!(strings(Kind::Directory, b"\xff\0"), Err(ProtocolError::Payload(Kind::Directory)));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_messages(
            messages in proptest::collection::vec((0u32..23, any::<u32>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (kind, request, transaction, payload) in messages {
                let kind = Kind::from_number(kind).unwrap();
                append(&mut stream, kind, request, transaction, &[&payload]).unwrap();
                expected.push((Header { kind, request, transaction, length: payload.len() }, payload));
            }
            prop_assert_eq!(feed(&stream, &cuts), (expected, Ok(0)));
        }

        #[test]
        fn garbage_never_panics_nor_grows(stream in proptest::collection::vec(any::<u8>(), 0..400), cuts in proptest::collection::vec(any::<usize>(), 0..9)) {
            let (messages, last) = feed(&stream, &cuts);
            let taken: usize = messages.iter().map(|(_, payload)| HEADER + payload.len()).sum();
            prop_assert!(taken <= stream.len());
            if let Ok(unfinished) = last {
                prop_assert_eq!(taken + unfinished, stream.len());
            }
        }

        #[test]
        fn nearly_messages_never_panic(kind in 0u32..30, length in 0u32..5000, body in proptest::collection::vec(any::<u8>(), 0..HEADER)) {
            let mut stream: Vec<u8> = [kind, 1, 0, length].iter().flat_map(|word| word.to_ne_bytes()).collect();
            stream.extend(&body);
            let (messages, last) = feed(&stream, &[]);
            prop_assert_eq!(last.is_err(), messages.is_empty() && (kind > 22 || length > 4096));
        }
    }
}
