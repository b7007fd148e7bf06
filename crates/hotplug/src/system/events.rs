//! News of devices: rtnetlink's multicast group, for waiting without asking over and over.

use std::fmt;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use super::connection::KernelError;

/// `RTNLGRP_LINK` of include/uapi/linux/rtnetlink.h: devices come, go and change.
const LINK_GROUP: u32 = 1;

/// A subscription to what happens to devices.
pub(super) struct LinkEvents(Socket);

impl LinkEvents {
    /// Subscribes, in the network namespace of this thread. What happened before is not told.
    pub fn subscribe() -> Result<Self, KernelError> {
        let broken = |cause: &dyn fmt::Display| KernelError::Broken(format!("no news of devices: {cause}"));
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(|cause| broken(&cause))?;
        // Number 0: the kernel gives the socket a number of its own.
        socket.bind(&SocketAddr::new(0, 0)).map_err(|cause| broken(&cause))?;
        socket.add_membership(LINK_GROUP).map_err(|cause| broken(&cause))?;
        Ok(Self(socket))
    }

    /// Waits until something happens to any device, at most for `limit`.
    ///
    /// What it was is not read: whoever waits looks for himself. So an error, or a message that another process sent, does no harm but
    /// to end the wait early.
    pub fn wait(&mut self, limit: Duration) {
        // A limit of 0 would mean to wait for ever.
        let microseconds = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX).max(1);
        if setsockopt(&self.0, ReceiveTimeout, &TimeVal::microseconds(microseconds)).is_ok() {
            let mut start_of_it: &mut [u8] = &mut [0; 16];
            let _ = self.0.recv(&mut start_of_it, 0);
        }
    }
}
