//! Reading, writing, making, listing and removing nodes.

use xenstore::wire::{Kind, PAYLOAD_MAX};
use xenstore::{Error, Refusal, Removal, StorePath};

use super::{Bench, Failure, Outcome, cases, raw, refused, same, some};

cases![
    a_missing_node_reads_as_absent,
    a_written_value_is_read_back,
    a_second_write_replaces_the_value,
    an_empty_value_is_not_absent,
    every_byte_survives,
    the_largest_value_that_fits_survives,
    a_value_too_large_is_refused_before_it_is_sent,
    a_write_makes_the_parents_with_empty_values,
    a_node_can_have_both_value_and_children,
    the_root_can_be_read,
    making_a_directory_gives_an_empty_value,
    making_a_directory_makes_the_parents,
    making_an_existing_directory_changes_nothing,
    removing_takes_all_below,
    removing_keeps_the_siblings,
    removing_a_missing_node_with_a_parent_is_acknowledged,
    removing_without_a_parent_is_refused,
    removing_the_root_is_refused,
    a_removed_node_can_be_made_again,
    children_are_listed_in_the_order_they_were_made,
    a_node_made_again_is_listed_last,
    a_node_without_children_lists_nothing,
    a_missing_node_lists_as_absent,
    a_long_directory_is_refused_whole,
    a_long_directory_is_listed_in_parts,
    a_part_starts_at_its_offset_and_the_last_ends_with_an_empty_name,
    a_part_beyond_the_end_is_empty,
    a_changed_directory_has_another_generation,
    a_directory_of_exactly_one_message_is_listed,
    kinds_that_are_no_requests_are_refused,
];

fn a_missing_node_reads_as_absent(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    same("value", client.read(&bench.at("missing")?)?, None)?;
    same("value below", client.read(&bench.at("missing/too")?)?, None)
}

fn a_written_value_is_read_back(bench: &Bench<'_>) -> Outcome {
    let path = bench.at("bridge")?;
    bench.client().write(&path, b"xenbr0")?;
    same("value seen by another", bench.client().read(&path)?, some(b"xenbr0"))
}

fn a_second_write_replaces_the_value(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("state")?);
    client.write(&path, b"a longer value")?;
    client.write(&path, b"2")?;
    same("value", client.read(&path)?, some(b"2"))
}

fn an_empty_value_is_not_absent(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("hotplug-status")?);
    client.write(&path, b"")?;
    same("value", client.read(&path)?, some(b""))
}

fn every_byte_survives(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("bytes")?);
    let value: Vec<u8> = (0..=255).chain([0, 0, 10, 0]).collect();
    client.write(&path, &value)?;
    same("value", client.read(&path)?, Some(value))
}

fn the_largest_value_that_fits_survives(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("large")?);
    let value = vec![b'x'; client.payload_max() - path.as_str().len() - 1];
    client.write(&path, &value)?;
    same("value", client.read(&path)?, Some(value))
}

fn a_value_too_large_is_refused_before_it_is_sent(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("large")?);
    let most = client.payload_max();
    let outcome = client.write(&path, &vec![b'x'; most - path.as_str().len()]);
    match outcome {
        Err(Error::TooLarge { length, .. }) => same("length", length, most + 1)?,
        other => return Err(Failure(format!("{other:?} instead of TooLarge"))),
    }
    same("value", client.read(&path)?, None)
}

fn a_write_makes_the_parents_with_empty_values(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("a/b/c")?, b"v")?;
    same("a", client.read(&bench.at("a")?)?, some(b""))?;
    same("a/b", client.read(&bench.at("a/b")?)?, some(b""))?;
    same("children of a", client.list(&bench.at("a")?)?, Some(vec!["b".to_owned()]))
}

fn a_node_can_have_both_value_and_children(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("a/b")?, b"below")?;
    client.write(&bench.at("a")?, b"above")?;
    same("a", client.read(&bench.at("a")?)?, some(b"above"))?;
    same("a/b", client.read(&bench.at("a/b")?)?, some(b"below"))
}

fn the_root_can_be_read(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    same("the root's presence", client.read(&StorePath::root())?.is_some(), true)?;
    let names = client.list(&StorePath::root())?.unwrap_or_default();
    same("local among its children", names.iter().any(|name| name == "local"), true)
}

fn making_a_directory_gives_an_empty_value(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("directory")?);
    client.make_directory(&path)?;
    same("value", client.read(&path)?, some(b""))
}

fn making_a_directory_makes_the_parents(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.make_directory(&bench.at("a/b/c")?)?;
    same("children", client.list(&bench.at("a/b")?)?, Some(vec!["c".to_owned()]))
}

fn making_an_existing_directory_changes_nothing(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("a")?);
    client.write(&path, b"kept")?;
    client.write(&bench.at("a/b")?, b"")?;
    client.make_directory(&path)?;
    same("value", client.read(&path)?, some(b"kept"))?;
    same("children", client.list(&path)?, Some(vec!["b".to_owned()]))
}

fn removing_takes_all_below(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("a/b/c/d")?, b"v")?;
    client.write(&bench.at("a/b/e")?, b"v")?;
    same("outcome", client.remove(&bench.at("a/b")?)?, Removal::Removed)?;
    for gone in ["a/b", "a/b/c", "a/b/c/d", "a/b/e"] {
        same(gone, client.read(&bench.at(gone)?)?, None)?;
    }
    same("children of a", client.list(&bench.at("a")?)?, Some(Vec::new()))
}

fn removing_keeps_the_siblings(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for name in ["1", "10", "1-0", "11"] {
        client.write(&bench.at("vif")?.join(name)?.join("state")?, b"4")?;
    }
    client.remove(&bench.at("vif/1")?)?;
    let expected = ["10", "1-0", "11"].map(str::to_owned).to_vec();
    same("children", client.list(&bench.at("vif")?)?, Some(expected))?;
    same("vif/10/state", client.read(&bench.at("vif/10/state")?)?, some(b"4"))
}

fn removing_a_missing_node_with_a_parent_is_acknowledged(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.make_directory(&bench.at("a")?)?;
    let missing = bench.at("a/missing")?;
    same("answer", raw(&mut client, Kind::Remove, format!("{missing}\0").as_bytes())?, b"OK\0".to_vec())?;
    same("outcome", client.remove(&missing)?, Removal::WasAbsent)
}

fn removing_without_a_parent_is_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let missing = bench.at("missing/too")?;
    refused("removal", raw(&mut client, Kind::Remove, format!("{missing}\0").as_bytes()), &Refusal::Enoent)?;
    same("outcome", client.remove(&missing)?, Removal::WasAbsent)
}

fn removing_the_root_is_refused(bench: &Bench<'_>) -> Outcome {
    refused("removal", bench.client().remove(&StorePath::root()), &Refusal::Einval)
}

fn a_removed_node_can_be_made_again(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("a/b")?, b"old")?;
    client.remove(&bench.at("a")?)?;
    client.write(&bench.at("a")?, b"new")?;
    same("value", client.read(&bench.at("a")?)?, some(b"new"))?;
    same("children", client.list(&bench.at("a")?)?, Some(Vec::new()))
}

fn children_are_listed_in_the_order_they_were_made(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let names = ["zebra", "a", "10", "9", "A", "_", "-", "@"];
    for name in names {
        client.write(&bench.at("list")?.join(name)?, b"")?;
    }
    client.write(&bench.at("list/a")?, b"again")?;
    same("children", client.list(&bench.at("list")?)?, Some(names.map(str::to_owned).to_vec()))
}

fn a_node_made_again_is_listed_last(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for name in ["list/a", "list/b"] {
        client.write(&bench.at(name)?, b"")?;
    }
    client.remove(&bench.at("list/a")?)?;
    client.write(&bench.at("list/a")?, b"")?;
    same("children", client.list(&bench.at("list")?)?, Some(vec!["b".to_owned(), "a".to_owned()]))
}

fn a_node_without_children_lists_nothing(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("leaf")?, b"v")?;
    same("children", client.list(&bench.at("leaf")?)?, Some(Vec::new()))
}

fn a_missing_node_lists_as_absent(bench: &Bench<'_>) -> Outcome {
    same("children", bench.client().list(&bench.at("missing")?)?, None)
}

/// Makes a directory whose names need `count` × (`width` + 1) bytes.
fn fill(bench: &Bench<'_>, count: usize, width: usize) -> Outcome<Vec<String>> {
    let names: Vec<String> = (0..count).map(|number| format!("{number:0width$}")).collect();
    let directory = bench.at("long")?;
    let values: Result<Vec<_>, _> = names.iter().map(|name| Ok((directory.join(name)?, Vec::new()))).collect();
    bench.client().write_many(&values.map_err(|error: xenstore::PathError| Failure(error.to_string()))?)?;
    Ok(names)
}

/// A raw DIRECTORY_PART's generation and the rest of its payload.
fn part(bench: &Bench<'_>, offset: usize) -> Outcome<(Vec<u8>, Vec<u8>)> {
    let request = format!("{}\0{offset}\0", bench.at("long")?);
    let payload = raw(&mut bench.client(), Kind::DirectoryPart, request.as_bytes())?;
    let end = payload.iter().position(|byte| *byte == 0).ok_or_else(|| Failure("no generation".to_owned()))?;
    Ok((payload[..end].to_vec(), payload[end + 1..].to_vec()))
}

fn a_long_directory_is_refused_whole(bench: &Bench<'_>) -> Outcome {
    fill(bench, 600, 20)?;
    let request = format!("{}\0", bench.at("long")?);
    refused("listing", raw(&mut bench.client(), Kind::Directory, request.as_bytes()), &Refusal::E2big)
}

fn a_long_directory_is_listed_in_parts(bench: &Bench<'_>) -> Outcome {
    let names = fill(bench, 600, 20)?;
    same("children", bench.client().list(&bench.at("long")?)?, Some(names))
}

fn a_part_starts_at_its_offset_and_the_last_ends_with_an_empty_name(bench: &Bench<'_>) -> Outcome {
    let names = fill(bench, 300, 20)?;
    let all: Vec<u8> = names.iter().flat_map(|name| format!("{name}\0").into_bytes()).collect();
    let (_, first) = part(bench, 0)?;
    same("whole names in the first part", first.len() % 21, 0)?;
    same("first part", &first, &all[..first.len()].to_vec())?;
    let (_, last) = part(bench, first.len())?;
    let expected: Vec<u8> = all[first.len()..].iter().copied().chain([0]).collect();
    same("last part", last, expected)
}

fn a_part_beyond_the_end_is_empty(bench: &Bench<'_>) -> Outcome {
    fill(bench, 3, 5)?;
    same("at the end", part(bench, 18)?.1, vec![0])?;
    same("beyond the end", part(bench, 1000)?.1, vec![0])
}

fn a_changed_directory_has_another_generation(bench: &Bench<'_>) -> Outcome {
    fill(bench, 3, 5)?;
    let (before, _) = part(bench, 0)?;
    same("unchanged", &part(bench, 6)?.0, &before)?;
    bench.client().write(&bench.at("long/another")?, b"")?;
    same("the same generation after a new child", part(bench, 0)?.0 == before, false)
}

fn a_directory_of_exactly_one_message_is_listed(bench: &Bench<'_>) -> Outcome {
    let names = fill(bench, PAYLOAD_MAX / 16, 15)?;
    same("children", bench.client().list(&bench.at("long")?)?, Some(names))
}

fn kinds_that_are_no_requests_are_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for kind in [Kind::WatchEvent, Kind::Error, Kind::Restrict] {
        refused("request", raw(&mut client, kind, b"\0"), &Refusal::Enosys)?;
    }
    Ok(())
}
