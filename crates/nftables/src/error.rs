//! What went wrong between us and the kernel.

use std::fmt;

use nix::errno::Errno;

/// Why the kernel did not do or tell what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It refused. Of a batch nothing was done.
    Refused(Refusal),
    /// It said something that makes no sense.
    Nonsense(String),
    /// The conversation broke off. Whether a batch was done is not known.
    Broken(String),
    /// It cannot be said in the kernel's language, so it was not asked.
    Unsayable(String),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it refused, in nft's words.
    pub act: String,
    /// Which operation of the batch that was part of, counted from 0; nothing where it refused the batch as such, or a question.
    pub operation: Option<usize>,
    /// Its error number.
    pub errno: Errno,
    /// Its own words, where it has some (extended acknowledgement).
    pub message: Option<String>,
}

impl Error {
    pub(crate) fn nonsense(what: impl Into<String>) -> Self {
        Self::Nonsense(what.into())
    }

    /// Whether the kernel refused with this number.
    #[must_use]
    pub fn is(&self, number: Errno) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.errno == number)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Nonsense(what) => write!(f, "the kernel's answer about nf_tables makes no sense: {what}"),
            Self::Broken(what) => write!(f, "the conversation with the kernel about nf_tables broke off: {what}"),
            Self::Unsayable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refused to `{}`: ", self.act)?;
        match &self.message {
            Some(message) => write!(f, "{message} ({})", self.errno.desc())?,
            None => f.write_str(self.errno.desc())?,
        }
        match self.errno {
            Errno::EPERM => f.write_str(" (it takes root, or the capability CAP_NET_ADMIN)"),
            Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => {
                f.write_str(" (this kernel may lack a part of nf_tables)")
            }
            _ => Ok(()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
