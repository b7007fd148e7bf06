//! What a program said to the kernel and to XenStore, as bytes, to be said once more by the floor program (`bin/floor.rs`).
//!
//! It is recorded from a run under strace(1), and kept as one file: pieces of `kind, answer, length, bytes`, with the two numbers as four
//! bytes each in this machine's order.

use std::collections::BTreeMap;

/// To whom something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hearer {
    /// XenStore; the first time, the bytes are the path of its socket.
    Store,
    /// rtnetlink.
    Route,
    /// nf_tables.
    Filter,
    /// A file below /proc/sys: the bytes are its path, a zero, and the value.
    Setting,
    /// Nobody: a child is to close the socket to nf_tables, which waits for what was deleted to be freed.
    Child,
}

impl Hearer {
    const ALL: [Self; 5] = [Self::Store, Self::Route, Self::Filter, Self::Setting, Self::Child];

    fn number(self) -> u8 {
        self as u8
    }
}

/// Something that is said, and how much is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying<'a> {
    /// To whom.
    pub hearer: Hearer,
    /// How much is answered: in bytes by XenStore, in datagrams by the kernel.
    pub answer: u32,
    /// What is said.
    pub bytes: &'a [u8],
}

impl<'a> Saying<'a> {
    /// Takes the first piece off a recording; nothing at its end, or where it makes no sense.
    pub fn take(recording: &mut &'a [u8]) -> Option<Self> {
        let (&kind, rest) = recording.split_first()?;
        let (answer, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        *recording = rest;
        Some(Self { hearer: *Hearer::ALL.get(usize::from(kind))?, answer: u32::from_ne_bytes(*answer), bytes })
    }
}

/// What was said, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording(Vec<(Hearer, u32, Vec<u8>)>);

impl Recording {
    /// What a program said, by the words of strace: `strace -e trace=… -e write=all -o FILE` with the calls [`TRACED`].
    #[must_use]
    pub fn of_trace(trace: &str) -> Self {
        let mut reader = Reader::default();
        trace.lines().for_each(|line| reader.take(line));
        reader.recording
    }

    /// As one file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let piece = |(hearer, answer, bytes): &(Hearer, u32, Vec<u8>)| {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            [&[hearer.number()][..], &answer.to_ne_bytes(), &length.to_ne_bytes(), bytes].concat()
        };
        self.0.iter().flat_map(piece).collect()
    }

    /// How often something was said to `hearer`.
    #[must_use]
    pub fn count(&self, hearer: Hearer) -> usize {
        self.0.iter().filter(|(seen, ..)| *seen == hearer).count() - usize::from(hearer == Hearer::Store && !self.0.is_empty())
    }
}

/// The system calls that a recording is made of.
pub const TRACED: &str = "clone,clone3,fork,vfork,socket,connect,send,sendto,sendmsg,recv,recvfrom,recvmsg,open,openat,write,close";

#[derive(Default)]
struct Reader {
    recording: Recording,
    /// What the open descriptors lead to.
    open: BTreeMap<u32, Open>,
    /// Whether the dump that follows belongs to the last piece.
    dump: Option<()>,
}

#[derive(Clone, Debug)]
enum Open {
    Hearer(Hearer),
    Setting(String),
}

impl Reader {
    fn take(&mut self, line: &str) {
        if let Some(dump) = line.strip_prefix(" | ") {
            if let (Some(()), Some((_, _, bytes))) = (self.dump, self.recording.0.last_mut()) {
                bytes.extend(dumped(dump));
            }
            return;
        }
        self.dump = None;
        // With -f, a process id stands first.
        let call = line.trim_start_matches(|sign: char| sign.is_ascii_digit() || sign == ' ');
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some(result) = call.rsplit_once(" = ").and_then(|(_, result)| result.split(' ').next()?.parse::<u32>().ok()) else {
            return;
        };
        let first = || rest.split([',', ')']).next()?.trim().parse::<u32>().ok();
        match name {
            "clone" | "clone3" | "fork" | "vfork" => self.recording.0.push((Hearer::Child, 0, vec![])),
            "socket" => self.opened(rest, result),
            "open" | "openat" if rest.contains("\"/proc/sys/") && rest.contains("O_WRONLY") => {
                let path = rest.split('"').nth(1).unwrap_or_default();
                self.open.insert(result, Open::Setting(path.to_owned()));
            }
            "open" | "openat" => drop(self.open.remove(&result)),
            "connect" => first().into_iter().for_each(|descriptor| self.connected(descriptor, rest)),
            "close" => first().into_iter().for_each(|descriptor| drop(self.open.remove(&descriptor))),
            "send" | "sendto" | "sendmsg" | "write" => first().into_iter().for_each(|descriptor| self.said(descriptor)),
            "recv" | "recvfrom" | "recvmsg" => first().into_iter().for_each(|descriptor| self.answered(descriptor, result)),
            _ => {}
        }
    }

    fn opened(&mut self, call: &str, descriptor: u32) {
        let hearer = [("NETLINK_ROUTE", Hearer::Route), ("NETLINK_NETFILTER", Hearer::Filter)];
        match hearer.into_iter().find(|(name, _)| call.contains(name)) {
            Some((_, hearer)) => self.open.insert(descriptor, Open::Hearer(hearer)),
            None => self.open.remove(&descriptor),
        };
    }

    fn connected(&mut self, descriptor: u32, call: &str) {
        let path = call.split("sun_path=\"").nth(1).and_then(|rest| rest.split('"').next());
        // The other socket of a path is that of syslog.
        if let Some(path) = path.filter(|path| *path != "/dev/log") {
            self.open.insert(descriptor, Open::Hearer(Hearer::Store));
            self.recording.0.push((Hearer::Store, 0, path.as_bytes().to_vec()));
        }
    }

    fn said(&mut self, descriptor: u32) {
        let (hearer, bytes) = match self.open.get(&descriptor) {
            Some(Open::Hearer(hearer)) => (*hearer, vec![]),
            Some(Open::Setting(path)) => (Hearer::Setting, [path.as_bytes(), b"\0"].concat()),
            None => return,
        };
        self.recording.0.push((hearer, 0, bytes));
        self.dump = Some(());
    }

    fn answered(&mut self, descriptor: u32, length: u32) {
        let Some(Open::Hearer(hearer)) = self.open.get(&descriptor) else { return };
        if let Some((_, answer, _)) = self.recording.0.iter_mut().rev().find(|(seen, ..)| seen == hearer) {
            *answer += if *hearer == Hearer::Store { length } else { 1 };
        }
    }
}

// "00010  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  ................ |"
fn dumped(line: &str) -> Vec<u8> {
    const COLUMNS: std::ops::Range<usize> = 7..56;
    let columns = line.get(COLUMNS).unwrap_or_default();
    columns.split_whitespace().filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
12 socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3
12 connect(3, {sa_family=AF_UNIX, sun_path=\"/run/xs\"}, 9) = 0
12 sendto(3, \"\\2\\0\"..., 18, MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0) = 18
 | 00000  02 00 00 00 01 00 00 00  00 00 00 00 18 00 00 00  ................ |
 | 00010  62 61                                             ba               |
12 recvfrom(3, \"\\20\\0\"..., 4096, MSG_DONTWAIT, NULL, NULL) = 241
12 recvfrom(3, \"\\20\\0\"..., 4096, MSG_DONTWAIT, NULL, NULL) = 9
12 socket(AF_NETLINK, SOCK_DGRAM|SOCK_CLOEXEC, NETLINK_ROUTE) = 4
12 sendto(4, [{nlmsg_len=20}], 20, 0, {sa_family=AF_NETLINK}, 12) = 2
 | 00000  34 00                                             4.               |
12 recvfrom(4, [{nlmsg_len=1128, nlmsg_seq=1}], 32768, 0, {sa_family=AF_NETLINK}, [12]) = 1128
12 recvfrom(4, 0x5, 32768, MSG_DONTWAIT, 0x6, [12]) = -1 EAGAIN (Resource temporarily unavailable)
12 open(\"/proc/sys/net/ipv4/conf/vif7.0/proxy_arp\", O_WRONLY|O_CLOEXEC) = 6
12 write(6, \"1\", 1) = 1
 | 00000  31                                                1                |
12 close(6) = 0
12 close(3) = 0
12 socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0) = 3
12 connect(3, {sa_family=AF_UNIX, sun_path=\"/dev/log\"}, 11) = 0
12 write(3, \"<31>\", 4) = 4
 | 00000  3c 33 31 3e                                       <31>             |
";

    #[test]
    fn what_was_said_is_read_and_written() {
        let recording = Recording::of_trace(TRACE);
        let bytes = recording.to_bytes();
        let mut rest = bytes.as_slice();
        let said: Vec<Saying<'_>> = std::iter::from_fn(|| Saying::take(&mut rest)).collect();
        let store = b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x18\0\0\0ba";
        let setting = b"/proc/sys/net/ipv4/conf/vif7.0/proxy_arp\x001";
        let expected = [
            Saying { hearer: Hearer::Store, answer: 0, bytes: b"/run/xs" },
            Saying { hearer: Hearer::Store, answer: 250, bytes: store },
            Saying { hearer: Hearer::Route, answer: 1, bytes: b"4\0" },
            Saying { hearer: Hearer::Setting, answer: 0, bytes: setting },
        ];
        assert_eq!(said, expected);
        assert!(rest.is_empty());
        assert_eq!([Hearer::Store, Hearer::Route, Hearer::Filter].map(|hearer| recording.count(hearer)), [1, 1, 0]);
    }

    #[test]
    fn half_a_piece_is_none() {
        let bytes = Recording::of_trace(TRACE).to_bytes();
        let mut rest = &bytes[..bytes.len() - 1];
        assert_eq!(std::iter::from_fn(|| Saying::take(&mut rest)).count(), 3);
    }
}
