//! Paths in the store, checked once.

use std::fmt;
use std::str::FromStr;

/// Longest absolute path, in bytes (`XENSTORE_ABS_PATH_MAX` in xs_wire.h).
pub const ABSOLUTE_MAX: usize = 3072;
/// Longest relative path, in bytes (`XENSTORE_REL_PATH_MAX` in xs_wire.h).
pub const RELATIVE_MAX: usize = 2048;

/// A path in the store that the daemon will accept.
///
/// Absolute paths start with `/`. Relative ones stay relative on the wire: the daemon resolves them against
/// `/local/domain/<own id>`, so the caller need not know its own domain id. Two names that start with `@`,
/// `@introduceDomain` and `@releaseDomain`, can be watched but not read.
///
/// The lengths allowed are the protocol's. A daemon may allow less: the C xenstored of 4.17 takes 2048 bytes unless told
/// otherwise, not counting a leading `/local/domain/<id>/`, and answers EINVAL beyond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(String);

/// Most that an error shows of a text, in characters: a sentence with it is still one that a person reads.
const SHOWN_MAX: usize = 60;

/// Why a text is not a [`StorePath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathError {
    /// The text is empty.
    Empty,
    /// A character other than `A-Z a-z 0-9 - / _ @`.
    Character {
        /// The character.
        found: char,
        /// The text, shortened.
        path: String,
    },
    /// Two slashes in a row.
    DoubleSlash(String),
    /// A slash at the end (only the root, `/`, may have it).
    TrailingSlash(String),
    /// More bytes than the daemon takes.
    TooLong {
        /// Length in bytes.
        length: usize,
        /// The longest allowed, in bytes.
        maximum: usize,
    },
    /// [`StorePath::join`] was given a path that starts with `/`.
    ChildIsAbsolute(String),
}

impl StorePath {
    /// Checks a text and makes it a path.
    ///
    /// # Errors
    /// Where the daemon would answer EINVAL: see [`PathError`].
    pub fn parse(text: &str) -> Result<StorePath, PathError> {
        StorePath::checked(text.to_owned())
    }

    fn checked(text: String) -> Result<StorePath, PathError> {
        let maximum = if text.starts_with('/') { ABSOLUTE_MAX } else { RELATIVE_MAX };
        if text.is_empty() {
            Err(PathError::Empty)
        } else if text.len() > maximum {
            Err(PathError::TooLong { length: text.len(), maximum })
        } else if let Some(place) = text.bytes().position(|byte| !is_path_character(byte)) {
            // What stands before is ASCII, so a character begins here.
            let found = text[place..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
            Err(PathError::Character { found, path: beginning(&text) })
        } else if text.as_bytes().windows(2).any(|pair| pair == b"//") {
            Err(PathError::DoubleSlash(beginning(&text)))
        } else if text.len() > 1 && text.ends_with('/') {
            Err(PathError::TrailingSlash(beginning(&text)))
        } else {
            Ok(StorePath(text))
        }
    }

    /// The root of the store, `/`.
    pub fn root() -> StorePath {
        StorePath("/".to_owned())
    }

    /// This path with `child` (one name or several, separated by slashes) below it.
    ///
    /// # Errors
    /// Where `child` is absolute or the outcome is not a path.
    pub fn join(&self, child: &str) -> Result<StorePath, PathError> {
        if child.starts_with('/') {
            return Err(PathError::ChildIsAbsolute(child.to_owned()));
        }
        if child.is_empty() {
            return Err(PathError::Empty);
        }
        let separator = if self.0 == "/" { "" } else { "/" };
        StorePath::checked([self.0.as_str(), separator, child].concat())
    }

    /// The path one level up; `None` for the root and for a relative path of one name.
    pub fn parent(&self) -> Option<StorePath> {
        match self.0.rfind('/')? {
            0 if self.0 == "/" => None,
            0 => Some(StorePath::root()),
            end => Some(StorePath(self.0[..end].to_owned())),
        }
    }

    /// The last name of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rfind('/').map_or(self.0.as_str(), |slash| &self.0[slash + 1..])
    }

    /// Whether the path starts at the root, not at the own domain's directory.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether the path is one of the names for watching domains (`@releaseDomain`), not a place in the store.
    pub fn is_special(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The daemon's set (docs/misc/xenstore.txt): letters, digits and `-/_@`.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_' | b'@')
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StorePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<StorePath, PathError> {
        StorePath::parse(text)
    }
}

impl TryFrom<&str> for StorePath {
    type Error = PathError;

    fn try_from(text: &str) -> Result<StorePath, PathError> {
        StorePath::parse(text)
    }
}

/// As much of a text as an error shows of it.
fn beginning(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Empty => write!(f, "a XenStore path cannot be empty"),
            PathError::Character { found, path } => {
                write!(f, "{path:?} is not a XenStore path: {found:?} is not allowed (letters, digits and -/_@ are)")
            }
            PathError::DoubleSlash(path) => write!(f, "{path:?} is not a XenStore path: two slashes in a row"),
            PathError::TrailingSlash(path) => write!(f, "{path:?} is not a XenStore path: it ends with a slash"),
            PathError::TooLong { length, maximum } => {
                write!(f, "a XenStore path of {length} bytes is too long: at most {maximum} are allowed")
            }
            PathError::ChildIsAbsolute(child) => {
                write!(f, "{child:?} cannot be joined to a XenStore path: it starts with a slash")
            }
        }
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> StorePath {
        StorePath::parse(text).unwrap()
    }

    #[test]
    fn accepts_what_the_toolstack_uses() {
        for text in ["/", "/tool", "backend/vif/3/0", "/local/domain/0/name", "@releaseDomain", "a-b_c@d"] {
            assert_eq!(path(text).as_str(), text);
        }
    }

    #[test]
    fn refuses_what_the_daemon_refuses() {
        assert_eq!(StorePath::parse(""), Err(PathError::Empty));
        assert!(matches!(StorePath::parse("/a//b"), Err(PathError::DoubleSlash(_))));
        assert!(matches!(StorePath::parse("//"), Err(PathError::DoubleSlash(_))));
        assert!(matches!(StorePath::parse("/a/"), Err(PathError::TrailingSlash(_))));
        for text in ["a b", "a.b", "..", "a\0b", "é", "a:b", "a\n"] {
            assert!(matches!(StorePath::parse(text), Err(PathError::Character { .. })), "{text:?}");
        }
    }

    #[test]
    fn length_is_bounded_by_kind() {
        assert!(StorePath::parse(&"a".repeat(RELATIVE_MAX)).is_ok());
        assert!(matches!(StorePath::parse(&"a".repeat(RELATIVE_MAX + 1)), Err(PathError::TooLong { .. })));
        let absolute = format!("/{}", "a".repeat(ABSOLUTE_MAX - 1));
        assert!(StorePath::parse(&absolute).is_ok());
        assert!(matches!(StorePath::parse(&format!("{absolute}a")), Err(PathError::TooLong { .. })));
    }

    #[test]
    fn joins_below_the_root_and_elsewhere() {
        assert_eq!(StorePath::root().join("tool").unwrap(), path("/tool"));
        assert_eq!(path("backend").join("vif/3").unwrap(), path("backend/vif/3"));
        assert!(matches!(path("a").join("/b"), Err(PathError::ChildIsAbsolute(_))));
        assert_eq!(path("a").join(""), Err(PathError::Empty));
        assert_eq!(StorePath::root().join(""), Err(PathError::Empty));
        assert!(path("a").join("b/").is_err());
        assert!(path("a").join("..").is_err());
    }

    #[test]
    fn parents_end_at_the_root() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(StorePath::root()));
        assert_eq!(StorePath::root().parent(), None);
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), None);
        assert_eq!(path("/a/b").name(), "b");
        assert_eq!(path("a").name(), "a");
        assert_eq!(StorePath::root().name(), "");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_keeps_the_rules(text in "\\PC{0,40}|[a-z/@._ -]{0,30}") {
            if let Ok(accepted) = StorePath::parse(&text) {
                prop_assert_eq!(accepted.as_str(), text.as_str());
                prop_assert!(!text.is_empty() && !text.contains("//"));
                prop_assert!(text == "/" || !text.ends_with('/'));
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-/_@".contains(&b)));
            }
        }

        #[test]
        fn well_formed_names_are_accepted(names in proptest::collection::vec("[A-Za-z0-9_@-]{1,12}", 1..6)) {
            let relative = names.join("/");
            prop_assert!(StorePath::parse(&relative).is_ok());
            let absolute = format!("/{relative}");
            prop_assert!(StorePath::parse(&absolute).is_ok());
        }

        #[test]
        fn join_and_parent_are_inverse(base in "/[a-z]{1,8}(/[a-z0-9]{1,8}){0,4}", child in "[A-Za-z0-9_@-]{1,12}") {
            let joined = path(&base).join(&child).unwrap();
            prop_assert_eq!(joined.parent(), Some(path(&base)));
            prop_assert_eq!(joined.name(), child);
        }
    }
}
