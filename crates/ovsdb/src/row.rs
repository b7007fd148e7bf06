//! What comes back: rows with typed columns. A column of another type than the one asked for counts as missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What one operation of a transaction gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(pub(crate) Map<String, Value>);

impl Answer {
    /// The rows that a select found.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.0.get("rows").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).map(Row)
    }

    /// How many rows an update or a mutation met.
    pub fn count(&self) -> Option<u64> {
        self.0.get("count")?.as_u64()
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a>(&'a Map<String, Value>);

impl<'a> Row<'a> {
    /// A text; an optional one that is there counts as well.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        self.0.get(column)?.as_str()
    }

    /// A number.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.0.get(column)?.as_i64()
    }

    /// The id of a row: the own one, or one that a column names.
    pub fn uuid(&self, column: &str) -> Option<&'a str> {
        tagged(self.0.get(column)?, "uuid")?.as_str()
    }

    /// How many members a set has.
    pub fn members(&self, column: &str) -> usize {
        self.0.get(column).map_or(0, |value| set(value).len())
    }

    /// The integers of a set, which may be one by itself (RFC 7047, section 5.1).
    pub fn integers(&self, column: &str) -> BTreeSet<i64> {
        self.0.get(column).map(set).unwrap_or_default().into_iter().filter_map(Value::as_i64).collect()
    }

    /// The pairs of a map from text to text.
    pub fn map(&self, column: &str) -> BTreeMap<&'a str, &'a str> {
        let pairs = self.0.get(column).and_then(|value| tagged(value, "map")).and_then(Value::as_array);
        let pair = |pair: &'a Value| match pair.as_array()?.as_slice() {
            [key, value] => Some((key.as_str()?, value.as_str()?)),
            _ => None,
        };
        pairs.into_iter().flatten().filter_map(pair).collect()
    }
}

/// The second of a pair whose first is `tag`.
fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    match value.as_array()?.as_slice() {
        [first, second] if first.as_str() == Some(tag) => Some(second),
        _ => None,
    }
}

fn set(value: &Value) -> Vec<&Value> {
    match tagged(value, "set").and_then(Value::as_array) {
        Some(members) => members.iter().collect(),
        None => vec![value],
    }
}
