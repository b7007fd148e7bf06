//! Who manages a device.

use crate::interface_name::InterfaceName;

/// The program that sets a device's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// ifupdown.
    Ifupdown {
        /// With a DHCP client.
        dhcp: bool,
    },
    /// None that is known.
    None,
}

/// Who manages `name`.
#[must_use]
pub fn manager_of(_index: u32, _name: &InterfaceName) -> Manager {
    Manager::None
}
