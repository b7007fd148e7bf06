//! A XenStore of one's own: an in-memory server on a unix socket that speaks Xen's wire protocol.
//!
//! It shows clients what the C xenstored of Xen 4.17 shows them; the suite in [`crate::xenstore_conformance`] runs against
//! both and they must agree. It serves tests, the demo, and trying things by hand where there is no Xen. Beyond the real
//! one it keeps a [log of changes](Server::log), and can be told to [misbehave](Server::set_behaviour).
//!
//! Not served, as no hotplug program asks for it: INTRODUCE, RELEASE, RESUME, SET_TARGET and CONTROL (refused with ENOSYS).

mod connection;
mod daemon;
mod fault;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use xenstore::{Client, DomainId, Endpoint, Permission, Refusal, StorePath};

pub use fault::{Fault, Misbehaviour, Occurrence, Trigger};
use tree::{Tree, View};

/// Dom0, whose clients may do everything.
pub const DOM0: DomainId = DomainId(0);

/// A running server. Dropping it ends it and removes its socket.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    shared: Arc<Mutex<Shared>>,
    /// A byte on it tells the thread that the store was changed here; closing it, to end.
    thread_ear: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// A change that was accepted; paths are absolute. Those of a transaction appear when it is committed, before
/// [`Change::Commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A value was written (also where it was the same before).
    Write {
        /// The node.
        path: String,
        /// Its new value.
        value: Vec<u8>,
    },
    /// A missing node was made by MKDIR.
    MakeDirectory {
        /// The node.
        path: String,
    },
    /// A node was removed with all below it.
    Remove {
        /// The node.
        path: String,
    },
    /// A node's permissions were set.
    SetPermissions {
        /// The node.
        path: String,
        /// Its new permissions.
        permissions: Vec<Permission>,
    },
    /// A transaction went through.
    Commit,
}

/// What the server's thread and its owner both use.
#[derive(Debug)]
struct Shared {
    tree: Tree,
    log: Vec<Change>,
    /// What was looked at: absolute paths.
    reads: BTreeSet<String>,
    faults: fault::Faults,
    /// The domain all clients belong to.
    domain: DomainId,
}

impl Shared {
    fn new(domain: DomainId) -> Shared {
        Shared { tree: Tree::new(domain), log: Vec::new(), reads: BTreeSet::new(), faults: fault::Faults::default(), domain }
    }
}

impl Server {
    /// Serves on a new socket at this path. Every client is dom0.
    ///
    /// # Errors
    /// Where the socket cannot be made; a file in its place is not removed.
    pub fn start(socket: impl AsRef<Path>) -> io::Result<Server> {
        Server::start_for(socket, DOM0)
    }

    /// As [`Server::start`], with every client in `domain`: relative paths start at its directory and, unless it is
    /// dom0, permissions bind it. So does a driver domain see the store.
    ///
    /// # Errors
    /// Where the socket cannot be made; a file in its place is not removed.
    pub fn start_for(socket: impl AsRef<Path>, domain: DomainId) -> io::Result<Server> {
        let socket = socket.as_ref().to_owned();
        let listener = UnixListener::bind(&socket)?;
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::MAXCONN)?;
        let shared = Arc::new(Mutex::new(Shared::new(domain)));
        let (thread_ear, owner) = UnixStream::pair()?;
        let daemon = daemon::Daemon::new(listener, owner, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new().name("xenstore".to_owned()).spawn(move || daemon.run())?;
        Ok(Server { socket, shared, thread_ear: Some(thread_ear), thread: Some(thread) })
    }

    /// The socket's path: the value for `XENSTORED_PATH`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A new client of this server.
    ///
    /// # Errors
    /// Where it cannot connect.
    pub fn client(&self, limit: Duration) -> xenstore::Result<Client> {
        Client::connect_to(&Endpoint::Socket(self.socket.clone()), limit)
    }

    /// Writes a node as dom0, as a toolstack would have before the test; it is not in the log. Watches see it.
    ///
    /// # Errors
    /// As a client's write.
    pub fn seed(&self, path: &StorePath, value: &[u8]) -> Result<(), Refusal> {
        let mut shared = self.lock();
        let absolute = tree::absolute(path, shared.domain)?;
        View::direct(&mut shared.tree, DOM0).write(&absolute, value)?;
        drop(shared);
        if let Some(mut ear) = self.thread_ear.as_ref() {
            // A full buffer means that the thread is about to look anyway.
            let _ = ear.write(&[0]);
        }
        Ok(())
    }

    /// All changes that were accepted, in their order.
    pub fn log(&self) -> Vec<Change> {
        self.lock().log.clone()
    }

    /// The absolute paths of all nodes that clients have asked about: values, children, permissions. The tests' own clients are among them.
    pub fn reads(&self) -> BTreeSet<String> {
        self.lock().reads.clone()
    }

    /// Forgets the changes so far.
    pub fn clear_log(&self) {
        self.lock().log.clear();
    }

    /// The whole store: absolute paths and values.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().tree.snapshot()
    }

    /// From now on these faults, and no others; each counts from here. An empty list makes the server behave.
    pub fn set_behaviour(&self, faults: Vec<Fault>) {
        self.lock().faults = fault::Faults::new(faults);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// A socket of a server that is stopped: one client finds room in its queue, and no others; none is answered.
///
/// # Errors
/// Where the socket cannot be made.
pub fn deaf(socket: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(socket)?;
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0)?)?;
    Ok(listener)
}

/// What a server does with the bytes of one client in `domain`: gives the number of requests in them. For trying hostile ones, fast.
///
/// # Errors
/// Where there is no socket to be had.
pub fn answer_all(bytes: &[u8], domain: DomainId) -> io::Result<usize> {
    daemon::answer_all(bytes, Shared::new(domain))
}

/// A thread that panicked while holding the lock leaves a store that is still good to look at.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.thread_ear.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed by itself; there is nothing to add while dropping.
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}
