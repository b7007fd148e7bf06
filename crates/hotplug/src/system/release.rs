//! Closing what the kernel is slow to close.
//!
//! After a deletion, closing the socket to nf_tables waits 6 to 20 ms for all processors (`nf_tables_trans_destroy_flush_work()` in
//! net/netfilter/nf_tables_api.c, called when the last reference to the socket goes), with the lock held that every other change needs.
//! The deletion itself is done by then. So a child keeps the socket until the kernel has long freed all by itself: the caller, who may
//! be destroying a guest, goes on, and so do all others.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::libc;
use nix::unistd::{ForkResult, fork, pipe2, read};

/// How long the child keeps the sockets: longer than a storm of guests that go, which has to be over for the close to be quick.
const PATIENCE: Duration = Duration::from_secs(3);

/// Closes `connection`; a child of this process, which nobody needs to wait for, does so some seconds later.
///
/// Where there can be no child, we wait ourselves.
pub(super) fn in_child(connection: nftables::Connection) {
    let Ok((reader, writer)) = pipe2(OFlag::O_CLOEXEC) else { return };
    let mut kept: Vec<i32> = connection.descriptors().map(|socket| socket.as_raw_fd()).chain([reader.as_raw_fd()]).collect();
    kept.sort_unstable();
    // SAFETY: the child calls nothing but close_range(2), read(2), nanosleep(2) and _exit(2), none of which needs a lock that another thread may hold.
    #[expect(unsafe_code, reason = "a child that shares the socket, without a new program")]
    match unsafe { fork() } {
        Ok(ForkResult::Child) => keep_until_all_is_freed(&kept, &reader),
        // In this order: the child must be the last to have it.
        Ok(ForkResult::Parent { .. }) => {
            drop(connection);
            drop(writer);
        }
        Err(_) => {}
    }
}

/// Waits for the end of the pipe, and some time, and ends.
fn keep_until_all_is_freed(kept: &[i32], reader: &OwnedFd) -> ! {
    close_all_but(kept);
    let _ = read(reader, &mut [0]);
    std::thread::sleep(PATIENCE);
    // SAFETY: ends this process at once, which is ours alone; the sockets are closed on the way.
    #[expect(unsafe_code, reason = "exit(3) would run what the parent has registered")]
    unsafe {
        libc::_exit(0)
    }
}

/// What else the parent has open is not to stay open a moment longer: locks, the caller's pipes, the parent's end of our own. `kept` is in
/// order.
pub(super) fn close_all_but(kept: &[i32]) {
    let firsts = std::iter::once(0).chain(kept.iter().map(|kept| kept + 1));
    let lasts = kept.iter().map(|kept| kept - 1).chain([i32::MAX]);
    for (first, last) in firsts.zip(lasts).filter(|(first, last)| first <= last) {
        // SAFETY: closes numbers that nothing in this process uses any more: it only reads from the pipe, sleeps and ends.
        #[expect(unsafe_code, reason = "neither the library nor std has close_range(2)")]
        unsafe {
            libc::syscall(libc::SYS_close_range, first, last, 0)
        };
    }
}
