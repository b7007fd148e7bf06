//! Sets and verdict maps.

use std::fmt;
use std::time::Duration;

use crate::{Comment, DataType, Field, Name, RateLimit, Selector, Verdict};

/// A set of keys, or a map from keys to verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: Name,
    /// The parts of a key.
    pub key: Vec<DataType>,
    /// Whether a key may stand for many values.
    pub ranges: Ranges,
    /// What belongs to a key.
    pub data: Data,
    /// Whether elements may end by themselves.
    pub timeouts: Timeouts,
    /// Whether each element counts the packets that found it.
    pub counters: Counters,
    /// Who puts elements into it.
    pub filled: Filled,
    /// How long an element lives that does not say so itself, to the millisecond, in a set that allows that.
    pub lifetime: Option<Duration>,
    /// How many elements there may be; nothing: as many as memory holds. With a number, the kernel may choose a table of fixed size.
    pub size: Option<u32>,
    /// What is in it.
    pub elements: Vec<Element>,
}

impl Set {
    /// An empty set of exact keys, without end.
    #[must_use]
    pub fn new(name: Name, key: impl IntoIterator<Item = DataType>) -> Self {
        Self {
            name,
            key: key.into_iter().collect(),
            ranges: Ranges::None,
            data: Data::None,
            timeouts: Timeouts::None,
            counters: Counters::None,
            filled: Filled::ByMessages,
            lifetime: None,
            size: None,
            elements: vec![],
        }
    }

    /// An empty map from exact keys to verdicts.
    #[must_use]
    pub fn verdict_map(name: Name, key: impl IntoIterator<Item = DataType>) -> Self {
        Self { data: Data::Verdict, ..Self::new(name, key) }
    }

    /// The fields that nft shows it by, where a part of the key has no type.
    pub(crate) fn fields(&self) -> Option<Vec<Selector>> {
        let untyped = self.key.iter().any(|part| matches!(part, DataType::Payload { .. } | DataType::WayBack));
        let field = |part: &DataType| match *part {
            DataType::Interface => Some(Selector::Iifname),
            DataType::WayBack => Some(Selector::WayBack),
            DataType::EtherAddress => Some(Selector::EtherSource),
            DataType::Ipv4Address => Some(Selector::IpSource),
            DataType::Payload { base, offset, length } => Some(Selector::Payload { base, offset, length }),
            _ => None,
        };
        if untyped { self.key.iter().map(field).collect() } else { None }
    }

    fn flags(&self) -> Vec<&'static str> {
        let interval = (self.ranges == Ranges::Allowed).then_some("interval");
        let timeout = (self.timeouts == Timeouts::Allowed).then_some("timeout");
        let dynamic = (self.filled == Filled::ByPackets).then_some("dynamic");
        interval.into_iter().chain(dynamic).chain(timeout).collect()
    }
}

/// As `nft list set` prints it, one step indented.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, data) = match self.data {
            Data::None => ("set", ""),
            Data::Verdict => ("map", " : verdict"),
        };
        writeln!(f, "\t{word} {} {{", self.name)?;
        match self.fields() {
            Some(fields) => writeln!(f, "\t\ttypeof {}{data}", Joined(&fields, " . "))?,
            None => writeln!(f, "\t\ttype {}{data}", Joined(&self.key, " . "))?,
        }
        if let Some(size) = self.size {
            writeln!(f, "\t\tsize {size}")?;
        }
        let flags = self.flags();
        if !flags.is_empty() {
            writeln!(f, "\t\tflags {}", flags.join(","))?;
        }
        if let Some(lifetime) = self.lifetime {
            writeln!(f, "\t\ttimeout {}", Span(lifetime))?;
        }
        if self.counters == Counters::PerElement {
            writeln!(f, "\t\tcounter")?;
        }
        if !self.elements.is_empty() {
            // One a line, in line with the first.
            writeln!(f, "\t\telements = {{ {} }}", Joined(&self.elements, ",\n\t\t\t     "))?;
        }
        f.write_str("\t}")
    }
}

/// Whether a key of a set may stand for many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ranges {
    /// One value a key. The kernel looks it up in a hash table.
    None,
    /// Prefixes and ranges too. The kernel looks through a tree, or, with several parts, through all values of each part, which costs
    /// the more the more elements there are.
    Allowed,
}

/// What belongs to a key of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// Nothing: it is a plain set.
    None,
    /// A verdict.
    Verdict,
}

/// Whether elements of a set may end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timeouts {
    /// They may not.
    None,
    /// Those that say so do.
    Allowed,
}

/// Whether elements of a set count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counters {
    /// They do not.
    None,
    /// Each counts the packets and bytes that found it (Linux 5.11 and later give every new element the counter by themselves).
    PerElement,
}

/// Who puts elements into a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filled {
    /// Only changes that somebody sends.
    ByMessages,
    /// Rules too: [`Statement::Add`](crate::Statement::Add). Such a set needs a size.
    ByPackets,
}

/// A key of a set, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The parts of the key.
    pub key: Vec<Field>,
    /// The verdict, in a verdict map.
    pub verdict: Option<Verdict>,
    /// How long it lives, to the millisecond, in a set that allows that.
    pub timeout: Option<Duration>,
    /// How often rules may add it again, in a set that packets fill. Of the kernel's elements it is not told.
    pub limit: Option<RateLimit>,
    /// A note that nft shows.
    pub comment: Option<Comment>,
}

impl Element {
    /// A key without anything.
    #[must_use]
    pub fn new(key: impl IntoIterator<Item = Field>) -> Self {
        Self { key: key.into_iter().collect(), verdict: None, timeout: None, limit: None, comment: None }
    }

    /// A key with a verdict.
    #[must_use]
    pub fn with_verdict(self, verdict: Verdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }

    /// A key that ends by itself.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// A key that rules may add again only so often.
    #[must_use]
    pub fn with_limit(self, limit: RateLimit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// A key with a note.
    #[must_use]
    pub fn with_comment(self, comment: Comment) -> Self {
        Self { comment: Some(comment), ..self }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.key, " . "))?;
        if let Some(limit) = &self.limit {
            write!(f, " {}", limit.in_an_element())?;
        }
        if let Some(timeout) = self.timeout {
            write!(f, " timeout {}", Span(timeout))?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match &self.verdict {
            Some(verdict) => write!(f, " : {verdict}"),
            None => Ok(()),
        }
    }
}

/// Things with a word between them.
pub(crate) struct Joined<'a, T>(pub &'a [T], pub &'static str);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(things, between) = self;
        for (place, thing) in things.iter().enumerate() {
            let before = if place == 0 { "" } else { between };
            write!(f, "{before}{thing}")?;
        }
        Ok(())
    }
}

/// A time as nft writes it: `1d2h3m4s5ms`, without the parts that are zero.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0.as_secs(), u64::from(self.0.subsec_millis()));
        let parts = [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (milliseconds, "ms"),
        ];
        if parts.iter().all(|(number, _)| *number == 0) {
            return f.write_str("0s");
        }
        parts.iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_parts() {
        let span = |milliseconds| Span(Duration::from_millis(milliseconds)).to_string();
        assert_eq!(span(0), "0s");
        assert_eq!(span(1), "1ms");
        assert_eq!(span(10_000), "10s");
        assert_eq!(span(((((24 + 2) * 60 + 3) * 60) + 4) * 1000 + 5), "1d2h3m4s5ms");
    }
}
