//! What a watch reports.

use std::fmt;

use crate::path::StorePath;

/// A watch's name, chosen by the client and given back with every event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

/// A token holds a NUL byte, which ends strings on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError;

impl Token {
    /// Checks a text and makes it a token.
    ///
    /// # Errors
    /// Where the text holds a NUL byte.
    pub fn new(text: &str) -> Result<Token, TokenError> {
        if text.contains('\0') { Err(TokenError) } else { Ok(Token(text.to_owned())) }
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watch's token cannot hold a NUL byte")
    }
}

impl std::error::Error for TokenError {}

/// Something at or below a watched path changed, or the watch was just set up.
///
/// The daemon may merge events that are alike and still unsent, and may send one without a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What changed; relative where the watch was set up with a relative path.
    pub path: StorePath,
    /// The watch's token.
    pub token: Token,
}
