//! What the embedded XenStore server has beyond the real one: its log, its faults, other domains, and many clients.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use testbed::xenstore_server::{Change, DOM0, Fault, Misbehaviour, Occurrence, Server, Trigger};
use xenstore::wire::Kind;
use xenstore::{Access, Client, DomainId, Error, Permission, ProtocolError, Refusal, StorePath, Token};

/// Ample: no test waits for it to pass.
const LIMIT: Duration = Duration::from_secs(60);
/// For those that want it to pass.
const SHORT: Duration = Duration::from_millis(30);

fn path(text: &str) -> StorePath {
    StorePath::parse(text).unwrap()
}

fn serve(domain: DomainId) -> (TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_for(directory.path().join("socket"), domain).unwrap();
    (directory, server)
}

fn fault(trigger: Trigger, misbehaviour: Misbehaviour) -> Vec<Fault> {
    vec![Fault { trigger, misbehaviour }]
}

/// A client that is connected, and waits no longer than a moment for answers.
fn impatient(server: &Server) -> Client {
    let mut client = server.client(LIMIT).unwrap();
    client.renew(SHORT);
    client
}

fn every(kind: Kind) -> Trigger {
    Trigger { kind: Some(kind), ..Trigger::default() }
}

#[test]
fn the_log_holds_accepted_changes_in_order_with_absolute_paths() {
    let (_directory, server) = serve(DOM0);
    server.seed(&path("backend/vif/1/0/mac"), b"00:16:3e:00:00:01").unwrap();
    let mut client = server.client(LIMIT).unwrap();
    client.write(&path("backend/vif/1/0/hotplug-status"), b"connected").unwrap();
    client.remove(&path("backend/vif/1/0/missing")).unwrap();
    client.make_directory(&path("/a")).unwrap();
    client.make_directory(&path("/a")).unwrap();
    let permissions = vec![Permission { domain: DomainId(3), access: Access::Read }];
    client.set_permissions(&path("/a"), &permissions).unwrap();
    client.transaction(|t| t.write(&path("/b"), b"1").and_then(|()| t.remove(&path("/a")))).unwrap();
    let undone: xenstore::Result<()> = client.transaction(|t| t.write(&path("/c"), b"1").and(Err(Error::NoStore)));
    assert!(undone.is_err());
    let expected = [
        Change::Write { path: "/local/domain/0/backend/vif/1/0/hotplug-status".into(), value: b"connected".to_vec() },
        Change::MakeDirectory { path: "/a".into() },
        Change::SetPermissions { path: "/a".into(), permissions },
        Change::Write { path: "/b".into(), value: b"1".to_vec() },
        Change::Remove { path: "/a".into() },
        Change::Commit,
    ];
    assert_eq!(server.log(), expected);
    server.clear_log();
    assert_eq!(server.log(), []);
}

#[test]
fn the_snapshot_is_the_whole_store() {
    let (_directory, server) = serve(DOM0);
    let before = server.snapshot();
    assert_eq!(before["/local/domain/0/domid"], b"0");
    let mut client = server.client(LIMIT).unwrap();
    client.write(&path("x/y"), b"v").unwrap();
    let after = server.snapshot();
    let added: Vec<_> = after.iter().filter(|(path, _)| !before.contains_key(*path)).collect();
    let expected = [("/local/domain/0/x".to_owned(), Vec::new()), ("/local/domain/0/x/y".to_owned(), b"v".to_vec())];
    assert_eq!(added, expected.iter().map(|(path, value)| (path, value)).collect::<Vec<_>>());
    client.remove(&path("x")).unwrap();
    assert_eq!(server.snapshot(), before);
}

#[test]
fn a_watch_sees_what_is_seeded() {
    let (_directory, server) = serve(DOM0);
    let mut client = server.client(LIMIT).unwrap();
    client.watch(&path("/watched"), &Token::new("t").unwrap()).unwrap();
    assert_eq!(client.next_event().unwrap().path, path("/watched"));
    server.seed(&path("/watched/below"), b"v").unwrap();
    assert_eq!(client.next_event().unwrap().path, path("/watched/below"));
}

#[test]
fn the_nth_fitting_request_is_refused_and_no_other() {
    let (_directory, server) = serve(DOM0);
    let below = Some("/local/domain/0/backend".to_owned());
    let trigger = Trigger { kind: Some(Kind::Write), below, occurrence: Occurrence::Only(2) };
    server.set_behaviour(fault(trigger, Misbehaviour::Refuse(Refusal::Equota)));
    let mut client = server.client(LIMIT).unwrap();
    client.write(&path("backend/a"), b"1").unwrap();
    client.write(&path("backendish"), b"1").unwrap();
    let outcome = client.write(&path("backend/b"), b"1");
    assert!(matches!(outcome, Err(Error::Refused { refusal: Refusal::Equota, .. })), "{outcome:?}");
    client.write(&path("backend/b"), b"2").unwrap();
    assert_eq!(server.snapshot()["/local/domain/0/backend/b"], b"2");
}

#[test]
fn a_refused_commit_is_tried_again() {
    let (_directory, server) = serve(DOM0);
    let trigger = Trigger { occurrence: Occurrence::Only(1), ..every(Kind::TransactionEnd) };
    server.set_behaviour(fault(trigger, Misbehaviour::Refuse(Refusal::Eagain)));
    let mut runs = 0;
    let mut client = server.client(LIMIT).unwrap();
    client
        .transaction(|t| {
            runs += 1;
            t.write(&path("/a"), b"1")
        })
        .unwrap();
    assert_eq!(runs, 2);
    assert_eq!(server.log(), [Change::Write { path: "/a".into(), value: b"1".to_vec() }, Change::Commit]);
}

#[test]
fn a_late_answer_is_still_right() {
    let (_directory, server) = serve(DOM0);
    server.set_behaviour(fault(every(Kind::Read), Misbehaviour::AnswerLate(SHORT)));
    let mut late = server.client(LIMIT).unwrap();
    assert_eq!(late.read(&path("domid")).unwrap(), Some(b"0".to_vec()));
    server.set_behaviour(fault(every(Kind::Read), Misbehaviour::AnswerLate(LIMIT)));
    let outcome = impatient(&server).read(&path("domid"));
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
}

#[test]
fn an_answer_that_never_comes_ends_with_the_budget_though_the_change_was_made() {
    let (_directory, server) = serve(DOM0);
    server.set_behaviour(fault(every(Kind::Write), Misbehaviour::NeverAnswer));
    let mut watcher = server.client(LIMIT).unwrap();
    watcher.watch(&path("/a"), &Token::new("t").unwrap()).unwrap();
    watcher.next_event().unwrap();
    let outcome = impatient(&server).write(&path("/a"), b"1");
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
    watcher.next_event().unwrap();
    assert_eq!(server.snapshot()["/a"], b"1");
}

#[test]
fn a_connection_closed_at_the_nth_request_gives_the_answers_before() {
    let (_directory, server) = serve(DOM0);
    let trigger = Trigger { occurrence: Occurrence::Only(3), ..Trigger::default() };
    server.set_behaviour(fault(trigger, Misbehaviour::Close));
    let mut client = server.client(LIMIT).unwrap();
    client.write(&path("/a"), b"1").unwrap();
    client.write(&path("/b"), b"1").unwrap();
    let outcome = client.write(&path("/c"), b"1");
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::Closed { .. }, .. })), "{outcome:?}");
    assert!(!server.snapshot().contains_key("/c"));
    assert_eq!(server.client(LIMIT).unwrap().read(&path("/a")).unwrap(), Some(b"1".to_vec()));
}

#[test]
fn garbage_is_passed_on_as_it_is() {
    let (_directory, server) = serve(DOM0);
    server.set_behaviour(fault(every(Kind::Read), Misbehaviour::Garbage(vec![0xff; 16])));
    let outcome = server.client(LIMIT).unwrap().read(&path("/a"));
    let unknown = ProtocolError::UnknownKind(u32::MAX);
    assert!(matches!(outcome, Err(Error::Protocol { ref reason, .. }) if *reason == unknown), "{outcome:?}");
    server.set_behaviour(Vec::new());
    assert_eq!(server.client(LIMIT).unwrap().read(&path("/a")).unwrap(), None);
}

#[test]
fn a_driver_domain_sees_its_own_directory_and_is_bound_by_permissions() {
    let (_directory, server) = serve(DomainId(5));
    server.seed(&path("/vm/secret"), b"s").unwrap();
    let mut client = server.client(LIMIT).unwrap();
    assert_eq!(client.own_domain_id().unwrap(), Some(DomainId(5)));
    client.write(&path("backend/vif/7/0/hotplug-status"), b"connected").unwrap();
    assert_eq!(server.snapshot()["/local/domain/5/backend/vif/7/0/hotplug-status"], b"connected");
    let owner = client.permissions(&path("backend")).unwrap().unwrap()[0].domain;
    assert_eq!(owner, DomainId(5));
    for outcome in [
        client.write(&path("/vm/secret"), b"x"),
        client.write(&path("/vm/other"), b"x"),
        client.read(&path("/vm/secret")).map(drop),
        client.set_permissions(&path("/vm/secret"), &[Permission { domain: DomainId(5), access: Access::Both }]),
    ] {
        assert!(matches!(outcome, Err(Error::Refused { refusal: Refusal::Eacces, .. })), "{outcome:?}");
    }
}

#[test]
fn a_thousand_clients_are_served_at_once() {
    // Each client is two descriptors of this process.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let (_directory, server) = serve(DOM0);
    let mut clients: Vec<Client> = (0..1000).map(|_| server.client(LIMIT).unwrap()).collect();
    let own = |number: usize| path("/many").join(&number.to_string()).unwrap();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write(&own(number), number.to_string().as_bytes()).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate().rev() {
        assert_eq!(client.read(&own(number)).unwrap(), Some(number.to_string().into_bytes()));
    }
}

#[test]
fn a_hundred_threads_add_to_one_counter_by_transactions() {
    const THREADS: usize = 100;
    let (_directory, server) = serve(DOM0);
    server.seed(&path("/counter"), b"0").unwrap();
    let add = |client: &mut Client| {
        client.transaction(|t| {
            let value = t.read(&path("/counter"))?.unwrap_or_default();
            let number: usize = String::from_utf8(value).unwrap().parse().unwrap();
            t.write(&path("/counter"), (number + 1).to_string().as_bytes())
        })
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| add(&mut server.client(LIMIT).unwrap()).unwrap());
        }
    });
    assert_eq!(server.snapshot()["/counter"], THREADS.to_string().into_bytes());
}

#[test]
fn a_dropped_server_hangs_up_and_removes_its_socket() {
    let (directory, server) = serve(DOM0);
    let mut client = server.client(LIMIT).unwrap();
    client.read(&path("/a")).unwrap();
    drop(server);
    assert!(!directory.path().join("socket").exists());
    let outcome = client.read(&path("/a"));
    assert!(matches!(outcome, Err(Error::Protocol { reason: ProtocolError::Closed { .. }, .. })), "{outcome:?}");
}

fn lite(socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xenstore-lite"));
    command.args(words).env("XENSTORED_PATH", socket);
    command
}

/// What the program prints, and whether it succeeds.
fn output(socket: &Path, words: &[&str]) -> (String, bool) {
    let output = lite(socket, words).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn first_line(child: &mut Child) -> (String, BufReader<impl Read + use<>>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    (line, reader)
}

#[test]
fn the_program_serves_and_asks() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let words = ["serve", socket.to_str().unwrap(), "/vm/name=guest", "relative=1=2"];
    let mut server = lite(&socket, &words).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(first_line(&mut server).0, "READY\n");

    assert_eq!(output(&socket, &["read", "/vm/name", "relative"]), ("guest\n1=2\n".into(), true));
    let mut watch = lite(&socket, &["watch", "/w"]).stdout(Stdio::piped()).spawn().unwrap();
    let (line, mut events) = first_line(&mut watch);
    assert_eq!(line, "/w\n");
    assert!(output(&socket, &["write", "/w/a", "1", "/w/b", "x y"]).1);
    let mut line = String::new();
    events.read_line(&mut line).unwrap();
    assert_eq!(line, "/w/a\n");
    assert_eq!(output(&socket, &["list", "/w"]), ("a\nb\n".into(), true));
    assert_eq!(output(&socket, &["ls", "/w"]), ("/w/a = \"1\"\n/w/b = \"x y\"\n".into(), true));
    assert!(output(&socket, &["rm", "/w/a"]).1);
    assert!(!output(&socket, &["read", "/w/a"]).1);
    assert!(!output(&socket, &["read", "not a path"]).1);
    assert!(!output(&socket, &["nonsense"]).1);

    watch.kill().unwrap();
    watch.wait().unwrap();
    kill(Pid::from_raw(i32::try_from(server.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(!socket.exists());
}
