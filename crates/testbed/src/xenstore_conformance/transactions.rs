//! Several operations as one, and conflicts between connections.

use xenstore::wire::Kind;
use xenstore::{Client, Error, Refusal, Removal};

use super::{Bench, Failure, Outcome, cases, raw, refused, same, some};

cases![
    a_commit_shows_all_changes,
    changes_are_seen_inside_and_not_outside_before_the_commit,
    an_error_undoes_the_transaction,
    a_removal_inside_is_seen_inside,
    a_directory_made_inside_is_committed,
    writing_and_removing_inside_leaves_nothing,
    a_long_directory_is_listed_inside,
    a_pipeline_works_inside,
    a_changed_node_that_was_read_is_a_conflict,
    a_node_that_appeared_after_it_was_missed_is_a_conflict,
    a_removed_node_that_was_read_is_a_conflict,
    a_new_sibling_of_a_new_node_is_a_conflict,
    a_node_written_by_both_is_a_conflict,
    changes_elsewhere_are_no_conflict,
    others_reading_is_no_conflict,
    two_transactions_on_different_nodes_both_commit,
    of_two_transactions_on_one_node_the_second_fails,
    a_conflict_runs_the_body_again,
    a_conflict_leaves_no_trace,
    two_transactions_of_one_connection_are_apart,
    a_closed_connection_undoes_its_transaction,
    transactions_do_not_nest,
    an_unknown_transaction_is_refused,
    an_ended_transaction_is_unknown,
    another_connections_transaction_is_unknown,
    an_end_outside_of_a_transaction_is_refused,
    an_end_must_say_how,
];

/// A transaction by hand, so that others can act in its middle.
struct ByHand {
    client: Client,
    number: u32,
}

impl ByHand {
    fn start(bench: &Bench<'_>) -> Outcome<ByHand> {
        let mut client = bench.client();
        let number = start(&mut client)?;
        Ok(ByHand { client, number })
    }

    fn read(&mut self, bench: &Bench<'_>, below: &str) -> xenstore::Result<Vec<u8>> {
        let path = bench.absolute.join(below)?;
        self.client.exchange(Kind::Read, self.number, format!("{path}\0").as_bytes())
    }

    fn write(&mut self, bench: &Bench<'_>, below: &str, value: &str) -> xenstore::Result<Vec<u8>> {
        let path = bench.absolute.join(below)?;
        self.client.exchange(Kind::Write, self.number, format!("{path}\0{value}").as_bytes())
    }

    fn commit(&mut self) -> xenstore::Result<Vec<u8>> {
        self.client.exchange(Kind::TransactionEnd, self.number, b"T\0")
    }
}

fn start(client: &mut Client) -> Outcome<u32> {
    let payload = raw(client, Kind::TransactionStart, b"\0")?;
    let text = std::str::from_utf8(&payload).ok().and_then(|text| text.strip_suffix('\0'));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Failure(format!("{payload:?} is no transaction's number")))
}

fn a_commit_shows_all_changes(bench: &Bench<'_>) -> Outcome {
    let (a, b) = (bench.at("a")?, bench.at("b/c")?);
    let outcome = bench.client().transaction(|t| {
        t.write(&a, b"1")?;
        t.write(&b, b"2")?;
        Ok("done")
    })?;
    same("outcome", outcome, "done")?;
    same("values", bench.client().read_many(&[a, b])?, vec![some(b"1"), some(b"2")])
}

fn changes_are_seen_inside_and_not_outside_before_the_commit(bench: &Bench<'_>) -> Outcome {
    let mut inside = ByHand::start(bench)?;
    let mut outside = bench.client();
    outside.write(&bench.at("a")?, b"old")?;
    inside.write(bench, "a", "new")?;
    same("inside", inside.read(bench, "a")?, b"new".to_vec())?;
    same("outside", outside.read(&bench.at("a")?)?, some(b"old"))?;
    inside.commit()?;
    same("after", outside.read(&bench.at("a")?)?, some(b"new"))
}

fn an_error_undoes_the_transaction(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("a")?);
    let outcome: xenstore::Result<()> = client.transaction(|t| {
        t.write(&path, b"1")?;
        Err(Error::NoStore)
    });
    same("the body's own error came back", matches!(outcome, Err(Error::NoStore)), true)?;
    same("value", client.read(&path)?, None)
}

fn a_removal_inside_is_seen_inside(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("a/b/c")?, b"1")?;
    let (a, b, below) = (bench.at("a")?, bench.at("a/b")?, bench.at("a/b/c")?);
    let seen = client.transaction(|t| Ok((t.remove(&b)?, t.read(&below)?, t.list(&a)?, t.remove(&b)?)))?;
    same("inside", seen, (Removal::Removed, None, Some(Vec::new()), Removal::WasAbsent))?;
    same("after", client.read(&below)?, None)
}

fn a_directory_made_inside_is_committed(bench: &Bench<'_>) -> Outcome {
    let path = bench.at("a/b")?;
    bench.client().transaction(|t| t.make_directory(&path))?;
    same("after", bench.client().read(&path)?, some(b""))
}

fn writing_and_removing_inside_leaves_nothing(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("a/b")?);
    client.make_directory(&bench.at("a")?)?;
    client.transaction(|t| {
        t.write(&path, b"1")?;
        t.remove(&path)
    })?;
    same("value", client.read(&path)?, None)?;
    same("children", client.list(&bench.at("a")?)?, Some(Vec::new()))
}

fn a_long_directory_is_listed_inside(bench: &Bench<'_>) -> Outcome {
    let (mut client, directory) = (bench.client(), bench.at("long")?);
    let names: Vec<String> = (0..400).map(|number| format!("{number:020}")).collect();
    let paths: Result<Vec<_>, _> = names.iter().map(|name| directory.join(name)).collect();
    let values: Vec<_> = paths?.into_iter().map(|path| (path, Vec::new())).collect();
    client.write_many(&values)?;
    same("children", client.transaction(|t| t.list(&directory))?, Some(names))
}

fn a_pipeline_works_inside(bench: &Bench<'_>) -> Outcome {
    let (a, b) = (bench.at("a")?, bench.at("b")?);
    let values = [(a.clone(), b"1".to_vec()), (b.clone(), b"2".to_vec())];
    let seen = bench.client().transaction(|t| {
        t.write_many(&values)?;
        t.read_many(&[b.clone(), a.clone()])
    })?;
    same("values", seen, vec![some(b"2"), some(b"1")])
}

fn a_changed_node_that_was_read_is_a_conflict(bench: &Bench<'_>) -> Outcome {
    bench.client().write(&bench.at("a")?, b"1")?;
    let mut inside = ByHand::start(bench)?;
    inside.read(bench, "a")?;
    bench.client().write(&bench.at("a")?, b"2")?;
    inside.write(bench, "b", "3")?;
    refused("commit", inside.commit(), &Refusal::Eagain)?;
    same("b", bench.client().read(&bench.at("b")?)?, None)
}

fn a_node_that_appeared_after_it_was_missed_is_a_conflict(bench: &Bench<'_>) -> Outcome {
    bench.client().make_directory(&bench.at("d")?)?;
    let mut inside = ByHand::start(bench)?;
    refused("read", inside.read(bench, "d/a"), &Refusal::Enoent)?;
    bench.client().write(&bench.at("d/a")?, b"2")?;
    inside.write(bench, "b", "3")?;
    refused("commit", inside.commit(), &Refusal::Eagain)
}

fn a_removed_node_that_was_read_is_a_conflict(bench: &Bench<'_>) -> Outcome {
    bench.client().write(&bench.at("d/a")?, b"1")?;
    let mut inside = ByHand::start(bench)?;
    inside.read(bench, "d/a")?;
    bench.client().remove(&bench.at("d/a")?)?;
    inside.write(bench, "b", "3")?;
    refused("commit", inside.commit(), &Refusal::Eagain)
}

fn a_new_sibling_of_a_new_node_is_a_conflict(bench: &Bench<'_>) -> Outcome {
    bench.client().make_directory(&bench.at("d")?)?;
    let mut inside = ByHand::start(bench)?;
    inside.write(bench, "d/one", "1")?;
    bench.client().write(&bench.at("d/two")?, b"2")?;
    refused("commit", inside.commit(), &Refusal::Eagain)
}

fn a_node_written_by_both_is_a_conflict(bench: &Bench<'_>) -> Outcome {
    bench.client().write(&bench.at("a")?, b"0")?;
    let mut inside = ByHand::start(bench)?;
    inside.write(bench, "a", "1")?;
    bench.client().write(&bench.at("a")?, b"2")?;
    refused("commit", inside.commit(), &Refusal::Eagain)?;
    same("value", bench.client().read(&bench.at("a")?)?, some(b"2"))
}

fn changes_elsewhere_are_no_conflict(bench: &Bench<'_>) -> Outcome {
    let mut outside = bench.client();
    outside.write(&bench.at("mine/a")?, b"0")?;
    outside.write(&bench.at("other/a")?, b"0")?;
    let mut inside = ByHand::start(bench)?;
    inside.read(bench, "mine/a")?;
    inside.write(bench, "mine/a", "1")?;
    outside.write(&bench.at("other/a")?, b"1")?;
    outside.write(&bench.at("other/b")?, b"1")?;
    inside.commit()?;
    same("value", outside.read(&bench.at("mine/a")?)?, some(b"1"))
}

fn others_reading_is_no_conflict(bench: &Bench<'_>) -> Outcome {
    let mut outside = bench.client();
    outside.write(&bench.at("a")?, b"0")?;
    let mut inside = ByHand::start(bench)?;
    inside.write(bench, "a", "1")?;
    outside.read(&bench.at("a")?)?;
    outside.list(&bench.absolute)?;
    inside.commit()?;
    same("value", outside.read(&bench.at("a")?)?, some(b"1"))
}

fn two_transactions_on_different_nodes_both_commit(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("one/a")?, b"0")?;
    client.write(&bench.at("two/a")?, b"0")?;
    let (mut one, mut two) = (ByHand::start(bench)?, ByHand::start(bench)?);
    one.write(bench, "one/a", "1")?;
    two.write(bench, "two/a", "2")?;
    two.commit()?;
    one.commit()?;
    same("values", client.read_many(&[bench.at("one/a")?, bench.at("two/a")?])?, vec![some(b"1"), some(b"2")])
}

fn of_two_transactions_on_one_node_the_second_fails(bench: &Bench<'_>) -> Outcome {
    bench.client().write(&bench.at("a")?, b"0")?;
    let (mut one, mut two) = (ByHand::start(bench)?, ByHand::start(bench)?);
    one.read(bench, "a")?;
    two.read(bench, "a")?;
    one.write(bench, "a", "1")?;
    two.write(bench, "a", "2")?;
    one.commit()?;
    refused("second commit", two.commit(), &Refusal::Eagain)?;
    same("value", bench.client().read(&bench.at("a")?)?, some(b"1"))
}

fn a_conflict_runs_the_body_again(bench: &Bench<'_>) -> Outcome {
    let path = bench.at("counter")?;
    let mut outside = bench.client();
    outside.write(&path, b"5")?;
    let mut runs = 0;
    bench.client().transaction(|t| {
        runs += 1;
        let mut value = t.read(&path)?.unwrap_or_default();
        if runs < 3 {
            outside.write(&path, format!("{}", 5 + runs).as_bytes())?;
        }
        value.push(b'!');
        t.write(&path, &value)
    })?;
    same("runs", runs, 3)?;
    same("value", bench.client().read(&path)?, some(b"7!"))
}

fn a_conflict_leaves_no_trace(bench: &Bench<'_>) -> Outcome {
    bench.client().write(&bench.at("a")?, b"0")?;
    let mut inside = ByHand::start(bench)?;
    inside.write(bench, "new/below", "1")?;
    inside.read(bench, "a")?;
    bench.client().write(&bench.at("a")?, b"1")?;
    refused("commit", inside.commit(), &Refusal::Eagain)?;
    same("children", bench.client().list(&bench.absolute)?, Some(vec!["a".to_owned()]))
}

fn two_transactions_of_one_connection_are_apart(bench: &Bench<'_>) -> Outcome {
    let mut inside = ByHand::start(bench)?;
    let first = inside.number;
    inside.write(bench, "a", "1")?;
    inside.number = start(&mut inside.client)?;
    same("the same number twice", inside.number == first, false)?;
    refused("read in the second", inside.read(bench, "a"), &Refusal::Enoent)?;
    inside.client.exchange(Kind::TransactionEnd, inside.number, b"F\0")?;
    inside.number = first;
    same("read in the first", inside.read(bench, "a")?, b"1".to_vec())?;
    inside.commit()?;
    same("value", bench.client().read(&bench.at("a")?)?, some(b"1"))
}

fn a_closed_connection_undoes_its_transaction(bench: &Bench<'_>) -> Outcome {
    let mut inside = ByHand::start(bench)?;
    inside.write(bench, "a", "1")?;
    drop(inside);
    same("value", bench.client().read(&bench.at("a")?)?, None)
}

fn transactions_do_not_nest(bench: &Bench<'_>) -> Outcome {
    let mut inside = ByHand::start(bench)?;
    refused("start", inside.client.exchange(Kind::TransactionStart, inside.number, b"\0"), &Refusal::Ebusy)
}

fn an_unknown_transaction_is_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for kind in [Kind::Read, Kind::Directory, Kind::Write, Kind::TransactionStart] {
        refused(&format!("{kind:?}"), client.exchange(kind, 4_000_000, b"/tool\0"), &Refusal::Enoent)?;
    }
    refused("end", client.exchange(Kind::TransactionEnd, 4_000_000, b"T\0"), &Refusal::Enoent)
}

fn an_ended_transaction_is_unknown(bench: &Bench<'_>) -> Outcome {
    let mut inside = ByHand::start(bench)?;
    inside.commit()?;
    refused("read", inside.read(bench, "a"), &Refusal::Enoent)?;
    refused("second end", inside.commit(), &Refusal::Enoent)
}

fn another_connections_transaction_is_unknown(bench: &Bench<'_>) -> Outcome {
    let inside = ByHand::start(bench)?;
    let mut other = ByHand { client: bench.client(), number: inside.number };
    refused("read", other.read(bench, "a"), &Refusal::Enoent)
}

fn an_end_outside_of_a_transaction_is_refused(bench: &Bench<'_>) -> Outcome {
    refused("end", raw(&mut bench.client(), Kind::TransactionEnd, b"T\0"), &Refusal::Enoent)
}

fn an_end_must_say_how(bench: &Bench<'_>) -> Outcome {
    let mut inside = ByHand::start(bench)?;
    for how in [&b"X\0"[..], b"T", b"TF\0", b"T\0F\0"] {
        let outcome = inside.client.exchange(Kind::TransactionEnd, inside.number, how);
        refused(&format!("end with {how:?}"), outcome, &Refusal::Einval)?;
    }
    inside.commit()?;
    Ok(())
}
