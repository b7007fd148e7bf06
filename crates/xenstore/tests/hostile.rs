//! The client against daemons that do not behave. Every case must end with an error that says what happened.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use xenstore::wire::{self, HEADER, Kind};
use xenstore::{Client, Endpoint, Error, ProtocolError, Refusal, Removal, StorePath, Token};

/// Ample: no test waits for it to pass.
const LIMIT: Duration = Duration::from_secs(60);
/// For those that want it to pass.
const SHORT: Duration = Duration::from_millis(30);

/// A daemon that follows a script, one connection long.
struct Daemon {
    directory: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn new(script: impl FnOnce(UnixStream) + Send + 'static) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let thread = std::thread::spawn(move || script(listener.accept().unwrap().0));
        Daemon { directory, thread: Some(thread) }
    }

    /// Reads one request, answers with these bytes, and waits for the client to go.
    fn answering(bytes: Vec<u8>) -> Daemon {
        Daemon::new(move |mut stream| {
            take_request(&mut stream);
            // The client may have had enough before the end.
            let _ = stream.write_all(&bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    fn client(&self, limit: Duration) -> Client {
        let endpoint = Endpoint::Socket(self.directory.path().join("socket"));
        // A busy machine may take its time to connect; that is not what a short limit is for.
        let mut client = Client::connect_to(&endpoint, LIMIT).unwrap();
        client.renew(limit);
        client
    }

    /// Waits for the script to end; the client must be gone by then.
    fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The request's kind, number, transaction and payload.
fn take_request(stream: &mut UnixStream) -> (Kind, u32, u32, Vec<u8>) {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let header = wire::Header::parse(&header).unwrap();
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload).unwrap();
    (header.kind, header.request, header.transaction, payload)
}

fn message(kind: Kind, request: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::append(&mut out, kind, request, 0, &[payload]).unwrap();
    out
}

fn path(text: &str) -> StorePath {
    StorePath::parse(text).unwrap()
}

/// What reading a node ends with when the daemon answers with these bytes.
fn reading(answer: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    let daemon = Daemon::answering(answer);
    let mut client = daemon.client(LIMIT);
    let outcome = client.read(&path("a"));
    if matches!(outcome, Err(Error::Protocol { .. })) {
        assert!(matches!(client.read(&path("a")), Err(Error::Abandoned { .. })), "used again after {outcome:?}");
    }
    drop(client);
    daemon.join();
    outcome
}

/// What is wrong with the answer, for the client that reads a node.
fn complaint(answer: Vec<u8>) -> ProtocolError {
    match reading(answer) {
        Err(Error::Protocol { reason, .. }) => reason,
        other => panic!("{other:?} instead of a protocol error"),
    }
}

#[test]
fn the_scripts_right_answer_is_taken() {
    assert_eq!(reading(message(Kind::Read, 1, b"value")).unwrap(), Some(b"value".to_vec()));
}

#[test]
fn a_reply_longer_than_allowed_is_refused_by_its_header() {
    let header: Vec<u8> = [2u32, 1, 0, 4097].iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(complaint(header), ProtocolError::TooLong(4097));
}

#[test]
fn an_unknown_kind_is_refused() {
    let header: Vec<u8> = [77u32, 1, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(complaint(header), ProtocolError::UnknownKind(77));
}

#[test]
fn an_answer_to_another_request_is_refused() {
    for request in [0, 2, u32::MAX] {
        assert_eq!(complaint(message(Kind::Read, request, b"x")), ProtocolError::UnexpectedReply { request });
    }
}

#[test]
fn an_answer_of_another_kind_is_refused() {
    let expected = ProtocolError::WrongKind { asked: Kind::Read, answered: Kind::Write };
    assert_eq!(complaint(message(Kind::Write, 1, b"OK\0")), expected);
}

#[test]
fn an_error_without_a_name_is_refused() {
    for payload in [&b""[..], b"ENOENT", b"nothing\0", b"\xff\xff\0"] {
        assert_eq!(complaint(message(Kind::Error, 1, payload)), ProtocolError::Payload(Kind::Error));
    }
}

#[test]
fn an_error_with_an_unlisted_name_is_passed_on() {
    match reading(message(Kind::Error, 1, b"EXDEV\0")) {
        Err(Error::Refused { refusal, .. }) => assert_eq!(refusal, Refusal::Other("EXDEV".to_owned())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_events_are_refused() {
    for payload in [&b""[..], b"a\0", b"a\0t", b"a\0t\0more\0", b"a b\0t\0", b"\0t\0", b"\xff\0t\0"] {
        let mut answer = message(Kind::WatchEvent, 0, payload);
        answer.extend(message(Kind::Read, 1, b"value"));
        assert_eq!(complaint(answer), ProtocolError::Payload(Kind::WatchEvent), "{payload:?}");
    }
}

#[test]
fn events_nobody_reads_are_bounded() {
    let daemon = Daemon::new(|mut stream| {
        take_request(&mut stream);
        let event = message(Kind::WatchEvent, 0, format!("{}\0token\0", "p".repeat(2000)).as_bytes());
        let many = event.repeat(100);
        // Ends when the client hangs up.
        while stream.write_all(&many).is_ok() {}
    });
    let mut client = daemon.client(LIMIT);
    let outcome = client.read(&path("a"));
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::TooManyEvents(_), .. })), "{outcome:?}");
    drop(client);
    daemon.join();
}

#[test]
fn the_end_of_the_connection_is_told_at_every_byte_of_the_answer() {
    let whole = message(Kind::Read, 1, b"a value");
    for cut in 0..whole.len() {
        let part = whole[..cut].to_vec();
        let daemon = Daemon::new(move |mut stream| {
            take_request(&mut stream);
            stream.write_all(&part).unwrap();
        });
        let outcome = daemon.client(LIMIT).read(&path("a"));
        daemon.join();
        match outcome {
            Err(Error::Protocol { reason, .. }) => assert_eq!(reason, ProtocolError::Closed { inside_message: cut }),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn an_answer_in_single_bytes_is_taken() {
    let daemon = Daemon::new(|mut stream| {
        take_request(&mut stream);
        for byte in message(Kind::Read, 1, b"a value") {
            stream.write_all(&[byte]).unwrap();
        }
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    assert_eq!(daemon.client(LIMIT).read(&path("a")).unwrap(), Some(b"a value".to_vec()));
    daemon.join();
}

#[test]
fn a_daemon_that_hangs_up_at_once_is_told() {
    let daemon = Daemon::new(drop);
    let mut client = daemon.client(LIMIT);
    daemon.join();
    let paths = vec![path("a"); 2000];
    let outcome = client.read_many(&paths);
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::Closed { .. }, .. })), "{outcome:?}");
}

#[test]
fn silence_ends_with_the_budget_and_says_where_and_what() {
    let daemon = Daemon::answering(Vec::new());
    let mut client = daemon.client(SHORT);
    let error = client.read(&path("backend/vif/1/0/mac")).unwrap_err();
    let socket = daemon.directory.path().join("socket");
    let sentence =
        format!("XenStore (socket {}) did not answer within 0.03 s (asked to read backend/vif/1/0/mac)", socket.display());
    assert_eq!(error.to_string(), sentence);
    assert!(matches!(error, Error::TimedOut { .. }));
    drop(client);
    daemon.join();
}

#[test]
fn a_daemon_that_never_reads_cannot_hold_a_writer() {
    let daemon = Daemon::new(|mut stream| {
        take_request(&mut stream);
        let mut rest = Vec::new();
        std::thread::park_timeout(SHORT * 4);
        // The client hung up with answers missing.
        let _ = stream.read_to_end(&mut rest);
    });
    let mut client = daemon.client(SHORT);
    let values = vec![(path("a"), vec![0; 4000]); 1000];
    assert!(matches!(client.write_many(&values), Err(Error::TimedOut { .. })));
    drop(client);
    daemon.join();
}

#[test]
fn a_trickle_of_events_does_not_stretch_the_budget() {
    let daemon = Daemon::new(|mut stream| {
        take_request(&mut stream);
        while stream.write_all(&message(Kind::WatchEvent, 0, b"a\0t\0")).is_ok() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    let mut client = daemon.client(SHORT);
    assert!(matches!(client.read(&path("a")), Err(Error::TimedOut { .. })));
    drop(client);
    daemon.join();
}

#[test]
fn a_full_backlog_ends_with_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let endpoint = Endpoint::Socket(socket);
    let _first = Client::connect_to(&endpoint, LIMIT).unwrap();
    let error = Client::connect_to(&endpoint, SHORT).unwrap_err();
    assert!(matches!(error, Error::TimedOut { act: None, .. }), "{error:?}");
}

#[test]
fn nobody_there_is_told_with_the_sockets_name() {
    let endpoint = Endpoint::Socket("/nonexistent/socket".into());
    let error = Client::connect_to(&endpoint, LIMIT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot connect to XenStore (socket /nonexistent/socket): No such file or directory (os error 2)"
    );
}

#[test]
fn a_directory_that_changes_for_ever_is_given_up() {
    let daemon = Daemon::new(|mut stream| {
        let mut generation = 0;
        let mut header = [0; HEADER];
        while stream.read_exact(&mut header).is_ok() {
            let header = wire::Header::parse(&header).unwrap();
            stream.read_exact(&mut vec![0; header.length]).unwrap();
            generation += 1;
            let answer = match header.kind {
                Kind::Directory => message(Kind::Error, header.request, b"E2BIG\0"),
                kind => message(kind, header.request, format!("{generation}\0name\0").as_bytes()),
            };
            stream.write_all(&answer).unwrap();
        }
    });
    let outcome = daemon.client(LIMIT).list(&path("a"));
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::UnsteadyDirectory, .. })), "{outcome:?}");
    daemon.join();
}

/// A daemon whose DIRECTORY is too big and whose every DIRECTORY_PART is this.
fn with_parts(part: Vec<u8>) -> Daemon {
    Daemon::new(move |mut stream| {
        let mut header = [0; HEADER];
        while stream.read_exact(&mut header).is_ok() {
            let header = wire::Header::parse(&header).unwrap();
            stream.read_exact(&mut vec![0; header.length]).unwrap();
            let answer = match header.kind {
                Kind::Directory => message(Kind::Error, header.request, b"E2BIG\0"),
                kind => message(kind, header.request, &part),
            };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_directory_without_end_is_given_up() {
    let endless = [b"1\0".to_vec(), b"n".repeat(4000), vec![0]].concat();
    for part in [endless, b"1\0".to_vec()] {
        let daemon = with_parts(part);
        let outcome = daemon.client(LIMIT).list(&path("a"));
        assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::EndlessDirectory, .. })), "{outcome:?}");
        daemon.join();
    }
}

#[test]
fn malformed_parts_and_names_are_refused() {
    for part in [&b""[..], b"1", b"1\0name", b"1\0na me\0\0", b"1\0a/b\0\0", b"1\0a\0\0b\0\0", b"1\0\xff\0\0"] {
        let daemon = with_parts(part.to_vec());
        let outcome = daemon.client(LIMIT).list(&path("a"));
        assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::Payload(_), .. })), "{part:?}: {outcome:?}");
        daemon.join();
    }
}

#[test]
fn a_directory_that_vanishes_between_parts_is_absent() {
    let daemon = Daemon::new(|mut stream| {
        for answer in [b"E2BIG\0", b"ENOENT"] {
            let (_, request, ..) = take_request(&mut stream);
            let payload = [answer.strip_suffix(b"\0").unwrap_or(answer), b"\0"].concat();
            stream.write_all(&message(Kind::Error, request, &payload)).unwrap();
        }
    });
    assert_eq!(daemon.client(LIMIT).list(&path("a")).unwrap(), None);
    daemon.join();
}

#[test]
fn a_transaction_that_never_goes_through_is_given_up() {
    let daemon = Daemon::new(|mut stream| {
        let mut header = [0; HEADER];
        while stream.read_exact(&mut header).is_ok() {
            let header = wire::Header::parse(&header).unwrap();
            stream.read_exact(&mut vec![0; header.length]).unwrap();
            let answer = match header.kind {
                Kind::TransactionStart => message(header.kind, header.request, b"7\0"),
                _ => message(Kind::Error, header.request, b"EAGAIN\0"),
            };
            stream.write_all(&answer).unwrap();
        }
    });
    let outcome = daemon.client(LIMIT).transaction(|_| Ok(()));
    assert!(matches!(outcome, Err(Error::Conflict { .. })), "{outcome:?}");
    daemon.join();
}

#[test]
fn a_transaction_without_a_number_is_refused() {
    for number in [&b""[..], b"\0", b"0\0", b"x\0", b"-1\0", b"4294967296\0", b"1\x002\0"] {
        let daemon = Daemon::answering(message(Kind::TransactionStart, 1, number));
        let mut client = daemon.client(LIMIT);
        let outcome = client.transaction(|_| Ok(()));
        assert!(matches!(outcome, Err(Error::Protocol { .. })), "{number:?}: {outcome:?}");
        drop(client);
        daemon.join();
    }
}

#[test]
fn other_malformed_answers_are_refused() {
    type Ask = fn(&mut Client) -> Option<Error>;
    let cases: [(Kind, &[u8], Ask); 7] = [
        (Kind::GetPermissions, b"x0\0", |client| client.permissions(&path("a")).err()),
        (Kind::GetPermissions, b"r0", |client| client.permissions(&path("a")).err()),
        (Kind::GetDomainPath, b"no path\0", |client| client.domain_path(xenstore::DomainId(1)).err()),
        (Kind::GetDomainPath, b"", |client| client.domain_path(xenstore::DomainId(1)).err()),
        (Kind::IsDomainIntroduced, b"X\0", |client| client.is_introduced(xenstore::DomainId(1)).err()),
        (Kind::Read, b"zero", |client| client.own_domain_id().err()),
        (Kind::Directory, b"a/b\0", |client| client.list(&path("a")).err()),
    ];
    for (kind, payload, ask) in cases {
        let daemon = Daemon::answering(message(kind, 1, payload));
        let mut client = daemon.client(LIMIT);
        let error = ask(&mut client);
        assert!(matches!(error, Some(Error::Protocol { .. })), "{kind:?} {payload:?}: {error:?}");
        drop(client);
        daemon.join();
    }
}

#[test]
fn answers_out_of_order_are_matched() {
    let daemon = Daemon::new(|mut stream| {
        let requests: Vec<_> = (0..3).map(|_| take_request(&mut stream)).collect();
        for (kind, request, _, payload) in requests.into_iter().rev() {
            stream.write_all(&message(kind, request, &payload)).unwrap();
        }
    });
    let paths = ["a", "b", "c"].map(path);
    let expected = [b"a\0", b"b\0", b"c\0"].map(|echo| Some(echo.to_vec())).to_vec();
    assert_eq!(daemon.client(LIMIT).read_many(&paths).unwrap(), expected);
    daemon.join();
}

#[test]
fn the_same_answer_twice_is_refused() {
    let daemon = Daemon::new(|mut stream| {
        let requests: Vec<_> = (0..2).map(|_| take_request(&mut stream)).collect();
        let (kind, request, ..) = requests[0];
        stream.write_all(&message(kind, request, b"x").repeat(2)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let outcome = daemon.client(LIMIT).read_many(&["a", "b"].map(path));
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::UnexpectedReply { .. }, .. })), "{outcome:?}");
    daemon.join();
}

#[test]
fn an_answer_while_waiting_for_an_event_is_refused() {
    let daemon = Daemon::new(|mut stream| {
        let (kind, request, ..) = take_request(&mut stream);
        stream.write_all(&message(kind, request, b"OK\0")).unwrap();
        stream.write_all(&message(Kind::Read, request, b"again")).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut client = daemon.client(LIMIT);
    // Where both answers arrive together, the first call sees the second answer already.
    let outcome = client.watch(&path("a"), &Token::new("t").unwrap()).and_then(|()| client.next_event());
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::UnexpectedReply { .. }, .. })), "{outcome:?}");
    drop(client);
    daemon.join();
}

#[test]
fn waiting_for_an_event_ends_with_the_budget() {
    let daemon = Daemon::new(|mut stream| {
        let (kind, request, ..) = take_request(&mut stream);
        stream.write_all(&message(kind, request, b"OK\0")).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut client = daemon.client(LIMIT);
    client.watch(&path("a"), &Token::new("t").unwrap()).unwrap();
    client.renew(SHORT);
    assert!(matches!(client.next_event(), Err(Error::TimedOut { .. })));
    drop(client);
    daemon.join();
}

#[test]
fn a_removal_the_daemon_cannot_do_is_told() {
    let daemon = Daemon::new(|mut stream| {
        let requests: Vec<_> = (0..2).map(|_| take_request(&mut stream)).collect();
        assert_eq!((requests[0].0, requests[1].0), (Kind::Read, Kind::Remove));
        stream.write_all(&message(Kind::Error, requests[0].1, b"EACCES\0")).unwrap();
        stream.write_all(&message(Kind::Remove, requests[1].1, b"OK\0")).unwrap();
        let (_, request, ..) = take_request(&mut stream);
        let (_, second, ..) = take_request(&mut stream);
        stream.write_all(&message(Kind::Read, request, b"v")).unwrap();
        stream.write_all(&message(Kind::Error, second, b"EACCES\0")).unwrap();
    });
    let mut client = daemon.client(LIMIT);
    assert_eq!(client.remove(&path("a")).unwrap(), Removal::Removed);
    let outcome = client.remove(&path("a"));
    assert!(matches!(outcome, Err(Error::Refused { refusal: Refusal::Eacces, .. })), "{outcome:?}");
    daemon.join();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_ends_with_an_error_or_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let daemon = Daemon::new(move |mut stream| {
            take_request(&mut stream);
            let _ = stream.write_all(&bytes);
        });
        let outcome = daemon.client(LIMIT).read(&path("a"));
        daemon.join();
        // 16 random bytes are no answer to request 1.
        prop_assert!(matches!(outcome, Err(Error::Protocol { .. })), "{outcome:?}");
    }

    #[test]
    fn a_damaged_answer_never_panics(place in 0usize..48, bit in 0u8..8) {
        let mut answer = message(Kind::WatchEvent, 0, b"a\0t\0");
        answer.extend(message(Kind::Read, 1, b"a value"));
        let place = place % answer.len();
        answer[place] ^= 1 << bit;
        let daemon = Daemon::new(move |mut stream| {
            take_request(&mut stream);
            let _ = stream.write_all(&answer);
        });
        let outcome = daemon.client(LIMIT).read(&path("a"));
        daemon.join();
        prop_assert!(matches!(outcome, Ok(Some(_)) | Err(Error::Protocol { .. } | Error::Refused { .. })), "{outcome:?}");
    }
}
