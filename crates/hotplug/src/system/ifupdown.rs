//! Debian's ifupdown (and ifupdown-ng, which keeps its state in the same form): whose devices it has brought up, and how.

use std::collections::BTreeSet;
use std::time::Duration;

use super::child::{find_program, run_to_end};
use super::files::Files;
use crate::interface_name::InterfaceName;

/// Where the state is kept: by ifupdown, by ifupdown-ng.
const STATE_FILES: [&str; 2] = ["/run/network/ifstate", "/run/ifstate"];
const CONFIGURATION: &str = "/etc/network/interfaces";
/// Most files that are read: they name further files, and may name each other.
const FILES_MAX: usize = 200;
/// How long a DHCP client and the scripts of if-up.d may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How ifupdown gave a device its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a DHCP client, for at least one family.
    Dhcp,
    /// In any other way.
    Other,
}

/// How ifupdown brought `device` up; `None` when it did not.
#[must_use]
pub fn method_of(files: &Files, device: &InterfaceName) -> Option<Method> {
    let logical = STATE_FILES.iter().find_map(|path| logical_name(&files.read(path)?, device))?;
    let found = dhcp_names(files);
    Some(if found.contains(&logical) { Method::Dhcp } else { Method::Other })
}

/// The configuration's name for `device`, from a state file with lines `eth0=eth0`. They differ where the configuration maps names.
pub(super) fn logical_name(state: &str, device: &InterfaceName) -> Option<String> {
    state.lines().find_map(|line| {
        let (name, rest) = line.split_once('=')?;
        let logical = rest.split_ascii_whitespace().next()?;
        (name.trim() == device.as_str()).then(|| logical.to_owned())
    })
}

/// The names of all `iface` stanzas that say `dhcp`, in the configuration and the files that it names, each read once.
fn dhcp_names(files: &Files) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut paths = vec![CONFIGURATION.to_owned()];
    let mut next = 0;
    while let Some(text) = paths.get(next).map(|path| files.read(path)) {
        for line in logical_lines(&text.unwrap_or_default()) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words[..] {
                ["iface", name, _, "dhcp", ..] => {
                    found.insert(name.to_owned());
                }
                [keyword @ ("source" | "source-directory"), pattern, ..] => {
                    for path in named_files(files, keyword, pattern) {
                        if paths.len() < FILES_MAX && !paths.contains(&path) {
                            paths.push(path);
                        }
                    }
                }
                _ => {}
            }
        }
        next += 1;
    }
    found
}

/// The lines of interfaces(5): joined where one ends with a backslash, without comments.
pub(super) fn logical_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    joined.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect()
}

/// The files that `source PATTERN` or `source-directory FOLDER` stands for. Of patterns, those are understood whose last part holds one
/// `*`: what distributions ship.
fn named_files(files: &Files, keyword: &str, pattern: &str) -> Vec<String> {
    let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/network/{pattern}") };
    if keyword == "source-directory" {
        let folder = pattern.trim_end_matches('/');
        let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        return files.names(folder).into_iter().filter(plain).map(|name| format!("{folder}/{name}")).collect();
    }
    let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
    match last.split_once('*') {
        None => vec![pattern],
        Some((head, tail)) => {
            let matches = |name: &String| {
                name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail) && !name.starts_with('.')
            };
            files.names(folder).into_iter().filter(matches).map(|name| format!("{folder}/{name}")).collect()
        }
    }
}

/// Takes `device` down by its configuration: `ifdown DEVICE`.
///
/// # Errors
/// When ifdown is not there, fails, or takes longer than 60 s.
pub fn down(device: &InterfaceName) -> Result<(), String> {
    run("ifdown", device)
}

/// Brings `device` up by its configuration: `ifup DEVICE`.
///
/// # Errors
/// When ifup is not there, fails, or takes longer than 60 s.
pub fn up(device: &InterfaceName) -> Result<(), String> {
    run("ifup", device)
}

fn run(name: &str, device: &InterfaceName) -> Result<(), String> {
    let path = find_program(name).ok_or_else(|| format!("there is no {name}: install ifupdown"))?;
    run_to_end(&path, &[device.as_str()], LIMIT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn machine(content: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in content {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = Files::below(root.path());
        (root, files)
    }

    fn method(content: &[(&str, &str)], device: &str) -> Option<Method> {
        let (_root, files) = machine(content);
        method_of(&files, &device.parse().unwrap())
    }

    const STATE: &str = "run/network/ifstate";
    const FILE: &str = "etc/network/interfaces";

    #[test]
    fn a_device_is_ifupdowns_when_it_is_in_the_state() {
        assert_eq!(method(&[], "eth0"), None);
        assert_eq!(method(&[(STATE, "lo=lo\neth1=eth1\neth00=eth00\n")], "eth0"), None);
        assert_eq!(method(&[(STATE, "lo=lo\neth0=eth0\n")], "eth0"), Some(Method::Other));
        assert_eq!(method(&[("run/ifstate", "lo=lo 1\neth0=eth0 1\n")], "eth0"), Some(Method::Other));
    }

    #[test]
    fn its_method_stands_in_the_configuration() {
        let state = (STATE, "eth0=eth0\nwlan0=home\n");
        assert_eq!(method(&[state, (FILE, "auto eth0\niface eth0 inet dhcp\n")], "eth0"), Some(Method::Dhcp));
        assert_eq!(method(&[state, (FILE, "iface eth0 inet static\n  address 10.0.0.1/24\n")], "eth0"), Some(Method::Other));
        assert_eq!(method(&[state, (FILE, "# iface eth0 inet dhcp\niface eth1 inet dhcp\n")], "eth0"), Some(Method::Other));
        assert_eq!(method(&[state, (FILE, "iface eth0 inet \\\n dhcp\n")], "eth0"), Some(Method::Dhcp));
        assert_eq!(method(&[state, (FILE, "iface eth0 inet static\niface eth0 inet6 dhcp\n")], "eth0"), Some(Method::Dhcp));
        assert_eq!(method(&[state, (FILE, "iface home inet dhcp\n")], "wlan0"), Some(Method::Dhcp));
    }

    #[test]
    fn further_files_are_read() {
        let state = (STATE, "eth0=eth0\n");
        let dhcp = ("etc/network/interfaces.d/eth0", "iface eth0 inet dhcp\n");
        for source in [
            "source /etc/network/interfaces.d/*",
            "source interfaces.d/eth*",
            "source-directory interfaces.d",
            "source interfaces.d/eth0",
        ] {
            assert_eq!(method(&[state, dhcp, (FILE, source)], "eth0"), Some(Method::Dhcp), "{source}");
        }
        assert_eq!(method(&[state, dhcp, (FILE, "source interfaces.d/*.cfg")], "eth0"), Some(Method::Other));
    }

    #[test]
    fn a_file_that_names_itself_ends() {
        assert_eq!(
            method(&[(STATE, "eth0=eth0\n"), (FILE, "source interfaces\nsource /etc/network/*\n")], "eth0"),
            Some(Method::Other)
        );
    }

    #[test]
    fn files_that_name_each_other_over_and_over_are_read_once() {
        let (one, other) = ("source interfaces.d/b\n".repeat(50), "source interfaces.d/a\n".repeat(50));
        let content = [
            (STATE, "eth0=eth0\n"),
            (FILE, "source interfaces.d/*"),
            ("etc/network/interfaces.d/a", &one),
            ("etc/network/interfaces.d/b", &other),
        ];
        assert_eq!(method(&content, "eth0"), Some(Method::Other));
    }

    #[test]
    fn garbage_is_no_device() {
        for state in ["=", "eth0", "eth0=", "\0\0", "eth0 = \n==\n", "eth0=\u{fffd}"] {
            let found = method(&[(STATE, state), (FILE, "iface\niface eth0\nsource\n\\")], "eth0");
            assert!(matches!(found, None | Some(Method::Other)), "{state:?}");
        }
    }

    fn command(body: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ifup");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        (folder, path)
    }

    fn run_body(body: &str, limit: Duration) -> Result<(), String> {
        let (_folder, path) = command(body);
        run_to_end(&path, &["eth0"], limit)
    }

    #[test]
    fn the_command_gets_the_device_and_nothing_of_ours() {
        assert_eq!(run_body("test \"$1\" = eth0 && test $# = 1 && test -z \"$HOME\" && ! read x", Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn a_failure_carries_its_last_words() {
        let error = run_body("echo first; echo 'no lease' >&2; echo; exit 3", Duration::from_secs(10)).unwrap_err();
        assert!(error.ends_with("ifup eth0 ended with exit status: 3: no lease"), "{error}");
        let error = run_body("echo waiting; sleep 1000", Duration::from_millis(300)).unwrap_err();
        assert!(error.ends_with("ifup eth0 did not end within 0.3 s and was stopped: waiting"), "{error}");
    }

    #[test]
    fn a_long_tale_is_cut() {
        assert_eq!(run_body("yes | head -c 1000000", Duration::from_secs(10)), Ok(()));
    }
}
