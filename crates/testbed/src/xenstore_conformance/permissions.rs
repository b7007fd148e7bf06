//! Permissions, as a domain that may do everything sees and sets them.

use xenstore::wire::Kind;
use xenstore::{Access, Client, DomainId, Permission, Refusal};

use super::{Bench, Outcome, cases, raw, refused, same, some};

cases![
    permissions_of_a_missing_node_are_absent,
    permissions_are_read_back_in_their_order,
    every_kind_of_access_survives,
    new_nodes_inherit_from_the_one_above,
    nodes_that_exist_keep_theirs,
    setting_permissions_keeps_value_and_children,
    writing_keeps_the_permissions,
    permissions_of_a_missing_node_cannot_be_set,
    a_list_without_an_entry_is_refused,
    malformed_entries_are_refused,
];

fn entry(access: Access, domain: u16) -> Permission {
    Permission { domain: DomainId(domain), access }
}

fn set(client: &mut Client, bench: &Bench<'_>, below: &str, entries: &[Permission]) -> Outcome {
    client.write(&bench.at(below)?, b"v")?;
    client.set_permissions(&bench.at(below)?, entries)?;
    Ok(())
}

fn permissions_of_a_missing_node_are_absent(bench: &Bench<'_>) -> Outcome {
    same("permissions", bench.client().permissions(&bench.at("missing")?)?, None)
}

fn permissions_are_read_back_in_their_order(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let entries = vec![entry(Access::None, 0), entry(Access::Read, 0)];
    set(&mut client, bench, "node", &entries)?;
    same("permissions", client.permissions(&bench.at("node")?)?, Some(entries))
}

fn every_kind_of_access_survives(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for access in [Access::None, Access::Read, Access::Write, Access::Both] {
        set(&mut client, bench, "node", &[entry(access, 0)])?;
        same("permissions", client.permissions(&bench.at("node")?)?, Some(vec![entry(access, 0)]))?;
    }
    Ok(())
}

fn new_nodes_inherit_from_the_one_above(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let entries = vec![entry(Access::Read, 0), entry(Access::Write, 0)];
    set(&mut client, bench, "node", &entries)?;
    client.write(&bench.at("node/a/b")?, b"")?;
    client.make_directory(&bench.at("node/c")?)?;
    for below in ["node/a", "node/a/b", "node/c"] {
        same(below, client.permissions(&bench.at(below)?)?, Some(entries.clone()))?;
    }
    Ok(())
}

fn nodes_that_exist_keep_theirs(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("node/below")?, b"")?;
    let before = client.permissions(&bench.at("node/below")?)?;
    client.set_permissions(&bench.at("node")?, &[entry(Access::Both, 0)])?;
    same("permissions below", client.permissions(&bench.at("node/below")?)?, before)
}

fn setting_permissions_keeps_value_and_children(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("node/below")?, b"")?;
    set(&mut client, bench, "node", &[entry(Access::Read, 0)])?;
    same("value", client.read(&bench.at("node")?)?, some(b"v"))?;
    same("children", client.list(&bench.at("node")?)?, Some(vec!["below".to_owned()]))
}

fn writing_keeps_the_permissions(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    set(&mut client, bench, "node", &[entry(Access::Read, 0)])?;
    client.write(&bench.at("node")?, b"another")?;
    same("permissions", client.permissions(&bench.at("node")?)?, Some(vec![entry(Access::Read, 0)]))
}

fn permissions_of_a_missing_node_cannot_be_set(bench: &Bench<'_>) -> Outcome {
    let outcome = bench.client().set_permissions(&bench.at("missing")?, &[entry(Access::Read, 0)]);
    refused("setting", outcome, &Refusal::Enoent)
}

fn a_list_without_an_entry_is_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("node")?, b"")?;
    refused("setting", client.set_permissions(&bench.at("node")?, &[]), &Refusal::Einval)
}

fn malformed_entries_are_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let path = bench.at("node")?;
    client.write(&path, b"")?;
    let before = client.permissions(&path)?;
    for entry in ["x0", "r", "0", "r0abc", "rw0"] {
        let payload = format!("{path}\0{entry}\0");
        refused(entry, raw(&mut client, Kind::SetPermissions, payload.as_bytes()), &Refusal::Einval)?;
    }
    same("permissions", client.permissions(&path)?, before)
}
