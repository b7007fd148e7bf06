//! One client, as the server sees it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use xenstore::DomainId;
use xenstore::wire::{self, Inbox, Kind};

use super::tree::{Fired, Reach, Transaction, is_at_or_below};

/// A client's connection and what belongs to it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) inbox: Inbox,
    outbox: VecDeque<Outgoing>,
    pub(super) watches: Vec<Watch>,
    pub(super) transactions: BTreeMap<u32, Transaction>,
    next_transaction: u32,
}

/// A message on its way to the client.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Not to be sent earlier.
    due: Option<Instant>,
    kind: Kind,
}

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    /// Absolute, or special.
    pub(super) path: String,
    /// Length of what is to be cut off the paths of events: those of a watch on a relative path are relative too.
    pub(super) hidden: usize,
    pub(super) token: String,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Closed,
}

/// When a connection wants to be served again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// When the client sends something.
    Input,
    /// When the client takes more.
    Output,
    /// At this time.
    At(Instant),
}

impl Watch {
    /// What a domain's relative paths lack of absolute ones.
    pub(super) fn hidden_prefix(domain: DomainId) -> usize {
        format!("/local/domain/{domain}/").len()
    }

    fn wants(&self, event: &Fired) -> bool {
        match event.reach {
            Reach::Upwards => is_at_or_below(&event.path, &self.path),
            Reach::Itself => self.path == event.path,
        }
    }
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            watches: Vec::new(),
            transactions: BTreeMap::new(),
            next_transaction: 1,
        }
    }

    /// Takes in what the client sent.
    pub(super) fn receive(&mut self) -> Fate {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Fate::Closed,
            Ok(length) => {
                self.inbox.take(&buffer[..length]);
                Fate::Open
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Fate::Open,
            Err(_) => Fate::Closed,
        }
    }

    /// Sends what is due and fits.
    pub(super) fn flush(&mut self) -> (Fate, Wish) {
        while let Some(first) = self.outbox.front_mut() {
            if let Some(due) = first.due.filter(|due| *due > Instant::now()) {
                return (Fate::Open, Wish::At(due));
            }
            match self.stream.write(&first.bytes[first.sent..]) {
                Ok(length) => first.sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Fate::Open, Wish::Output),
                Err(_) => return (Fate::Closed, Wish::Input),
            }
            if first.sent == first.bytes.len() {
                self.outbox.pop_front();
            }
        }
        (Fate::Open, Wish::Input)
    }

    /// Queues a reply; a payload that is too long becomes E2BIG, as in the real daemon.
    pub(super) fn reply(&mut self, kind: Kind, request: u32, transaction: u32, payload: &[u8], due: Option<Instant>) {
        let mut bytes = Vec::with_capacity(wire::HEADER + payload.len());
        if wire::append(&mut bytes, kind, request, transaction, &[payload]).is_err() {
            // The short one fits.
            let _ = wire::append(&mut bytes, Kind::Error, request, transaction, &[b"E2BIG\0"]);
        }
        self.outbox.push_back(Outgoing { bytes, sent: 0, due, kind });
    }

    /// Queues bytes that are no message.
    pub(super) fn garbage(&mut self, bytes: &[u8]) {
        self.outbox.push_back(Outgoing { bytes: bytes.to_vec(), sent: 0, due: None, kind: Kind::Error });
    }

    /// Queues an event for each watch that wants it.
    pub(super) fn notify(&mut self, event: &Fired) {
        let wanted: Vec<(String, String)> = self
            .watches
            .iter()
            .filter(|watch| watch.wants(event))
            .map(|watch| (event.path[watch.hidden.min(event.path.len())..].to_owned(), watch.token.clone()))
            .collect();
        for (path, token) in wanted {
            self.event(&path, &token);
        }
    }

    /// Queues an event, unless one like it is still unsent (the real daemon drops it too) or it is too long.
    pub(super) fn event(&mut self, path: &str, token: &str) {
        let mut bytes = Vec::new();
        let payload: [&[u8]; 4] = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"];
        if wire::append(&mut bytes, Kind::WatchEvent, 0, 0, &payload).is_err() {
            return;
        }
        let alike = |message: &Outgoing| message.kind == Kind::WatchEvent && message.bytes == bytes;
        if path.starts_with('@') || !self.outbox.iter().any(alike) {
            self.outbox.push_back(Outgoing { bytes, sent: 0, due: None, kind: Kind::WatchEvent });
        }
    }

    /// A new transaction's number.
    pub(super) fn start_transaction(&mut self) -> u32 {
        let number = self.next_transaction;
        self.next_transaction = self.next_transaction.checked_add(1).unwrap_or(1);
        self.transactions.insert(number, Transaction::default());
        number
    }
}
