//! The conversation with the daemon.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::directory;
use crate::endpoint::Endpoint;
use crate::error::{Act, Error, ProtocolError, Refusal, Result};
use crate::event::{Event, Token};
use crate::link::{Budget, Link, Wait};
use crate::path::StorePath;
use crate::permission::{DomainId, Permission};
use crate::transaction::{self, Transaction};
use crate::wire::{self, Header, Inbox, Kind};

/// The budget of time to give when there is no reason for another: a daemon that lives answers in microseconds.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(5);

/// How many bytes of watch events may wait to be read by [`Client::next_event`] before the daemon is taken for mad.
const UNREAD_EVENTS_MAX: usize = 16 << 20;
/// How much is read at once: a few dozen usual replies, or nearly one of the longest. It is one page of the stack, as each costs a page fault.
const READ_SIZE: usize = 4 << 10;
/// Unfinished requests a pipeline may have, so that what is held in memory stays bounded (each reply is at most 4 KiB).
const PIPELINE_MAX: usize = 1024;

/// What [`Client::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The node and all below it are gone.
    Removed,
    /// There was nothing to remove.
    WasAbsent,
}

/// A transaction's number, [`NO_TRANSACTION`] outside of one.
pub(crate) type TransactionNumber = u32;
/// Outside of any transaction.
pub(crate) const NO_TRANSACTION: TransactionNumber = 0;

/// A connection to XenStore.
///
/// One budget of time, given when connecting, holds for all that is done with it: once it is spent, every call fails
/// with [`Error::TimedOut`]. [`Client::renew`] starts another. After a failure other than a refusal the connection is
/// of no more use, and every call says so.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    link: Link,
    budget: Budget,
    inbox: Inbox,
    events: VecDeque<Event>,
    unread_event_bytes: usize,
    next_request: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Usable,
    Abandoned,
}

/// An answer: the payload, or the daemon's reason for having none.
pub(crate) type Answer = std::result::Result<Vec<u8>, Refusal>;

/// The requests of one pipeline that are under way.
struct Pending<'a> {
    acts: &'a [Act],
    first_request: u32,
    answers: Vec<Option<Answer>>,
    missing: usize,
}

impl Client {
    /// Connects to the XenStore of this process ([`Endpoint::of_process`]), with `limit` for all that follows.
    ///
    /// # Errors
    /// Where there is no store, it cannot be opened, or does not accept the connection in time.
    pub fn connect(limit: Duration) -> Result<Client> {
        Client::connect_to(&Endpoint::of_process()?, limit)
    }

    /// Connects to a given XenStore, with `limit` for all that follows.
    ///
    /// # Errors
    /// Where it cannot be opened, or does not accept the connection in time.
    pub fn connect_to(endpoint: &Endpoint, limit: Duration) -> Result<Client> {
        let budget = Budget::start(limit);
        let link = Link::open(endpoint, &budget).map_err(|source| match source.kind() {
            io::ErrorKind::TimedOut => Error::TimedOut { endpoint: endpoint.clone(), limit, act: None },
            _ => Error::Connect { endpoint: endpoint.clone(), source },
        })?;
        Ok(Client::over(link, endpoint.clone(), budget))
    }

    /// A client of whoever is at the other end of this socket.
    #[cfg(feature = "fuzz")]
    pub fn over_socket(socket: std::os::fd::OwnedFd, limit: Duration) -> Client {
        Client::over(Link::Socket(socket), Endpoint::Socket("fuzz".into()), Budget::start(limit))
    }

    fn over(link: Link, endpoint: Endpoint, budget: Budget) -> Client {
        Client {
            endpoint,
            link,
            budget,
            inbox: Inbox::default(),
            events: VecDeque::new(),
            unread_event_bytes: 0,
            next_request: 1,
            state: State::Usable,
        }
    }

    /// Where this client is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it can still be used: after a failure other than a refusal it cannot.
    pub fn is_usable(&self) -> bool {
        self.state == State::Usable
    }

    /// The longest payload of a request over this connection, in bytes: for a write, the path, a NUL and the value.
    ///
    /// The kernel's device keeps header and payload together in 4096 bytes (Linux, `struct xenbus_file_priv` in
    /// drivers/xen/xenbus/xenbus_dev_frontend.c), so that there the payload has less room than the protocol gives it.
    pub fn payload_max(&self) -> usize {
        match self.link {
            Link::Socket(_) => wire::PAYLOAD_MAX,
            Link::Device(_) => wire::PAYLOAD_MAX - wire::HEADER,
        }
    }

    /// Starts a new budget of time, for callers that stay (a watch that runs for hours).
    pub fn renew(&mut self, limit: Duration) {
        self.budget = Budget::start(limit);
    }

    /// The node's value, `None` where there is no such node.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(&mut self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        self.read_in(NO_TRANSACTION, path)
    }

    /// The values of many nodes, in their order, asked for together: over the socket, the cost of one round trip.
    ///
    /// # Errors
    /// See [`Error`]; the first refusal other than ENOENT fails the whole.
    pub fn read_many(&mut self, paths: &[StorePath]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read_many_in(NO_TRANSACTION, paths)
    }

    /// Sets the node's value; makes the node and those above it where they are missing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&mut self, path: &StorePath, value: &[u8]) -> Result<()> {
        self.write_in(NO_TRANSACTION, path, value)
    }

    /// Sets the values of many nodes, sent together: over the socket, the cost of one round trip. Not a transaction: others may see
    /// some of them written and others not.
    ///
    /// # Errors
    /// See [`Error`]. Refusals are looked at once all were tried; the first is reported.
    pub fn write_many(&mut self, values: &[(StorePath, Vec<u8>)]) -> Result<()> {
        self.write_many_in(NO_TRANSACTION, values)
    }

    /// Makes the node, with an empty value, and those above it; does nothing where it exists.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn make_directory(&mut self, path: &StorePath) -> Result<()> {
        self.make_directory_in(NO_TRANSACTION, path)
    }

    /// Removes the node and all below it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn remove(&mut self, path: &StorePath) -> Result<Removal> {
        self.remove_in(NO_TRANSACTION, path)
    }

    /// The names of the nodes right below `path`, in the daemon's order; `None` where there is no such node.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list(&mut self, path: &StorePath) -> Result<Option<Vec<String>>> {
        directory::list(self, NO_TRANSACTION, path)
    }

    /// The names right below many nodes, in their order, asked for together: over the socket, the cost of one round trip.
    ///
    /// # Errors
    /// See [`Error`]; the first refusal other than ENOENT fails the whole.
    pub fn list_many(&mut self, paths: &[StorePath]) -> Result<Vec<Option<Vec<String>>>> {
        let mut lists = Vec::with_capacity(paths.len());
        for part in paths.chunks(PIPELINE_MAX) {
            let requests = part.iter().map(|path| (path, &[][..]));
            let answers = self.pipeline(NO_TRANSACTION, Kind::Directory, requests)?;
            for (path, answer) in part.iter().zip(answers) {
                lists.push(directory::names_in(self, NO_TRANSACTION, path, answer)?);
            }
        }
        Ok(lists)
    }

    /// The node's permissions, its owner first; `None` where there is no such node.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn permissions(&mut self, path: &StorePath) -> Result<Option<Vec<Permission>>> {
        let answer = self.ask(NO_TRANSACTION, Kind::GetPermissions, path, &[])?;
        let Some(payload) = present(Kind::GetPermissions, path, answer)? else { return Ok(None) };
        let parsed =
            wire::strings(Kind::GetPermissions, &payload).and_then(|entries| entries.into_iter().map(str::parse).collect());
        parsed.map(Some).map_err(|reason| self.malformed(Kind::GetPermissions, path, reason))
    }

    /// Replaces the node's permissions; the first entry names its owner.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_permissions(&mut self, path: &StorePath, permissions: &[Permission]) -> Result<()> {
        let entries: String = permissions.iter().map(|entry| format!("{entry}\0")).collect();
        let answer = self.ask(NO_TRANSACTION, Kind::SetPermissions, path, &[entries.as_bytes()])?;
        granted(Kind::SetPermissions, path, answer)
    }

    /// Runs `body` as one transaction: others see all that it changed, or nothing.
    ///
    /// Where others meanwhile changed what it read or wrote, it is run again, from the start, within the budget of time.
    /// An error of `body` undoes the transaction.
    ///
    /// # Errors
    /// That of `body`, or of the daemon; [`Error::Conflict`] where it was tried too often.
    pub fn transaction<T>(&mut self, body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        transaction::run(self, body)
    }

    /// Watches a path and all below it. The first event comes at once.
    ///
    /// # Errors
    /// See [`Error`]; EEXIST where this client has the same watch already.
    pub fn watch(&mut self, path: &StorePath, token: &Token) -> Result<()> {
        let answer = self.ask(NO_TRANSACTION, Kind::Watch, path, &[token.as_str().as_bytes(), b"\0"])?;
        granted(Kind::Watch, path, answer)
    }

    /// Ends a watch. Events that are under way may still come.
    ///
    /// # Errors
    /// See [`Error`]; ENOENT where there is no such watch.
    pub fn unwatch(&mut self, path: &StorePath, token: &Token) -> Result<()> {
        let answer = self.ask(NO_TRANSACTION, Kind::Unwatch, path, &[token.as_str().as_bytes(), b"\0"])?;
        granted(Kind::Unwatch, path, answer)
    }

    /// The next event of any watch, in the daemon's order; waits for one within the budget of time.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn next_event(&mut self) -> Result<Event> {
        let act = Act { kind: Kind::WatchEvent, path: None };
        let mut none = Pending { acts: &[], first_request: 0, answers: Vec::new(), missing: 0 };
        loop {
            if let Some(event) = self.events.pop_front() {
                self.unread_event_bytes = self.unread_event_bytes.saturating_sub(size(&event));
                return Ok(event);
            }
            self.usable()?;
            if !self.take_messages(&mut none, &act)? {
                self.receive(Wait::ToRead, &act)?;
            }
        }
    }

    /// The directory of a domain, `/local/domain/<domain>`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn domain_path(&mut self, domain: DomainId) -> Result<StorePath> {
        let payload = self.ask_about(Kind::GetDomainPath, domain)?;
        let path = wire::strings(Kind::GetDomainPath, &payload).ok().and_then(|names| match names[..] {
            [path] => StorePath::parse(path).ok(),
            _ => None,
        });
        path.ok_or_else(|| self.malformed_answer(Kind::GetDomainPath))
    }

    /// The number of the domain this client runs in: the daemon keeps it in the relative node `domid`. `None` where
    /// nobody wrote that node yet (early in the start of dom0).
    ///
    /// # Errors
    /// See [`Error`]; a protocol error where the node does not hold a number.
    pub fn own_domain_id(&mut self) -> Result<Option<DomainId>> {
        let path = StorePath::parse("domid")?;
        let Some(value) = self.read(&path)? else { return Ok(None) };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        let reason = ProtocolError::Payload(Kind::Read);
        number.map(Some).ok_or_else(|| self.protocol_error(&Act { kind: Kind::Read, path: Some(path) }, reason))
    }

    /// Whether xenstored serves this domain.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn is_introduced(&mut self, domain: DomainId) -> Result<bool> {
        match self.ask_about(Kind::IsDomainIntroduced, domain)?.as_slice() {
            b"T\0" => Ok(true),
            b"F\0" => Ok(false),
            _ => Err(self.malformed_answer(Kind::IsDomainIntroduced)),
        }
    }

    /// Sends one request as it is and gives the answer's payload: for what this library has no method for.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn exchange(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> Result<Vec<u8>> {
        let act = Act { kind, path: None };
        let answer = self.exchange_one(transaction, &act, &[payload])?;
        answer.map_err(|refusal| Error::Refused { act, refusal })
    }
}

/// The same operations inside and outside of a transaction.
impl Client {
    pub(crate) fn read_in(&mut self, transaction: TransactionNumber, path: &StorePath) -> Result<Option<Vec<u8>>> {
        let answer = self.ask(transaction, Kind::Read, path, &[])?;
        present(Kind::Read, path, answer)
    }

    pub(crate) fn read_many_in(&mut self, transaction: TransactionNumber, paths: &[StorePath]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(paths.len());
        for part in paths.chunks(PIPELINE_MAX) {
            let requests = part.iter().map(|path| (path, &[][..]));
            let answers = self.pipeline(transaction, Kind::Read, requests)?;
            for (path, answer) in part.iter().zip(answers) {
                values.push(present(Kind::Read, path, answer)?);
            }
        }
        Ok(values)
    }

    pub(crate) fn write_in(&mut self, transaction: TransactionNumber, path: &StorePath, value: &[u8]) -> Result<()> {
        let answer = self.ask(transaction, Kind::Write, path, &[value])?;
        granted(Kind::Write, path, answer)
    }

    pub(crate) fn write_many_in(&mut self, transaction: TransactionNumber, values: &[(StorePath, Vec<u8>)]) -> Result<()> {
        for part in values.chunks(PIPELINE_MAX) {
            let requests = part.iter().map(|(path, value)| (path, value.as_slice()));
            let answers = self.pipeline(transaction, Kind::Write, requests)?;
            for ((path, _), answer) in part.iter().zip(answers) {
                granted(Kind::Write, path, answer)?;
            }
        }
        Ok(())
    }

    pub(crate) fn make_directory_in(&mut self, transaction: TransactionNumber, path: &StorePath) -> Result<()> {
        let answer = self.ask(transaction, Kind::MakeDirectory, path, &[])?;
        granted(Kind::MakeDirectory, path, answer)
    }

    // The daemon acknowledges the removal of a missing node where its parent exists, so only a read tells them apart.
    pub(crate) fn remove_in(&mut self, transaction: TransactionNumber, path: &StorePath) -> Result<Removal> {
        let acts = [Kind::Read, Kind::Remove].map(|kind| Act { kind, path: Some(path.clone()) });
        let mut out = Vec::with_capacity(2 * (wire::HEADER + path.as_str().len() + 1));
        let first_request = self.reserve(acts.len());
        for (request, act) in (first_request..).zip(&acts) {
            self.append(&mut out, act, request, transaction, &[path.as_str().as_bytes(), b"\0"])?;
        }
        let mut answers = self.converse(&out, &acts, first_request)?.into_iter();
        let (before, removed) = (answers.next(), answers.next());
        match removed {
            Some(Err(Refusal::Enoent)) => Ok(Removal::WasAbsent),
            Some(Err(refusal)) => Err(refused(Kind::Remove, path, refusal)),
            _ if matches!(before, Some(Err(Refusal::Enoent))) => Ok(Removal::WasAbsent),
            _ => Ok(Removal::Removed),
        }
    }
}

/// Sending and receiving.
impl Client {
    /// One request about a path, its payload the path, a NUL, and `rest`.
    pub(crate) fn ask(&mut self, transaction: TransactionNumber, kind: Kind, path: &StorePath, rest: &[&[u8]]) -> Result<Answer> {
        let mut payload: Vec<&[u8]> = Vec::with_capacity(2 + rest.len());
        payload.extend([path.as_str().as_bytes(), b"\0"]);
        payload.extend(rest);
        self.exchange_one(transaction, &Act { kind, path: Some(path.clone()) }, &payload)
    }

    fn ask_about(&mut self, kind: Kind, domain: DomainId) -> Result<Vec<u8>> {
        self.exchange(kind, NO_TRANSACTION, format!("{domain}\0").as_bytes())
    }

    fn exchange_one(&mut self, transaction: TransactionNumber, act: &Act, payload: &[&[u8]]) -> Result<Answer> {
        let number = self.reserve(1);
        let mut out = Vec::with_capacity(128);
        self.append(&mut out, act, number, transaction, payload)?;
        let mut answers = self.converse(&out, std::slice::from_ref(act), number)?;
        let unexpected = ProtocolError::UnexpectedReply { request: number };
        answers.pop().ok_or_else(|| self.protocol_error(act, unexpected))
    }

    /// Many requests of one kind, each about a path with a value after it, sent together.
    fn pipeline<'a>(
        &mut self,
        transaction: TransactionNumber,
        kind: Kind,
        requests: impl ExactSizeIterator<Item = (&'a StorePath, &'a [u8])>,
    ) -> Result<Vec<Answer>> {
        let first_request = self.reserve(requests.len());
        let mut acts = Vec::with_capacity(requests.len());
        let mut out = Vec::with_capacity(requests.len() * 64);
        for (number, (path, value)) in (first_request..).zip(requests) {
            let act = Act { kind, path: Some(path.clone()) };
            self.append(&mut out, &act, number, transaction, &[path.as_str().as_bytes(), b"\0", value])?;
            acts.push(act);
        }
        self.converse(&out, &acts, first_request)
    }

    /// Takes `count` numbers in a row for requests. 0 is left out, as watch events carry it.
    fn reserve(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let first = if self.next_request.checked_add(count).is_some() { self.next_request } else { 1 };
        self.next_request = first + count;
        first
    }

    /// Appends one message, where it fits.
    fn append(&self, out: &mut Vec<u8>, act: &Act, request: u32, transaction: u32, payload: &[&[u8]]) -> Result<()> {
        let maximum = self.payload_max();
        let too_large = |length| Error::TooLarge { act: act.clone(), length, maximum };
        let length = payload.iter().map(|piece| piece.len()).sum();
        if length > maximum {
            return Err(too_large(length));
        }
        wire::append(out, act.kind, request, transaction, payload).map_err(too_large)
    }

    /// Sends the messages in `out`, one for each of `acts`, and gathers the answers, in their order.
    ///
    /// Over the device each request waits for the answer to the one before. The kernel hands a request to the thread that
    /// sends it without copying it (Linux, xenbus_dev_request_and_reply in drivers/xen/xenbus/xenbus_xs.c), so that a
    /// second one written too early overwrites the first: seen with 6.1, where most of 500 pipelined writes were lost
    /// though each was acknowledged.
    fn converse(&mut self, out: &[u8], acts: &[Act], first_request: u32) -> Result<Vec<Answer>> {
        if let Link::Socket(_) = self.link {
            return self.converse_at_once(out, acts, first_request);
        }
        let mut answers = Vec::with_capacity(acts.len());
        let mut rest = out;
        for (request, act) in (first_request..).zip(acts) {
            let (message, further) = wire::split_first_message(rest);
            answers.extend(self.converse_at_once(message, std::slice::from_ref(act), request)?);
            rest = further;
        }
        Ok(answers)
    }

    /// Reading and writing take turns, as neither side can be relied on to take everything before it is read from.
    fn converse_at_once(&mut self, out: &[u8], acts: &[Act], first_request: u32) -> Result<Vec<Answer>> {
        self.usable()?;
        let mut pending = Pending { acts, first_request, answers: acts.iter().map(|_| None).collect(), missing: acts.len() };
        let mut sent = 0;
        while pending.missing > 0 {
            let act = &acts[pending.first_unanswered()];
            if sent < out.len() {
                sent += self.link.send(&out[sent..]).or_else(|error| self.send_failed(error, act))?;
            }
            let wait = if sent < out.len() { Wait::ToReadOrWrite } else { Wait::ToRead };
            self.receive(wait, act)?;
            self.take_messages(&mut pending, act)?;
        }
        Ok(pending.answers.into_iter().flatten().collect())
    }

    /// A daemon that closes while we write may still have said why: that is then to be read first, and the end after it.
    fn send_failed(&mut self, error: io::Error, act: &Act) -> Result<usize> {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(0),
            _ => Err(self.io_error(act, error)),
        }
    }

    /// Waits for bytes and takes them in.
    fn receive(&mut self, wait: Wait, act: &Act) -> Result<()> {
        let readable = self.link.wait(wait, &self.budget).map_err(|error| self.io_error(act, error))?;
        if !readable {
            return Ok(());
        }
        let mut buffer = [0; READ_SIZE];
        match self.link.receive(&mut buffer) {
            Ok(0) => {
                let reason = ProtocolError::Closed { inside_message: self.inbox.unfinished() };
                Err(self.protocol_error(act, reason))
            }
            Ok(length) => {
                self.inbox.take(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(self.io_error(act, error)),
        }
    }

    /// Sorts the whole messages that are in: answers to their requests, events into the queue. Says whether there were any.
    fn take_messages(&mut self, pending: &mut Pending<'_>, act: &Act) -> Result<bool> {
        let mut any = false;
        loop {
            let outcome = match self.inbox.next_message() {
                Ok(None) => return Ok(any),
                Ok(Some((header, payload))) if header.kind == Kind::WatchEvent => {
                    self.unread_event_bytes += payload.len();
                    parse_event(payload).map(|event| self.events.push_back(event))
                }
                Ok(Some((header, payload))) => pending.take(header, payload),
                Err(reason) => Err(reason),
            };
            let full = self.unread_event_bytes > UNREAD_EVENTS_MAX;
            let bounded = outcome.and(if full { Err(ProtocolError::TooManyEvents(UNREAD_EVENTS_MAX)) } else { Ok(()) });
            bounded.map_err(|reason| self.protocol_error(act, reason))?;
            any = true;
        }
    }

    fn usable(&self) -> Result<()> {
        match self.state {
            State::Usable => Ok(()),
            State::Abandoned => Err(Error::Abandoned { endpoint: self.endpoint.clone() }),
        }
    }

    fn io_error(&mut self, act: &Act, source: io::Error) -> Error {
        self.state = State::Abandoned;
        let (endpoint, act) = (self.endpoint.clone(), act.clone());
        match source.kind() {
            io::ErrorKind::TimedOut => Error::TimedOut { endpoint, limit: self.budget.limit, act: Some(act) },
            _ => Error::Io { endpoint, act, source },
        }
    }

    fn protocol_error(&mut self, act: &Act, reason: ProtocolError) -> Error {
        self.state = State::Abandoned;
        Error::Protocol { endpoint: self.endpoint.clone(), act: act.clone(), reason }
    }

    /// An answer about `path` that does not have the form its kind asks for.
    pub(crate) fn malformed(&mut self, kind: Kind, path: &StorePath, reason: ProtocolError) -> Error {
        self.protocol_error(&Act { kind, path: Some(path.clone()) }, reason)
    }

    /// An answer that does not have the form its kind asks for.
    pub(crate) fn malformed_answer(&mut self, kind: Kind) -> Error {
        self.protocol_error(&Act { kind, path: None }, ProtocolError::Payload(kind))
    }
}

impl Pending<'_> {
    /// The place of the first request without an answer, for messages.
    fn first_unanswered(&self) -> usize {
        self.answers.iter().position(Option::is_none).unwrap_or(0)
    }

    /// Puts an answer in its place.
    fn take(&mut self, header: Header, payload: &[u8]) -> std::result::Result<(), ProtocolError> {
        let unexpected = ProtocolError::UnexpectedReply { request: header.request };
        let place = header.request.checked_sub(self.first_request).and_then(|place| usize::try_from(place).ok());
        let Some((place, slot)) = place.and_then(|place| Some((place, self.answers.get_mut(place)?))) else {
            return Err(unexpected);
        };
        if slot.is_some() {
            return Err(unexpected);
        }
        let asked = self.acts[place].kind;
        *slot = Some(match header.kind {
            Kind::Error => Err(Refusal::parse(payload).ok_or(ProtocolError::Payload(Kind::Error))?),
            answered if answered == asked => Ok(payload.to_vec()),
            answered => return Err(ProtocolError::WrongKind { asked, answered }),
        });
        self.missing -= 1;
        Ok(())
    }
}

fn parse_event(payload: &[u8]) -> std::result::Result<Event, ProtocolError> {
    let malformed = || ProtocolError::Payload(Kind::WatchEvent);
    let fields = wire::strings(Kind::WatchEvent, payload)?;
    let [path, token] = fields[..] else { return Err(malformed()) };
    let path = StorePath::parse(path).map_err(|_| malformed())?;
    Ok(Event { path, token: Token::new(token).map_err(|_| malformed())? })
}

/// The event's size on the wire, in bytes.
fn size(event: &Event) -> usize {
    event.path.as_str().len() + event.token.as_str().len() + 2
}

fn refused(kind: Kind, path: &StorePath, refusal: Refusal) -> Error {
    Error::Refused { act: Act { kind, path: Some(path.clone()) }, refusal }
}

/// An answer where ENOENT is none.
pub(crate) fn present(kind: Kind, path: &StorePath, answer: Answer) -> Result<Option<Vec<u8>>> {
    match answer {
        Ok(payload) => Ok(Some(payload)),
        Err(Refusal::Enoent) => Ok(None),
        Err(refusal) => Err(refused(kind, path, refusal)),
    }
}

/// An answer that only says yes or no.
fn granted(kind: Kind, path: &StorePath, answer: Answer) -> Result<()> {
    answer.map(|_| ()).map_err(|refusal| refused(kind, path, refusal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::os::fd::AsFd;

    /// A client that takes a socket for the kernel's device, and the kernel's end. Each write arrives on its own there.
    fn device() -> (Client, File) {
        let (near, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::empty()).unwrap();
        let link = |fd: OwnedFd| File::from(fd);
        let endpoint = Endpoint::Device("/dev/xen/xenbus".into());
        (Client::over(Link::Device(link(near)), endpoint, Budget::start(DEFAULT_LIMIT)), link(far))
    }

    fn is_readable(file: &File) -> bool {
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(10u8)).unwrap() > 0
    }

    #[test]
    fn the_device_gets_whole_requests_and_each_only_after_the_answer_to_the_one_before() {
        let (mut client, mut kernel) = device();
        let kernel = std::thread::spawn(move || {
            for value in [b"1", b"2", b"3"] {
                let mut buffer = [0; 4096];
                let length = kernel.read(&mut buffer).unwrap();
                let (message, rest) = wire::split_first_message(&buffer[..length]);
                assert!(rest.is_empty() && message.len() == length, "{length} bytes in one write");
                assert!(!is_readable(&kernel), "the next request came before this one was answered");
                let header = Header::parse(message.first_chunk().unwrap()).unwrap();
                let mut answer = Vec::new();
                wire::append(&mut answer, header.kind, header.request, 0, &[value]).unwrap();
                kernel.write_all(&answer).unwrap();
            }
        });
        let paths = ["a", "b", "c"].map(|name| StorePath::parse(name).unwrap());
        let values = client.read_many(&paths).unwrap();
        kernel.join().unwrap();
        assert_eq!(values, [b"1", b"2", b"3"].map(|value| Some(value.to_vec())));
    }

    #[test]
    fn the_device_is_not_given_more_than_its_buffer_holds() {
        let (mut client, kernel) = device();
        let path = StorePath::parse("a").unwrap();
        let outcome = client.write(&path, &[0; 4079]);
        assert!(matches!(outcome, Err(Error::TooLarge { length: 4081, maximum: 4080, .. })), "{outcome:?}");
        assert!(!is_readable(&kernel));
    }
}
