//! The packet filter.

use std::collections::BTreeSet;

use super::{System, SystemError};
use crate::firewall::{ForwardAccept, Masquerade};
use crate::host::Host;
use crate::interface_name::InterfaceName;

pub(super) fn add_masquerade(masquerade: &Masquerade) -> Result<(), String> {
    Err(format!("{masquerade:?}"))
}

pub(super) fn delete_masquerade(masquerade: &Masquerade) -> Result<(), String> {
    Err(format!("{masquerade:?}"))
}

pub(super) fn add_accept(accept: &ForwardAccept) -> Result<(), String> {
    Err(format!("{accept:?}"))
}

pub(super) fn delete_accept(accept: &ForwardAccept) -> Result<(), String> {
    Err(format!("{accept:?}"))
}

impl System {
    /// What our own table masquerades.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn masquerades(&mut self) -> Result<BTreeSet<Masquerade>, SystemError> {
        Ok(BTreeSet::new())
    }

    /// Notes the chains of others that drop what is forwarded, and the rules of ours for `device` in any chain of others.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn observe_forwarding(&mut self, host: &mut Host, device: &InterfaceName) -> Result<(), SystemError> {
        let _ = (host, device);
        Ok(())
    }
}
