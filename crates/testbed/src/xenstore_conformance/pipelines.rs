//! Many requests sent before the first answer is read.

use xenstore::StorePath;

use super::{Bench, Failure, Outcome, Watcher, cases, same, some};

cases![
    five_hundred_writes_and_reads_go_through,
    answers_come_in_the_order_of_the_requests,
    lists_come_in_the_order_of_the_requests,
    long_answers_do_not_jam_the_pipeline,
    long_requests_do_not_jam_the_pipeline,
    no_request_at_all_is_fine,
    events_between_answers_are_kept,
];

fn many(bench: &Bench<'_>, count: usize) -> Outcome<Vec<StorePath>> {
    (0..count).map(|number| bench.at("many")?.join(&number.to_string()).map_err(Failure::from)).collect()
}

fn five_hundred_writes_and_reads_go_through(bench: &Bench<'_>) -> Outcome {
    let (mut client, paths) = (bench.client(), many(bench, 500)?);
    let values: Vec<_> = paths.iter().cloned().zip((0..500u32).map(|n| n.to_string().into_bytes())).collect();
    client.write_many(&values)?;
    let expected: Vec<_> = values.into_iter().map(|(_, value)| Some(value)).collect();
    same("values", bench.client().read_many(&paths)?, expected)
}

fn answers_come_in_the_order_of_the_requests(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("present")?, b"here")?;
    let (present, missing) = (bench.at("present")?, bench.at("missing")?);
    let values = client.read_many(&[missing.clone(), present.clone(), missing, present])?;
    same("values", values, vec![None, some(b"here"), None, some(b"here")])
}

fn lists_come_in_the_order_of_the_requests(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("folder/child")?, b"")?;
    let (folder, leaf, missing) = (bench.at("folder")?, bench.at("folder/child")?, bench.at("missing")?);
    let lists = client.list_many(&[missing.clone(), folder.clone(), leaf, folder])?;
    let child = || Some(vec!["child".to_owned()]);
    same("lists", lists, vec![None, child(), Some(vec![]), child()])
}

fn long_answers_do_not_jam_the_pipeline(bench: &Bench<'_>) -> Outcome {
    let (mut client, path) = (bench.client(), bench.at("long")?);
    let value = vec![b'v'; 3900];
    client.write(&path, &value)?;
    let values = client.read_many(&vec![path; 500])?;
    same("how many are whole", values.iter().filter(|seen| seen.as_ref() == Some(&value)).count(), 500)
}

fn long_requests_do_not_jam_the_pipeline(bench: &Bench<'_>) -> Outcome {
    let (mut client, paths) = (bench.client(), many(bench, 300)?);
    let most = client.payload_max();
    let longest = |path: &StorePath| vec![b'v'; most - path.as_str().len() - 1];
    let values: Vec<_> = paths.iter().map(|path| (path.clone(), longest(path))).collect();
    client.write_many(&values)?;
    let seen = client.read_many(&paths)?;
    let whole = seen.iter().zip(&values).filter(|(seen, (_, value))| seen.as_ref() == Some(value)).count();
    same("how many are whole", whole, 300)
}

fn no_request_at_all_is_fine(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    same("values", client.read_many(&[])?, Vec::new())?;
    client.write_many(&[])?;
    same("still usable", client.read(&bench.at("missing")?)?, None)
}

fn events_between_answers_are_kept(bench: &Bench<'_>) -> Outcome {
    let mut watcher = Watcher::new(bench)?;
    let paths = many(bench, 100)?;
    watcher.watch(&bench.at("many")?, "own")?;
    let values: Vec<_> = paths.iter().map(|path| (path.clone(), b"v".to_vec())).collect();
    watcher.client.write_many(&values)?;
    let expected: Vec<_> = paths.iter().map(|path| (path, "own")).collect();
    watcher.expect(&expected)
}
