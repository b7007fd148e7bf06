//! Open vSwitch's database: its ports, read and changed over a connection that is opened when first needed.
//!
//! A change is one transaction, as ovs-vsctl(8) makes it: it counts `next_cfg` up, and ovs-vswitchd, once it has acted, brings `cur_cfg` there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ovsdb::{Answer, Client, Condition, Error, Mutation, Operation, Row, Value};

use super::patience::within;
use super::{Cause, System, SystemError};
use crate::apply::FailureKind;
use crate::host::Host;
use crate::interface_name::InterfaceName;
use crate::openvswitch::{ExternalId, OvsPort, PortVlans, VlanId};
use crate::request::vif::Vif;

/// The database of the switch (vswitch.ovsschema).
const DATABASE: &str = "Open_vSwitch";

/// For what the database itself has to do. A server that lives answers in less than a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);

/// For what ovs-vswitchd has to do. A look, a change, this, and the change taken back together stay below the 40 seconds that libxl gives
/// (`LIBXL_HOTPLUG_TIMEOUT`).
const ACTING_LIMIT: Duration = Duration::from_secs(12);

/// How the database says that what was waited for, or required, does not hold (RFC 7047, section 5.2.6).
const TIMED_OUT: &str = "timed out";

/// How ovs-vswitchd says that there is no device of a port's name (lib/netdev.c, with the words of `strerror()`).
const NO_DEVICE: &str = "No such device";

/// Why a change was not made, or has had no effect.
enum Trouble {
    /// What it requires is not there.
    Required,
    /// Another cause.
    Cause(Cause),
}

impl From<Cause> for Trouble {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl From<Trouble> for Cause {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Required => Self::other("the database has changed in the meantime"),
            Trouble::Cause(cause) => cause,
        }
    }
}

/// Whether ovs-vswitchd does what the database says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Daemon {
    /// Nothing else is known.
    #[default]
    Acts,
    /// It did not act in time. Nobody waits for it a second time.
    Silent,
}

/// The connection to the database.
#[derive(Default)]
pub(super) struct Switch {
    client: Option<Client>,
    daemon: Daemon,
}

/// Where the server listens: in the folder that Open vSwitch's own tools take from the environment, else in Debian's.
fn socket_path() -> PathBuf {
    let folder = std::env::var_os("OVS_RUNDIR").filter(|folder| !folder.is_empty());
    folder.map_or_else(|| PathBuf::from("/var/run/openvswitch"), PathBuf::from).join("db.sock")
}

/// A port as the database has it.
struct Found {
    /// The id of its row.
    port: String,
    /// The id of its interface's row.
    interface: String,
    /// The bridge that it is in.
    bridge: Option<InterfaceName>,
    /// Its VLANs.
    vlans: PortVlans,
    /// Whose it is.
    ids: BTreeMap<ExternalId, String>,
    /// What sort of port.
    kind: PortKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortKind {
    /// One device of the system's.
    Device,
    /// A bond, a patch, a tunnel, a bridge's own port.
    Other,
}

impl Switch {
    fn transact(&mut self, operations: &[Operation], limit: Duration) -> Result<Vec<Answer>, Error> {
        let client = match &mut self.client {
            Some(client) => client,
            empty => empty.insert(Client::connect(&socket_path(), within(ANSWER_LIMIT))?),
        };
        client.renew(within(limit));
        let answers = client.transact(DATABASE, operations);
        if matches!(answers, Err(Error::Io { .. })) {
            // What it has changed is taken back by way of another.
            self.client = None;
        }
        answers
    }

    fn has_bridge(&mut self, bridge: &InterfaceName) -> Result<bool, Error> {
        let named = [Condition::equals("name", bridge.as_str())];
        let answers = self.transact(&[Operation::select("Bridge", &named, &["name"])], ANSWER_LIMIT)?;
        Ok(answers.iter().any(|answer| answer.rows().next().is_some()))
    }

    /// The names of the ports whose interfaces were made for this vif.
    fn ports_made_for(&mut self, vif: &InterfaceName) -> Result<BTreeSet<InterfaceName>, Error> {
        let signed = Value::Map([(ExternalId::XenVif.key().to_owned(), vif.to_string())].into());
        let made = Operation::select("Interface", &[Condition::includes("external_ids", signed)], &["name"]);
        let answers = self.transact(&[made], ANSWER_LIMIT)?;
        Ok(answers.iter().flat_map(Answer::rows).filter_map(|row| row.text("name")?.parse().ok()).collect())
    }

    /// The port of this name.
    fn find(&mut self, name: &InterfaceName) -> Result<Option<Found>, Error> {
        let named = [Condition::equals("name", name.as_str())];
        let answers = self.transact(
            &[
                Operation::select("Port", &named, &["_uuid", "tag", "trunks", "interfaces", "fake_bridge"]),
                Operation::select("Interface", &named, &["_uuid", "type", "external_ids"]),
            ],
            ANSWER_LIMIT,
        )?;
        let mut rows = answers.iter().map(|answer| answer.rows().next());
        let (port, interface) = (rows.next().flatten(), rows.next().flatten());
        let Some((port, id)) = port.and_then(|row| Some((row, row.uuid("_uuid")?))) else { return Ok(None) };
        let holding = [Condition::includes("ports", Value::Uuid(id.to_owned()))];
        let answers = self.transact(&[Operation::select("Bridge", &holding, &["name"])], ANSWER_LIMIT)?;
        let bridge = answers.iter().flat_map(Answer::rows).find_map(|row| row.text("name")?.parse().ok());
        Ok(Some(found(port, id, interface, bridge)))
    }

    /// The steps of a change, and one that has ovs-vswitchd act; waits until it has.
    fn change(&mut self, change: &[Operation], words: &str) -> Result<(), Trouble> {
        let mut operations = change.to_vec();
        operations.extend([
            Operation::comment(words),
            Operation::mutate(DATABASE, &[], &[Mutation::add("next_cfg", 1)]),
            Operation::select(DATABASE, &[], &["_uuid", "next_cfg"]),
        ]);
        let answers = match self.transact(&operations, ANSWER_LIMIT) {
            Err(Error::Refused(refusal)) if refusal.error == TIMED_OUT => return Err(Trouble::Required),
            result => result.map_err(Cause::other)?,
        };
        let last = answers.last().and_then(|answer| answer.rows().next());
        match last.and_then(|row| Some((row.uuid("_uuid")?, row.integer("next_cfg")?))) {
            Some((id, number)) => Ok(self.await_daemon(id, number)?),
            None => Err(Cause::other("the database does not count its changes").into()),
        }
    }

    fn await_daemon(&mut self, id: &str, number: i64) -> Result<(), Cause> {
        if self.daemon == Daemon::Silent {
            return Ok(());
        }
        let acted = Operation::wait_for_row(DATABASE, &[Condition::at_least("cur_cfg", number)], id, ACTING_LIMIT);
        match self.transact(&[acted], ACTING_LIMIT + ANSWER_LIMIT) {
            Ok(_) => Ok(()),
            Err(Error::Refused(refusal)) if refusal.error == TIMED_OUT => {
                self.daemon = Daemon::Silent;
                Err(Cause::other(format!(
                    "the database has taken the change, but ovs-vswitchd has not acted on it within {} s: see that it runs \
                     (systemctl status ovs-vswitchd)",
                    ACTING_LIMIT.as_secs()
                )))
            }
            Err(error) => Err(Cause::other(error)),
        }
    }

    /// Makes the device a port as `port` says; one that is there already is changed in place, and keeps what others have set on it.
    pub fn add_port(&mut self, port: &OvsPort) -> Result<(), Cause> {
        let found = self.find(&port.device).map_err(Cause::other)?;
        let change = match &found {
            Some(found) => {
                found.guests(&port.device)?;
                found.changed_to(port)
            }
            None => inserted(port),
        };
        // Without its bridge the port would be swept up by the database at once.
        let mut operations = vec![Operation::require("Bridge", "name", port.bridge.as_str())];
        operations.extend(change);
        self.change(&operations, &format!("vif-openvswitch: {} comes", port.device)).map_err(|error| match error {
            Trouble::Required => Cause::other(format!("there is no Open vSwitch bridge {}", port.bridge)),
            Trouble::Cause(cause) => cause,
        })?;
        self.check_device(&port.device)
    }

    /// ovs-vswitchd writes down why it could not use a device.
    fn check_device(&mut self, device: &InterfaceName) -> Result<(), Cause> {
        let named = [Condition::equals("name", device.as_str())];
        let answers = self.transact(&[Operation::select("Interface", &named, &["error"])], ANSWER_LIMIT).map_err(Cause::other)?;
        let error = answers.first().and_then(|answer| answer.rows().next()).and_then(|row| row.text("error"));
        let Some(error) = error else { return Ok(()) };
        // A port that is put back may have had no device.
        let kind = if error.contains(NO_DEVICE) { FailureKind::Absent } else { FailureKind::Other };
        Err(Cause { words: format!("ovs-vswitchd cannot use the device: {error}"), kind })
    }

    /// Removes the guest's port of this name.
    pub fn remove_port(&mut self, device: &InterfaceName) -> Result<(), Cause> {
        let Some(found) = self.find(device).map_err(Cause::other)? else {
            return Err(Cause::absent(format!("Open vSwitch has no port {device}")));
        };
        found.guests(device)?;
        self.change(&[found.taken_out()], &format!("vif-openvswitch: {device} goes")).map_err(Cause::from)
    }
}

fn with_remedy(error: &Error) -> String {
    match error {
        Error::Connect { .. } => format!("{error}; start Open vSwitch, or name the folder of its socket by OVS_RUNDIR"),
        _ => error.to_string(),
    }
}

fn found(port: Row<'_>, id: &str, interface: Option<Row<'_>>, bridge: Option<InterfaceName>) -> Found {
    let number = |number: i64| u16::try_from(number).ok().and_then(|number| VlanId::try_from(number).ok());
    let vlans = |column| port.integers(column).into_iter().filter_map(number);
    let given = interface.map(|row| row.map("external_ids")).unwrap_or_default();
    let kind = interface.and_then(|row| row.text("type"));
    let plain = port.members("interfaces") == 1 && matches!(kind, Some("" | "system"));
    Found {
        port: id.to_owned(),
        interface: interface.and_then(|row| row.uuid("_uuid")).unwrap_or_default().to_owned(),
        bridge,
        vlans: PortVlans { tag: vlans("tag").next(), trunks: vlans("trunks").collect() },
        ids: ExternalId::ALL.into_iter().filter_map(|id| Some((id, (*given.get(id.key())?).to_owned()))).collect(),
        kind: if plain { PortKind::Device } else { PortKind::Other },
    }
}

impl Found {
    /// The port as a guest's; none if it is somebody else's.
    fn as_guests(&self, device: &InterfaceName) -> Option<OvsPort> {
        let bridge = self.bridge.clone()?;
        let port = OvsPort { device: device.clone(), bridge, vlans: self.vlans.clone(), ids: self.ids.clone() };
        (self.kind == PortKind::Device && port.is_a_guests()).then_some(port)
    }

    fn guests(&self, device: &InterfaceName) -> Result<(), Cause> {
        let taken = || Cause {
            words: format!("Open vSwitch has a port {device} that is not a guest's; it stays as it is"),
            kind: FailureKind::Taken,
        };
        self.as_guests(device).map(drop).ok_or_else(taken)
    }

    fn taken_out(&self) -> Operation {
        let id = Value::Uuid(self.port.clone());
        let holding = [Condition::includes("ports", id.clone())];
        Operation::mutate("Bridge", &holding, &[Mutation::delete("ports", Value::Rows(vec![id]))])
    }

    fn changed_to(&self, port: &OvsPort) -> Vec<Operation> {
        let row = |id: &str| [Condition::equals("_uuid", Value::Uuid(id.to_owned()))];
        let ours = ExternalId::ALL.into_iter().map(|id| id.key().to_owned()).collect();
        let ids = [Mutation::delete("external_ids", Value::Texts(ours)), Mutation::insert("external_ids", id_map(port))];
        vec![
            Operation::update("Port", &row(&self.port), &vlan_columns(&port.vlans)),
            Operation::mutate("Interface", &row(&self.interface), &ids),
            self.taken_out(),
            put_in(port, Value::Uuid(self.port.clone())),
        ]
    }
}

fn inserted(port: &OvsPort) -> Vec<Operation> {
    let name = Value::from(port.device.as_str());
    let mut columns = vec![("name", name.clone()), ("interfaces", Value::Inserted("interface"))];
    columns.extend(vlan_columns(&port.vlans));
    vec![
        Operation::insert("Interface", &[("name", name), ("external_ids", id_map(port))], "interface"),
        Operation::insert("Port", &columns, "port"),
        put_in(port, Value::Inserted("port")),
    ]
}

fn put_in(port: &OvsPort, row: Value) -> Operation {
    let named = [Condition::equals("name", port.bridge.as_str())];
    Operation::mutate("Bridge", &named, &[Mutation::insert("ports", Value::Rows(vec![row]))])
}

fn vlan_columns(vlans: &PortVlans) -> [(&'static str, Value); 2] {
    let numbers = |ids: &mut dyn Iterator<Item = &VlanId>| Value::Integers(ids.map(|id| i64::from(u16::from(*id))).collect());
    [("tag", numbers(&mut vlans.tag.iter())), ("trunks", numbers(&mut vlans.trunks.iter()))]
}

fn id_map(port: &OvsPort) -> Value {
    Value::Map(port.ids.iter().map(|(id, value)| (id.key().to_owned(), value.clone())).collect())
}

impl System {
    /// Notes the ports of Open vSwitch that may be this vif's, by its names and by what they remember, and whether `bridge` is there.
    ///
    /// # Errors
    /// Where there is no Open vSwitch, or it does not answer in time.
    pub fn note_ovs_ports(&mut self, host: &mut Host, vif: &Vif, bridge: Option<&InterfaceName>) -> Result<(), SystemError> {
        let failed = |error: Error| SystemError::in_act("asking Open vSwitch's database")(with_remedy(&error));
        if let Some(name) = bridge
            && self.switch.has_bridge(name).map_err(failed)?
        {
            host.ovs_bridges.insert(name.clone());
        }
        let mut names: BTreeSet<_> = vif.names().cloned().collect();
        names.extend(self.switch.ports_made_for(&vif.device).map_err(failed)?);
        for name in names {
            let Some(found) = self.switch.find(&name).map_err(failed)? else { continue };
            match found.as_guests(&name) {
                Some(port) => host.ovs_ports.push(port),
                None => drop(host.ovs_foreign.insert(name)),
            }
        }
        Ok(())
    }
}
