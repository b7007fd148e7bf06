//! What a transaction is made of (RFC 7047, section 5.2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Integer(i64),
    /// The row with this id.
    Uuid(String),
    /// The row that another operation of the transaction inserts under this name.
    Inserted(&'static str),
    /// Any number of integers; an optional one is a set of none or one.
    Integers(BTreeSet<i64>),
    /// Rows.
    Rows(Vec<Value>),
    /// Texts.
    Texts(BTreeSet<String>),
    /// Texts by texts.
    Map(BTreeMap<String, String>),
}

impl Value {
    fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => json!(text),
            Self::Integer(number) => json!(number),
            Self::Uuid(id) => json!(["uuid", id]),
            Self::Inserted(name) => json!(["named-uuid", name]),
            Self::Integers(numbers) => json!(["set", numbers]),
            Self::Rows(rows) => json!(["set", rows.iter().map(Self::to_json).collect::<Vec<_>>()]),
            Self::Texts(texts) => json!(["set", texts]),
            Self::Map(map) => json!(["map", map.iter().collect::<Vec<_>>()]),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Which rows are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    column: &'static str,
    function: &'static str,
    value: Value,
}

impl Condition {
    /// Rows whose column is exactly this.
    pub fn equals(column: &'static str, value: impl Into<Value>) -> Self {
        Self { column, function: "==", value: value.into() }
    }

    /// Rows whose column, a set or a map, has all of this in it.
    pub fn includes(column: &'static str, value: impl Into<Value>) -> Self {
        Self { column, function: "includes", value: value.into() }
    }

    /// Rows whose column is this number or a larger one.
    pub fn at_least(column: &'static str, value: i64) -> Self {
        Self { column, function: ">=", value: Value::Integer(value) }
    }

    fn to_json(&self) -> Json {
        json!([self.column, self.function, self.value.to_json()])
    }
}

/// How a column changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    column: &'static str,
    mutator: &'static str,
    value: Value,
}

impl Mutation {
    /// Puts members into a set, or pairs into a map; keys that are there keep their values.
    pub fn insert(column: &'static str, value: impl Into<Value>) -> Self {
        Self { column, mutator: "insert", value: value.into() }
    }

    /// Takes members out of a set, or out of a map the pairs with these keys.
    pub fn delete(column: &'static str, value: impl Into<Value>) -> Self {
        Self { column, mutator: "delete", value: value.into() }
    }

    /// Adds to a number.
    pub fn add(column: &'static str, number: i64) -> Self {
        Self { column, mutator: "+=", value: Value::Integer(number) }
    }

    fn to_json(&self) -> Json {
        json!([self.column, self.mutator, self.value.to_json()])
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation(Json);

fn conditions(list: &[Condition]) -> Json {
    list.iter().map(Condition::to_json).collect()
}

fn row(columns: &[(&'static str, Value)]) -> Json {
    columns.iter().map(|(column, value)| ((*column).to_owned(), value.to_json())).collect::<serde_json::Map<_, _>>().into()
}

impl Operation {
    /// Reads columns of the rows that meet all conditions.
    pub fn select(table: &str, meeting: &[Condition], columns: &[&str]) -> Self {
        Self(json!({ "op": "select", "table": table, "where": conditions(meeting), "columns": columns }))
    }

    /// Adds a row, which the other operations may call by `name`.
    pub fn insert(table: &str, columns: &[(&'static str, Value)], name: &str) -> Self {
        Self(json!({ "op": "insert", "table": table, "row": row(columns), "uuid-name": name }))
    }

    /// Gives columns of the rows that meet all conditions new values.
    pub fn update(table: &str, meeting: &[Condition], columns: &[(&'static str, Value)]) -> Self {
        Self(json!({ "op": "update", "table": table, "where": conditions(meeting), "row": row(columns) }))
    }

    /// Changes columns of the rows that meet all conditions, one mutation after the other.
    pub fn mutate(table: &str, meeting: &[Condition], mutations: &[Mutation]) -> Self {
        let mutations: Vec<_> = mutations.iter().map(Mutation::to_json).collect();
        Self(json!({ "op": "mutate", "table": table, "where": conditions(meeting), "mutations": mutations }))
    }

    /// Refused as `timed out`, and with it the whole transaction, unless exactly one row has this text in this column.
    pub fn require(table: &str, column: &'static str, text: &str) -> Self {
        let rows = [row(&[(column, text.into())])];
        Self(json!({ "op": "wait", "timeout": 0, "table": table, "where": conditions(&[Condition::equals(column, text)]),
            "columns": [column], "until": "==", "rows": rows }))
    }

    /// Waits until exactly one row, the one with this id, meets all conditions; refused as `timed out` when it does not within `limit`.
    pub fn wait_for_row(table: &str, meeting: &[Condition], id: &str, limit: Duration) -> Self {
        let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let rows = [row(&[("_uuid", Value::Uuid(id.to_owned()))])];
        let wanted = json!({ "op": "wait", "timeout": milliseconds, "table": table, "where": conditions(meeting),
            "columns": ["_uuid"], "until": "==", "rows": rows });
        Self(wanted)
    }

    /// A line for the database's log.
    pub fn comment(text: &str) -> Self {
        Self(json!({ "op": "comment", "comment": text }))
    }

    pub(crate) fn as_json(&self) -> &Json {
        &self.0
    }
}
