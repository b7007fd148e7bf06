//! The conversation with the kernel: rtnetlink over one socket (RFC 3549, include/uapi/linux/netlink.h).
//!
//! Answers are taken as bytes and parsed by who asked: a library that parses before it hands over drops what it does not understand, and
//! a lost entry of a table looks like an entry that is not there.

use std::fmt;
use std::io;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, DoneMessage, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::TimeVal;

use super::attributes::Attributes;

/// How long one answer may take. The kernel answers at once unless something holds its lock (`rtnl_mutex`); this only keeps a broken
/// machine from hanging us.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How often a table is read again when it changed under the reading (`NLM_F_DUMP_INTR`).
const DUMP_ATTEMPTS: usize = 20;

/// The largest number of entries taken from one table. A full Internet routing table has about a million.
const MOST_ENTRIES: usize = 4_000_000;

/// A message of rtnetlink, as on the wire.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `RTM_*`.
    pub kind: u16,
    /// What stands behind the netlink header.
    pub body: Vec<u8>,
}

impl From<RouteNetlinkMessage> for Message {
    fn from(message: RouteNetlinkMessage) -> Self {
        let mut body = vec![0; message.buffer_len()];
        message.serialize(&mut body);
        Self { kind: message.message_type(), body }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self { kind: header.message_type, body: payload.to_vec() })
    }
}

/// Why the kernel did not do or tell what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KernelError {
    /// It refused.
    Refused {
        /// Its error number.
        errno: Errno,
        /// Its own words, where it has some (extended acknowledgement).
        message: Option<String>,
    },
    /// It said something that makes no sense.
    Nonsense(String),
    /// The conversation broke off.
    Broken(String),
}

impl KernelError {
    /// A refusal without words of the kernel's own.
    pub fn errno(errno: Errno) -> Self {
        Self::Refused { errno, message: None }
    }

    /// Whether the kernel refused with this number.
    pub fn is(&self, number: Errno) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == number)
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { errno, message: Some(message) } => write!(f, "{message} ({})", errno.desc()),
            Self::Refused { errno, message: None } => f.write_str(errno.desc()),
            Self::Nonsense(what) => write!(f, "the kernel's answer makes no sense: {what}"),
            Self::Broken(what) => write!(f, "the conversation with the kernel broke off: {what}"),
        }
    }
}

impl From<DecodeError> for KernelError {
    fn from(error: DecodeError) -> Self {
        Self::Nonsense(error.to_string())
    }
}

/// An open rtnetlink socket.
///
/// One question is asked at a time and its answer waited for, so the socket simply blocks: an event loop in between would treble the
/// system calls of every question, in programs whose whole run costs little more than their start.
pub(super) struct Connection {
    socket: Socket,
    /// The number of the last question.
    sequence: u32,
    /// Where answers are received.
    buffer: Vec<u8>,
}

/// The kernel puts no more into one datagram of a table (net/netlink/af_netlink.c, `netlink_dump()`).
const DATAGRAM_MAX: usize = 32 * 1024;

impl Connection {
    /// Opens a socket in the network namespace of this thread.
    pub fn open() -> Result<Self, KernelError> {
        let broken = |cause: &dyn fmt::Display| KernelError::Broken(format!("no socket: {cause}"));
        let socket = Socket::new(NETLINK_ROUTE).map_err(|cause| broken(&cause))?;
        let limit = TimeVal::new(ANSWER_LIMIT.as_secs().try_into().unwrap_or(i64::MAX), 0);
        setsockopt(&socket, ReceiveTimeout, &limit).map_err(|cause| broken(&cause))?;
        // Kernels before 4.12 and 4.20 lack them: then errors are numbers only, and filters are left to us.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_MAX) })
    }

    /// Has the kernel do something, and waits for its word that it is done.
    pub fn change(&mut self, message: impl Into<Message>, flags: u16) -> Result<(), KernelError> {
        self.exchange(message.into(), NLM_F_REQUEST | NLM_F_ACK | flags).map(|_| ())
    }

    /// Asks for one thing.
    pub fn get(&mut self, message: impl Into<Message>) -> Result<Message, KernelError> {
        let replies = self.exchange(message.into(), NLM_F_REQUEST)?;
        replies.messages.into_iter().next().ok_or_else(|| KernelError::Nonsense("nothing in it".to_owned()))
    }

    /// Reads a table, whole: what changed under the reading is read again.
    pub fn dump(&mut self, message: impl Into<Message>) -> Result<Vec<Message>, KernelError> {
        let message = message.into();
        for _ in 0..DUMP_ATTEMPTS {
            let replies = self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if replies.consistency == Consistency::Whole {
                return Ok(replies.messages);
            }
        }
        Err(KernelError::Broken(format!("the table changed during each of {DUMP_ATTEMPTS} readings")))
    }

    fn exchange(&mut self, message: Message, flags: u16) -> Result<Replies, KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        let broken = |cause: io::Error| KernelError::Broken(format!("nothing can be sent: {cause}"));
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map_err(broken)?;
        let expected = if flags & (NLM_F_ACK | NLM_F_DUMP) == 0 { Expected::OneMessage } else { Expected::UntilTheEnd };
        let mut replies = Replies::default();
        loop {
            self.receive()?;
            if replies.take_datagram(&self.buffer, self.sequence, expected)? == Progress::Finished {
                return Ok(replies);
            }
        }
    }

    /// Receives one datagram of the kernel's.
    fn receive(&mut self) -> Result<(), KernelError> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                Ok((_, sender)) if sender.port_number() == 0 => return Ok(()),
                // Any process may send to a netlink socket; only the kernel's word counts.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(KernelError::Broken(format!("no answer within {} s", ANSWER_LIMIT.as_secs())));
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Err(KernelError::Broken("an answer was lost (socket buffer overrun)".to_owned()));
                }
                Err(error) => return Err(KernelError::Broken(error.to_string())),
            }
        }
    }
}

/// How much the kernel says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The thing asked for, or an error.
    OneMessage,
    /// Whatever there is, and then a word that this was all.
    UntilTheEnd,
}

/// Whether a table was read without a change in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Consistency {
    #[default]
    Whole,
    Interrupted,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Going,
    Finished,
}

/// What came back for one request.
#[derive(Debug, Default)]
struct Replies {
    messages: Vec<Message>,
    consistency: Consistency,
}

impl Replies {
    /// Takes the messages of a datagram that answer the question of this number; those of an earlier one that was given up are passed over.
    fn take_datagram(&mut self, mut rest: &[u8], question: u32, expected: Expected) -> Result<Progress, KernelError> {
        while !rest.is_empty() {
            let packet = NetlinkMessage::<Message>::deserialize(rest)?;
            let length = usize::try_from(packet.header.length).unwrap_or(usize::MAX).max(1);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if packet.header.sequence_number != question {
                continue;
            }
            if self.take(packet)? == Progress::Finished || expected == Expected::OneMessage {
                return Ok(Progress::Finished);
            }
        }
        Ok(Progress::Going)
    }

    fn take(&mut self, packet: NetlinkMessage<Message>) -> Result<Progress, KernelError> {
        let (header, payload) = packet.into_parts();
        if header.flags & NLM_F_DUMP_INTR != 0 {
            self.consistency = Consistency::Interrupted;
        }
        match payload {
            NetlinkPayload::InnerMessage(message) if self.messages.len() < MOST_ENTRIES => {
                self.messages.push(message);
                Ok(Progress::Going)
            }
            NetlinkPayload::InnerMessage(_) => Err(KernelError::Nonsense("its table has no end".to_owned())),
            NetlinkPayload::Done(done) => judge_done(&done).map(|()| Progress::Finished),
            NetlinkPayload::Error(error) => judge_error(&header, &error).map(|()| Progress::Finished),
            NetlinkPayload::Overrun(_) => Err(KernelError::Broken("an answer was lost in the kernel".to_owned())),
            _ => Ok(Progress::Going),
        }
    }
}

/// The messages of one datagram of a table, as an answer to the first question.
#[cfg(feature = "fuzz")]
pub(super) fn messages_in(datagram: &[u8]) -> Result<Vec<Message>, KernelError> {
    let mut replies = Replies::default();
    replies.take_datagram(datagram, 1, Expected::UntilTheEnd)?;
    Ok(replies.messages)
}

/// The end of a table carries the error that cut it short.
fn judge_done(done: &DoneMessage) -> Result<(), KernelError> {
    match done.code {
        0.. => Ok(()),
        code => Err(KernelError::Refused {
            errno: Errno::from_raw(code.saturating_neg()),
            message: words_of_the_kernel(&done.extended_ack),
        }),
    }
}

fn judge_error(header: &NetlinkHeader, error: &ErrorMessage) -> Result<(), KernelError> {
    let Some(code) = error.code else { return Ok(()) };
    let errno = Errno::from_raw(code.get().saturating_neg());
    let message = if header.flags & NLM_F_ACK_TLVS == 0 {
        None
    } else {
        let request = length_of_request(header, &error.header);
        error.header.get(request..).and_then(words_of_the_kernel)
    };
    Err(KernelError::Refused { errno, message })
}

/// How much of our own request is sent back before the attributes: its header, or all of it where the kernel does not cap it.
fn length_of_request(header: &NetlinkHeader, echo: &[u8]) -> usize {
    const NETLINK_HEADER: usize = 16;
    match *echo {
        [a, b, c, d, ..] if header.flags & NLM_F_CAPPED == 0 => usize::try_from(u32::from_ne_bytes([a, b, c, d]))
            .unwrap_or(usize::MAX)
            .checked_next_multiple_of(4)
            .unwrap_or(usize::MAX),
        _ => NETLINK_HEADER,
    }
}

/// The sentence in an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
fn words_of_the_kernel(attributes: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let attributes = Attributes::parse(attributes).ok()?;
    let words = attributes.text(NLMSGERR_ATTR_MSG).ok()??;
    Some(words.trim_end_matches('.').to_owned()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::attributes::attribute;
    use super::*;

    fn refusal(flags: u16, echo: Vec<u8>) -> Result<(), KernelError> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut error = ErrorMessage::default();
        error.code = std::num::NonZeroI32::new(-16);
        error.header = echo;
        judge_error(&header, &error)
    }

    #[test]
    fn words_of_the_kernel_stand_behind_a_capped_or_a_whole_request() {
        let words = attribute(1, b"Device is busy\0");
        let mut capped = vec![0; 16];
        capped.extend(&words);
        let mut whole = 20_u32.to_ne_bytes().to_vec();
        whole.resize(20, 0);
        whole.extend(&words);
        for (flags, echo) in [(NLM_F_ACK_TLVS | NLM_F_CAPPED, capped), (NLM_F_ACK_TLVS, whole)] {
            let error = refusal(flags, echo).unwrap_err();
            assert_eq!(error, KernelError::Refused { errno: Errno::EBUSY, message: Some("Device is busy".to_owned()) });
        }
    }

    #[test]
    fn hostile_acknowledgements_lose_their_words_and_nothing_else() {
        for echo in [vec![], vec![0xff; 3], vec![0xff; 16], vec![0xff; 40], attribute(1, b"\xff\xfe")] {
            for flags in [0, NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
                assert_eq!(refusal(flags, echo.clone()), Err(KernelError::errno(Errno::EBUSY)));
            }
        }
    }

    #[test]
    fn table_cut_short_is_an_error() {
        let mut done = DoneMessage::default();
        done.code = -19;
        assert_eq!(judge_done(&done), Err(KernelError::errno(Errno::ENODEV)));
    }
}
