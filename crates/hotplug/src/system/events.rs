//! News of devices: rtnetlink's multicast group, for waiting without asking over and over.

use std::io;
use std::time::Duration;

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use tokio::runtime::{Builder, Runtime};

use super::connection::KernelError;

/// `RTNLGRP_LINK` (include/uapi/linux/rtnetlink.h).
pub(super) const LINK_GROUP: u32 = 1;

/// What tells that something happened to a device.
pub(super) trait News {
    /// Waits until something happens to any device, at most for `limit`.
    fn wait(&mut self, limit: Duration);
}

/// How to subscribe. Programs that never wait for a device do not name the way, and so do without the event loop behind it.
pub(super) type Subscribe = fn() -> Result<Box<dyn News>, KernelError>;

/// A subscription to what happens to devices. What exactly is not asked, so nothing is parsed: the parser of every message that there may
/// be is a tenth of an executable.
struct LinkEvents {
    runtime: Runtime,
    socket: TokioSocket,
}

/// Subscribes, in the network namespace of this thread. What happened before is not told.
pub(super) fn subscribe() -> Result<Box<dyn News>, KernelError> {
    let broken = |cause: io::Error| KernelError::Broken(format!("no news of devices: {cause}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let guard = runtime.enter();
    let socket = listening().map_err(broken)?;
    drop(guard);
    Ok(Box::new(LinkEvents { runtime, socket }))
}

fn listening() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    socket.socket_mut().add_membership(LINK_GROUP)?;
    Ok(socket)
}

impl News for LinkEvents {
    fn wait(&mut self, limit: Duration) {
        let Self { runtime, socket } = self;
        // An error of the subscription ends the wait early, and the caller looks for itself.
        let _ = runtime.block_on(async { tokio::time::timeout(limit, socket.recv_from_full()).await });
    }
}
