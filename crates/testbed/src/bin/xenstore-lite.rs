//! `xenstore-lite`: a XenStore for machines without Xen, and a hand on any XenStore. For tests and for trying things; it is
//! not shipped.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use testbed::xenstore_server::Server;
use xenstore::{Client, DEFAULT_LIMIT, Removal, StorePath, Token};

const USAGE: &str = "usage: xenstore-lite serve SOCKET [PATH=VALUE ...]
       xenstore-lite read|list|ls|rm|watch PATH ...
       xenstore-lite write PATH VALUE ...
serve keeps a store in memory until SIGTERM or SIGINT, and prints READY when it answers.
The others talk to the store at XENSTORED_PATH, or to this machine's.";

/// A watch by hand lasts as long as the person likes.
const FOR_EVER: Duration = Duration::MAX;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xenstore-lite: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    match words {
        ["serve", socket, seeds @ ..] => serve(Path::new(socket), seeds),
        ["read", paths @ ..] if !paths.is_empty() => read(paths),
        ["list", paths @ ..] if !paths.is_empty() => list(paths),
        ["ls"] => ls(&["/"]),
        ["ls", paths @ ..] => ls(paths),
        ["rm", paths @ ..] if !paths.is_empty() => remove(paths),
        ["write", pairs @ ..] if !pairs.is_empty() && pairs.len() % 2 == 0 => write(pairs),
        ["watch", paths @ ..] if !paths.is_empty() => watch(paths),
        _ => Err(USAGE.into()),
    }
}

fn serve(socket: &Path, seeds: &[&str]) -> Outcome {
    // Before the server's thread starts, so that it does not take the signals.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block()?;
    // Each client is a descriptor, and the usual soft limit of 1024 is about as many guests as a big host has.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let server = Server::start(socket).map_err(|error| format!("cannot serve on {}: {error}", socket.display()))?;
    for seed in seeds {
        let (path, value) = seed.split_once('=').ok_or_else(|| format!("{seed:?} is not PATH=VALUE"))?;
        server.seed(&StorePath::parse(path)?, value.as_bytes()).map_err(|refusal| format!("cannot write {path}: {refusal}"))?;
    }
    println!("READY");
    io::stdout().flush()?;
    signals.wait()?;
    Ok(())
}

fn read(paths: &[&str]) -> Outcome {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    for path in paths {
        let value = client.read(&StorePath::parse(path)?)?.ok_or_else(|| format!("there is no node {path}"))?;
        io::stdout().write_all(&value)?;
        println!();
    }
    Ok(())
}

fn list(paths: &[&str]) -> Outcome {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    for path in paths {
        let names = client.list(&StorePath::parse(path)?)?.ok_or_else(|| format!("there is no node {path}"))?;
        names.iter().for_each(|name| println!("{name}"));
    }
    Ok(())
}

fn ls(paths: &[&str]) -> Outcome {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    paths.iter().try_for_each(|path| show_tree(&mut client, &StorePath::parse(path)?))
}

/// One line a node, `PATH = "VALUE"`. Nodes that vanish meanwhile are left out.
fn show_tree(client: &mut Client, top: &StorePath) -> Outcome {
    let Some(names) = client.list(top)? else { return Ok(()) };
    let below: Result<Vec<_>, _> = names.iter().map(|name| top.join(name)).collect();
    let below = below?;
    for (path, value) in below.iter().zip(client.read_many(&below)?) {
        if let Some(value) = value {
            println!("{path} = \"{}\"", value.escape_ascii());
            show_tree(client, path)?;
        }
    }
    Ok(())
}

fn remove(paths: &[&str]) -> Outcome {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    for path in paths {
        if client.remove(&StorePath::parse(path)?)? == Removal::WasAbsent {
            eprintln!("xenstore-lite: there was no node {path}");
        }
    }
    Ok(())
}

fn write(pairs: &[&str]) -> Outcome {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    for pair in pairs.chunks_exact(2) {
        client.write(&StorePath::parse(pair[0])?, pair[1].as_bytes())?;
    }
    Ok(())
}

fn watch(paths: &[&str]) -> Outcome {
    let mut client = Client::connect(DEFAULT_LIMIT)?;
    for path in paths {
        client.watch(&StorePath::parse(path)?, &Token::new(path)?)?;
    }
    client.renew(FOR_EVER);
    loop {
        println!("{}", client.next_event()?.path);
        io::stdout().flush()?;
    }
}
