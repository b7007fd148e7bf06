//! The conversation with the kernel: nfnetlink over one socket (net/netfilter/nfnetlink.c).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::libc::MSG_DONTWAIT;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::encode::{self, Message, SUBSYSTEM, kind};
use crate::seen::{self, TableSeen};
use crate::wire::{
    Attributes, HEADER, Messages, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_OVERRUN, Received, append_message, take_message,
};
use crate::{
    Batch, ChainId, ChainSeen, DataType, Element, ElementSeen, Error, Family, Generation, Hook, Name, Ranges, Refusal, RuleSeen,
    SetId, TableId,
};

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFNL_BATCH_GENID`
const NFNL_BATCH_GENID: u16 = 1;
/// `NFTA_GEN_ID`
const NFTA_GEN_ID: u16 = 1;

/// `NFPROTO_UNSPEC`
const ANY_FAMILY: u8 = 0;

/// How long one answer may take. The kernel answers at once unless something holds its lock; this only keeps a broken machine from
/// hanging us.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How often a list is read again when it changed under the reading (`NLM_F_DUMP_INTR`).
const DUMP_ATTEMPTS: usize = 20;

/// The largest number of messages taken for one list, each of one chain, one rule or a datagram full of elements.
const MOST_MESSAGES: usize = 1_000_000;

/// The kernel puts no more into one datagram of a list (net/netlink/af_netlink.c, `netlink_dump()`).
const DATAGRAM_MAX: usize = 32 * 1024;

/// How large the first datagram of a list is at most (`NLMSG_GOODSIZE`, less than a page).
const FIRST_DATAGRAM_MAX: usize = 4 * 1024;

/// Room for a guest's batch, in bytes, so that it does not move while it is written.
const USUAL_BATCH: usize = 4 * 1024;

/// How much of an act an error shows: its beginning is enough to recognise it, and it may name thousands of elements.
const ACT_SHOWN: usize = 240;

/// An open socket to nf_tables in one network namespace.
///
/// Dropping it closes it, and that may take 6 to 20 ms after a batch that deleted something: see the notes on the crate.
pub struct Connection {
    socket: Socket,
    /// The number of the last message.
    sequence: u32,
    /// Where answers are received.
    buffer: Vec<u8>,
    /// Sockets of lists that were not read to their end. They stay open: to close one costs the same wait.
    aside: Vec<Socket>,
}

impl Connection {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// [`Error::Refused`] where the kernel gives no such socket; with `EPROTONOSUPPORT` where it has no netfilter at all.
    pub fn open() -> Result<Self, Error> {
        let broken = |cause: &dyn std::fmt::Display| Error::Broken(format!("no socket: {cause}"));
        let socket = Socket::new(NETLINK_NETFILTER).map_err(|cause| Refusal {
            act: "open a socket to nf_tables".to_owned(),
            operation: None,
            errno: Errno::from_raw(cause.raw_os_error().unwrap_or_default()),
            message: None,
        })?;
        let limit = TimeVal::new(ANSWER_LIMIT.as_secs().try_into().unwrap_or(i64::MAX), 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &limit).map_err(|cause| broken(&cause))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_MAX), aside: vec![] })
    }

    /// What only complaints need, and questions do without.
    fn ask_for_words(&self) {
        // Kernels before 4.12 lack the first: then errors are numbers only. The second spares us our own words back.
        let _ = self.socket.set_ext_ack(true);
        let _ = self.socket.set_cap_ack(true);
        // A batch that is wrong in thousands of places gets more complaints than there is room for. The first ones are what we want, and
        // lists are never lost this way: the kernel waits until there is room.
        let _ = self.socket.set_no_enobufs(true);
    }

    /// Has the kernel make all changes of a batch in one instant. An empty batch asks nothing of it.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first operation that the kernel did not like; then nothing was changed.
    pub fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        let steps = batch.steps().collect::<Vec<_>>();
        let Some(last) = steps.len().checked_sub(1) else { return Ok(()) };
        self.ask_for_words();
        let mut packet = Vec::with_capacity(USUAL_BATCH);
        let begin = self.next_sequence();
        let condition = match batch.generation() {
            Some(Generation(number)) => Message::new(BATCH_BEGIN, 0, Family::Inet, |body| body.u32(NFNL_BATCH_GENID, number))?.body,
            None => vec![],
        };
        append_message(&mut packet, BATCH_BEGIN, NLM_F_REQUEST, begin, ANY_FAMILY, SUBSYSTEM, &condition);
        for (place, (_, step)) in steps.iter().enumerate() {
            let sequence = self.next_sequence();
            let message = encode::message(step, sequence)?;
            // The kernel reports what it refuses anyway. One word that all went well is enough: each takes room in our receive buffer.
            let flags = NLM_F_REQUEST | message.flags | if place == last { NLM_F_ACK } else { 0 };
            append_message(&mut packet, kind_of(message.kind), flags, sequence, message.family.number(), 0, &message.body);
        }
        let end = self.next_sequence();
        append_message(&mut packet, BATCH_END, NLM_F_REQUEST, end, ANY_FAMILY, SUBSYSTEM, &[]);
        self.transmit(&packet)?;
        match self.verdicts(begin, end)? {
            None => Ok(()),
            Some(complaint) => {
                let place = usize::try_from(complaint.sequence.wrapping_sub(begin)).ok().and_then(|place| place.checked_sub(1));
                let refused = place.and_then(|place| steps.get(place));
                let act = refused.map_or_else(|| "begin or end a change".to_owned(), |(_, step)| shown(&step.to_string()));
                let operation = refused.map(|(operation, _)| *operation);
                Err(Refusal { act, operation, errno: complaint.errno, message: complaint.message }.into())
            }
        }
    }

    /// The table, if there is one.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn table(&mut self, table: &TableId) -> Result<Option<TableSeen>, Error> {
        let message = Message::new(kind::GETTABLE, 0, table.family, |body| body.text(encode::table::NAME, table.name.as_bytes()))?;
        let reply = self.get(&message, || format!("list table {table}"))?;
        reply.map(|payload| TableSeen::parse(&payload)).transpose()
    }

    /// Which state nf_tables is in.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn generation(&mut self) -> Result<Generation, Error> {
        let message = Message::new(kind::GETGEN, 0, Family::Inet, |_| ())?;
        let reply = self.get(&message, || "tell the generation".to_owned())?;
        let nothing = || Error::nonsense("no generation in it");
        let (_, attributes) = seen::open(reply.as_deref().ok_or_else(nothing)?)?;
        attributes.u32(NFTA_GEN_ID)?.map(Generation).ok_or_else(nothing)
    }

    /// Whether there is such a set or map.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn has_set(&mut self, set: &SetId) -> Result<bool, Error> {
        let message = Message::new(kind::GETSET, 0, set.table.family, |body| encode::name_set(body, set))?;
        Ok(self.get(&message, || format!("list set {set}"))?.is_some())
    }

    /// The elements of a set whose key is of these types; nothing where there is no such set.
    ///
    /// # Errors
    /// When the kernel does not answer, or the set is of another kind.
    pub fn elements(&mut self, set: &SetId, key: &[DataType], ranges: Ranges) -> Result<Option<Vec<ElementSeen>>, Error> {
        let message = Message::new(kind::GETSETELEM, 0, set.table.family, |body| encode::name_element_list(body, set))?;
        match self.dump(&message, || format!("list elements of set {set}")) {
            Ok(messages) => seen::parse_elements(messages.payloads(), key, ranges).map(Some),
            Err(error) if error.is(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first elements of a set, some of them if there are many: as many as the kernel tells at once. None where there is no such set.
    /// Costs the same however many there are.
    ///
    /// # Errors
    /// When the kernel does not answer, or the set is of another kind.
    pub fn some_elements(&mut self, set: &SetId, key: &[DataType], ranges: Ranges) -> Result<Vec<ElementSeen>, Error> {
        let message = Message::new(kind::GETSETELEM, 0, set.table.family, |body| encode::name_element_list(body, set))?;
        let sequence = self.next_sequence();
        let mut packet = vec![];
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        append_message(&mut packet, kind_of(message.kind), flags, sequence, message.family.number(), 0, &message.body);
        // The rest of the list is never asked for. A socket does one list at a time, so this one has one of its own.
        let mut other = Self::open()?;
        // While the first datagram is taken the kernel makes the next one, as large as there is room for now (netlink_recvmsg()).
        other.buffer = Vec::with_capacity(FIRST_DATAGRAM_MAX);
        other.transmit(&packet)?;
        other.receive(0)?;
        let Self { socket, buffer, .. } = other;
        self.aside.push(socket);
        let mut list = List::default();
        match list.take_datagram(&buffer, sequence, || format!("list elements of set {set}")) {
            Ok(()) => seen::parse_elements(list.messages.payloads(), key, ranges),
            Err(error) if error.is(Errno::ENOENT) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// What became of an element of a set; nothing where it is not there, or the set is not. In a set of ranges: of the element that the
    /// first value of the key lies in. Costs the same however many other elements there are.
    ///
    /// # Errors
    /// When the kernel does not answer, or the set is of another kind.
    pub fn element(&mut self, set: &SetId, element: &Element) -> Result<Option<ElementSeen>, Error> {
        let message = Message::new(kind::GETSETELEM, 0, set.table.family, |body| {
            encode::name_element_list(body, set);
            // Only the beginning of a range is asked for: its end would have an answer of its own.
            encode::write_elements(body, std::slice::from_ref(element), Ranges::None);
        })?;
        let reply = self.get(&message, || format!("get element {set} {{ {element} }}"))?;
        reply.map(|payload| seen::parse_element(&payload, element)).transpose()
    }

    /// All chains of all tables of this network namespace.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn chains(&mut self) -> Result<Vec<ChainSeen>, Error> {
        let messages = self.list(kind::GETCHAIN, ANY_FAMILY, &[], || "list chains".to_owned())?;
        messages.payloads().filter_map(|payload| ChainSeen::parse(payload).transpose()).collect()
    }

    /// The chains of all tables that packets enter at this hook, that of single devices included.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn chains_at(&mut self, hook: Hook) -> Result<Vec<ChainSeen>, Error> {
        let messages = self.list(kind::GETCHAIN, ANY_FAMILY, &[], || "list chains".to_owned())?;
        let mut chains = vec![];
        for payload in messages.payloads() {
            if seen::hook_of_chain(payload)? == Some(hook) {
                chains.extend(ChainSeen::parse(payload)?);
            }
        }
        Ok(chains)
    }

    /// How many rules the chains of a table have, and how many lead to them, all together ([`ChainSeen::uses`]). It changes with every rule
    /// that comes or goes, and costs one question.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn uses_of_chains(&mut self, table: &TableId) -> Result<u32, Error> {
        let messages = self.list(kind::GETCHAIN, table.family.number(), &[], || format!("list chains {}", table.family))?;
        messages.payloads().try_fold(0_u32, |sum, payload| Ok(sum.saturating_add(seen::uses_within(payload, table)?)))
    }

    /// The rules of a table, chain by chain, first to last; none where there is no such table.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn rules_of_table(&mut self, table: &TableId) -> Result<BTreeMap<Name, Vec<RuleSeen>>, Error> {
        let message = Message::new(kind::GETRULE, 0, table.family, |body| encode::name_rules_of_table(body, table))?;
        let messages = match self.dump(&message, || format!("list table {table}")) {
            Err(error) if error.is(Errno::ENOENT) => Messages::default(),
            messages => messages?,
        };
        let mut rules: BTreeMap<Name, Vec<RuleSeen>> = BTreeMap::new();
        for payload in messages.payloads() {
            rules.entry(seen::chain_of_rule(payload)?).or_default().push(RuleSeen::parse(payload)?);
        }
        Ok(rules)
    }

    /// The rules of a chain, first to last; none where there is no such chain.
    ///
    /// # Errors
    /// When the kernel does not answer, or with nonsense.
    pub fn rules(&mut self, chain: &ChainId) -> Result<Vec<RuleSeen>, Error> {
        let message = Message::new(kind::GETRULE, 0, chain.table.family, |body| encode::name_rules(body, chain))?;
        let messages = match self.dump(&message, || format!("list chain {chain}")) {
            Err(error) if error.is(Errno::ENOENT) => return Ok(vec![]),
            messages => messages?,
        };
        messages.payloads().map(RuleSeen::parse).collect()
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Asks for one thing; nothing where the kernel knows no such thing.
    fn get(&mut self, message: &Message, act: impl Fn() -> String) -> Result<Option<Vec<u8>>, Error> {
        let sequence = self.next_sequence();
        let mut packet = vec![];
        append_message(&mut packet, kind_of(message.kind), NLM_F_REQUEST, sequence, message.family.number(), 0, &message.body);
        self.transmit(&packet)?;
        loop {
            self.receive(0)?;
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let received = take_message(&mut rest)?;
                match received.kind {
                    _ if received.sequence != sequence => {}
                    NLMSG_ERROR => {
                        let Some(complaint) = Complaint::parse(&received)? else { return Err(Error::nonsense("nothing in it")) };
                        return if complaint.errno == Errno::ENOENT { Ok(None) } else { Err(complaint.about(act())) };
                    }
                    _ => return Ok(Some(received.payload.to_vec())),
                }
            }
        }
    }

    fn dump(&mut self, message: &Message, act: impl Fn() -> String) -> Result<Messages, Error> {
        self.list(message.kind, message.family.number(), &message.body, act)
    }

    /// Reads a list, whole: what changed under the reading is read again.
    fn list(&mut self, kind: u16, family: u8, body: &[u8], act: impl Fn() -> String) -> Result<Messages, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next_sequence();
            let mut packet = vec![];
            append_message(&mut packet, kind_of(kind), NLM_F_REQUEST | NLM_F_DUMP, sequence, family, 0, body);
            self.transmit(&packet)?;
            let mut list = List::default();
            while list.progress == Progress::Going {
                self.receive(0)?;
                list.take_datagram(&self.buffer, sequence, &act)?;
            }
            if list.consistency == Consistency::Whole {
                return Ok(list.messages);
            }
        }
        Err(Error::Broken(format!("the list changed during each of {DUMP_ATTEMPTS} readings")))
    }

    /// Sends it in one piece, which is what makes a batch one.
    fn transmit(&self, packet: &[u8]) -> Result<(), Error> {
        let send = || self.socket.send_to(packet, &SocketAddr::new(0, 0), 0);
        let result = match send() {
            // The socket's buffer is smaller than this packet (netlink_sendmsg()); nothing was taken yet.
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                let room = packet.len() + DATAGRAM_MAX;
                setsockopt(&self.socket, sockopt::SndBufForce, &room).map_err(io::Error::from).and_then(|()| send())
            }
            result => result,
        };
        match result {
            Ok(sent) if sent == packet.len() => Ok(()),
            Ok(sent) => Err(Error::Broken(format!("only {sent} of {} bytes were sent", packet.len()))),
            Err(cause) => Err(Error::Broken(format!("{} bytes cannot be sent: {cause}", packet.len()))),
        }
    }

    /// What the kernel says about a batch: nothing if it did it, else the first complaint.
    ///
    /// It worked while we were sending: all it has to say is there already, and is not waited for.
    fn verdicts(&mut self, begin: u32, end: u32) -> Result<Option<Complaint>, Error> {
        let mut first: Option<Complaint> = None;
        let mut words = 0;
        loop {
            match self.receive(MSG_DONTWAIT) {
                Err(Error::Broken(cause)) if words == 0 => return Err(Error::Broken(cause)),
                Err(_) => return Ok(first),
                Ok(()) => {}
            }
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let received = take_message(&mut rest)?;
                let distance = received.sequence.wrapping_sub(begin);
                if received.kind != NLMSG_ERROR || distance > end.wrapping_sub(begin) {
                    continue;
                }
                words += 1;
                let complaint = Complaint::parse(&received)?;
                if let Some(complaint) = complaint
                    && first.as_ref().is_none_or(|first| distance < first.sequence.wrapping_sub(begin))
                {
                    first = Some(complaint);
                }
            }
        }
    }

    /// Receives one datagram of the kernel's.
    fn receive(&mut self, flags: i32) -> Result<(), Error> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, flags) {
                Ok((_, sender)) if sender.port_number() == 0 => return Ok(()),
                // Any process may send to a netlink socket; only the kernel's word counts.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Error::Broken("no answer".to_owned())),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Err(Error::Broken("an answer was lost (socket buffer overrun)".to_owned()));
                }
                Err(error) => return Err(Error::Broken(error.to_string())),
            }
        }
    }
}

impl Connection {
    /// All sockets whose closing may take long.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.socket).chain(&self.aside).map(AsFd::as_fd)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({} messages so far)", self.sequence)
    }
}

const fn kind_of(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

fn shown(act: &str) -> String {
    let mut short: String = act.chars().take(ACT_SHOWN).collect();
    if short.len() < act.len() {
        short.push('…');
    }
    short
}

/// What came of a question for a list so far.
#[derive(Default)]
struct List {
    messages: Messages,
    count: usize,
    consistency: Consistency,
    progress: Progress,
}

/// Reads one datagram as an answer to each question that there is, the first of its connection.
///
/// # Panics
/// Where there is a fault.
#[cfg(feature = "fuzz")]
pub fn read_answer(datagram: &[u8], key: &[DataType], ranges: Ranges) {
    let mut list = List::default();
    let _ = list.take_datagram(datagram, 1, || "list".to_owned());
    let _ = seen::parse_elements(list.messages.payloads(), key, ranges);
    let asked = Element::new([]);
    for payload in list.messages.payloads() {
        let _ = (TableSeen::parse(payload), ChainSeen::parse(payload));
        for family in [Family::Bridge, Family::Inet] {
            let _ = RuleSeen::parse(payload).and_then(|rule| rule.judge(family, &crate::Packet::default()));
        }
        let _ = seen::parse_element(payload, &asked);
        let _ = seen::open(payload).map(|(_, attributes)| attributes.u32(NFTA_GEN_ID));
    }
}

/// Whether a list was read without a change in between.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Consistency {
    #[default]
    Whole,
    Interrupted,
}

/// Whether more is to come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Going,
    Finished,
}

impl List {
    fn take_datagram(&mut self, mut rest: &[u8], sequence: u32, act: impl Fn() -> String) -> Result<(), Error> {
        self.messages.reserve(rest.len());
        while !rest.is_empty() {
            let whole = rest;
            let received = take_message(&mut rest)?;
            if received.sequence != sequence {
                continue;
            }
            if received.flags & NLM_F_DUMP_INTR != 0 {
                self.consistency = Consistency::Interrupted;
            }
            match received.kind {
                NLMSG_ERROR => {
                    self.progress = Progress::Finished;
                    return Complaint::parse(&received)?.map_or(Ok(()), |complaint| Err(complaint.about(act())));
                }
                NLMSG_DONE => {
                    self.progress = Progress::Finished;
                    return Complaint::of_done(&received).map_or(Ok(()), |complaint| Err(complaint.about(act())));
                }
                NLMSG_OVERRUN => return Err(Error::Broken("an answer was lost in the kernel".to_owned())),
                _ if self.count == MOST_MESSAGES => return Err(Error::nonsense("its list has no end")),
                _ => {
                    self.messages.push(&whole[..whole.len() - rest.len()]);
                    self.count += 1;
                }
            }
        }
        Ok(())
    }
}

/// An error the kernel reported.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Complaint {
    /// Of the message it is about.
    sequence: u32,
    errno: Errno,
    message: Option<String>,
}

impl Complaint {
    /// Nothing where the message is a word that all went well.
    fn parse(received: &Received<'_>) -> Result<Option<Self>, Error> {
        let (code, echo) = received.payload.split_first_chunk::<4>().ok_or_else(|| Error::nonsense("an error has no number"))?;
        let code = i32::from_ne_bytes(*code);
        if code == 0 {
            return Ok(None);
        }
        let message = if received.flags & NLM_F_ACK_TLVS == 0 {
            None
        } else {
            echo.get(length_of_request(received.flags, echo)..).and_then(words_of_the_kernel)
        };
        Ok(Some(Self { sequence: received.sequence, errno: Errno::from_raw(code.saturating_neg()), message }))
    }

    /// The end of a list carries the error that cut it short.
    fn of_done(received: &Received<'_>) -> Option<Self> {
        let code = i32::from_ne_bytes(*received.payload.first_chunk::<4>()?);
        let errno = Errno::from_raw(code.saturating_neg());
        (code < 0).then_some(Self { sequence: received.sequence, errno, message: None })
    }

    fn about(self, act: String) -> Error {
        Refusal { act, operation: None, errno: self.errno, message: self.message }.into()
    }
}

/// How much of our own request is sent back before the attributes: its header, or all of it where the kernel does not cap it.
fn length_of_request(flags: u16, echo: &[u8]) -> usize {
    match *echo {
        [a, b, c, d, ..] if flags & NLM_F_CAPPED == 0 => usize::try_from(u32::from_ne_bytes([a, b, c, d]))
            .unwrap_or(usize::MAX)
            .checked_next_multiple_of(4)
            .unwrap_or(usize::MAX),
        _ => HEADER,
    }
}

/// The sentence in an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
fn words_of_the_kernel(attributes: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let attributes = Attributes::parse(attributes).ok()?;
    let words = std::str::from_utf8(attributes.text(NLMSGERR_ATTR_MSG)?).ok()?;
    Some(words.trim_end_matches('.').to_owned()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn refusal(flags: u16, echo: &[u8]) -> Complaint {
        let payload = [&(-16_i32).to_ne_bytes(), echo].concat();
        let received = Received { kind: NLMSG_ERROR, flags, sequence: 3, payload: &payload };
        Complaint::parse(&received).unwrap().unwrap()
    }

    #[test]
    fn words_of_the_kernel_stand_behind_a_capped_or_a_whole_request() {
        let words = attribute(1, b"Device is busy.\0");
        let capped = [vec![0; 16], words.clone()].concat();
        let whole = [20_u32.to_ne_bytes().to_vec(), vec![0; 16], words].concat();
        for (flags, echo) in [(NLM_F_ACK_TLVS | NLM_F_CAPPED, capped), (NLM_F_ACK_TLVS, whole)] {
            let complaint = refusal(flags, &echo);
            assert_eq!((complaint.errno, complaint.message.as_deref()), (Errno::EBUSY, Some("Device is busy")));
        }
    }

    #[test]
    fn hostile_acknowledgements_lose_their_words_and_nothing_else() {
        for echo in [vec![], vec![0xff; 3], vec![0xff; 16], vec![0xff; 40], attribute(1, b"\xff\xfe")] {
            for flags in [0, NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
                assert_eq!(refusal(flags, &echo), Complaint { sequence: 3, errno: Errno::EBUSY, message: None });
            }
        }
    }

    #[test]
    fn list_cut_short_is_an_error_and_an_interrupted_one_is_noticed() {
        let mut datagram = vec![];
        append_message(&mut datagram, kind_of(kind::NEWCHAIN), NLM_F_DUMP_INTR, 3, 0, 0, &[]);
        append_message(&mut datagram, NLMSG_DONE, 0, 3, 0, 0, &[]);
        let mut list = List::default();
        list.take_datagram(&datagram, 3, String::new).unwrap();
        assert!(list.consistency == Consistency::Interrupted && list.progress == Progress::Finished);
        // The number of the error stands where other messages have the family.
        datagram[20 + 16..20 + 20].copy_from_slice(&(-19_i32).to_ne_bytes());
        let error = List::default().take_datagram(&datagram, 3, || "list chains".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "the kernel refused to `list chains`: No such device");
        let mut other = List::default();
        other.take_datagram(&datagram, 4, String::new).unwrap();
        assert!(other.count == 0 && other.progress == Progress::Going);
    }

    proptest! {
        #[test]
        fn hostile_datagrams_are_an_error_or_a_list_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0..5_u16) {
            let mut datagram = vec![];
            append_message(&mut datagram, kind, NLM_F_ACK_TLVS, 3, 0, 0, &bytes);
            datagram.extend(&bytes);
            let _ = List::default().take_datagram(&datagram, 3, String::new);
            let _ = List::default().take_datagram(&bytes, 3, String::new);
        }
    }
}
