//! Short conversations between two machines, in which the server notes whom it talks to.
//!
//! The sockets live in the machines, the threads that use them in the test: so no other program is needed.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::{Error, Machine, Result};

/// How long a step of a conversation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server waits before it looks again.
const ATTENTION: Duration = Duration::from_millis(5);

/// What goes to and fro over TCP, in bytes: more than one window, so that full packets are on the way in both directions.
const STREAM: usize = 300_000;

/// The UDP packets that go to and fro, in bytes: a small one, the largest that fits 1500 bytes of Ethernet with IPv6 (RFC 8200), and one
/// that is sent in fragments.
const PACKETS: [usize; 3] = [32, 1452, 6000];

/// Opens a TCP connection from one machine to another, sends 300,000 bytes both ways, and tells the client's address as the server sees it.
///
/// # Errors
/// When there is no connection, or what comes back is not what was sent, within 10 s a step.
pub fn tcp(client: &Machine, server: &Machine, address: SocketAddr) -> Result<IpAddr> {
    let act = || format!("talk by TCP from {} to {address} in {}", client.name(), server.name());
    let listener = server.inside(|| TcpListener::bind(address))?.map_err(Error::in_act(act()))?;
    let said = pattern(STREAM);
    converse(client, || ask_stream(address, &said), |given_up| answer_stream(&listener, given_up)).map_err(Error::in_act(act()))
}

/// Sends UDP packets from one machine to another and back, the largest of them in fragments, and tells the client's address as the server
/// sees it.
///
/// # Errors
/// When an answer is missing or not what was sent. A packet may be lost while an address is resolved, and is sent again.
pub fn udp(client: &Machine, server: &Machine, address: SocketAddr) -> Result<IpAddr> {
    let act = || format!("talk by UDP from {} to {address} in {}", client.name(), server.name());
    let socket = server.inside(|| UdpSocket::bind(address))?.map_err(Error::in_act(act()))?;
    let ask = || PACKETS.into_iter().try_for_each(|length| ask_packet(address, &pattern(length)));
    converse(client, ask, |given_up| answer_packets(&socket, given_up)).map_err(Error::in_act(act()))
}

// Where the client fails, the server need not wait any longer.
fn converse(
    client: &Machine,
    ask: impl FnOnce() -> io::Result<()> + Send,
    answer: impl FnOnce(&AtomicBool) -> io::Result<IpAddr> + Send,
) -> Result<IpAddr> {
    let given_up = AtomicBool::new(false);
    thread::scope(|scope| {
        let answerer = scope.spawn(|| answer(&given_up));
        let asked = client.inside(ask)?;
        given_up.store(asked.is_err(), Ordering::Relaxed);
        let answered = answerer.join().unwrap_or_else(|_| Err(io::Error::other("the answering thread panicked")));
        asked.map_err(Error::in_act("ask"))?;
        answered.map_err(Error::in_act("answer"))
    })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from(place % 251).unwrap_or_default()).collect()
}

fn answer_stream(listener: &TcpListener, given_up: &AtomicBool) -> io::Result<IpAddr> {
    listener.set_nonblocking(true)?;
    let (mut connection, client) = until_given_up(given_up, || listener.accept())?;
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut heard = vec![0; STREAM];
    connection.read_exact(&mut heard)?;
    connection.write_all(&heard)?;
    Ok(client.ip())
}

fn ask_stream(address: SocketAddr, said: &[u8]) -> io::Result<()> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(said)?;
    let mut heard = vec![0; said.len()];
    connection.read_exact(&mut heard)?;
    compare(said, &heard)
}

fn until_given_up<T>(given_up: &AtomicBool, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if given_up.load(Ordering::Relaxed) || start.elapsed() > PATIENCE {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                thread::sleep(ATTENTION);
            }
            result => return result,
        }
    }
}

fn answer_packets(socket: &UdpSocket, given_up: &AtomicBool) -> io::Result<IpAddr> {
    socket.set_nonblocking(true)?;
    let mut buffer = vec![0; 65536];
    loop {
        let (length, client) = until_given_up(given_up, || socket.recv_from(&mut buffer))?;
        socket.send_to(&buffer[..length], client)?;
        if Some(&length) == PACKETS.last() {
            return Ok(client.ip());
        }
    }
}

fn ask_packet(address: SocketAddr, said: &[u8]) -> io::Result<()> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE / 5))?;
    let mut heard = vec![0; 65536];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..4 {
        socket.send(said)?;
        match socket.recv(&mut heard) {
            Ok(length) => return compare(said, &heard[..length]),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn compare(said: &[u8], heard: &[u8]) -> io::Result<()> {
    if said == heard { Ok(()) } else { Err(io::Error::other("what came back is not what was sent")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::connect;

    #[test]
    fn the_server_sees_its_client() {
        let (client, server) = (Machine::new("client").unwrap(), Machine::new("server").unwrap());
        connect(&client, "eth0", &server, "eth0").unwrap();
        for (machine, address) in [(&client, "192.0.2.1/24"), (&server, "192.0.2.2/24")] {
            machine.ip(&format!("addr add {address} dev eth0")).unwrap();
            machine.ip("link set eth0 up").unwrap();
        }
        let (address, expected) = ("192.0.2.2:7".parse().unwrap(), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(tcp(&client, &server, address).unwrap(), expected);
        assert_eq!(udp(&client, &server, address).unwrap(), expected);
        server.ip("link set eth0 mtu 1000").unwrap();
        client.ip("addr flush dev eth0").unwrap();
        tcp(&client, &server, address).unwrap_err();
    }
}
