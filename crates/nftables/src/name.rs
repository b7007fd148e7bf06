//! Words that have been checked: names of objects, names of interfaces, comments.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a table, chain or set in bytes: `NFT_NAME_MAXLEN` less the closing zero.
const NAME_MAX: usize = 255;

/// Longest name of an interface in bytes: `IFNAMSIZ` less the closing zero (include/uapi/linux/if.h).
const INTERFACE_NAME_MAX: usize = 15;

/// Longest comment in bytes that nft takes (nftables, `NFTNL_UDATA_COMMENT_MAXLEN`).
const COMMENT_MAX: usize = 128;

/// Why a word cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    word: String,
    what: &'static str,
    rule: &'static str,
}

impl InvalidName {
    fn new(word: &str, what: &'static str, rule: &'static str) -> Self {
        // Hostile input may be long: its beginning is enough to recognise it in a message.
        Self { word: word.chars().take(40).collect(), what, rule }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot be {}: {}", self.word, self.what, self.rule)
    }
}

impl std::error::Error for InvalidName {}

/// The name of a table, a chain or a set.
///
/// A name that is parsed has the form that nft reads back: a letter or `_`, then letters, digits and `/`, `-`, `_`, `.`, 255 bytes at
/// most. A name that the kernel told may be anything, because programs other than nft make names too; it prints with escapes then.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(
    // Every element and every rule says where it belongs: most names are copies.
    Arc<[u8]>,
);

impl Name {
    /// A name as the kernel told it.
    pub(crate) fn told(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut bytes = text.bytes();
        let begins_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        if begins_well && goes_on_well && text.len() <= NAME_MAX {
            return Ok(Self(text.as_bytes().into()));
        }
        let rule = "it must be a letter or '_', then letters, digits, '/', '-', '_' or '.', 255 in all at most";
        Err(InvalidName::new(text, "the name of a table, chain or set", rule))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of a network interface.
///
/// The rules are those of `dev_valid_name()` (net/core/dev.c), and only printable ASCII, so that it disturbs no terminal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Arc<str>);

impl InterfaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let forbidden = |byte: u8| !byte.is_ascii_graphic() || b"/:%".contains(&byte);
        if text.is_empty() || text.len() > INTERFACE_NAME_MAX || matches!(text, "." | "..") || text.bytes().any(forbidden) {
            let rule = "it must be 1 to 15 printable characters without space, '/', ':' or '%'";
            return Err(InvalidName::new(text, "the name of an interface", rule));
        }
        Ok(Self(text.into()))
    }
}

/// In nft's quotes. A `*` at the end would stand for any ending there, so it is escaped.
impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.strip_suffix('*') {
            Some(rest) => write!(f, "\"{rest}\\*\""),
            None => write!(f, "\"{}\"", self.0),
        }
    }
}

/// A comment on a rule: 1 to 128 printable ASCII characters, but no `"` and no `\`, which nft and iptables-save quote with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comment(Box<str>);

impl Comment {
    /// The comment as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Comment {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\"\\".contains(&byte);
        if (1..=COMMENT_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        let rule = "it must be 1 to 128 printable ASCII characters, without '\"' and '\\'";
        Err(InvalidName::new(text, "a comment", rule))
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_nft_reads_back() {
        for good in ["xen", "_x", "DOCKER-USER", "a.b/c_d-9", &"n".repeat(255)] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        for bad in ["", "9a", "-a", "a b", "a\"", "a;b", "ä", "a\n", &"n".repeat(256)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert_eq!(Name::told(b"a b\xff").to_string(), "a b\\xff");
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        for good in ["vif1.0", "e", "eth0@weird", "a*b", "fifteen-letters"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().to_string(), format!("\"{good}\""));
        }
        assert_eq!("vif*".parse::<InterfaceName>().unwrap().to_string(), "\"vif\\*\"");
        for bad in ["", ".", "..", "a b", "a/b", "a:b", "a%d", "sixteen-letters!", "ä", "a\0"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn comments_fit_between_quotes() {
        assert!("xen-network: vif1.0".parse::<Comment>().is_ok());
        assert!("x".repeat(128).parse::<Comment>().is_ok());
        for bad in ["", "a\"b", "a\\b", "a\nb", "ü", &"x".repeat(129)] {
            let error = bad.parse::<Comment>().unwrap_err().to_string();
            assert!(error.contains("cannot be a comment: it must be 1 to 128"), "{error}");
        }
    }
}
