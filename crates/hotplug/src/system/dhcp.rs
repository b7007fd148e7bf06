//! DHCP servers of the host: which one is there, and what stands in its files.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};

use super::file;
use super::files::{Files, read_text};
use crate::dhcp::dhcpd::{Dhcpd, Include};
use crate::dhcp::dnsmasq::{self, Dnsmasq, Interfaces};
use crate::dhcp::{DhcpWish, Resolver, Server};
use crate::host::Host;
use crate::inspect::model::DhcpdSeen;
use crate::interface_name::InterfaceName;
use crate::operation::{LeaseEnd, Service};
use crate::plan::Refusal;

/// What is to be changed at a server.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    /// One guest.
    Guest {
        /// The device that leads to it.
        device: &'a InterfaceName,
        /// The address it is to get, where it comes.
        address: Option<Ipv4Addr>,
    },
    /// Subnets.
    Subnets,
}

/// Finds the server that is wished for, and notes in `host` what stands in the files that are to change. `None` when none is wished for.
///
/// # Errors
/// When there is no such server here, or a file of its cannot be read.
pub fn find_server(wish: DhcpWish, about: About<'_>, host: &mut Host) -> Result<Option<Server>, Refusal> {
    find_below(&Files::default(), wish, about, host)
}

/// ISC dhcpd, where a file of ours beside its own names guests.
#[must_use]
pub fn dhcpd_with_guests() -> Option<DhcpdSeen> {
    dhcpd_with_guests_below(&Files::default())
}

fn dhcpd_with_guests_below(files: &Files) -> Option<DhcpdSeen> {
    let mut host = Host::default();
    let server = dhcpd_below(files, About::Subnets, &mut host).ok()??;
    let guests = Include::parse(host.files.get(&server.include)?.as_deref()?).hosts;
    (!guests.is_empty()).then_some(DhcpdSeen { server, guests, files: host.files })
}

/// Removes what killed programs have left half written of guests' files.
pub fn sweep_guests() {
    file::sweep(Path::new(dnsmasq::GUESTS), |_| true);
}

/// Removes what killed programs have left half written beside a server's files.
pub fn sweep(server: &Server) {
    let beside = |path: &Path| {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
        file::sweep(folder, |file| file == name);
    };
    match server {
        Server::Dnsmasq(dnsmasq) => {
            beside(&dnsmasq.drop_in);
            file::sweep(&dnsmasq.guests, |_| true);
        }
        Server::Dhcpd(dhcpd) => {
            [&dhcpd.configuration, &dhcpd.include].into_iter().chain(&dhcpd.arguments).for_each(|path| beside(path));
        }
    }
}

/// What guests are told of names: from /etc/resolv.conf, and where that leads only to a server on the loopback address, from the file that
/// systemd-resolved keeps of the servers behind it.
#[must_use]
pub fn resolver() -> Resolver {
    resolver_below(&Files::default())
}

fn resolver_below(files: &Files) -> Resolver {
    let read = |path| files.read(path).map(|text| Resolver::parse(&text)).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    if own.name_servers.is_empty() { own.or(read("/run/systemd/resolve/resolv.conf")) } else { own }
}

fn find_below(files: &Files, wish: DhcpWish, about: About<'_>, host: &mut Host) -> Result<Option<Server>, Refusal> {
    let dnsmasq = |host: &mut Host| dnsmasq_below(files, about, host).map(|found| found.map(Server::Dnsmasq));
    let dhcpd = |host: &mut Host| dhcpd_below(files, about, host).map(|found| found.map(Server::Dhcpd));
    let found = match wish {
        DhcpWish::No => return Ok(None),
        // What nobody has asked for is not missed.
        DhcpWish::Unsaid => match serving(files, about) {
            None => return Ok(None),
            Some(DhcpWish::Dnsmasq) => return dnsmasq(host),
            Some(_) => return dhcpd(host),
        },
        DhcpWish::Dnsmasq => dnsmasq(host)?,
        DhcpWish::Dhcpd => dhcpd(host)?,
        DhcpWish::Yes => match dnsmasq(host)? {
            None => dhcpd(host)?,
            found => found,
        },
    };
    found.map(Some).ok_or_else(|| missing(wish))
}

/// The server for whom nobody names one. For a guest it is the one that network-nat has told of the guest's network, since xl gives vif-nat no
/// words of its own; else ISC dhcpd where the file is that Xen's scripts look for.
fn serving(files: &Files, about: About<'_>) -> Option<DhcpWish> {
    let of_network_nat = match about {
        About::Subnets => None,
        About::Guest { device, address } => told_of(files, device, address),
    };
    of_network_nat.or_else(|| files.path("/etc/dhcpd.conf").is_file().then_some(DhcpWish::Dhcpd))
}

/// The server that knows the network of a guest who comes, or the device of one who goes.
fn told_of(files: &Files, device: &InterfaceName, address: Option<Ipv4Addr>) -> Option<DhcpWish> {
    let knows = |network: Ipv4Network| address.is_some_and(|address| network.contains(address));
    let subnets = files.read(dnsmasq::DROP_IN).map(|text| dnsmasq::subnets(&text)).unwrap_or_default();
    if subnets.into_iter().any(|(network, _)| knows(network)) {
        return Some(DhcpWish::Dnsmasq);
    }
    let include = read_text(&dhcpd_include(&first_file(files, &DHCPD_CONFIGURATIONS)?)).ok()?;
    let include = Include::parse(&include);
    let known =
        include.subnets.iter().any(|subnet| knows(subnet.network)) || include.hosts.iter().any(|host| host.device == *device);
    known.then_some(DhcpWish::Dhcpd)
}

fn missing(wish: DhcpWish) -> Refusal {
    let dnsmasq = "dnsmasq as a service that reads the folder /etc/dnsmasq.d";
    let dhcpd = "ISC dhcpd with a dhcpd.conf and a service or an init script";
    let reason = match wish {
        DhcpWish::Dnsmasq => format!("there is no {dnsmasq}: install the package dnsmasq, or say dhcp=no"),
        DhcpWish::Dhcpd => format!("there is no {dhcpd}: install the package isc-dhcp-server, or say dhcp=no"),
        _ => format!("there is no DHCP server: neither {dnsmasq}, nor {dhcpd}; install one of them, or say dhcp=no"),
    };
    Refusal { for_guest: "No DHCP server for the interface: see the host's log".to_owned(), reason }
}

fn note(host: &mut Host, path: &Path) -> Result<(), Refusal> {
    let text = file::read(path).map_err(|error| Refusal {
        for_guest: "The DHCP server's files cannot be read: see the host's log".to_owned(),
        reason: format!("cannot read {}: {error}", path.display()),
    })?;
    host.files.insert(path.to_owned(), text);
    Ok(())
}

/// Folders of programs; a server's own are among them.
const PROGRAMS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];
/// Folders of systemd's units, those that it makes of init scripts at last (systemd.unit(5)).
const UNITS: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

fn has_program(files: &Files, name: &str) -> bool {
    PROGRAMS.iter().any(|folder| files.path(&format!("{folder}/{name}")).is_file())
}

fn first_file(files: &Files, paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(|path| files.path(path)).find(|path| path.is_file())
}

/// How a server of one of these names is restarted: as a unit where systemd runs, else by its init script.
fn service_of(files: &Files, names: &[&str], init_script: Option<PathBuf>) -> Option<Service> {
    if files.path("/run/systemd/system").is_dir() {
        let known = |name: &str| UNITS.iter().any(|folder| files.path(&format!("{folder}/{name}.service")).exists());
        if let Some(name) = names.iter().find(|name| known(name)) {
            return Some(Service::Systemd(format!("{name}.service")));
        }
    }
    init_script.map(Service::InitScript)
}

fn dnsmasq_below(files: &Files, about: About<'_>, host: &mut Host) -> Result<Option<Dnsmasq>, Refusal> {
    let folder = files.path("/etc/dnsmasq.d");
    let init_script = first_file(files, &["/etc/init.d/dnsmasq"]);
    let Some(service) = service_of(files, &["dnsmasq"], init_script) else { return Ok(None) };
    if !has_program(files, "dnsmasq") || !folder.is_dir() {
        return Ok(None);
    }
    let texts = dnsmasq_configuration(files);
    let option = |name: &str| texts.iter().rev().find_map(|text| dnsmasq::option_value(text, name)).map(str::to_owned);
    let mut server = Dnsmasq {
        drop_in: files.path(dnsmasq::DROP_IN),
        guests: files.path(dnsmasq::GUESTS),
        service,
        pid_file: pid_file(files, &texts),
        interfaces: Interfaces::of(&texts),
        holder: None,
    };
    note(host, &server.drop_in)?;
    note(host, &server.keeper())?;
    if let About::Guest { device, address } = about {
        let leases = option("dhcp-leasefile").or(option("dhcp-lease-file"));
        server.holder = address.and_then(|address| holder_of(files, leases, address));
        note_guests(files, &server, device, address, host)?;
    }
    Ok(Some(server))
}

/// The file with the process id of this host's dnsmasq, if it is there.
#[must_use]
pub fn dnsmasq_pid_file() -> Option<PathBuf> {
    let files = Files::default();
    pid_file(&files, &dnsmasq_configuration(&files))
}

/// dnsmasq's file with its process id, if it is there.
fn pid_file(files: &Files, configuration: &[String]) -> Option<PathBuf> {
    match configuration.iter().rev().find_map(|text| dnsmasq::option_value(text, "pid-file")) {
        Some(path) => first_file(files, &[path]),
        None => first_file(files, &["/run/dnsmasq/dnsmasq.pid", "/run/dnsmasq.pid"]),
    }
}

/// The administrator's part of dnsmasq's configuration: its files, and the command line of one that runs.
fn dnsmasq_configuration(files: &Files) -> Vec<String> {
    let folder = "/etc/dnsmasq.d";
    let skipped = |name: &str| {
        dnsmasq::DROP_IN.ends_with(&format!("/{name}")) || name.starts_with('.') || name.ends_with('~') || name.contains(".dpkg-")
    };
    let parts = files.names(folder).into_iter().filter(|name| !skipped(name)).map(|name| format!("{folder}/{name}"));
    let paths = std::iter::once("/etc/dnsmasq.conf".to_owned()).chain(parts);
    let mut texts: Vec<String> = paths.filter_map(|path| files.read(&path)).collect();
    let pid = pid_file(files, &texts).and_then(|path| file::read(&path).ok()?).and_then(|text| text.trim().parse::<u32>().ok());
    let words = pid.and_then(|pid| files.read(&format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    // The number may be another one's by now.
    if words.split('\0').next().is_some_and(|program| program.ends_with("dnsmasq")) {
        let options = dnsmasq::options_of_command_line(&words);
        texts.extend(dnsmasq::option_value(&options, "conf-file").and_then(|path| files.read(path)));
        texts.push(options);
    }
    texts
}

/// Where dnsmasq keeps its leases unless it is told: Debian's place, and Red Hat's.
const LEASES: [&str; 2] = ["/var/lib/misc/dnsmasq.leases", "/var/lib/dnsmasq/dnsmasq.leases"];

fn holder_of(files: &Files, told: Option<String>, address: Ipv4Addr) -> Option<dnsmasq::Holder> {
    let paths = told.map_or(LEASES.map(str::to_owned).to_vec(), |path| vec![path]);
    paths.iter().find_map(|path| dnsmasq::holder_of(&files.read(path)?, address))
}

/// The files of whoever has the device or the address of a guest.
fn note_guests(
    files: &Files,
    server: &Dnsmasq,
    device: &InterfaceName,
    address: Option<Ipv4Addr>,
    host: &mut Host,
) -> Result<(), Refusal> {
    if let Some(address) = address {
        note(host, &server.guest_file(device, address))?;
    }
    for name in files.names(dnsmasq::GUESTS) {
        let Some((other, taken)) = dnsmasq::guest_of(&name) else { continue };
        if other == *device || Some(taken) == address {
            note(host, &server.guests.join(name))?;
        }
    }
    Ok(())
}

/// The administrator's file, in the order in which Xen's scripts look for it.
const DHCPD_CONFIGURATIONS: [&str; 3] = ["/etc/dhcp/dhcpd.conf", "/etc/dhcp3/dhcpd.conf", "/etc/dhcpd.conf"];
/// The file of arguments: those that Xen's scripts know, and that of Debian since version 7.
const DHCPD_ARGUMENTS: [&str; 5] = [
    "/etc/sysconfig/dhcpd",
    "/etc/defaults/dhcp",
    "/etc/default/dhcp-server",
    "/etc/default/dhcp3-server",
    "/etc/default/isc-dhcp-server",
];
const DHCPD_INIT_SCRIPTS: [&str; 5] =
    ["/etc/init.d/isc-dhcp-server", "/etc/init.d/dhcp-server", "/etc/init.d/dhcp3-server", "/etc/init.d/dhcp", "/etc/init.d/dhcpd"];
/// Debian's unit, that of Red Hat and SUSE, and Arch's.
const DHCPD_UNITS: [&str; 4] = ["isc-dhcp-server", "dhcpd", "dhcp-server", "dhcpd4"];

fn dhcpd_below(files: &Files, about: About<'_>, host: &mut Host) -> Result<Option<Dhcpd>, Refusal> {
    let Some(configuration) = first_file(files, &DHCPD_CONFIGURATIONS) else { return Ok(None) };
    let init_script = first_file(files, &DHCPD_INIT_SCRIPTS);
    let Some(service) = service_of(files, &DHCPD_UNITS, init_script.clone()) else { return Ok(None) };
    if !has_program(files, "dhcpd") {
        return Ok(None);
    }
    let include = dhcpd_include(&configuration);
    let arguments = first_file(files, &DHCPD_ARGUMENTS);
    for path in [Some(&configuration), Some(&include), arguments.as_ref()].into_iter().flatten() {
        note(host, path)?;
    }
    let gone = match about {
        About::Guest { .. } => vec![],
        About::Subnets => gone_devices(files, host.files.get(&include).and_then(Option::as_deref).unwrap_or_default()),
    };
    Ok(Some(Dhcpd { configuration, include, arguments, init_script, service, gone }))
}

/// Our file beside the administrator's.
fn dhcpd_include(configuration: &Path) -> PathBuf {
    configuration.with_file_name("dhcpd-xen-network.conf")
}

fn gone_devices(files: &Files, include: &str) -> Vec<InterfaceName> {
    let listed = Include::parse(include).hosts.into_iter().map(|host| host.device);
    listed.filter(|device| !files.path(&format!("/sys/class/net/{device}")).exists()).collect()
}

/// The server's port (RFC 2131, section 4.1).
const SERVER_PORT: u16 = 67;

/// Gives a lease back in its holder's name, as dhcp_release(1) of dnsmasq-utils does: from the server's own address, by a device it serves,
/// so that it takes the message for one of that link.
///
/// # Errors
/// When the device is not there, or the server's address is not on this host.
pub(super) fn end_lease(end: &LeaseEnd) -> io::Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(end.server, 0))?;
    setsockopt(&socket, BindToDevice, &end.device.as_str().into())?;
    socket.send_to(&release(end), SocketAddrV4::new(end.server, SERVER_PORT)).map(|_| ())
}

/// A DHCPRELEASE (RFC 2131, sections 2 and 4.4.6; options of RFC 2132).
fn release(end: &LeaseEnd) -> Vec<u8> {
    const BOOT_REQUEST: u8 = 1;
    const ETHERNET: u8 = 1;
    const MAGIC: [u8; 4] = [99, 130, 83, 99];
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[BOOT_REQUEST, ETHERNET, 6]);
    // Nobody answers a release: any transaction id will do.
    message[4..8].copy_from_slice(&end.address.octets());
    message[12..16].copy_from_slice(&end.address.octets());
    message[28..34].copy_from_slice(&end.holder.mac.octets());
    message.extend(MAGIC);
    message.extend([53, 1, 7]);
    message.extend([54, 4]);
    message.extend(end.server.octets());
    if let Some(length) = u8::try_from(end.holder.client_id.len()).ok().filter(|length| *length > 0) {
        message.extend([61, length]);
        message.extend(&end.holder.client_id);
    }
    message.push(255);
    // The least that BOOTP's relays pass on (RFC 1542, section 2.1).
    message.resize(message.len().max(300), 0);
    message
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Machine {
        root: tempfile::TempDir,
    }

    impl Machine {
        fn new(content: &[(&str, &str)]) -> Self {
            let machine = Self { root: tempfile::tempdir().unwrap() };
            machine.write(content);
            machine
        }

        fn write(&self, content: &[(&str, &str)]) {
            for (path, text) in content {
                let path = self.path(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.root.path().join(path.trim_start_matches('/'))
        }

        fn find(&self, wish: DhcpWish, about: About<'_>) -> (Result<Option<Server>, Refusal>, Host) {
            let mut host = Host::default();
            let found = find_below(&Files::below(self.root.path()), wish, about, &mut host);
            (found, host)
        }

        fn dnsmasq(&self, about: About<'_>) -> (Dnsmasq, Host) {
            match self.find(DhcpWish::Dnsmasq, about) {
                (Ok(Some(Server::Dnsmasq(server))), host) => (server, host),
                (other, _) => panic!("{other:?}"),
            }
        }

        fn dhcpd(&self, about: About<'_>) -> (Dhcpd, Host) {
            match self.find(DhcpWish::Dhcpd, about) {
                (Ok(Some(Server::Dhcpd(server))), host) => (server, host),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    const DNSMASQ: [(&str, &str); 3] = [("/usr/sbin/dnsmasq", ""), ("/etc/init.d/dnsmasq", ""), ("/etc/dnsmasq.d/README", "")];
    const DHCPD: [(&str, &str); 3] =
        [("/usr/sbin/dhcpd", ""), ("/etc/init.d/isc-dhcp-server", ""), ("/etc/dhcp/dhcpd.conf", "# own\n")];

    fn word(found: &Result<Option<Server>, Refusal>) -> &'static str {
        match found {
            Ok(Some(Server::Dnsmasq(_))) => "dnsmasq",
            Ok(Some(Server::Dhcpd(_))) => "dhcpd",
            Ok(None) => "none",
            Err(_) => "refused",
        }
    }

    #[test]
    fn the_word_decides_and_yes_prefers_dnsmasq() {
        let nothing = Machine::new(&[]);
        let both = Machine::new(&[DNSMASQ, DHCPD].concat());
        let dhcpd = Machine::new(&DHCPD);
        let old = Machine::new(&[&DHCPD[..2], &[("/etc/dhcpd.conf", "")]].concat());
        let left_over = Machine::new(&[("/etc/dhcpd.conf", "")]);
        for (machine, wish, expected) in [
            (&nothing, DhcpWish::Unsaid, "none"),
            (&nothing, DhcpWish::No, "none"),
            (&nothing, DhcpWish::Yes, "refused"),
            (&both, DhcpWish::Yes, "dnsmasq"),
            (&both, DhcpWish::Dhcpd, "dhcpd"),
            (&both, DhcpWish::No, "none"),
            (&both, DhcpWish::Unsaid, "none"),
            (&dhcpd, DhcpWish::Yes, "dhcpd"),
            (&dhcpd, DhcpWish::Dnsmasq, "refused"),
            (&old, DhcpWish::Unsaid, "dhcpd"),
            (&left_over, DhcpWish::Unsaid, "none"),
        ] {
            assert_eq!(word(&machine.find(wish, About::Subnets).0), expected, "{wish:?}");
        }
    }

    #[test]
    fn dnsmasq_without_a_service_is_somebody_elses() {
        // libvirt needs the program, and starts it for its own networks.
        let machine = Machine::new(&[DNSMASQ[0], DNSMASQ[2]]);
        assert_eq!(word(&machine.find(DhcpWish::Yes, About::Subnets).0), "refused");
        let removed = Machine::new(&DNSMASQ[1..]);
        assert_eq!(word(&removed.find(DhcpWish::Yes, About::Subnets).0), "refused");
    }

    #[test]
    fn systemds_unit_goes_before_the_init_script() {
        let machine = Machine::new(&DNSMASQ);
        assert_eq!(machine.dnsmasq(About::Subnets).0.service, Service::InitScript(machine.path("/etc/init.d/dnsmasq")));
        machine.write(&[("/lib/systemd/system/dnsmasq.service", "")]);
        assert_eq!(machine.dnsmasq(About::Subnets).0.service, Service::InitScript(machine.path("/etc/init.d/dnsmasq")));
        machine.write(&[("/run/systemd/system/other.service", "")]);
        assert_eq!(machine.dnsmasq(About::Subnets).0.service, Service::Systemd("dnsmasq.service".to_owned()));
        let dhcpd =
            Machine::new(&[&DHCPD[..], &[("/run/systemd/system/x", ""), ("/usr/lib/systemd/system/dhcpd.service", "")]].concat());
        let (server, _) = dhcpd.dhcpd(About::Subnets);
        assert_eq!(server.service, Service::Systemd("dhcpd.service".to_owned()));
        assert_eq!(server.init_script, Some(dhcpd.path("/etc/init.d/isc-dhcp-server")));
    }

    #[test]
    fn the_administrators_settings_of_dnsmasq_are_found() {
        let machine = Machine::new(&DNSMASQ);
        let (server, _) = machine.dnsmasq(About::Subnets);
        assert_eq!((server.pid_file, server.interfaces), (None, Interfaces::All));
        machine.write(&[("/run/dnsmasq/dnsmasq.pid", "7"), ("/etc/dnsmasq.d/xen-network.conf", "interface=vif*\n")]);
        let (server, host) = machine.dnsmasq(About::Subnets);
        assert_eq!((server.pid_file, server.interfaces), (Some(machine.path("/run/dnsmasq/dnsmasq.pid")), Interfaces::All));
        assert_eq!(host.files[&server.drop_in].as_deref(), Some("interface=vif*\n"));
        machine.write(&[
            ("/run/own.pid", "8"),
            ("/etc/dnsmasq.conf", "pid-file=/run/own.pid\n"),
            ("/etc/dnsmasq.d/own", "interface=eth1\n"),
            ("/etc/dnsmasq.d/old.dpkg-old", "pid-file=/nowhere\n"),
        ]);
        let (server, _) = machine.dnsmasq(About::Subnets);
        assert_eq!((server.pid_file, server.interfaces), (Some(machine.path("/run/own.pid")), Interfaces::Listed));
    }

    #[test]
    fn a_running_dnsmasq_is_asked_for_its_command_line() {
        let machine = Machine::new(&DNSMASQ);
        machine.write(&[
            ("/run/dnsmasq/dnsmasq.pid", "77\n"),
            ("/proc/77/cmdline", "/usr/sbin/dnsmasq\0-i\0eth1\0--conf-file=/etc/own.conf\0"),
            ("/etc/own.conf", "bind-interfaces\n"),
        ]);
        assert_eq!(machine.dnsmasq(About::Subnets).0.interfaces, Interfaces::ListedAndBound);
        machine.write(&[("/proc/77/cmdline", "/usr/bin/other\0-i\0eth1\0")]);
        assert_eq!(machine.dnsmasq(About::Subnets).0.interfaces, Interfaces::All);
    }

    #[test]
    fn only_files_of_the_device_or_the_address_are_read() {
        let machine = Machine::new(&DNSMASQ);
        machine.write(&[
            ("/run/xen-network-dhcp/guest-vif1.0@10.0.1.1", "own"),
            ("/run/xen-network-dhcp/guest-vif9.0@10.0.1.1", "same address"),
            ("/run/xen-network-dhcp/guest-vif1.0@10.0.9.9", "same device"),
            ("/run/xen-network-dhcp/guest-vif10.0@10.0.1.10", "other"),
            ("/run/xen-network-dhcp/notes", "not ours"),
            ("/var/lib/misc/dnsmasq.leases", "1 00:16:3e:00:00:01 10.0.1.1 x *\n"),
        ]);
        let device = "vif1.0".parse().unwrap();
        let (server, host) = machine.dnsmasq(About::Guest { device: &device, address: Some(Ipv4Addr::new(10, 0, 1, 1)) });
        let texts: Vec<_> = host.files.values().flatten().map(String::as_str).collect();
        assert_eq!(texts, ["own", "same device", "same address"]);
        assert!(server.holder.is_some());
        let (server, host) = machine.dnsmasq(About::Guest { device: &device, address: None });
        assert_eq!((server.holder, host.files.values().flatten().count()), (None, 2));
    }

    #[test]
    fn the_files_of_dhcpd_are_where_its_distribution_has_them() {
        let machine = Machine::new(&DHCPD);
        let (server, host) = machine.dhcpd(About::Subnets);
        assert_eq!(server.include, machine.path("/etc/dhcp/dhcpd-xen-network.conf"));
        assert_eq!((server.arguments, host.files.len()), (None, 2));
        for path in ["/etc/default/isc-dhcp-server", "/etc/default/dhcp3-server", "/etc/sysconfig/dhcpd"] {
            machine.write(&[(path, "INTERFACES=\n")]);
            assert_eq!(machine.dhcpd(About::Subnets).0.arguments, Some(machine.path(path)));
        }
        let variables = Server::Dhcpd(machine.dhcpd(About::Subnets).0).hook_variables();
        let names: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.rsplit('/').next().unwrap())).collect();
        assert_eq!(names, [("dhcpd_conf_file", "dhcpd.conf"), ("dhcpd_init_file", "isc-dhcp-server"), ("dhcpd_arg_file", "dhcpd")]);
    }

    #[test]
    fn devices_that_are_gone_are_told_of_to_network_nat() {
        let line = |device: &str, number| {
            format!("host dom{number} {{ hardware ethernet 00:16:3e:00:00:01; fixed-address 10.0.0.{number}; }} # {device}\n")
        };
        let machine = Machine::new(&DHCPD);
        machine.write(&[
            ("/etc/dhcp/dhcpd-xen-network.conf", &(line("vif1.0", 1) + &line("vif2.0", 2))),
            ("/sys/class/net/vif2.0/address", ""),
        ]);
        assert_eq!(machine.dhcpd(About::Subnets).0.gone, ["vif1.0".parse().unwrap()]);
        let device = "vif3.0".parse().unwrap();
        assert_eq!(machine.dhcpd(About::Guest { device: &device, address: None }).0.gone, []);
    }

    #[test]
    fn a_configuration_that_is_not_text_is_refused() {
        let machine = Machine::new(&DHCPD);
        fs::write(machine.path("/etc/dhcp/dhcpd.conf"), b"# caf\xe9\n").unwrap();
        let (found, _) = machine.find(DhcpWish::Dhcpd, About::Subnets);
        let sentence = found.unwrap_err().to_string();
        assert!(sentence.contains("/etc/dhcp/dhcpd.conf: ") && sentence.contains("UTF-8"), "{sentence}");
    }

    #[test]
    fn a_resolver_on_the_loopback_address_is_looked_behind() {
        let machine = Machine::new(&[("/etc/resolv.conf", "nameserver 127.0.0.53\nsearch lan\n")]);
        let files = Files::below(machine.root.path());
        assert!(resolver_below(&files).name_servers.is_empty());
        machine.write(&[("/run/systemd/resolve/resolv.conf", "nameserver 192.168.1.1\nsearch other\n")]);
        let resolver = resolver_below(&files);
        assert_eq!(resolver.name_servers, [Ipv4Addr::new(192, 168, 1, 1)]);
        assert_eq!(resolver.domain, "lan".parse().ok());
    }

    #[test]
    fn a_release_is_as_rfc_2131_has_it() {
        let end = LeaseEnd {
            device: "vif4.0".parse().unwrap(),
            server: Ipv4Addr::new(10, 0, 4, 128),
            address: Ipv4Addr::new(10, 0, 4, 1),
            holder: dnsmasq::Holder { mac: "00:16:3e:00:04:00".parse().unwrap(), client_id: vec![1, 2, 3] },
        };
        let message = release(&end);
        assert_eq!(message.len(), 300);
        assert_eq!(message[..4], [1, 1, 6, 0]);
        assert_eq!(message[12..16], [10, 0, 4, 1], "ciaddr");
        assert_eq!(message[28..34], [0, 0x16, 0x3e, 0, 4, 0], "chaddr");
        assert_eq!(message[236..260], [99, 130, 83, 99, 53, 1, 7, 54, 4, 10, 0, 4, 128, 61, 3, 1, 2, 3, 255, 0, 0, 0, 0, 0]);
        let longest = LeaseEnd { holder: dnsmasq::Holder { client_id: vec![7; 255], ..end.holder.clone() }, ..end };
        assert_eq!(release(&longest).last(), Some(&255));
    }
}
