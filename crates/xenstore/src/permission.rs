//! Who may read and write a node.

use std::fmt;
use std::str::FromStr;

use crate::error::ProtocolError;

/// A domain's number, 0 for dom0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DomainId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<DomainId, Self::Err> {
        text.parse().map(DomainId)
    }
}

/// What a domain may do with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing (`n` on the wire).
    None,
    /// Read only (`r`).
    Read,
    /// Write only (`w`).
    Write,
    /// Read and write (`b`).
    Both,
}

/// One entry of a node's list of permissions.
///
/// The first entry of a list is special (Xen's docs/misc/xenstore.txt and xenstored's `perm_for_conn`): its domain owns the node and may
/// do everything; its access is what domains without an entry of their own may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The domain.
    pub domain: DomainId,
    /// What it may do.
    pub access: Access,
}

impl fmt::Display for Permission {
    /// As on the wire: a letter and the domain's number, such as `r7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.access {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::Both => 'b',
        };
        write!(f, "{letter}{}", self.domain)
    }
}

impl FromStr for Permission {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Permission, ProtocolError> {
        let malformed = || ProtocolError::Permission(text.chars().take(20).collect());
        let access = match text.as_bytes().first() {
            Some(b'n') => Access::None,
            Some(b'r') => Access::Read,
            Some(b'w') => Access::Write,
            Some(b'b') => Access::Both,
            _ => return Err(malformed()),
        };
        let number = &text[1..];
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let domain = number.parse().map_err(|_| malformed())?;
        Ok(Permission { domain, access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_round_trips() {
        for text in ["n0", "r7", "w32751", "b65535"] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "n", "x1", "r-1", "r+1", "r65536", "r1 ", "é1", "né"] {
            assert!(text.parse::<Permission>().is_err(), "{text:?}");
        }
    }
}
