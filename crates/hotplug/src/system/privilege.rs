//! Giving up what is not needed of root's powers (capabilities(7)), and the chance to get it back (`no_new_privs`).

use nix::errno::Errno;
use nix::libc;

/// What of root's powers a program keeps, as bits (include/uapi/linux/capability.h).
///
/// Each of them is there for something: decision 24 says what fails without it. Programs that are started in turn (hooks, a DHCP server's
/// script, `iptables-legacy`) get root's powers back, as far as whoever started us lets them (`cap_bprm_creds_from_file()` in Linux's
/// security/commoncap.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Powers(u32);

const CHOWN: u32 = 1 << 0;
const DAC_OVERRIDE: u32 = 1 << 1;
const FOWNER: u32 = 1 << 3;
const KILL: u32 = 1 << 5;
const SETGID: u32 = 1 << 6;
const SETUID: u32 = 1 << 7;
const NET_BIND_SERVICE: u32 = 1 << 10;
const NET_ADMIN: u32 = 1 << 12;
const NET_RAW: u32 = 1 << 13;
const SYS_PTRACE: u32 = 1 << 19;
const SYS_ADMIN: u32 = 1 << 21;

impl Powers {
    /// Devices, addresses, routes, the packet filter, and settings below /proc/sys/net.
    pub const NETWORK: Self = Self(NET_ADMIN);
    /// The same, and a socket of a switch that belongs to a user of its own.
    pub const NETWORK_AND_SOCKETS: Self = Self(NET_ADMIN | DAC_OVERRIDE);
    /// The network, files of DHCP servers whoever owns them, a signal to a server that is another user's, its client's port, and what such a
    /// server's own script needs: as the unit xen-network@ has it.
    pub const NETWORK_AND_SERVERS: Self =
        Self(NET_ADMIN | NET_RAW | NET_BIND_SERVICE | KILL | CHOWN | FOWNER | DAC_OVERRIDE | SETUID | SETGID);
    /// The same, a network namespace to try things out in, and a look at the one that another program is in (`ptrace_may_access()`).
    pub const EXAMINATION: Self = Self(Self::NETWORK_AND_SERVERS.0 | SYS_ADMIN | SYS_PTRACE);
}

/// Keeps `powers` and gives up all others. Who has fewer, as in a container, or as a user who only looks, keeps what he has.
pub fn keep(powers: Powers) {
    // `_LINUX_CAPABILITY_VERSION_3`, for this process.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted and inheritable ones, of numbers below 32 and above.
    let data = [powers.0, powers.0, 0, 0, 0, 0];
    // SAFETY: the kernel reads a header of two words and data of two times three, and writes to none of them but the header's version,
    // where it does not know this one, which it has known since 2.6.26.
    #[expect(unsafe_code, reason = "neither the library nor std has capset(2)")]
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    if let Err(errno) = Errno::result(result) {
        log::debug!("nothing is given up of what this process may do: {}", errno.desc());
    }
}

/// From now on no program that this one becomes or starts gets more than this one has. It starts none that would need it.
pub fn start_no_more() {
    if let Err(errno) = nix::sys::prctl::set_no_new_privs() {
        log::debug!("no_new_privs is not to be had: {}", errno.desc());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// In a thread of its own: capabilities are a thread's.
    fn status_after(act: impl FnOnce() + Send + 'static) -> String {
        let thread = std::thread::spawn(move || {
            act();
            fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        thread.join().unwrap()
    }

    fn field<'a>(status: &'a str, name: &str) -> &'a str {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim()
    }

    #[test]
    fn nothing_else_is_kept() {
        assert!(nix::unistd::geteuid().is_root(), "only root has powers to give up: run the tests as root");
        let status = status_after(|| keep(Powers::NETWORK));
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(field(&status, set), "0000000000001000", "{set}");
        }
        assert_eq!(field(&status, "CapInh"), "0000000000000000");
    }

    #[test]
    fn there_is_no_way_back_for_children() {
        assert_eq!(field(&status_after(start_no_more), "NoNewPrivs"), "1");
    }
}
