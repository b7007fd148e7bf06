//! The words of a call and its environment.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use hotplug::invocation::{Invocation, UsageError};
use hotplug::program::PROGRAMS;
use hotplug::request::network_bridge::NetworkBridge;
use hotplug::request::network_nat::NetworkNat;
use hotplug::request::network_route::NetworkRoute;
use hotplug::request::vif::{VifCall, VifWords};

use super::{check_sentence, chosen};

/// The first byte chooses the program; a zero ends a word, and a word that begins with a one belongs to the environment.
pub(crate) fn read(input: &[u8]) {
    let Some((choice, rest)) = chosen(input) else { return };
    let program = PROGRAMS[choice % PROGRAMS.len()];
    let (environment, words): (Vec<_>, Vec<_>) = rest.split(|byte| *byte == 0).partition(|word| word.first() == Some(&1));
    let environment = environment.into_iter().filter_map(|word| {
        let place = word.iter().position(|byte| *byte == b'=')?;
        Some((OsString::from_vec(word[1..place].to_vec()), OsString::from_vec(word[place + 1..].to_vec())))
    });
    let argv = std::iter::once(b"program".as_slice()).chain(words).map(|word| OsString::from_vec(word.to_vec()));
    match Invocation::parse(program, argv, environment) {
        Ok(invocation) => ask(&invocation),
        Err(UsageError::Mistake(sentence)) => assert!(!sentence.is_empty() && !sentence.contains(char::is_control), "{sentence:?}"),
        Err(UsageError::Answer(text)) => assert!(!text.is_empty()),
    }
}

fn ask(invocation: &Invocation) {
    let variable = |name: &str| invocation.variable(name);
    let words = VifWords {
        command: invocation.command(),
        type_if: variable("type_if"),
        vif: variable("vif"),
        interface: variable("INTERFACE"),
        xenbus_path: variable("XENBUS_PATH"),
    };
    let command = invocation.command();
    let refusals = [
        VifCall::parse(&words).err(),
        NetworkBridge::parse(command, variable).err(),
        NetworkNat::parse(command, variable).err(),
        NetworkRoute::parse(command, variable).err(),
    ];
    refusals.iter().flatten().for_each(check_sentence);
    if let Some(backend) = words.waiting_backend() {
        // What is written there is nobody's but a backend's.
        assert!(backend.as_str().split('/').any(|part| part == "backend"), "{}", backend.as_str());
    }
}
