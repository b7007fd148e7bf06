//! The client against servers that say whatever a test lets them say.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use ovsdb::{Client, Condition, Error, Mutation, Operation, Value};
use proptest::prelude::*;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(10);

/// A server for one client, in a thread: what it does is `talk`.
fn server(talk: impl FnOnce(UnixStream) + Send + 'static) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || talk(listener.accept().unwrap().0));
    (folder, path)
}

/// The next request, which is taken to come in one piece.
fn request(stream: &mut UnixStream) -> serde_json::Value {
    let mut bytes = vec![0; 65536];
    let length = stream.read(&mut bytes).unwrap();
    serde_json::from_slice(&bytes[..length]).unwrap()
}

fn select() -> Operation {
    Operation::select("Port", &[Condition::equals("name", "vif1.0")], &["_uuid", "tag", "trunks"])
}

#[test]
fn a_transaction_is_what_the_standard_says() {
    let (_folder, path) = server(|mut stream| {
        let asked = request(&mut stream);
        let operations = json!(["Open_vSwitch",
            {"op": "insert", "table": "Port", "uuid-name": "port",
                "row": {"name": "vif1.0", "interfaces": ["named-uuid", "interface"], "tag": ["set", [7]], "external_ids": ["map", [["a", "b"]]]}},
            {"op": "mutate", "table": "Bridge", "where": [["name", "==", "br0"]],
                "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]], ["ports", "delete", ["uuid", "1"]]]},
            {"op": "wait", "timeout": 1500, "table": "Open_vSwitch", "where": [["cur_cfg", ">=", 3]], "columns": ["_uuid"], "until": "==",
                "rows": [{"_uuid": ["uuid", "2"]}]}]);
        assert_eq!(asked, json!({"method": "transact", "id": 1, "params": operations}));
        stream.write_all(br#"{"id":1,"error":null,"result":[{"uuid":["uuid","x"]},{"count":1},{}]}"#).unwrap();
    });
    let columns = [
        ("name", Value::from("vif1.0")),
        ("interfaces", Value::Inserted("interface")),
        ("tag", Value::Integers([7].into())),
        ("external_ids", Value::Map([("a".to_owned(), "b".to_owned())].into())),
    ];
    let mutations = [
        Mutation::insert("ports", Value::Rows(vec![Value::Inserted("port")])),
        Mutation::delete("ports", Value::Uuid("1".to_owned())),
    ];
    let answers = Client::connect(&path, LIMIT).unwrap().transact(
        "Open_vSwitch",
        &[
            Operation::insert("Port", &columns, "port"),
            Operation::mutate("Bridge", &[Condition::equals("name", "br0")], &mutations),
            Operation::wait_for_row("Open_vSwitch", &[Condition::at_least("cur_cfg", 3)], "2", Duration::from_millis(1500)),
        ],
    );
    assert_eq!(answers.unwrap()[1].count(), Some(1));
}

#[test]
fn a_reply_may_come_in_pieces_and_between_questions_of_the_servers() {
    let (_folder, path) = server(|mut stream| {
        request(&mut stream);
        stream.write_all(br#"{"id":"e","method":"echo","params":["there?"]}{"id":null,"method":"update","params":[]}"#).unwrap();
        assert_eq!(request(&mut stream), json!({"id": "e", "error": null, "result": ["there?"]}));
        let row = br#"{"id":1,"error":null,"result":[{"rows":[{"_uuid":["uuid","u"],"tag":7,"trunks":["set",[1,2]],"m":["map",[["k","v"]]]}]}]}"#;
        for byte in row {
            stream.write_all(&[*byte]).unwrap();
        }
    });
    let answers = Client::connect(&path, LIMIT).unwrap().transact("Open_vSwitch", &[select()]).unwrap();
    let row = answers[0].rows().next().unwrap();
    assert_eq!((row.uuid("_uuid"), row.text("tag"), row.integer("tag")), (Some("u"), None, Some(7)));
    assert_eq!((row.integers("tag"), row.integers("trunks"), row.members("trunks")), ([7].into(), [1, 2].into(), 2));
    assert_eq!(row.map("m"), [("k", "v")].into());
    assert_eq!((row.map("tag"), row.integers("nothing"), row.members("nothing")), ([].into(), [].into(), 0));
}

#[test]
fn a_refusal_leaves_the_connection_usable() {
    let (_folder, path) = server(|mut stream| {
        request(&mut stream);
        let refused = br#"{"id":1,"error":null,"result":[{"rows":[]},{"error":"constraint violation","details":"twice"},null]}"#;
        stream.write_all(refused).unwrap();
        request(&mut stream);
        stream.write_all(br#"{"id":2,"error":null,"result":[{"rows":[]}]}"#).unwrap();
    });
    let mut client = Client::connect(&path, LIMIT).unwrap();
    let error = client.transact("Open_vSwitch", &[select(), select(), select()]).unwrap_err();
    assert_eq!(error.to_string(), "the database refused: constraint violation: twice");
    assert_eq!(client.transact("Open_vSwitch", &[select()]).unwrap()[0].rows().count(), 0);
}

#[test]
fn a_silent_server_is_given_up_in_time_and_for_good() {
    let (_folder, path) = server(|stream| {
        thread::sleep(LIMIT);
        drop(stream);
    });
    let start = Instant::now();
    let mut client = Client::connect(&path, Duration::from_millis(100)).unwrap();
    assert!(matches!(client.transact("Open_vSwitch", &[select()]), Err(Error::TimedOut { .. })));
    client.renew(LIMIT);
    assert!(matches!(client.transact("Open_vSwitch", &[select()]), Err(Error::Abandoned { .. })));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn where_nobody_listens_the_socket_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sock");
    let error = Client::connect(&path, LIMIT).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.to_string().contains("db.sock"), "{error}");
}

/// A reply twisted somewhere, or nothing like one.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let good = br#"{"id":1,"error":null,"result":[{"rows":[{"_uuid":["uuid","u"],"tag":["set",[]]}]}]}"#.to_vec();
    let twisted = (Just(good), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, place, byte)| {
        let place = place.index(bytes.len());
        bytes[place] = byte;
        bytes
    });
    prop_oneof![twisted, prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reply_makes_it_panic_or_wait_for_ever(bytes in noise()) {
        let (_folder, path) = server(move |mut stream| {
            request(&mut stream);
            // The client may be gone by now.
            let _ = stream.write_all(&bytes);
        });
        let start = Instant::now();
        let answers = Client::connect(&path, LIMIT).unwrap().transact("Open_vSwitch", &[select()]);
        if let Ok(answers) = answers {
            for row in answers.iter().flat_map(|answer| answer.rows()) {
                let _ = (row.uuid("_uuid"), row.integers("tag"), row.map("tag"), row.members("tag"));
            }
        }
        prop_assert!(start.elapsed() < LIMIT);
    }
}
