//! News of devices: rtnetlink's multicast group, for waiting without asking over and over.

use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use tokio::runtime::{Builder, Runtime};

use super::connection::KernelError;

/// What tells that something happened to a device.
pub(super) trait News {
    /// Waits until something happens to any device, at most for `limit`.
    fn wait(&mut self, limit: Duration);
}

/// How to subscribe. Programs that never wait for a device do not name the way, and so do without the event loop behind it, which is a
/// quarter of an executable.
pub(super) type Subscribe = fn() -> Result<Box<dyn News>, KernelError>;

/// A subscription to what happens to devices.
struct LinkEvents {
    runtime: Runtime,
    events: Box<dyn futures_util::Stream<Item = ()> + Unpin>,
}

/// Subscribes, in the network namespace of this thread. What happened before is not told.
pub(super) fn subscribe() -> Result<Box<dyn News>, KernelError> {
    let broken = |cause: std::io::Error| KernelError::Broken(format!("no news of devices: {cause}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let guard = runtime.enter();
    let (connection, _, messages) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(broken)?;
    runtime.spawn(connection);
    drop(guard);
    Ok(Box::new(LinkEvents { runtime, events: Box::new(messages.map(|_| ())) }))
}

impl News for LinkEvents {
    fn wait(&mut self, limit: Duration) {
        let Self { runtime, events } = self;
        // An error of the subscription ends the wait early, and the caller looks for itself.
        let _ = runtime.block_on(async { tokio::time::timeout(limit, events.next()).await });
    }
}
