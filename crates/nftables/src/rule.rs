//! Rules: what they ask, and what they do.

use std::fmt;

use crate::set::Joined;
use crate::{Comment, Field, Name, Selector, Value};

/// Statements that a packet goes through from left to right, up to the first that does not match.
///
/// In a chain of iptables-nft (`ip filter FORWARD`) keep to names of interfaces, IP addresses, ports, marks, counters and verdicts: with a
/// set or the state of a connection in it, `iptables` says that the table is incompatible and shows nothing of it (seen with 1.8.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it asks and does.
    pub statements: Vec<Statement>,
    /// A note that `nft` and `iptables-nft` show, and by which we know our own rules.
    pub comment: Option<Comment>,
}

impl Rule {
    /// A rule without a comment.
    #[must_use]
    pub fn new(statements: impl IntoIterator<Item = Statement>) -> Self {
        Self { statements: statements.into_iter().collect(), comment: None }
    }

    /// The same with a comment.
    #[must_use]
    pub fn with_comment(self, comment: Comment) -> Self {
        Self { comment: Some(comment), ..self }
    }

    /// The chains that it leads to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Name> {
        self.statements.iter().filter_map(|statement| match statement {
            Statement::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(chain),
            _ => None,
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.statements, " "))?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

/// A step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Only a packet that passes the test goes on.
    Match(Selector, Test),
    /// Only a packet whose values together are in a set, or are not, goes on.
    Lookup(Vec<Selector>, Membership, Name),
    /// Counts.
    Counter,
    /// Only so many packets go on.
    Limit(RateLimit),
    /// Puts the packet's values together into a set that packets fill, unless they are in it; only where they are in it then does the packet
    /// go on. With a rate, each element has its own, and only packets within it go on.
    Add(Name, Vec<Selector>, Option<RateLimit>),
    /// Gives a packet that leaves the address of the device it leaves by.
    Masquerade,
    /// Decides.
    Verdict(Verdict),
    /// Decides as a verdict map says, or goes on where that says nothing.
    VerdictMap(Vec<Selector>, Name),
}

impl Statement {
    /// Decides to accept.
    pub const ACCEPT: Self = Self::Verdict(Verdict::Accept);
    /// Decides to drop.
    pub const DROP: Self = Self::Verdict(Verdict::Drop);

    /// Only packets whose values together are in the set go on.
    #[must_use]
    pub fn all_in(selectors: impl IntoIterator<Item = Selector>, set: &Name) -> Self {
        Self::Lookup(selectors.into_iter().collect(), Membership::In, set.clone())
    }

    /// Only packets whose values together are not in the set go on.
    #[must_use]
    pub fn all_not_in(selectors: impl IntoIterator<Item = Selector>, set: &Name) -> Self {
        Self::Lookup(selectors.into_iter().collect(), Membership::NotIn, set.clone())
    }

    /// Decides as the verdict map says for these values together.
    #[must_use]
    pub fn verdict_map(selectors: impl IntoIterator<Item = Selector>, map: &Name) -> Self {
        Self::VerdictMap(selectors.into_iter().collect(), map.clone())
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match(selector, test) => {
                write!(f, "{selector}")?;
                test.write(f, *selector)
            }
            Self::Lookup(selectors, Membership::In, set) => write!(f, "{} @{set}", Joined(selectors, " . ")),
            Self::Lookup(selectors, Membership::NotIn, set) => write!(f, "{} != @{set}", Joined(selectors, " . ")),
            Self::Add(set, selectors, None) => write!(f, "add @{set} {{ {} }}", Joined(selectors, " . ")),
            Self::Add(set, selectors, Some(limit)) => write!(f, "add @{set} {{ {} {limit} }}", Joined(selectors, " . ")),
            Self::Counter => f.write_str("counter"),
            Self::Limit(limit) => limit.fmt(f),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::VerdictMap(selectors, map) => write!(f, "{} vmap @{map}", Joined(selectors, " . ")),
        }
    }
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// This, or one of these. For [`Selector::ConnectionState`]: any of the states.
    Is(Field),
    /// Anything else.
    IsNot(Field),
    /// This, where only the bits of a mask count.
    MaskedIs {
        /// Which bits count.
        mask: Value,
        /// What they must be.
        value: Value,
    },
    /// Anything else, where only the bits of a mask count.
    MaskedIsNot {
        /// Which bits count.
        mask: Value,
        /// What they must not be.
        value: Value,
    },
}

/// Whether values must be in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Membership {
    /// They must.
    In,
    /// They must not.
    NotIn,
}

impl Test {
    fn write(&self, f: &mut fmt::Formatter<'_>, selector: Selector) -> fmt::Result {
        // nft shows a field that has no name as a number, whatever it is compared with.
        let raw = matches!(selector, Selector::Payload { .. });
        let show = |value: &Value| if raw { Value::Bytes(value.bytes()).to_string() } else { value.to_string() };
        let show_field = |field: &Field| match field {
            Field::Exact(value) => show(value),
            Field::Prefix(value, bits) => format!("{}/{bits}", show(value)),
            Field::Range(first, last) => format!("{}-{}", show(first), show(last)),
        };
        match self {
            Self::Is(field) => write!(f, " {}", show_field(field)),
            Self::IsNot(field) => write!(f, " != {}", show_field(field)),
            Self::MaskedIs { mask, value } => write!(f, " & {} == {}", show(mask), show(value)),
            Self::MaskedIsNot { mask, value } => write!(f, " & {} != {}", show(mask), show(value)),
        }
    }
}

impl Selector {
    /// Only packets where it is this go on.
    #[must_use]
    pub fn is(self, field: impl Into<Field>) -> Statement {
        Statement::Match(self, Test::Is(field.into()))
    }

    /// Only packets where it is not this go on.
    #[must_use]
    pub fn is_not(self, field: impl Into<Field>) -> Statement {
        Statement::Match(self, Test::IsNot(field.into()))
    }

    /// Only packets where it is in the set go on.
    #[must_use]
    pub fn is_in(self, set: &Name) -> Statement {
        Statement::all_in([self], set)
    }

    /// Only packets where it is not in the set go on.
    #[must_use]
    pub fn is_not_in(self, set: &Name) -> Statement {
        Statement::all_not_in([self], set)
    }

    /// Only packets where it is this, as far as the bits of the mask go, go on.
    #[must_use]
    pub fn masked_is(self, mask: impl Into<Value>, value: impl Into<Value>) -> Statement {
        Statement::Match(self, Test::MaskedIs { mask: mask.into(), value: value.into() })
    }

    /// Only packets where it is not this, as far as the bits of the mask go, go on.
    #[must_use]
    pub fn masked_is_not(self, mask: impl Into<Value>, value: impl Into<Value>) -> Statement {
        Statement::Match(self, Test::MaskedIsNot { mask: mask.into(), value: value.into() })
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// This base chain lets it pass; the next one of the hook looks at it.
    Accept,
    /// It is dropped for good.
    Drop,
    /// Another chain looks at it; what that does not decide comes back.
    Jump(Name),
    /// Another chain looks at it; what that does not decide comes back to where the last jump was, or to the policy.
    Goto(Name),
    /// Back to where the last jump was, or to the policy.
    Return,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Return => f.write_str("return"),
        }
    }
}

/// How many packets match in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RateLimit {
    /// Packets.
    pub packets: u64,
    /// In what time.
    pub per: LimitUnit,
    /// How many may come at once.
    pub burst: u32,
    /// Which packets match.
    pub side: LimitSide,
}

impl RateLimit {
    /// nft's default for a burst, which it does not print in a rule.
    pub const USUAL_BURST: u32 = 5;

    /// Its words in an element of a set, where nft prints every burst.
    pub(crate) fn in_an_element(self) -> String {
        if self.burst == Self::USUAL_BURST { format!("{self} burst {} packets", self.burst) } else { self.to_string() }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = match self.side {
            LimitSide::Within => "",
            LimitSide::Over => "over ",
        };
        write!(f, "limit rate {over}{}/{}", self.packets, self.per)?;
        if self.burst == Self::USUAL_BURST { Ok(()) } else { write!(f, " burst {} packets", self.burst) }
    }
}

/// Which packets a limit matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitSide {
    /// Those within the rate.
    Within,
    /// Those above it.
    Over,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitUnit {
    /// A second.
    Second,
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
}

impl LimitUnit {
    pub(crate) const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

impl fmt::Display for LimitUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
        })
    }
}
