//! The kernel as the other files here see it: a connection that is opened when first needed, and devices by name.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use super::connection::{Connection, KernelError};
use super::events::{News, Subscribe};
use super::link;
use crate::interface_name::InterfaceName;

/// The connection, and the numbers of the devices that were looked at.
#[derive(Default)]
pub(super) struct Kernel {
    connection: Option<Connection>,
    subscribe: Option<Subscribe>,
    numbers: BTreeMap<InterfaceName, u32>,
    /// The same the other way round: a host may have thousands.
    names: BTreeMap<u32, InterfaceName>,
    /// Their `proxy_arp`, as they had it when they were looked at.
    proxy_arp: BTreeMap<InterfaceName, u32>,
}

/// Passes the time where nobody tells.
struct NoNews;

impl News for NoNews {
    fn wait(&mut self, limit: Duration) {
        std::thread::sleep(limit);
    }
}

impl Kernel {
    /// The kernel, with news of its devices to be had by `subscribe`.
    pub fn with_news(subscribe: Subscribe) -> Self {
        Self { subscribe: Some(subscribe), ..Self::default() }
    }

    /// What tells that something happened to a device.
    pub fn subscribe(&self) -> Result<Box<dyn News>, KernelError> {
        self.subscribe.map_or_else(|| Ok(Box::new(NoNews) as Box<dyn News>), |subscribe| subscribe())
    }

    /// The connection, opened now if it was not.
    pub fn connection(&mut self) -> Result<&mut Connection, KernelError> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => Ok(empty.insert(Connection::open()?)),
        }
    }

    /// The number of a device.
    ///
    /// # Errors
    /// `ENODEV` where there is no such device.
    pub fn number_of(&mut self, name: &InterfaceName) -> Result<u32, KernelError> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let seen = link::by_name(self, name)?.ok_or(KernelError::errno(Errno::ENODEV))?;
        Ok(seen.number)
    }

    /// The name of a device.
    pub fn name_of(&mut self, number: u32) -> Result<InterfaceName, KernelError> {
        match self.names.get(&number) {
            Some(name) => Ok(name.clone()),
            None => link::name_by_number(self, number),
        }
    }

    /// Notes a device's number.
    pub fn learn(&mut self, name: &InterfaceName, number: u32) {
        if let Some(former) = self.names.insert(number, name.clone()).filter(|former| former != name) {
            self.numbers.remove(&former);
        }
        if let Some(former) = self.numbers.insert(name.clone(), number).filter(|former| *former != number) {
            self.names.remove(&former);
        }
    }

    /// Notes a device's `proxy_arp`, where the kernel told it.
    pub fn learn_proxy_arp(&mut self, name: &InterfaceName, value: Option<u32>) {
        match value {
            Some(value) => self.proxy_arp.insert(name.clone(), value),
            None => self.proxy_arp.remove(name),
        };
    }

    /// The `proxy_arp` that a device had when it was last looked at; nothing where the kernel did not tell.
    pub fn proxy_arp_of(&self, name: &InterfaceName) -> Option<u32> {
        self.proxy_arp.get(name).copied()
    }

    /// Follows a renaming.
    pub fn renamed(&mut self, from: &InterfaceName, to: &InterfaceName) {
        self.proxy_arp.remove(from);
        if let Some(number) = self.numbers.remove(from) {
            self.learn(to, number);
        }
    }

    /// Forgets what a device's number was.
    pub fn forget(&mut self, name: &InterfaceName) {
        if let Some(number) = self.numbers.remove(name) {
            self.names.remove(&number);
        }
        self.proxy_arp.remove(name);
    }

    /// Forgets all numbers: something else may have renamed, removed or made devices.
    pub fn forget_all(&mut self) {
        self.numbers.clear();
        self.names.clear();
        self.proxy_arp.clear();
    }
}
