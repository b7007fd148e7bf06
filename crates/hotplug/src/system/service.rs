//! Servers of the host.

use crate::operation::Service;

/// Has a server read its configuration anew.
pub(super) fn restart(service: &Service) -> Result<(), String> {
    Err(format!("{service:?}"))
}
