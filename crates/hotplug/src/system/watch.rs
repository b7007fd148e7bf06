//! News of devices and of XenStore, as they come.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use netlink_packet_core::NetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use xenstore::{Client, DEFAULT_LIMIT, StorePath, Token};

use super::connection::Message;
use super::events::LINK_GROUP;
use super::guests::FOLDER;
use super::link;
use super::{System, SystemError};
use crate::inspect::model::Device;
use crate::inspect::watch::Event;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
/// Bridges tell of their ports in messages of this family; the same is told once more without it.
const AF_BRIDGE: u8 = 7;
/// The kernel puts no more into one datagram (net/netlink/af_netlink.c).
const DATAGRAM_MAX: usize = 32 * 1024;
/// News may be long in coming.
const FOR_EVER: Duration = Duration::MAX;

/// Events, and the devices that there were when they began.
pub struct News {
    /// The devices at the beginning.
    pub devices: Vec<Device>,
    /// What happens from then on.
    pub events: Receiver<Event>,
}

impl System {
    /// Begins to listen. What happens while the devices are read is among the events as well.
    ///
    /// # Errors
    /// When the kernel tells no news of devices. A XenStore that does not answer is an event.
    pub fn news(&mut self) -> Result<News, SystemError> {
        let socket = subscribe().map_err(SystemError::in_act("subscribing to news of devices"))?;
        let (sender, events) = channel();
        let of_store = sender.clone();
        let devices = self.devices()?;
        thread::spawn(move || tell_of_devices(&socket, &sender));
        thread::spawn(move || tell_of_store(&of_store));
        Ok(News { devices, events })
    }
}

impl System {
    /// Begins to listen to changes of the packet filter.
    ///
    /// # Errors
    /// When the kernel has no nf_tables.
    pub fn ruleset_news(&mut self) -> Result<nftables::News, SystemError> {
        nftables::News::subscribe().map_err(SystemError::in_act("subscribing to changes of the packet filter"))
    }

    /// What is told next, within `limit`, or without one whenever it comes.
    ///
    /// # Errors
    /// When nothing is told any more.
    pub fn next_news(news: &mut nftables::News, limit: Option<Duration>) -> Result<nftables::Told, SystemError> {
        news.next(limit).map_err(SystemError::in_act("listening to changes of the packet filter"))
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(LINK_GROUP)?;
    Ok(socket)
}

/// The other end of the channel is gone.
pub(super) struct Nobody;

fn tell_of_devices(socket: &Socket, sender: &Sender<Event>) {
    let mut buffer = Vec::with_capacity(DATAGRAM_MAX);
    loop {
        buffer.clear();
        let told = match socket.recv_from(&mut buffer, 0) {
            Ok((_, from)) if from.port_number() != 0 => Ok(()),
            Ok(_) => tell_all(&buffer, sender),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                tell(sender, Event::Trouble("too much at once: some news of devices were lost".to_owned()))
            }
            Err(error) => {
                let _ = tell(sender, Event::Trouble(format!("no more news of devices: {error}")));
                Err(Nobody)
            }
        };
        if told.is_err() {
            return;
        }
    }
}

fn tell(sender: &Sender<Event>, event: Event) -> Result<(), Nobody> {
    sender.send(event).map_err(|_| Nobody)
}

pub(super) fn tell_all(mut datagram: &[u8], sender: &Sender<Event>) -> Result<(), Nobody> {
    while !datagram.is_empty() {
        // Whatever makes no sense is no news.
        let Ok(packet) = NetlinkMessage::<Message>::deserialize(datagram) else { return Ok(()) };
        let length = usize::try_from(packet.header.length).unwrap_or(usize::MAX).max(1);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        if let (_, netlink_packet_core::NetlinkPayload::InnerMessage(message)) = packet.into_parts() {
            event_of(&message).map_or(Ok(()), |event| tell(sender, event))?;
        }
    }
    Ok(())
}

fn event_of(message: &Message) -> Option<Event> {
    if message.body.first() == Some(&AF_BRIDGE) {
        return None;
    }
    match message.kind {
        RTM_NEWLINK => {
            let seen = link::Seen::parse(message).ok()??;
            Some(Event::Device { carrier: seen.carrier(), master: seen.master(), link: seen.without_master() })
        }
        RTM_DELLINK => {
            let number = message.body.get(4..8)?.first_chunk()?;
            Some(Event::Gone { number: u32::from_ne_bytes(*number) })
        }
        _ => None,
    }
}

fn tell_of_store(sender: &Sender<Event>) {
    if let Err(error) = listen(sender) {
        // Without a listener there is nobody to tell.
        let _ = tell(sender, Event::Trouble(format!("no news of XenStore: {error}")));
    }
}

/// Ends when nobody listens any more.
fn listen(sender: &Sender<Event>) -> xenstore::Result<()> {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    let folder = StorePath::parse(FOLDER)?;
    let Ok(token) = Token::new("vifs") else { return Ok(()) };
    client.watch(&folder, &token)?;
    loop {
        client.renew(FOR_EVER);
        let event = client.next_event()?;
        client.renew(DEFAULT_LIMIT);
        let value = client.read(&event.path)?.map(|value| String::from_utf8_lossy(&value).into_owned());
        let below = event.path.as_str().strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        let told = below.map_or(Ok(()), |path| tell(sender, Event::Key { path: path.to_owned(), value }));
        if told.is_err() {
            return Ok(());
        }
    }
}
