//! What others do to the ruleset, as the kernel tells it while it happens.

use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::encode::{SUBSYSTEM, chain, kind, table};
use crate::seen::open;
use crate::wire::{Received, take_message};
use crate::{Error, Family};

/// `NFNLGRP_NFTABLES` (nfnetlink.h)
const GROUP: u32 = 7;
/// `NFTA_GEN_PROC_NAME`
const NFTA_GEN_PROC_NAME: u16 = 3;
/// The kernel puts no more into one datagram (net/netlink/af_netlink.c).
const DATAGRAM_MAX: usize = 32 * 1024;
/// The shortest time that a socket knows; none at all would be for ever (socket(7), `SO_RCVTIMEO`).
const SHORTEST: Duration = Duration::from_micros(1);

/// A subscription to all changes of the ruleset in one network namespace.
#[derive(Debug)]
pub struct News {
    socket: Socket,
    buffer: Vec<u8>,
    /// What was told of the commit that is not complete yet.
    begun: Vec<Change>,
    /// What was told and not taken yet.
    told: std::collections::VecDeque<Commit>,
}

/// What one process has changed in one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The name of its program (`comm`, at most 15 bytes).
    pub process: String,
    /// What it has changed.
    pub changes: Vec<Change>,
}

/// A change to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which family the object's table is.
    pub family: Option<Family>,
    /// The name of its table.
    pub table: String,
    /// What has become of it.
    pub what: What,
}

/// What has become of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A chain that sees packets is new, or another one: its policy, for example.
    BaseChain,
    /// A rule is gone. The kernel does not say what it was.
    RuleGone,
    /// Anything else.
    Other,
}

/// What a subscription has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Somebody has changed something.
    Commit(Commit),
    /// There was more than the kernel keeps for us: anything may have changed.
    Lost,
    /// Nothing, for as long as was waited.
    Nothing,
}

impl News {
    /// Subscribes, in the network namespace of this thread. What happened before is not told.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or gives no such socket.
    pub fn subscribe() -> Result<Self, Error> {
        let broken = |cause: std::io::Error| Error::Broken(format!("no news of the ruleset: {cause}"));
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(broken)?;
        socket.bind(&SocketAddr::new(0, 0)).map_err(broken)?;
        socket.add_membership(GROUP).map_err(broken)?;
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM_MAX), begun: vec![], told: [].into() })
    }

    /// Waits for the next commit, as long as `limit`, or without one for ever.
    ///
    /// # Errors
    /// When the kernel tells nothing any more, or nonsense.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Told, Error> {
        loop {
            if let Some(commit) = self.told.pop_front() {
                return Ok(Told::Commit(commit));
            }
            match self.receive(limit)? {
                Heard::Datagram => self.take_datagram()?,
                Heard::Overrun => {
                    self.begun.clear();
                    return Ok(Told::Lost);
                }
                Heard::Nothing => return Ok(Told::Nothing),
            }
        }
    }

    fn receive(&mut self, limit: Option<Duration>) -> Result<Heard, Error> {
        let limit = limit.map_or(Duration::ZERO, |limit| limit.max(SHORTEST));
        let microseconds = limit.subsec_micros().into();
        let limit = TimeVal::new(limit.as_secs().try_into().unwrap_or(i64::MAX), microseconds);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &limit).map_err(|cause| Error::Broken(cause.to_string()))?;
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                Ok((_, sender)) if sender.port_number() == 0 => return Ok(Heard::Datagram),
                // Any process may send to a netlink socket; only the kernel's word counts.
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(Heard::Overrun),
                Err(error) => return Err(Error::Broken(format!("no more news of the ruleset: {error}"))),
            }
        }
    }

    fn take_datagram(&mut self) -> Result<(), Error> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            match News::read(&take_message(&mut rest)?)? {
                Some(Word::Change(change)) => self.begun.push(change),
                Some(Word::End(process)) => {
                    self.told.push_back(Commit { process, changes: std::mem::take(&mut self.begun) });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// What a message says; nothing for one of another subsystem.
    fn read(message: &Received<'_>) -> Result<Option<Word>, Error> {
        if message.kind >> 8 != SUBSYSTEM {
            return Ok(None);
        }
        let (family, attributes) = open(message.payload)?;
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let what = match message.kind & 0xff {
            kind::NEWGEN => return Ok(Some(Word::End(text(attributes.text(NFTA_GEN_PROC_NAME))))),
            kind::NEWCHAIN if attributes.bytes(chain::HOOK).is_some() => What::BaseChain,
            kind::DELRULE => What::RuleGone,
            _ => What::Other,
        };
        // The table's name has one number in messages of every kind (`NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE` and so on).
        Ok(Some(Word::Change(Change { family, table: text(attributes.text(table::NAME)), what })))
    }
}

enum Heard {
    Datagram,
    Overrun,
    Nothing,
}

enum Word {
    Change(Change),
    /// The end of a commit, and who made it.
    End(String),
}
