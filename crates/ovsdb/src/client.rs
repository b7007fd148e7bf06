//! The conversation with the server.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{Error, Refusal, Result};
use crate::operation::Operation;
use crate::row::Answer;
use crate::socket::{Budget, Socket};

/// Most that one message may have, in bytes. A reply about one port has a few hundred.
const MESSAGE_MAX: usize = 1 << 20;
/// How much is read at once, in bytes.
const READ_SIZE: usize = 8 << 10;

/// A connection to a database server.
///
/// One budget of time, given when connecting, holds for all that is done with it; [`Client::renew`] starts another. After a failure other than
/// a refusal the connection is of no more use, and every call says so.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    socket: Socket,
    budget: Budget,
    unread: Vec<u8>,
    last_request: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Usable,
    Abandoned,
}

impl Client {
    /// Connects to the server's unix socket, with `limit` for all that follows.
    ///
    /// # Errors
    /// When nobody listens there, or does not accept the connection in time.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self> {
        let budget = Budget::start(limit);
        let path = path.to_owned();
        match Socket::connect(&path, &budget) {
            Ok(socket) => Ok(Self { path, socket, budget, unread: vec![], last_request: 0, state: State::Usable }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Error::TimedOut { path, limit }),
            Err(source) => Err(Error::Connect { path, source }),
        }
    }

    /// Starts another budget of time.
    pub fn renew(&mut self, limit: Duration) {
        self.budget = Budget::start(limit);
    }

    /// Performs operations of one database, all or none of them, and gives what each of them gave.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them fails, and with it all; others when the server does not answer as it should.
    pub fn transact(&mut self, database: &str, operations: &[Operation]) -> Result<Vec<Answer>> {
        if self.state == State::Abandoned {
            return Err(Error::Abandoned { path: self.path.clone() });
        }
        let result = self.ask(database, operations);
        if !matches!(result, Ok(_) | Err(Error::Refused(_))) {
            self.state = State::Abandoned;
        }
        result
    }

    fn ask(&mut self, database: &str, operations: &[Operation]) -> Result<Vec<Answer>> {
        self.last_request += 1;
        let mut parameters = vec![json!(database)];
        parameters.extend(operations.iter().map(|operation| operation.as_json().clone()));
        let request = json!({ "method": "transact", "params": parameters, "id": self.last_request });
        self.send(&request)?;
        loop {
            let message = self.next_message()?;
            if message.contains_key("method") {
                self.answer(&message)?;
            } else if message.get("id") == Some(&json!(self.last_request)) {
                return self.read(message, operations.len());
            } else {
                return Err(self.protocol("it answered a question that was not asked"));
            }
        }
    }

    fn send(&self, message: &Value) -> Result<()> {
        self.socket.send(message.to_string().as_bytes(), &self.budget).map_err(|error| self.broken(error))
    }

    /// The server asks now and then whether we are there (RFC 7047, section 4.1.11). Notes without an id want no answer.
    fn answer(&self, message: &Map<String, Value>) -> Result<()> {
        match (message.get("id"), message.get("method").and_then(Value::as_str)) {
            (None | Some(Value::Null), _) => Ok(()),
            (Some(id), Some("echo")) => {
                self.send(&json!({ "result": message.get("params").unwrap_or(&Value::Null), "error": null, "id": id }))
            }
            _ => Err(self.protocol("it asked something that only a server can answer")),
        }
    }

    fn next_message(&mut self) -> Result<Map<String, Value>> {
        loop {
            if let Some(message) = self.parsed()? {
                return Ok(message);
            }
            let mut buffer = [0; READ_SIZE];
            match self.socket.receive(&mut buffer, &self.budget).map_err(|error| self.broken(error))? {
                0 => return Err(self.broken(io::Error::other("the server closed it"))),
                length => self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
            if self.unread.len() > MESSAGE_MAX {
                return Err(self.protocol(&format!("a message has more than {MESSAGE_MAX} bytes")));
            }
        }
    }

    /// The first message of what was received, if it is there whole. Messages follow each other without anything between them.
    fn parsed(&mut self) -> Result<Option<Map<String, Value>>> {
        let mut stream = serde_json::Deserializer::from_slice(&self.unread).into_iter::<Value>();
        match stream.next() {
            None => Ok(None),
            Some(Ok(Value::Object(message))) => {
                let end = stream.byte_offset();
                self.unread.drain(..end);
                Ok(Some(message))
            }
            Some(Ok(_)) => Err(self.protocol("a message is no JSON object")),
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(self.protocol(&error.to_string())),
        }
    }

    /// The reply to a transaction (RFC 7047, section 4.1.3): an answer for each operation, up to the first that failed, then nulls; a failure
    /// that belongs to none of them comes one behind.
    fn read(&self, mut message: Map<String, Value>, operations: usize) -> Result<Vec<Answer>> {
        match message.get("error") {
            None | Some(Value::Null) => {}
            Some(error) => return Err(Error::Refused(refusal(error))),
        }
        let Some(Value::Array(results)) = message.remove("result") else {
            return Err(self.protocol("a reply has no list of results"));
        };
        if let Some(error) = results.iter().find(|result| result.get("error").is_some_and(|error| !error.is_null())) {
            return Err(Error::Refused(refusal(error)));
        }
        let answers: Vec<_> = results
            .into_iter()
            .filter_map(|result| match result {
                Value::Object(answer) => Some(Answer(answer)),
                _ => None,
            })
            .collect();
        match answers.len() == operations {
            true => Ok(answers),
            false => Err(self.protocol(&format!("{} answers to {operations} operations", answers.len()))),
        }
    }

    fn protocol(&self, reason: &str) -> Error {
        Error::Protocol { path: self.path.clone(), reason: reason.to_owned() }
    }

    fn broken(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::TimedOut => Error::TimedOut { path: self.path.clone(), limit: self.budget.limit },
            _ => Error::Io { path: self.path.clone(), source },
        }
    }
}

/// Longest word or sentence of the server's that is passed on, in characters.
const WORDS_MAX: usize = 300;

fn refusal(error: &Value) -> Refusal {
    let words = |value: &Value| match value {
        Value::String(text) => text.chars().take(WORDS_MAX).map(|sign| if sign.is_control() { ' ' } else { sign }).collect(),
        other => other.to_string().chars().take(WORDS_MAX).collect::<String>(),
    };
    Refusal {
        error: words(error.get("error").unwrap_or(error)),
        details: error.get("details").filter(|details| details.is_string()).map(words),
    }
}
