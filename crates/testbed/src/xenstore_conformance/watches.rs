//! Watches: what they report, in which order, and what they do not.

use xenstore::wire::Kind;
use xenstore::{Access, DomainId, Permission, Refusal, StorePath, Token};

use super::{Bench, Outcome, Watcher, cases, raw, refused, refused_somehow, same};

cases![
    the_first_event_comes_at_once,
    a_watch_may_wait_for_a_node_to_appear,
    a_write_is_reported_with_its_path,
    a_write_of_the_same_value_is_reported,
    own_changes_are_reported,
    nodes_made_on_the_way_are_not_reported,
    a_made_directory_is_reported_and_an_existing_one_is_not,
    a_removal_is_reported_once_above,
    a_removal_of_something_above_is_reported_with_the_own_path,
    removing_a_missing_node_is_not_reported,
    a_change_of_permissions_is_reported,
    changes_elsewhere_are_not_reported,
    names_with_a_common_start_are_apart,
    reads_are_not_reported,
    events_come_in_the_order_of_the_changes,
    watches_on_one_node_are_told_in_the_order_they_were_set,
    a_relative_watch_reports_relative_paths,
    a_relative_watch_hears_of_a_removal_above,
    special_names_can_be_watched,
    a_watch_cannot_be_set_twice,
    a_token_may_hold_anything_but_nul,
    an_ended_watch_is_silent,
    an_unknown_watch_cannot_be_ended,
    malformed_watches_are_refused,
    resetting_ends_all_watches,
    a_transaction_is_reported_when_committed,
    an_undone_transaction_is_not_reported,
    a_watch_ignores_the_transaction_it_is_sent_in,
];

fn the_first_event_comes_at_once(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("a")?);
    client.write(&path, b"v")?;
    client.watch(&path, &Token::new("token")?)?;
    let first = client.next_event()?;
    same("path", first.path, path)?;
    same("token", first.token.as_str(), "token")
}

fn a_watch_may_wait_for_a_node_to_appear(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, path) = (Watcher::new(bench)?, bench.at("not/yet/here")?);
    watcher.watch(&path, "t")?;
    bench.client().write(&path, b"v")?;
    watcher.expect(&[(&path, "t")])
}

fn a_write_is_reported_with_its_path(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    watcher.watch(&bench.at("a")?, "t")?;
    client.write(&bench.at("a")?, b"1")?;
    client.write(&bench.at("a/b/c")?, b"1")?;
    watcher.expect(&[(&bench.at("a")?, "t"), (&bench.at("a/b/c")?, "t")])
}

fn a_write_of_the_same_value_is_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.write(&bench.at("a")?, b"1")?;
    watcher.watch(&bench.at("a")?, "t")?;
    client.write(&bench.at("a")?, b"1")?;
    watcher.expect(&[(&bench.at("a")?, "t")])
}

fn own_changes_are_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, path) = (Watcher::new(bench)?, bench.at("a")?);
    watcher.watch(&path, "t")?;
    watcher.client.write(&path, b"1")?;
    watcher.expect(&[(&path, "t")])
}

fn nodes_made_on_the_way_are_not_reported(bench: &Bench<'_>) -> Outcome {
    let mut watcher = Watcher::new(bench)?;
    watcher.watch(&bench.at("a")?, "above")?;
    watcher.watch(&bench.at("a/b")?, "way")?;
    bench.client().write(&bench.at("a/b/c")?, b"1")?;
    watcher.expect(&[(&bench.at("a/b/c")?, "above"), (&bench.at("a/b/c")?, "way")])
}

fn a_made_directory_is_reported_and_an_existing_one_is_not(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    watcher.watch(&bench.at("a")?, "t")?;
    client.make_directory(&bench.at("a/b")?)?;
    watcher.expect(&[(&bench.at("a/b")?, "t")])?;
    client.make_directory(&bench.at("a/b")?)?;
    watcher.expect(&[])
}

fn a_removal_is_reported_once_above(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.write(&bench.at("a/b/c")?, b"1")?;
    client.write(&bench.at("a/b/d")?, b"1")?;
    watcher.watch(&bench.at("a")?, "t")?;
    client.remove(&bench.at("a/b")?)?;
    watcher.expect(&[(&bench.at("a/b")?, "t")])
}

fn a_removal_of_something_above_is_reported_with_the_own_path(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.write(&bench.at("a/b/c/d")?, b"1")?;
    watcher.watch(&bench.at("a/b/c")?, "t")?;
    watcher.watch(&bench.at("a/b/c/missing")?, "missing")?;
    client.remove(&bench.at("a")?)?;
    watcher.expect(&[(&bench.at("a/b/c")?, "t")])
}

fn removing_a_missing_node_is_not_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.make_directory(&bench.at("a")?)?;
    watcher.watch(&bench.at("a")?, "t")?;
    client.remove(&bench.at("a/missing")?)?;
    watcher.expect(&[])
}

fn a_change_of_permissions_is_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.write(&bench.at("a/b")?, b"1")?;
    watcher.watch(&bench.at("a")?, "t")?;
    client.set_permissions(&bench.at("a/b")?, &[Permission { domain: DomainId(0), access: Access::Read }])?;
    watcher.expect(&[(&bench.at("a/b")?, "t")])
}

fn changes_elsewhere_are_not_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    watcher.watch(&bench.at("a/b")?, "t")?;
    client.write(&bench.at("a")?, b"above")?;
    client.write(&bench.at("a/c")?, b"beside")?;
    watcher.expect(&[])
}

fn names_with_a_common_start_are_apart(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    watcher.watch(&bench.at("vif/1")?, "t")?;
    client.write(&bench.at("vif/10/state")?, b"4")?;
    client.write(&bench.at("vif/1/state")?, b"4")?;
    watcher.expect(&[(&bench.at("vif/1/state")?, "t")])
}

fn reads_are_not_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.write(&bench.at("a")?, b"1")?;
    watcher.watch(&bench.at("a")?, "t")?;
    client.read(&bench.at("a")?)?;
    client.list(&bench.at("a")?)?;
    client.permissions(&bench.at("a")?)?;
    watcher.expect(&[])
}

fn events_come_in_the_order_of_the_changes(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    watcher.watch(&bench.at("d")?, "t")?;
    let names = ["z", "a", "m", "b", "y"];
    let paths: Vec<StorePath> = names.iter().map(|name| Ok(bench.at("d")?.join(name)?)).collect::<Outcome<_>>()?;
    let values: Vec<_> = paths.iter().map(|path| (path.clone(), b"1".to_vec())).collect();
    client.write_many(&values)?;
    let expected: Vec<_> = paths.iter().map(|path| (path, "t")).collect();
    watcher.expect(&expected)
}

fn watches_on_one_node_are_told_in_the_order_they_were_set(bench: &Bench<'_>) -> Outcome {
    let mut watcher = Watcher::new(bench)?;
    for token in ["second", "first", "third"] {
        watcher.watch(&bench.at("a")?, token)?;
    }
    let path = bench.at("a")?;
    bench.client().write(&path, b"1")?;
    watcher.expect(&[(&path, "second"), (&path, "first"), (&path, "third")])
}

fn a_relative_watch_reports_relative_paths(bench: &Bench<'_>) -> Outcome {
    let mut watcher = Watcher::new(bench)?;
    watcher.watch(&bench.relative.join("a")?, "t")?;
    bench.client().write(&bench.at("a/b")?, b"1")?;
    watcher.expect(&[(&bench.relative.join("a/b")?, "t")])
}

fn a_relative_watch_hears_of_a_removal_above(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, mut client) = (Watcher::new(bench)?, bench.client());
    client.write(&bench.at("a/b/c")?, b"1")?;
    watcher.watch(&bench.relative.join("a/b")?, "t")?;
    client.remove(&bench.at("a")?)?;
    watcher.expect(&[(&bench.relative.join("a/b")?, "t")])
}

fn special_names_can_be_watched(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for name in ["@introduceDomain", "@releaseDomain"] {
        client.watch(&StorePath::parse(name)?, &Token::new("t")?)?;
        same("path", client.next_event()?.path.as_str(), name)?;
    }
    Ok(())
}

fn a_watch_cannot_be_set_twice(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, path) = (Watcher::new(bench)?, bench.at("a")?);
    watcher.watch(&path, "t")?;
    refused("second", watcher.client.watch(&path, &Token::new("t")?), &Refusal::Eexist)?;
    watcher.expect(&[])?;
    watcher.watch(&path, "another")
}

fn a_token_may_hold_anything_but_nul(bench: &Bench<'_>) -> Outcome {
    let mut watcher = Watcher::new(bench)?;
    for token in ["", " ", "a b/c|d\n", "gr\u{fc}n", "FE1", &"x".repeat(300)] {
        watcher.watch(&bench.at("a")?, token)?;
    }
    Ok(())
}

fn an_ended_watch_is_silent(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, path) = (Watcher::new(bench)?, bench.at("a")?);
    watcher.watch(&path, "ended")?;
    watcher.watch(&path, "kept")?;
    watcher.client.unwatch(&path, &Token::new("ended")?)?;
    bench.client().write(&path, b"1")?;
    watcher.expect(&[(&path, "kept")])
}

fn an_unknown_watch_cannot_be_ended(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, path) = (Watcher::new(bench)?, bench.at("a")?);
    watcher.watch(&path, "t")?;
    refused("another token", watcher.client.unwatch(&path, &Token::new("u")?), &Refusal::Enoent)?;
    refused("another path", watcher.client.unwatch(&bench.at("b")?, &Token::new("t")?), &Refusal::Enoent)?;
    refused("another connection", bench.client().unwatch(&path, &Token::new("t")?), &Refusal::Enoent)
}

fn malformed_watches_are_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for payload in [&b"/a\0"[..], b"/a\0t", b"/a\0t\0u\0", b"/a b\0t\0", b"/a/\0t\0", b"\0t\0", b""] {
        for kind in [Kind::Watch, Kind::Unwatch] {
            refused_somehow(&format!("{kind:?} {payload:?}"), raw(&mut client, kind, payload))?;
        }
    }
    Ok(())
}

fn resetting_ends_all_watches(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("a")?);
    for token in ["t", "u"] {
        client.watch(&path, &Token::new(token)?)?;
        client.next_event()?;
    }
    raw(&mut client, Kind::ResetWatches, b"\0")?;
    bench.client().write(&path, b"1")?;
    refused("ending a watch", client.unwatch(&path, &Token::new("t")?), &Refusal::Enoent)?;
    client.watch(&path, &Token::new("new")?)?;
    same("the next event's token", client.next_event()?.token.as_str(), "new")
}

fn a_transaction_is_reported_when_committed(bench: &Bench<'_>) -> Outcome {
    let mut watcher = Watcher::new(bench)?;
    let (a, b, c) = (bench.at("d/a")?, bench.at("d/b")?, bench.at("d/c")?);
    bench.client().write(&c, b"1")?;
    watcher.watch(&bench.at("d")?, "t")?;
    let mut before = None;
    bench.client().transaction(|t| {
        t.write(&b, b"1")?;
        t.write(&a, b"1")?;
        t.write(&b, b"2")?;
        t.remove(&c)?;
        before = Some(watcher.events());
        Ok(())
    })?;
    same("events before the commit", before.transpose()?, Some(Vec::new()))?;
    // In which order is the daemon's business.
    let mut seen = watcher.events()?;
    seen.sort();
    same("events after it", seen, [a, b, c].map(|path| (path.to_string(), "t".to_owned())).to_vec())
}

fn an_undone_transaction_is_not_reported(bench: &Bench<'_>) -> Outcome {
    let (mut watcher, path) = (Watcher::new(bench)?, bench.at("a")?);
    watcher.watch(&path, "t")?;
    let outcome: xenstore::Result<()> = bench.client().transaction(|t| {
        t.write(&path, b"1")?;
        Err(xenstore::Error::NoStore)
    });
    same("undone", outcome.is_err(), true)?;
    watcher.expect(&[])
}

fn a_watch_ignores_the_transaction_it_is_sent_in(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("a")?);
    client.exchange(Kind::Watch, 4_000_000, format!("{path}\0t\0").as_bytes())?;
    same("the first event's path", client.next_event()?.path, path)
}
