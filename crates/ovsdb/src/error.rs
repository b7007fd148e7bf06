//! What can go wrong, in one sentence each.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of everything here that talks to the server.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the database could not be asked, or would not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// The socket is not there, or nobody listens.
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The budget of time is spent.
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// The whole budget.
        limit: Duration,
    },
    /// Talking to the server failed in the middle.
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What came back is not the protocol.
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused.
    Refused(Refusal),
    /// An earlier failure left the connection in an unknown state.
    Abandoned {
        /// The socket.
        path: PathBuf,
    },
}

/// The server's reason for not doing something: a short word (RFC 7047, section 3.1) and, most times, a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The word: `constraint violation`, `timed out`, …
    pub error: String,
    /// The sentence.
    pub details: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        self.details.as_ref().map_or(Ok(()), |details| write!(f, ": {details}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { path, source } => write!(f, "nobody answers at {}: {source}", path.display()),
            Self::TimedOut { path, limit } => {
                write!(f, "the server at {} did not answer within {} s", path.display(), limit.as_secs_f32())
            }
            Self::Io { path, source } => write!(f, "the connection to {} broke: {source}", path.display()),
            Self::Protocol { path, reason } => write!(f, "what answers at {} does not speak OVSDB: {reason}", path.display()),
            Self::Refused(refusal) => write!(f, "the database refused: {refusal}"),
            Self::Abandoned { path } => {
                write!(f, "the connection to {} is of no more use after an earlier failure", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
