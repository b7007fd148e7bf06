//! The machine: the only code that touches it. One file a kernel object, with the same few function names in each.

mod address;
mod attributes;
pub mod backend;
mod bridge_port;
mod child;
mod connection;
pub mod dhcp;
mod events;
mod examine;
mod file;
mod files;
mod firewall;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod guests;
pub mod hooks;
pub mod ifupdown;
mod kernel;
mod link;
pub mod lock;
pub mod log;
pub mod manager;
mod neighbour;
pub mod network_root;
mod observe;
mod ovsdb;
pub mod patience;
pub mod privilege;
mod probe;
mod release;
mod route;
mod rule;
mod service;
pub mod state;
mod store;
mod survey;
mod sysctl;
pub mod watch;
pub mod watchdog;

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::apply::{Effects, Failure, FailureKind};
use crate::operation::{Operation, Unfilter};
use connection::KernelError;
use firewall::Firewall;
use kernel::Kernel;
use link::Plug;
pub use observe::{Answer, Depth};
use store::Store;

/// The machine this program runs on, in the network namespace of the thread that first uses it. Connections to the kernel and to XenStore
/// are opened when they are first needed.
#[derive(Default)]
pub struct System {
    kernel: Kernel,
    store: Store,
    firewall: Firewall,
    switch: ovsdb::Switch,
}

/// Why something could not be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemError {
    act: String,
    cause: String,
}

impl SystemError {
    fn in_act<E: fmt::Display>(act: impl Into<String>) -> impl Fn(E) -> Self {
        let act = act.into();
        move |cause| Self { act: act.clone(), cause: cause.to_string() }
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.act, self.cause)
    }
}

impl std::error::Error for SystemError {}

impl System {
    /// The machine. Nothing is opened yet.
    #[must_use]
    pub fn open() -> Self {
        Self { kernel: Kernel::with_news(events::subscribe), ..Self::default() }
    }

    /// The machine, for a program that never waits for a device: it is smaller by what tells of their changes. Such a wait would be one
    /// from one look to the next.
    #[must_use]
    pub fn without_news() -> Self {
        Self::default()
    }

    /// The machine, with a connection to XenStore that is open already.
    #[must_use]
    pub fn with_store(client: xenstore::Client) -> Self {
        Self { store: Store::from(client), ..Self::default() }
    }

    /// The connection to XenStore, opened now if it was not, with a new budget of time: what was done since the last use may have taken longer
    /// than all of the old one.
    ///
    /// # Errors
    /// Where there is no store, or it does not answer.
    pub fn store(&mut self) -> xenstore::Result<&mut xenstore::Client> {
        let client = self.store.client()?;
        client.renew(patience::within(xenstore::DEFAULT_LIMIT));
        Ok(client)
    }
}

/// Why an operation could not be done.
struct Cause {
    words: String,
    kind: FailureKind,
}

impl Cause {
    fn other(cause: impl fmt::Display) -> Self {
        Self { words: cause.to_string(), kind: FailureKind::Other }
    }

    fn absent(cause: impl fmt::Display) -> Self {
        Self { words: cause.to_string(), kind: FailureKind::Absent }
    }

    /// Of something that was to be made or changed: only the device itself can be absent.
    fn of_change(error: KernelError) -> Self {
        if error.is(Errno::ENODEV) { Self::absent(error) } else { Self::other(error) }
    }

    /// Of a device that was to be made, or to get a name.
    fn of_naming(error: KernelError) -> Self {
        match error.is(Errno::EEXIST) {
            true => Self { kind: FailureKind::Taken, words: error.to_string() },
            false => Self::of_change(error),
        }
    }

    /// Of a bridge that was to be made.
    fn of_new_bridge(error: KernelError) -> Self {
        match error.is(Errno::EOPNOTSUPP) {
            true => Self::other(format!(
                "{error}; this kernel knows no bridges: load the module (modprobe bridge), or boot a kernel with CONFIG_BRIDGE"
            )),
            false => Self::of_naming(error),
        }
    }

    /// Of a route that was to stand in a place of its own.
    fn of_placing(error: KernelError) -> Self {
        match error.is(Errno::EEXIST) {
            true => Self {
                kind: FailureKind::Taken,
                words: "another route leads there already; see `ip route` for whose it is".to_owned(),
            },
            false => Self::of_change(error),
        }
    }

    /// Of something that was to be removed.
    fn of_removal(error: KernelError) -> Self {
        let gone = [Errno::ENODEV, Errno::ENXIO, Errno::ENOENT, Errno::ESRCH, Errno::EADDRNOTAVAIL];
        if gone.iter().any(|errno| error.is(*errno)) { Self::absent(error) } else { Self::other(error) }
    }

    fn of_setting(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::absent(error) } else { Self::other(error) }
    }
}

impl Effects for System {
    fn perform(&mut self, operation: &Operation) -> Result<(), Failure> {
        let result = self.perform_or_tell(operation);
        if matches!(result, Err(Cause { kind: FailureKind::Absent, .. })) {
            // What was known of the devices is out of date.
            self.kernel.forget_all();
        }
        result.map_err(|cause| Failure::new(operation, cause.words, cause.kind))
    }
}

impl System {
    fn perform_or_tell(&mut self, operation: &Operation) -> Result<(), Cause> {
        let Self { kernel, store, firewall, switch } = self;
        match operation {
            Operation::CreateBridge(bridge) => link::create_bridge(kernel, bridge).map_err(Cause::of_new_bridge),
            Operation::DeleteBridge(name) => link::delete_bridge(kernel, name).map_err(Cause::of_removal),
            Operation::RenameLink { from, to } => link::rename(kernel, from, to).map_err(Cause::of_naming),
            Operation::SetLink { device, change } => link::set(kernel, device, change).map_err(Cause::of_change),
            Operation::SetPort { device, change } => bridge_port::set(kernel, device, *change).map_err(Cause::of_change),
            Operation::AddVlans { device, vlans } => bridge_port::add_vlans(kernel, device, vlans).map_err(Cause::of_change),
            Operation::DeleteVlans { device, first, last } => {
                bridge_port::delete_vlans(kernel, device, *first, *last).map_err(Cause::of_removal)
            }
            Operation::AddStation { device, mac } => bridge_port::add_station(kernel, device, *mac).map_err(Cause::of_change),
            Operation::DeleteStation { device, mac } => {
                bridge_port::delete_station(kernel, device, *mac).map_err(Cause::of_removal)
            }
            Operation::AddAddress(address) => address::add(kernel, address).map_err(Cause::of_change),
            Operation::DeleteAddress(address) => address::delete(kernel, address).map_err(Cause::of_removal),
            Operation::AddRoute(route) => route::add(kernel, route).map_err(Cause::of_placing),
            Operation::ReplaceRoute(route) => route::replace(kernel, route).map_err(Cause::of_change),
            Operation::AppendRoute(route) => route::append(kernel, route).map_err(Cause::of_change),
            Operation::DeleteRoute(route) => route::delete(kernel, route).map_err(Cause::of_removal),
            Operation::AddRule(rule) => rule::add(kernel, rule).map_err(Cause::of_change),
            Operation::DeleteRule(rule) => rule::delete(kernel, rule).map_err(Cause::of_removal),
            Operation::AddNeighbour(neighbour) => neighbour::add(kernel, neighbour).map_err(Cause::of_change),
            Operation::DeleteNeighbour(neighbour) => neighbour::delete(kernel, neighbour).map_err(Cause::of_removal),
            Operation::WriteSysctl { sysctl, value } => sysctl::write(kernel, sysctl, value).map_err(Cause::of_setting),
            Operation::WriteFile { path, text } => file::write(path, text).map_err(Cause::other),
            Operation::RemoveFile(path) => file::remove(path).map_err(Cause::of_setting),
            Operation::ChangeFilesOf(_) => Ok(()),
            Operation::Restart(service) => service::restart(service).map_err(Cause::of_setting),
            Operation::EndLease(end) => dhcp::end_lease(end).map_err(Cause::of_setting),
            Operation::AddMasquerade(masquerade) => firewall.add_masquerade(masquerade).map_err(Cause::from),
            Operation::DeleteMasquerade(masquerade) => firewall.delete_masquerade(masquerade).map_err(Cause::from),
            Operation::AddForwardAccept(accept) => firewall.add_accept(accept).map_err(Cause::from),
            Operation::DeleteForwardAccept(accept) => firewall.delete_accept(accept).map_err(Cause::from),
            Operation::SetGuestFilter(filter) => firewall.set_guest_filter(filter).map_err(Cause::from),
            Operation::RemakeGuestTables(filter) => firewall.remake_guest_tables(filter).map_err(Cause::from),
            Operation::DeleteGuestFilter { filter, when } => {
                let plug = match when {
                    Unfilter::Now => Plug::Out,
                    Unfilter::OnceUnplugged => link::plug(kernel, &filter.device, filter.way).map_err(Cause::of_change)?,
                };
                match plug {
                    Plug::Out => firewall.delete_guest_filter(filter.way, &filter.device).map_err(Cause::from),
                    Plug::In => Err(Cause::other(format!("{} still takes its guest's frames", filter.device))),
                }
            }
            Operation::ReplaceGuestFilters(filters) => firewall.replace_guest_filters(filters).map_err(Cause::from),
            Operation::AddOvsPort(port) => switch.add_port(port),
            Operation::RemoveOvsPort(device) => switch.remove_port(device),
            Operation::WriteStore(entries) => store.write(entries).map_err(Cause::other),
            Operation::Connect { frontend, status } => store.connect(frontend.as_ref(), status).map_err(Cause::other),
            Operation::RemoveStore(path) => store.remove(path).map(|_| ()).map_err(Cause::other),
            Operation::AwaitCarrier { device, limit } => link::await_carrier(kernel, device, *limit).map_err(Cause::of_change),
            Operation::CheckNeighbour { device, address, limit } => {
                neighbour::await_answer(kernel, device, *address, *limit).map_err(Cause::of_change)
            }
            Operation::RunHooks(call) => after_others(kernel, hooks::run(call)),
            Operation::IfDown(device) => after_others(kernel, ifupdown::down(device)),
            Operation::IfUp(device) => after_others(kernel, ifupdown::up(device)),
        }
    }
}

/// Another program may have renamed, removed or made devices.
fn after_others(kernel: &mut Kernel, result: Result<(), String>) -> Result<(), Cause> {
    kernel.forget_all();
    result.map_err(Cause::other)
}
