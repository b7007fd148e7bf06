//! The nodes, and transactions over them.
//!
//! Conflicts are found as the C xenstored finds them (its xenstored_transaction.c explains the scheme): every change gives a
//! node a new generation, a transaction notes the generation of each node it looks at, and may commit only while all of
//! them are still the same. A node's list of children is part of it, so a new sibling conflicts too.

use std::collections::BTreeMap;

use xenstore::{Access, DomainId, Permission, Refusal, StorePath};

use super::{Change, DOM0};

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Vec<u8>,
    /// Names of the nodes below, in the order they were made.
    pub(super) children: Vec<String>,
    pub(super) permissions: Vec<Permission>,
    pub(super) generation: u64,
}

/// The store.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
    generation: u64,
    /// Events for the watches, of changes that are in force.
    fired: Vec<Fired>,
    /// The domain of those who watch.
    watcher: DomainId,
}

/// A change that watches are to be told of.
#[derive(Debug, Clone)]
pub(super) struct Fired {
    pub(super) path: String,
    pub(super) reach: Reach,
}

/// Which watches an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those on the path itself and on those above it.
    Upwards,
    /// Only those on the path itself: it went away with something above it.
    Itself,
}

/// A transaction under way.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// What it looked at, by path.
    touched: BTreeMap<String, Touched>,
    /// The same paths in the order they were first looked at: the order of the events at the end.
    order: Vec<String>,
    changes: Vec<Change>,
}

/// A node as a transaction sees it.
#[derive(Debug)]
struct Touched {
    /// The generation when first looked at; `None` where there was no such node.
    found: Option<u64>,
    /// Who could see it then.
    watchable: bool,
    now: Option<Node>,
    state: State,
    fire: Option<Reach>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Looked,
    Changed,
}

/// The store as one request sees it: directly, or through a transaction.
pub(super) struct View<'a> {
    tree: &'a mut Tree,
    transaction: Option<&'a mut Transaction>,
    caller: DomainId,
}

/// What a request needs to be allowed.
#[derive(Debug, Clone, Copy)]
enum Need {
    Read,
    Write,
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Present,
    Absent,
}

/// The path from the root, where the daemon accepts it. Its limit is that for relative paths, not counting a leading
/// `/local/domain/<id>/` (seen with 4.17; the default of its quota for path lengths).
pub(super) fn absolute(path: &StorePath, domain: DomainId) -> Result<String, Refusal> {
    let absolute = match path.is_absolute() || path.is_special() {
        true => path.to_string(),
        false => format!("/local/domain/{domain}/{path}"),
    };
    if counted_length(&absolute) > 2048 { Err(Refusal::Einval) } else { Ok(absolute) }
}

fn counted_length(absolute: &str) -> usize {
    let below_domain = absolute.strip_prefix("/local/domain/").and_then(|rest| rest.split_once('/'));
    match below_domain {
        Some((id, rest)) if id.parse::<u32>().is_ok() => rest.len(),
        _ => absolute.len(),
    }
}

/// Whether `path` is `top` or below it.
pub(super) fn is_at_or_below(path: &str, top: &str) -> bool {
    top == "/" || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path one level up, and the name in it. The root has none.
fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", name) => Some(("/", name)),
        parts => Some(parts),
    }
}

fn join(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}

/// The rule of xenstored's `perm_for_conn`: dom0 and the owner may do everything; others what their own entry says, or
/// else what the first one says.
fn allows(permissions: &[Permission], caller: DomainId, need: Need) -> bool {
    let Some(owner) = permissions.first() else { return false };
    if caller == DOM0 || owner.domain == caller {
        return true;
    }
    let entry = permissions[1..].iter().find(|entry| entry.domain == caller).unwrap_or(owner);
    match need {
        Need::Own => false,
        Need::Read => matches!(entry.access, Access::Read | Access::Both),
        Need::Write => matches!(entry.access, Access::Write | Access::Both),
    }
}

impl Tree {
    /// The nodes a freshly started xenstored has, those xen-init-dom0 writes, and `domid` for the clients' domain.
    pub(super) fn new(clients: DomainId) -> Tree {
        let mut tree = Tree { nodes: BTreeMap::new(), generation: 0, fired: Vec::new(), watcher: clients };
        let permissions = vec![Permission { domain: DOM0, access: Access::None }];
        tree.nodes.insert("/".to_owned(), Node { value: Vec::new(), children: Vec::new(), permissions, generation: 0 });
        let own = format!("/local/domain/{clients}/domid");
        let seeds = [
            ("/tool/xenstored", String::new()),
            ("/local/domain/0/domid", "0".to_owned()),
            ("/local/domain/0/name", "Domain-0".to_owned()),
            (own.as_str(), clients.to_string()),
        ];
        for (path, value) in seeds {
            // Dom0 may write anywhere.
            let _ = View::direct(&mut tree, DOM0).write(path, value.as_bytes());
        }
        tree.give_directory_to(clients);
        tree.fired.clear();
        tree
    }

    /// A guest's directory is its own, as the toolstack sets it up for driver domains.
    fn give_directory_to(&mut self, domain: DomainId) {
        let top = format!("/local/domain/{domain}");
        for (_, node) in self.nodes.iter_mut().filter(|(path, _)| is_at_or_below(path, &top)) {
            node.permissions = vec![Permission { domain, access: Access::None }];
        }
    }

    pub(super) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.nodes.iter().map(|(path, node)| (path.clone(), node.value.clone())).collect()
    }

    /// The events since the last call.
    pub(super) fn take_fired(&mut self) -> Vec<Fired> {
        std::mem::take(&mut self.fired)
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Whether the watchers may know of this node: they can read it or the one above it.
    fn watchable(&self, path: &str) -> bool {
        let readable = |path: &str| self.nodes.get(path).is_some_and(|node| allows(&node.permissions, self.watcher, Need::Read));
        readable(path) || split(path).is_some_and(|(parent, _)| readable(parent))
    }

    /// Commits the transaction and gives its changes, or refuses it with EAGAIN.
    pub(super) fn commit(&mut self, mut transaction: Transaction) -> Result<Vec<Change>, Refusal> {
        let current = |path: &str| self.nodes.get(path).map(|node| node.generation);
        if transaction.touched.iter().any(|(path, touched)| touched.found != current(path)) {
            return Err(Refusal::Eagain);
        }
        for path in transaction.order {
            let Some(touched) = transaction.touched.remove(&path) else { continue };
            if touched.state == State::Looked {
                continue;
            }
            match touched.now {
                Some(mut node) => {
                    node.generation = self.next_generation();
                    self.nodes.insert(path.clone(), node);
                }
                None => drop(self.nodes.remove(&path)),
            }
            if let Some(reach) = touched.fire.filter(|_| touched.watchable || self.watchable(&path)) {
                self.fired.push(Fired { path, reach });
            }
        }
        transaction.changes.push(Change::Commit);
        Ok(transaction.changes)
    }
}

impl Transaction {
    /// The node as this transaction sees it; from now on a change by others is a conflict.
    fn touch(&mut self, tree: &Tree, path: &str) -> &mut Touched {
        if !self.touched.contains_key(path) {
            self.order.push(path.to_owned());
        }
        self.touched.entry(path.to_owned()).or_insert_with(|| {
            let node = tree.nodes.get(path);
            Touched {
                found: node.map(|node| node.generation),
                watchable: tree.watchable(path),
                now: node.cloned(),
                state: State::Looked,
                fire: None,
            }
        })
    }
}

impl<'a> View<'a> {
    /// Changes are in force at once.
    pub(super) fn direct(tree: &'a mut Tree, caller: DomainId) -> View<'a> {
        View { tree, transaction: None, caller }
    }

    /// Changes are kept in the transaction.
    pub(super) fn within(tree: &'a mut Tree, transaction: &'a mut Transaction, caller: DomainId) -> View<'a> {
        View { tree, transaction: Some(transaction), caller }
    }

    /// The node, for who may read it.
    pub(super) fn read(&mut self, path: &str) -> Result<&Node, Refusal> {
        match self.authorize(path, Need::Read)? {
            Presence::Present => self.node(path).ok_or(Refusal::Enoent),
            Presence::Absent => Err(Refusal::Enoent),
        }
    }

    pub(super) fn write(&mut self, path: &str, value: &[u8]) -> Result<(), Refusal> {
        if self.authorize(path, Need::Write)? == Presence::Absent {
            self.create(path)?;
        }
        self.change(path, |node| node.value = value.to_vec());
        self.fire(path, Reach::Upwards);
        Ok(())
    }

    /// Makes the node where it is missing, and says whether it was.
    pub(super) fn make_directory(&mut self, path: &str) -> Result<bool, Refusal> {
        if self.authorize(path, Need::Write)? == Presence::Present {
            return Ok(false);
        }
        self.create(path)?;
        self.fire(path, Reach::Upwards);
        Ok(true)
    }

    /// Removes the node with all below it, and says whether there was one. A missing node is fine where its parent exists.
    pub(super) fn remove(&mut self, path: &str) -> Result<bool, Refusal> {
        let presence = self.authorize(path, Need::Write)?;
        let Some((parent, name)) = split(path) else { return Err(Refusal::Einval) };
        if presence == Presence::Absent {
            return if self.node(parent).is_some() { Ok(false) } else { Err(Refusal::Enoent) };
        }
        self.remove_below(path);
        // Told before it goes, while it can be seen who may read it.
        self.fire(path, Reach::Upwards);
        self.delete(path);
        self.change(parent, |node| node.children.retain(|child| child != name));
        Ok(true)
    }

    pub(super) fn set_permissions(&mut self, path: &str, permissions: &[Permission]) -> Result<(), Refusal> {
        if self.authorize(path, Need::Own)? == Presence::Absent {
            return Err(Refusal::Enoent);
        }
        let owner = self.node(path).and_then(|node| node.permissions.first().copied());
        if self.caller != DOM0 && permissions.first().map(|entry| entry.domain) != owner.map(|entry| entry.domain) {
            return Err(Refusal::Eperm);
        }
        let watchable = self.tree.watchable(path);
        self.change(path, |node| node.permissions = permissions.to_vec());
        match &self.transaction {
            None if watchable => self.tree.fired.push(Fired { path: path.to_owned(), reach: Reach::Upwards }),
            _ => self.fire(path, Reach::Upwards),
        }
        Ok(())
    }

    fn remove_below(&mut self, top: &str) {
        let children = self.node(top).map(|node| node.children.clone()).unwrap_or_default();
        for child in children.iter().map(|name| join(top, name)) {
            self.remove_below(&child);
            self.fire(&child, Reach::Itself);
            self.delete(&child);
        }
    }

    fn node(&mut self, path: &str) -> Option<&Node> {
        match &mut self.transaction {
            None => self.tree.nodes.get(path),
            Some(transaction) => transaction.touch(self.tree, path).now.as_ref(),
        }
    }

    /// Who may not use the nearest node there is may not learn what is missing below it.
    fn authorize(&mut self, path: &str, need: Need) -> Result<Presence, Refusal> {
        let caller = self.caller;
        let mut presence = Presence::Present;
        let mut place = path;
        loop {
            if let Some(node) = self.node(place) {
                return if allows(&node.permissions, caller, need) { Ok(presence) } else { Err(Refusal::Eacces) };
            }
            presence = Presence::Absent;
            place = split(place).ok_or(Refusal::Enoent)?.0;
        }
    }

    /// Makes the node and those missing above it; each inherits the permissions of the one above it, and what a guest
    /// makes is its own.
    fn create(&mut self, path: &str) -> Result<(), Refusal> {
        let (parent, name) = split(path).ok_or(Refusal::Einval)?;
        if self.node(parent).is_none() {
            self.create(parent)?;
        }
        let mut permissions = self.node(parent).map(|node| node.permissions.clone()).unwrap_or_default();
        if let Some(owner) = permissions.first_mut().filter(|_| self.caller != DOM0) {
            owner.domain = self.caller;
        }
        self.change(parent, |node| node.children.push(name.to_owned()));
        let generation = self.tree.next_generation();
        let node = Node { value: Vec::new(), children: Vec::new(), permissions, generation };
        self.put(path, Some(node));
        Ok(())
    }

    /// Changes a node that exists.
    fn change(&mut self, path: &str, change: impl FnOnce(&mut Node)) {
        let generation = self.tree.next_generation();
        let node = match &mut self.transaction {
            None => self.tree.nodes.get_mut(path),
            Some(transaction) => {
                let touched = transaction.touch(self.tree, path);
                touched.state = State::Changed;
                touched.now.as_mut()
            }
        };
        if let Some(node) = node {
            node.generation = generation;
            change(node);
        }
    }

    fn delete(&mut self, path: &str) {
        self.put(path, None);
    }

    fn put(&mut self, path: &str, node: Option<Node>) {
        match (&mut self.transaction, node) {
            (Some(transaction), node) => {
                let touched = transaction.touch(self.tree, path);
                touched.now = node;
                touched.state = State::Changed;
            }
            (None, Some(node)) => drop(self.tree.nodes.insert(path.to_owned(), node)),
            (None, None) => drop(self.tree.nodes.remove(path)),
        }
    }

    /// Tells the watches now, or at the commit.
    fn fire(&mut self, path: &str, reach: Reach) {
        match &mut self.transaction {
            None if self.tree.watchable(path) => self.tree.fired.push(Fired { path: path.to_owned(), reach }),
            None => {}
            Some(transaction) => {
                let touched = transaction.touch(self.tree, path);
                // An event for everybody above replaces one for the node alone, and not the other way round.
                touched.fire = Some(match touched.fire {
                    Some(Reach::Upwards) => Reach::Upwards,
                    _ => reach,
                });
            }
        }
    }

    /// Puts a change where it is to be logged from: the transaction, or the caller's hands.
    pub(super) fn note(&mut self, change: Change) -> Option<Change> {
        match &mut self.transaction {
            None => Some(change),
            Some(transaction) => {
                transaction.changes.push(change);
                None
            }
        }
    }
}
