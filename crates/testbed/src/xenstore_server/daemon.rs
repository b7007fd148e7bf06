//! The loop that serves all clients, and what it answers.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use xenstore::wire::{Header, Kind};
use xenstore::{DomainId, Permission, Refusal, StorePath};

use super::connection::{Connection, Fate, Watch, Wish};
use super::fault::Misbehaviour;
use super::tree::{self, View};
use super::{Change, Shared, lock};

/// The listening socket's mark in epoll; connections count from [`FIRST_CONNECTION`].
const LISTENER: u64 = 0;
/// The mark of the owner's stream.
const OWNER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// The most that is looked at in one round.
const EVENTS: usize = 256;

/// One answer: a payload, or the reason for a refusal.
type Answer = Result<Vec<u8>, Refusal>;

/// The server's thread.
pub(super) struct Daemon {
    listener: UnixListener,
    /// A byte on it says that the owner changed the store; its end, that the server is to end.
    owner: UnixStream,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    next_connection: u64,
    shared: Arc<Mutex<Shared>>,
    /// Connections that wait for a time, with a late answer.
    waiting: HashMap<u64, Instant>,
}

/// A request as it came.
struct Request<'a> {
    header: Header,
    payload: &'a [u8],
}

impl Daemon {
    pub(super) fn new(listener: UnixListener, owner: UnixStream, shared: Arc<Mutex<Shared>>) -> io::Result<Daemon> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        listener.set_nonblocking(true)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        owner.set_nonblocking(true)?;
        epoll.add(&owner, EpollEvent::new(EpollFlags::EPOLLIN, OWNER))?;
        Ok(Daemon {
            listener,
            owner,
            epoll,
            connections: HashMap::new(),
            next_connection: FIRST_CONNECTION,
            shared,
            waiting: HashMap::new(),
        })
    }

    /// Serves until the owner closes its stream.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => return,
            };
            for event in &events[..count] {
                match event.data() {
                    OWNER if self.owner_is_gone() => return,
                    OWNER => self.notify(None),
                    LISTENER => self.accept(),
                    connection => self.serve(connection),
                }
            }
            self.flush_late();
        }
    }

    /// Until the first late answer is due.
    fn timeout(&self) -> EpollTimeout {
        let Some(due) = self.waiting.values().min() else { return EpollTimeout::NONE };
        let left = due.saturating_duration_since(Instant::now()).saturating_add(Duration::from_millis(1));
        EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
    }

    fn owner_is_gone(&mut self) -> bool {
        matches!(self.owner.read(&mut [0; 64]), Ok(0))
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let number = self.next_connection;
            let ready = stream.set_nonblocking(true).is_ok()
                && self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number)).is_ok();
            if ready {
                self.next_connection += 1;
                self.connections.insert(number, Connection::new(stream));
            }
        }
    }

    /// Takes in what a client sent, answers what is whole, and sends what it takes.
    fn serve(&mut self, number: u64) {
        let Some(mut connection) = self.connections.remove(&number) else { return };
        let mut fate = connection.receive();
        while fate == Fate::Open {
            let (header, payload) = match connection.inbox.next_message() {
                Ok(Some((header, payload))) => (header, payload.to_vec()),
                Ok(None) => break,
                // As the real daemon does with a message that is too long.
                Err(_) => return,
            };
            fate = self.handle(&mut connection, &Request { header, payload: &payload });
        }
        if fate == Fate::Closed {
            // What was answered before still goes out.
            connection.flush();
            return;
        }
        self.connections.insert(number, connection);
        self.flush(number);
    }

    /// Sends what the client takes, and asks to be told when it takes more.
    fn flush(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let (fate, wish) = connection.flush();
        self.waiting.remove(&number);
        if fate == Fate::Closed {
            self.connections.remove(&number);
            return;
        }
        let mut interest = EpollFlags::EPOLLIN;
        match wish {
            Wish::Input => {}
            Wish::Output => interest |= EpollFlags::EPOLLOUT,
            Wish::At(due) => drop(self.waiting.insert(number, due)),
        }
        let mut event = EpollEvent::new(interest, number);
        if self.epoll.modify(&connection.stream, &mut event).is_err() {
            self.connections.remove(&number);
        }
    }

    fn flush_late(&mut self) {
        let now = Instant::now();
        let due: Vec<u64> = self.waiting.iter().filter(|(_, due)| **due <= now).map(|(number, _)| *number).collect();
        for number in due {
            self.flush(number);
        }
    }

    /// Does a request, unless a fault is set for it, and queues the answer after the events it caused.
    fn handle(&mut self, connection: &mut Connection, request: &Request<'_>) -> Fate {
        let mut due = None;
        let mut silent = false;
        let answer = {
            let mut shared = lock(&self.shared);
            let path = request.path(shared.domain).ok();
            match shared.faults.judge(request.header.kind, path.as_deref()) {
                Some(Misbehaviour::Close) => return Fate::Closed,
                Some(Misbehaviour::Garbage(bytes)) => {
                    connection.garbage(&bytes);
                    return Fate::Open;
                }
                Some(Misbehaviour::Refuse(refusal)) => refuse(connection, &request.header, refusal),
                Some(Misbehaviour::AnswerLate(delay)) => {
                    due = Instant::now().checked_add(delay);
                    answer(&mut shared, connection, request)
                }
                Some(Misbehaviour::NeverAnswer) => {
                    silent = true;
                    answer(&mut shared, connection, request)
                }
                None => answer(&mut shared, connection, request),
            }
        };
        self.notify(Some(connection));
        if !silent {
            send(connection, &request.header, &answer, due);
        }
        // Only now: a watch's first event follows the answer.
        if let (Kind::Watch, Ok(_), Some(watch)) = (request.header.kind, &answer, connection.watches.last()) {
            let (path, token) = (watch.path[watch.hidden..].to_owned(), watch.token.clone());
            connection.event(&path, &token);
        }
        Fate::Open
    }

    /// Tells every client's watches what changed; `own` is the one being served, which is not among the others.
    fn notify(&mut self, own: Option<&mut Connection>) {
        let fired = lock(&self.shared).tree.take_fired();
        if fired.is_empty() {
            return;
        }
        if let Some(own) = own {
            fired.iter().for_each(|event| own.notify(event));
        }
        let watching: Vec<u64> =
            self.connections.iter().filter(|(_, other)| !other.watches.is_empty()).map(|(number, _)| *number).collect();
        for number in watching {
            if let Some(other) = self.connections.get_mut(&number) {
                fired.iter().for_each(|event| other.notify(event));
            }
            self.flush(number);
        }
    }
}

/// Answers what one client of a new store sends, without a thread, and gives the number of requests.
pub(super) fn answer_all(bytes: &[u8], mut shared: Shared) -> io::Result<usize> {
    let (near, _far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let mut connection = Connection::new(near);
    connection.inbox.take(bytes);
    let mut requests = 0;
    while let Ok(Some((header, payload))) = connection.inbox.next_message() {
        let payload = payload.to_vec();
        let request = Request { header, payload: &payload };
        let answer = answer(&mut shared, &mut connection, &request);
        shared.tree.take_fired().iter().for_each(|event| connection.notify(event));
        send(&mut connection, &request.header, &answer, None);
        requests += 1;
    }
    connection.flush();
    Ok(requests)
}

/// A refusal on purpose.
fn refuse(connection: &mut Connection, header: &Header, refusal: Refusal) -> Answer {
    if header.kind == Kind::TransactionEnd {
        connection.transactions.remove(&header.transaction);
    }
    Err(refusal)
}

fn send(connection: &mut Connection, header: &Header, answer: &Answer, due: Option<Instant>) {
    match answer {
        Ok(payload) => connection.reply(header.kind, header.request, header.transaction, payload, due),
        Err(refusal) => {
            let payload = format!("{}\0", refusal.name());
            connection.reply(Kind::Error, header.request, header.transaction, payload.as_bytes(), due);
        }
    }
}

const OK: &[u8] = b"OK\0";

/// Does what a request asks.
fn answer(shared: &mut Shared, connection: &mut Connection, request: &Request<'_>) -> Answer {
    let domain = shared.domain;
    match request.header.kind {
        // Watches know no transactions, so the number of one is ignored.
        Kind::Watch => watch(connection, request, domain),
        Kind::Unwatch => unwatch(connection, request, domain),
        kind => {
            let number = request.header.transaction;
            if number != 0 && !connection.transactions.contains_key(&number) {
                return Err(Refusal::Enoent);
            }
            match kind {
                Kind::TransactionStart if number != 0 => Err(Refusal::Ebusy),
                Kind::TransactionStart => Ok(format!("{}\0", connection.start_transaction()).into_bytes()),
                Kind::TransactionEnd => end_transaction(shared, connection, request),
                Kind::ResetWatches => {
                    connection.watches.clear();
                    connection.transactions.clear();
                    Ok(OK.to_vec())
                }
                Kind::GetDomainPath => Ok(format!("/local/domain/{}\0", request.domain()?).into_bytes()),
                Kind::IsDomainIntroduced => {
                    let introduced = request.domain()? == 0 || request.domain()? == u32::from(domain.0);
                    Ok(if introduced { b"T\0".to_vec() } else { b"F\0".to_vec() })
                }
                _ => answer_about_node(shared, connection, request),
            }
        }
    }
}

/// The requests that read or change nodes, in a transaction or not.
fn answer_about_node(shared: &mut Shared, connection: &mut Connection, request: &Request<'_>) -> Answer {
    let domain = shared.domain;
    let mut view = match connection.transactions.get_mut(&request.header.transaction) {
        Some(transaction) => View::within(&mut shared.tree, transaction, domain),
        None => View::direct(&mut shared.tree, domain),
    };
    let reads = matches!(request.header.kind, Kind::Directory | Kind::DirectoryPart | Kind::Read | Kind::GetPermissions);
    if reads {
        shared.reads.extend(request.path(domain));
        return look(&mut view, request, domain);
    }
    let change = change(&mut view, request, domain)?;
    let logged = change.and_then(|change| view.note(change));
    shared.log.extend(logged);
    Ok(OK.to_vec())
}

fn look(view: &mut View<'_>, request: &Request<'_>, domain: DomainId) -> Answer {
    let path = request.path(domain)?;
    match request.header.kind {
        Kind::DirectoryPart => {
            let offset = request.offset()?;
            let node = view.read(&path)?;
            Ok(directory_part(&names(&node.children), node.generation, offset))
        }
        kind => {
            request.only_a_path()?;
            let node = view.read(&path)?;
            Ok(match kind {
                Kind::Directory => names(&node.children),
                Kind::GetPermissions => node.permissions.iter().flat_map(|entry| format!("{entry}\0").into_bytes()).collect(),
                _ => node.value.clone(),
            })
        }
    }
}

/// Does a change and gives what is to be logged, `None` where nothing changed.
fn change(view: &mut View<'_>, request: &Request<'_>, domain: DomainId) -> Result<Option<Change>, Refusal> {
    let changes = [Kind::Write, Kind::MakeDirectory, Kind::Remove, Kind::SetPermissions];
    if !changes.contains(&request.header.kind) {
        return Err(Refusal::Enosys);
    }
    let path = request.path(domain)?;
    match request.header.kind {
        Kind::Write => {
            let value = request.after_path()?.to_vec();
            view.write(&path, &value)?;
            Ok(Some(Change::Write { path, value }))
        }
        Kind::SetPermissions => {
            let permissions = request.permissions()?;
            view.set_permissions(&path, &permissions)?;
            Ok(Some(Change::SetPermissions { path, permissions }))
        }
        Kind::MakeDirectory => {
            request.only_a_path()?;
            Ok(view.make_directory(&path)?.then_some(Change::MakeDirectory { path }))
        }
        _ => {
            request.only_a_path()?;
            Ok(view.remove(&path)?.then_some(Change::Remove { path }))
        }
    }
}

fn end_transaction(shared: &mut Shared, connection: &mut Connection, request: &Request<'_>) -> Answer {
    let commit = match request.payload {
        b"T\0" => true,
        b"F\0" => false,
        _ => return Err(Refusal::Einval),
    };
    let transaction = connection.transactions.remove(&request.header.transaction).ok_or(Refusal::Enoent)?;
    if commit {
        shared.log.extend(shared.tree.commit(transaction)?);
    }
    Ok(OK.to_vec())
}

fn watch(connection: &mut Connection, request: &Request<'_>, domain: DomainId) -> Answer {
    let (path, token, hidden) = request.watch(domain)?;
    if connection.watches.iter().any(|watch| watch.path == path && watch.token == token) {
        return Err(Refusal::Eexist);
    }
    connection.watches.push(Watch { path, hidden, token });
    Ok(OK.to_vec())
}

fn unwatch(connection: &mut Connection, request: &Request<'_>, domain: DomainId) -> Answer {
    let (path, token, _) = request.watch(domain)?;
    let place = connection.watches.iter().position(|watch| watch.path == path && watch.token == token);
    connection.watches.remove(place.ok_or(Refusal::Enoent)?);
    Ok(OK.to_vec())
}

/// Names, each ended by a NUL.
fn names(children: &[String]) -> Vec<u8> {
    children.iter().flat_map(|name| name.bytes().chain([0])).collect()
}

/// As many whole names from `offset` on as fit beside the generation; one more NUL after the last of all.
fn directory_part(names: &[u8], generation: u64, offset: usize) -> Vec<u8> {
    let mut payload = format!("{generation}\0").into_bytes();
    let room = xenstore::wire::PAYLOAD_MAX - payload.len() - 1;
    let rest = names.get(offset..).unwrap_or_default();
    let mut taken = 0;
    for name in rest.split_inclusive(|byte| *byte == 0) {
        if taken + name.len() > room {
            break;
        }
        taken += name.len();
    }
    payload.extend_from_slice(&rest[..taken]);
    if taken == rest.len() {
        payload.push(0);
    }
    payload
}

impl Request<'_> {
    /// The payload up to its first NUL, and what follows.
    fn parts(&self) -> Result<(&str, &[u8]), Refusal> {
        let end = self.payload.iter().position(|byte| *byte == 0).ok_or(Refusal::Einval)?;
        let first = std::str::from_utf8(&self.payload[..end]).map_err(|_| Refusal::Einval)?;
        Ok((first, &self.payload[end + 1..]))
    }

    /// The node the request is about, from the root. EINVAL for special names, which are no nodes.
    fn path(&self, domain: DomainId) -> Result<String, Refusal> {
        let path = self.store_path()?;
        if path.is_special() { Err(Refusal::Einval) } else { tree::absolute(&path, domain) }
    }

    fn store_path(&self) -> Result<StorePath, Refusal> {
        StorePath::parse(self.parts()?.0).map_err(|_| Refusal::Einval)
    }

    fn after_path(&self) -> Result<&[u8], Refusal> {
        self.parts().map(|(_, rest)| rest)
    }

    fn only_a_path(&self) -> Result<(), Refusal> {
        if self.after_path()?.is_empty() { Ok(()) } else { Err(Refusal::Einval) }
    }

    /// The strings after the first.
    fn further_strings(&self) -> Result<Vec<&str>, Refusal> {
        let rest = self.after_path()?.strip_suffix(b"\0").ok_or(Refusal::Einval)?;
        let text = std::str::from_utf8(rest).map_err(|_| Refusal::Einval)?;
        Ok(text.split('\0').collect())
    }

    fn permissions(&self) -> Result<Vec<Permission>, Refusal> {
        self.further_strings()?.into_iter().map(|entry| entry.parse().map_err(|_| Refusal::Einval)).collect()
    }

    /// A watch's absolute path, its token, and the length hidden from the client.
    fn watch(&self, domain: DomainId) -> Result<(String, String, usize), Refusal> {
        let path = self.store_path()?;
        let strings = self.further_strings()?;
        let [token] = strings[..] else { return Err(Refusal::Einval) };
        let relative = !path.is_absolute() && !path.is_special();
        let hidden = if relative { Watch::hidden_prefix(domain) } else { 0 };
        Ok((tree::absolute(&path, domain)?, token.to_owned(), hidden))
    }

    /// Where DIRECTORY_PART is to start.
    fn offset(&self) -> Result<usize, Refusal> {
        match self.further_strings()?[..] {
            [offset] => offset.parse().map_err(|_| Refusal::Einval),
            _ => Err(Refusal::Einval),
        }
    }

    /// The domain a request is about.
    fn domain(&self) -> Result<u32, Refusal> {
        let (number, rest) = self.parts()?;
        if rest.is_empty() { number.parse().map_err(|_| Refusal::Einval) } else { Err(Refusal::Einval) }
    }
}
