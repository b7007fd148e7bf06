//! What can go wrong, said in one sentence each.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::path::{PathError, StorePath};
use crate::wire::{Kind, PAYLOAD_MAX};

/// The outcome of a conversation with the store.
pub type Result<T> = std::result::Result<T, Error>;

/// What the client was doing: the request's kind and, where it has one, its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The request.
    pub kind: Kind,
    /// The node it was about.
    pub path: Option<StorePath>,
}

/// Why the store could not be used.
#[derive(Debug)]
pub enum Error {
    /// There is no socket and no device to talk to.
    NoStore,
    /// The socket or device is there but cannot be opened.
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// What the kernel said.
        source: io::Error,
    },
    /// The budget of time given when connecting is spent.
    TimedOut {
        /// Where.
        endpoint: Endpoint,
        /// The whole budget.
        limit: Duration,
        /// What was waited for; `None` while connecting.
        act: Option<Act>,
    },
    /// The daemon answered with an error.
    Refused {
        /// What it refused.
        act: Act,
        /// Its reason.
        refusal: Refusal,
    },
    /// Others changed the same nodes each time the transaction was tried.
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// The request does not fit into one message, and was not sent.
    TooLarge {
        /// What was to be sent.
        act: Act,
        /// The length of its payload, in bytes.
        length: usize,
        /// The most that fits, in bytes.
        maximum: usize,
    },
    /// The path is not one the daemon would accept.
    Path(PathError),
    /// Talking to the kernel failed in the middle.
    Io {
        /// Where.
        endpoint: Endpoint,
        /// What was going on.
        act: Act,
        /// What the kernel said.
        source: io::Error,
    },
    /// What came back is not the XenStore protocol.
    Protocol {
        /// Where.
        endpoint: Endpoint,
        /// What was going on.
        act: Act,
        /// What is wrong with it.
        reason: ProtocolError,
    },
    /// An earlier failure left the connection in an unknown state, so nothing more is sent over it.
    Abandoned {
        /// Where.
        endpoint: Endpoint,
    },
}

/// The daemon's reason: the name of an errno value, from the list in xs_wire.h.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A malformed request.
    Einval,
    /// The domain may not do this.
    Eacces,
    /// It exists already.
    Eexist,
    /// A directory was not expected.
    Eisdir,
    /// There is no such node.
    Enoent,
    /// The daemon is out of memory.
    Enomem,
    /// A quota is used up.
    Enospc,
    /// The daemon's own storage failed.
    Eio,
    /// The node has children.
    Enotempty,
    /// The daemon does not know the request.
    Enosys,
    /// The store is read-only.
    Erofs,
    /// Something else is under way.
    Ebusy,
    /// Somebody else was faster; try again.
    Eagain,
    /// The domain is connected already.
    Eisconn,
    /// Too big for one message, or over a quota.
    E2big,
    /// The domain may not do this (not in the header's list, yet sent by some daemons).
    Eperm,
    /// A quota is used up (oxenstored).
    Equota,
    /// Another name, as sent.
    Other(String),
}

/// What is wrong with bytes that came from the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// A message longer than the protocol allows, in bytes.
    TooLong(u32),
    /// A message of a kind that xs_wire.h does not name.
    UnknownKind(u32),
    /// An answer to no question.
    UnexpectedReply {
        /// The number it answers.
        request: u32,
    },
    /// The answer is not of the question's kind.
    WrongKind {
        /// The question.
        asked: Kind,
        /// The answer.
        answered: Kind,
    },
    /// The connection ended.
    Closed {
        /// How many bytes of an unfinished message had arrived.
        inside_message: usize,
    },
    /// A payload that does not have the form its kind asks for.
    Payload(Kind),
    /// Not a permission; the text, shortened.
    Permission(String),
    /// More watch events than anybody reads, in bytes.
    TooManyEvents(usize),
    /// A directory that changed each time it was read in parts.
    UnsteadyDirectory,
    /// A directory without end.
    EndlessDirectory,
}

/// The names the daemon uses, from xs_wire.h, and two more that are seen.
const REFUSALS: [(&str, Refusal, &str); 17] = [
    ("EINVAL", Refusal::Einval, "invalid request"),
    ("EACCES", Refusal::Eacces, "permission denied"),
    ("EEXIST", Refusal::Eexist, "exists already"),
    ("EISDIR", Refusal::Eisdir, "is a directory"),
    ("ENOENT", Refusal::Enoent, "no such node"),
    ("ENOMEM", Refusal::Enomem, "xenstored is out of memory"),
    ("ENOSPC", Refusal::Enospc, "a XenStore quota is used up"),
    ("EIO", Refusal::Eio, "xenstored's storage failed"),
    ("ENOTEMPTY", Refusal::Enotempty, "not empty"),
    ("ENOSYS", Refusal::Enosys, "xenstored does not know this request"),
    ("EROFS", Refusal::Erofs, "read-only"),
    ("EBUSY", Refusal::Ebusy, "busy"),
    ("EAGAIN", Refusal::Eagain, "changed by somebody else meanwhile"),
    ("EISCONN", Refusal::Eisconn, "connected already"),
    ("E2BIG", Refusal::E2big, "too big"),
    ("EPERM", Refusal::Eperm, "not permitted"),
    ("EQUOTA", Refusal::Equota, "a XenStore quota is used up"),
];

/// Longest name of an errno value that is kept; the longest real one has 15 letters.
const REFUSAL_NAME_MAX: usize = 32;

impl Refusal {
    /// Reads an error reply's payload: a name that starts with `E`, ended by a NUL.
    pub(crate) fn parse(payload: &[u8]) -> Option<Refusal> {
        let name = payload.strip_suffix(b"\0")?;
        let well_formed = name.len() <= REFUSAL_NAME_MAX
            && name.starts_with(b"E")
            && name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let name = std::str::from_utf8(name).ok().filter(|_| well_formed)?;
        let known = REFUSALS.iter().find(|(known, ..)| *known == name);
        Some(known.map_or_else(|| Refusal::Other(name.to_owned()), |(_, refusal, _)| refusal.clone()))
    }

    /// The errno value's name, such as `EACCES`.
    pub fn name(&self) -> &str {
        match self {
            Refusal::Other(name) => name,
            known => REFUSALS.iter().find(|(_, refusal, _)| refusal == known).map_or("", |(name, ..)| name),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match REFUSALS.iter().find(|(_, refusal, _)| refusal == self) {
            Some((name, _, meaning)) => write!(f, "{meaning} ({name})"),
            None => f.write_str(self.name()),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.verb())?;
        match &self.path {
            Some(path) => write!(f, " {path}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoStore => f.write_str(
                "no XenStore here: found neither xenstored's socket in /run/xenstored nor /dev/xen/xenbus; \
                 is this a Xen domain, and does xenstored run?",
            ),
            Error::Connect { endpoint, source } => write!(f, "cannot connect to XenStore ({endpoint}): {source}"),
            Error::TimedOut { endpoint, limit, act } => write_timeout(f, endpoint, *limit, act.as_ref()),
            Error::Refused { act, refusal } => write!(f, "XenStore refused to {act}: {refusal}"),
            Error::Conflict { attempts } => write!(
                f,
                "the XenStore transaction did not go through: others changed the same nodes in each of {attempts} attempts"
            ),
            Error::TooLarge { act, length, maximum } => {
                write!(f, "cannot {act} in XenStore: {length} bytes do not fit into one message (at most {maximum})")
            }
            Error::Path(error) => error.fmt(f),
            Error::Io { endpoint, act, source } => write!(f, "cannot {act} in XenStore ({endpoint}): {source}"),
            Error::Protocol { endpoint, act, reason } => {
                write!(f, "cannot {act} in XenStore ({endpoint}): {reason}")
            }
            Error::Abandoned { endpoint } => {
                write!(f, "the connection to XenStore ({endpoint}) was given up after an earlier failure")
            }
        }
    }
}

fn write_timeout(f: &mut fmt::Formatter<'_>, endpoint: &Endpoint, limit: Duration, act: Option<&Act>) -> fmt::Result {
    let seconds = limit.as_secs_f64();
    write!(f, "XenStore ({endpoint}) did not answer within {seconds} s")?;
    match act {
        Some(act) => write!(f, " (asked to {act})"),
        None => f.write_str(" (connecting)"),
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::TooLong(length) => {
                write!(f, "a message of {length} bytes came back, at most {PAYLOAD_MAX} are allowed")
            }
            ProtocolError::UnknownKind(kind) => write!(f, "a message of unknown kind {kind} came back"),
            ProtocolError::UnexpectedReply { request } => {
                write!(f, "an answer to request {request} came back, which was not asked")
            }
            ProtocolError::WrongKind { asked, answered } => {
                write!(f, "the answer to {asked:?} was of the kind {answered:?}")
            }
            ProtocolError::Closed { inside_message: 0 } => f.write_str("the daemon closed the connection"),
            ProtocolError::Closed { inside_message } => {
                write!(f, "the daemon closed the connection {inside_message} bytes into a message")
            }
            ProtocolError::Payload(kind) => write!(f, "the contents of a {kind:?} message are malformed"),
            ProtocolError::Permission(text) => write!(f, "{text:?} is not a permission"),
            ProtocolError::TooManyEvents(bytes) => write!(f, "more than {bytes} bytes of watch events are unread"),
            ProtocolError::UnsteadyDirectory => f.write_str("the directory changed each time it was read"),
            ProtocolError::EndlessDirectory => f.write_str("the directory has no end"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Io { source, .. } => Some(source),
            Error::Protocol { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

impl std::error::Error for ProtocolError {}

impl From<PathError> for Error {
    fn from(error: PathError) -> Error {
        Error::Path(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_refusal_round_trips_by_name() {
        for (name, refusal, _) in &REFUSALS {
            assert_eq!(Refusal::parse(format!("{name}\0").as_bytes()).as_ref(), Some(refusal));
            assert_eq!(refusal.name(), *name);
        }
        assert_eq!(Refusal::parse(b"ESTRANGE\0"), Some(Refusal::Other("ESTRANGE".to_owned())));
    }

    #[test]
    fn a_malformed_refusal_is_none() {
        for payload in [&b""[..], b"ENOENT", b"\0", b"enoent\0", b"E\nX\0", b"E\xff\0", &[b'E'; 64], b"OK\0"] {
            assert_eq!(Refusal::parse(payload), None, "{payload:?}");
        }
    }

    #[test]
    fn sentences_name_act_object_and_cause() {
        let path = Some(StorePath::parse("backend/vif/1/0/bridge").unwrap());
        let act = Act { kind: Kind::Read, path };
        let endpoint = Endpoint::Socket(PathBuf::from("/run/xenstored/socket"));
        let refused = Error::Refused { act: act.clone(), refusal: Refusal::Eacces };
        assert_eq!(refused.to_string(), "XenStore refused to read backend/vif/1/0/bridge: permission denied (EACCES)");
        let late = Error::TimedOut { endpoint, limit: Duration::from_secs(5), act: Some(act) };
        assert_eq!(
            late.to_string(),
            "XenStore (socket /run/xenstored/socket) did not answer within 5 s (asked to read backend/vif/1/0/bridge)"
        );
    }
}
