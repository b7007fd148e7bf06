//! Closing what the kernel is slow to close.
//!
//! After a deletion, closing the socket to nf_tables waits 6 to 20 ms for all processors (`nf_tables_trans_destroy_flush_work()` in
//! net/netfilter/nf_tables_api.c, called when the last reference to the socket goes), with the lock held that every other change needs.
//! The deletion itself is done by then. So a child keeps the socket until the kernel has long freed all by itself: the caller, who may
//! be destroying a guest, goes on, and so do all others.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollTimeout, poll};
use nix::unistd::{ForkResult, fork, pipe2, read};

/// Closes `connection`; a child of this process, which nobody needs to wait for, does so two seconds later.
///
/// Where there can be no child, we wait ourselves.
pub(super) fn in_child(connection: nftables::Connection) {
    let Ok((reader, writer)) = pipe2(OFlag::O_CLOEXEC) else { return };
    // SAFETY: the child calls nothing but close_range(2), read(2), poll(2) and _exit(2), none of which needs a lock that another thread may hold.
    #[expect(unsafe_code, reason = "a child that shares the socket, without a new program")]
    match unsafe { fork() } {
        Ok(ForkResult::Child) => keep_until_the_parent_has_closed(connection.as_fd(), &reader),
        // In this order: the child must be the last to have it.
        Ok(ForkResult::Parent { .. }) => {
            drop(connection);
            drop(writer);
        }
        Err(_) => {}
    }
}

/// How long the kernel may take to free what was deleted, in milliseconds; a hundred times what it usually takes.
const LONG_ENOUGH: u16 = 2_000;

/// Waits for the end of the pipe, and a while longer, and ends.
fn keep_until_the_parent_has_closed(socket: BorrowedFd<'_>, reader: &OwnedFd) -> ! {
    close_all_but(socket.as_raw_fd(), reader.as_raw_fd());
    let _ = read(reader, &mut [0]);
    let _ = poll(&mut [], PollTimeout::from(LONG_ENOUGH));
    // SAFETY: ends this process at once, which is ours alone; the socket is closed on the way.
    #[expect(unsafe_code, reason = "exit(3) would run what the parent has registered")]
    unsafe {
        libc::_exit(0)
    }
}

/// What else the parent has open is not to stay open a moment longer: locks, the caller's pipes, the parent's end of our own.
fn close_all_but(one: i32, other: i32) {
    let (low, high) = (one.min(other), one.max(other));
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: closes numbers that nothing in this process uses any more: it only reads from `other` and ends.
            #[expect(unsafe_code, reason = "neither the library nor std has close_range(2)")]
            unsafe {
                libc::syscall(libc::SYS_close_range, first, last, 0)
            };
        }
    }
}
