//! Clients that watch a connection while something is done to the hosts it runs through.
//!
//! The sockets live in the machines, the threads that use them in the test: so a measurement needs no other process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::machine::{Error, Machine, Result};

/// How often a probe sends.
pub const INTERVAL: Duration = Duration::from_millis(1);

/// How long a probe waits for its first answer. Address resolution alone may take 1 s, when its first request is lost.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// How often a thread that waits for packets looks whether it shall end.
const ATTENTION: Duration = Duration::from_millis(20);

/// How long a TCP connection may be silent before it counts as broken.
const SILENCE: Duration = Duration::from_secs(20);

/// What a probe saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Messages sent, those included that the kernel refused because there was no route at that moment.
    pub sent: u64,
    /// Answers received.
    pub received: u64,
    /// The longest time without an answer.
    pub longest_gap: Duration,
}

/// Answers UDP packets and TCP connections by sending back what comes, until it is dropped.
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Starts an echo in a machine, for UDP and TCP on the same address and port.
    ///
    /// # Errors
    /// When the machine does not have the address.
    pub fn start(machine: &Machine, address: SocketAddr) -> Result<Self> {
        let act = || format!("start an echo on {address} in {}", machine.name());
        let (udp, tcp) = machine
            .inside(|| Ok::<_, io::Error>((UdpSocket::bind(address)?, TcpListener::bind(address)?)))?
            .map_err(Error::in_act(act()))?;
        udp.set_read_timeout(Some(ATTENTION)).map_err(Error::in_act(act()))?;
        tcp.set_nonblocking(true).map_err(Error::in_act(act()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (udp_stop, tcp_stop) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads =
            vec![thread::spawn(move || echo_packets(&udp, &udp_stop)), thread::spawn(move || accept_connections(&tcp, &tcp_stop))];
        Ok(Self { stop, threads })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in there has been printed already.
            let _ = thread.join();
        }
    }
}

// An error here is a timeout, or an ICMP message about a client that went away: neither matters to an echo.
fn echo_packets(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], client);
        }
    }
}

fn accept_connections(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            // The thread ends with its connection.
            Ok((connection, _)) => drop(thread::spawn(move || echo_stream(connection))),
            Err(_) => thread::sleep(ATTENTION),
        }
    }
}

fn echo_stream(mut connection: TcpStream) {
    let mut buffer = [0; 2048];
    // The option matters for the speed of the echo only.
    let _ = connection.set_nodelay(true);
    while let Ok(length @ 1..) = connection.read(&mut buffer) {
        if connection.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// Sends a UDP packet every millisecond and notes when the answers come.
pub struct UdpProbe(Probe);

impl UdpProbe {
    /// Starts to send from a machine to an [`Echo`], and returns when the first answer came.
    ///
    /// # Errors
    /// When there is no answer within 10 s.
    pub fn start(machine: &Machine, echo: SocketAddr) -> Result<Self> {
        let act = || format!("probe {echo} by UDP from {}", machine.name());
        let connect = || {
            let any = if echo.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(echo)?;
            socket.set_read_timeout(Some(ATTENTION))?;
            let sender = socket.try_clone()?;
            Ok::<_, io::Error>((sender, socket))
        };
        let (sender, receiver) = machine.inside(connect)?.map_err(Error::in_act(act()))?;
        let send = move |number: u64| sender.send(&number.to_be_bytes()).is_ok();
        let receive = move || match receiver.recv(&mut [0; 8]) {
            Ok(_) => Answer::Came,
            Err(_) => Answer::NotYet,
        };
        Probe::start(send, receive).map_err(Error::in_act(act())).map(Self)
    }

    /// Stops, and tells what was seen. A silence that lasts until now counts as a gap.
    ///
    /// # Errors
    /// None today; the result is that of [`TcpProbe::stop`].
    pub fn stop(self) -> Result<Report> {
        self.0.stop().map_err(Error::in_act("end the UDP probe"))
    }
}

/// Keeps a TCP connection busy: a message every millisecond, each to be answered.
pub struct TcpProbe(Probe);

impl TcpProbe {
    /// Connects from a machine to an [`Echo`], and returns when the first answer came.
    ///
    /// # Errors
    /// When the connection fails or there is no answer within 10 s.
    pub fn start(machine: &Machine, echo: SocketAddr) -> Result<Self> {
        let act = || format!("probe {echo} by TCP from {}", machine.name());
        let connect = || {
            let stream = TcpStream::connect_timeout(&echo, FIRST_ANSWER)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ATTENTION))?;
            stream.set_write_timeout(Some(SILENCE))?;
            let sender = stream.try_clone()?;
            Ok::<_, io::Error>((sender, stream))
        };
        let (mut sender, mut receiver) = machine.inside(connect)?.map_err(Error::in_act(act()))?;
        let send = move |number: u64| sender.write_all(&number.to_be_bytes()).is_ok();
        let receive = move || match receiver.read(&mut [0; 8]) {
            Ok(0) => Answer::Broken("the other side closed the connection".to_owned()),
            Ok(_) => Answer::Came,
            Err(error) if is_timeout(&error) => Answer::NotYet,
            Err(error) => Answer::Broken(error.to_string()),
        };
        Probe::start(send, receive).map_err(Error::in_act(act())).map(Self)
    }

    /// Stops, and tells what was seen.
    ///
    /// # Errors
    /// When the connection broke in the meantime.
    pub fn stop(self) -> Result<Report> {
        self.0.stop().map_err(Error::in_act("keep the TCP connection"))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// What a receiver has to say each time it is asked.
enum Answer {
    Came,
    NotYet,
    Broken(String),
}

/// The two threads behind either probe.
struct Probe {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<std::result::Result<(u64, Duration), String>>,
}

impl Probe {
    fn start(
        mut send: impl FnMut(u64) -> bool + Send + 'static,
        mut receive: impl FnMut() -> Answer + Send + 'static,
    ) -> std::result::Result<Self, String> {
        let start = Instant::now();
        loop {
            send(0);
            match receive() {
                Answer::Came => break,
                Answer::Broken(cause) => return Err(cause),
                Answer::NotYet if start.elapsed() > FIRST_ANSWER => {
                    return Err(format!("no answer within {FIRST_ANSWER:?}"));
                }
                Answer::NotYet => {}
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (sender_stop, receiver_stop) = (Arc::clone(&stop), Arc::clone(&stop));
        Ok(Self {
            stop,
            sender: thread::spawn(move || send_steadily(send, &sender_stop)),
            receiver: thread::spawn(move || watch_answers(receive, &receiver_stop)),
        })
    }

    fn stop(self) -> std::result::Result<Report, String> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| "a thread of the probe panicked".to_owned();
        let sent = self.sender.join().map_err(panicked)?;
        let (received, longest_gap) = self.receiver.join().map_err(panicked)??;
        Ok(Report { sent, received, longest_gap })
    }
}

fn send_steadily(mut send: impl FnMut(u64) -> bool, stop: &AtomicBool) -> u64 {
    let start = Instant::now();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        sent += 1;
        // A refusal is an outage like any other: the missing answer shows it.
        send(sent);
        let next = start + INTERVAL * u32::try_from(sent).unwrap_or(u32::MAX);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sent
}

fn watch_answers(mut receive: impl FnMut() -> Answer, stop: &AtomicBool) -> std::result::Result<(u64, Duration), String> {
    let mut received = 0;
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    loop {
        let answer = receive();
        let silence = last.elapsed();
        match answer {
            Answer::Broken(cause) => return Err(cause),
            Answer::Came => {
                received += 1;
                longest = longest.max(silence);
                last = Instant::now();
            }
            Answer::NotYet if stop.load(Ordering::Relaxed) => {
                // The last wait is part of every measurement and is no gap, unless answers were missing before it.
                return Ok((received, longest.max(silence.saturating_sub(2 * ATTENTION))));
            }
            Answer::NotYet => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::connect;

    fn pair() -> (Machine, Machine, SocketAddr) {
        let (client, server) = (Machine::new("client").unwrap(), Machine::new("server").unwrap());
        connect(&client, "eth0", &server, "eth0").unwrap();
        for (machine, address) in [(&client, "192.0.2.1/24"), (&server, "192.0.2.2/24")] {
            machine.ip(&format!("addr add {address} dev eth0")).unwrap();
            machine.ip("link set eth0 up").unwrap();
        }
        (client, server, "192.0.2.2:7".parse().unwrap())
    }

    #[test]
    fn an_outage_is_a_gap_and_the_tcp_connection_goes_on() {
        let (client, server, address) = pair();
        let _echo = Echo::start(&server, address).unwrap();
        let udp = UdpProbe::start(&client, address).unwrap();
        let tcp = TcpProbe::start(&client, address).unwrap();
        server.ip("link set eth0 down").unwrap();
        thread::sleep(Duration::from_millis(300));
        server.ip("link set eth0 up").unwrap();
        thread::sleep(Duration::from_millis(500));
        let udp = udp.stop().unwrap();
        assert!(udp.received > 0 && udp.sent > udp.received, "{udp:?}");
        assert!(udp.longest_gap >= Duration::from_millis(300), "{udp:?}");
        assert!(tcp.stop().unwrap().received > 0);
    }

    #[test]
    fn a_broken_connection_is_an_error() {
        let (client, server, address) = pair();
        let _echo = Echo::start(&server, address).unwrap();
        let tcp = TcpProbe::start(&client, address).unwrap();
        server.run("ss", ["-K", "sport", "=", "7"]).unwrap();
        thread::sleep(Duration::from_millis(100));
        tcp.stop().unwrap_err();
    }

    #[test]
    fn nobody_there_is_an_error() {
        let (client, _server, address) = pair();
        TcpProbe::start(&client, address).map(drop).unwrap_err();
    }
}
