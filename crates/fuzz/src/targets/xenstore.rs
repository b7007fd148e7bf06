//! Frames of XenStore: what a daemon says to the client, and what a client says to the server of the testbed.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use xenstore::{Client, DomainId, StorePath, Token};

use super::chosen;

/// More than is ever waited for: the daemon has said all, and closed, before it is asked.
const LIMIT: Duration = Duration::from_secs(10);
/// A socket takes as much without a reader.
const INPUT_MAX: usize = 64 << 10;

/// The first byte chooses what is asked; the rest is all that the daemon says.
pub(crate) fn client(input: &[u8]) {
    let Some((choice, said)) = chosen(input).filter(|(_, said)| said.len() <= INPUT_MAX) else { return };
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(said).unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    let mut client = Client::over_socket(near.into(), LIMIT);
    let paths = ["backend/vif/3/0/mac", "backend/vif/3/0/ip"].map(|path| StorePath::parse(path).unwrap());
    match choice % 8 {
        0 => drop(client.read_many(&paths)),
        1 => drop(client.list(&paths[0])),
        2 => drop(client.permissions(&paths[0])),
        3 => drop(client.transaction(|transaction| {
            transaction.read(&paths[0])?;
            transaction.write(&paths[1], b"10.0.0.1")
        })),
        4 => {
            let _ = client.watch(&paths[0], &Token::new("token").unwrap()).and_then(|()| client.next_event());
            let _ = client.next_event();
        }
        5 => drop((client.own_domain_id(), client.domain_path(DomainId(3)), client.is_introduced(DomainId(3)))),
        6 => drop((client.remove(&paths[0]), client.make_directory(&paths[1]))),
        _ => drop((client.read(&paths[0]), client.list_many(&paths), client.write_many(&[(paths[0].clone(), b"1".to_vec())]))),
    }
}

/// The first byte chooses whose client it is; the rest is all that it says.
pub(crate) fn server(input: &[u8]) {
    let Some((choice, said)) = chosen(input) else { return };
    let domain = if choice % 2 == 0 { DomainId(0) } else { DomainId(3) };
    testbed::xenstore_server::answer_all(said, domain).unwrap();
}
