//! What configurations of toolstacks say of the programs, and what the programs have left in their log.

use std::path::{Path, PathBuf};

use crate::host::Switch;
use crate::inspect::model::printable;
use crate::interface_name::InterfaceName;
use crate::program::PROGRAMS;

/// What xl.conf says of vifs (xl.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XlConf {
    /// `vif.default.script`, or `vifscript`, as it was called before.
    pub default_script: Option<String>,
    /// `vif.default.bridge`, or `defaultbridge`.
    pub default_bridge: Option<InterfaceName>,
    /// `run_hotplug_scripts`: whether xl calls the programs, or leaves it to udev.
    pub calls: Option<Switch>,
}

impl XlConf {
    /// From its text. What makes no sense is passed over: xl complains of it by itself.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches(|sign| matches!(sign, '"' | '\''));
            match name.trim() {
                "vif.default.script" | "vifscript" => {
                    conf.default_script = Some(value.to_owned()).filter(|value| !value.is_empty());
                }
                "vif.default.bridge" | "defaultbridge" => conf.default_bridge = value.parse().ok(),
                "run_hotplug_scripts" => conf.calls = Some(if value == "0" { Switch::Off } else { Switch::On }),
                _ => {}
            }
        }
        conf
    }
}

/// The settings of xend-config.sxp that name programs, and the words they name.
#[must_use]
pub fn xend_scripts(text: &str) -> Vec<(&'static str, String)> {
    let mut found = vec![];
    for line in text.lines().map(str::trim) {
        for setting in ["network-script", "vif-script"] {
            let rest = line.strip_prefix('(').and_then(|line| line.trim_start().strip_prefix(setting));
            let value = rest.filter(|rest| rest.starts_with([' ', '\t'])).and_then(|rest| rest.trim().strip_suffix(')'));
            let value = value.map(|value| value.trim().trim_matches(|sign| matches!(sign, '"' | '\'')).trim());
            found.extend(value.filter(|value| !value.is_empty()).map(|value| (setting, value.to_owned())));
        }
    }
    found
}

/// Where the program of a configuration's words is: their first word, below `scripts` unless it is a whole path.
#[must_use]
pub fn program_path(scripts: &Path, words: &str) -> PathBuf {
    scripts.join(words.split(' ').next().unwrap_or_default())
}

/// What the programs complained of in the log: a line is theirs when it begins with a program's name and a colon.
#[must_use]
pub fn complaints(text: &str) -> Vec<String> {
    let is_ours = |line: &&str| {
        let program = line.split_once(": ").map(|(program, _)| program);
        program.is_some_and(|name| name != crate::program::XEN_NETWORK.name && PROGRAMS.iter().any(|known| known.name == name))
    };
    text.lines().filter(is_ours).map(printable).collect()
}

/// Names in words, of which only the first few are told.
#[must_use]
pub fn listed<T: std::fmt::Display>(names: &[T]) -> String {
    const TOLD: usize = 3;
    let told: Vec<String> = names.iter().take(TOLD).map(ToString::to_string).collect();
    match names.len().saturating_sub(TOLD) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xl_conf_is_read_as_xl_reads_it() {
        let text = "# vif.default.script=\"no\"\nvif.default.script = \"vif-nat\"\nvif.default.bridge='xenbr0' # mine\nrun_hotplug_scripts=0\n";
        let conf = XlConf::parse(text);
        assert_eq!(conf.default_script.as_deref(), Some("vif-nat"));
        assert_eq!(conf.default_bridge.map(|bridge| bridge.to_string()).as_deref(), Some("xenbr0"));
        assert_eq!(conf.calls, Some(Switch::Off));
        assert_eq!(XlConf::parse("nonsense\n=\nvif.default.bridge=a/b\n"), XlConf::default());
    }

    #[test]
    fn xend_config_names_programs_with_and_without_words() {
        let text = "# (network-script network-nat)\n(network-script 'network-bridge netdev=eth1')\n(vif-script vif-bridge)\n(vif-scripts x)\n(network-script )\n";
        let expected = [("network-script", "network-bridge netdev=eth1".to_owned()), ("vif-script", "vif-bridge".to_owned())];
        assert_eq!(xend_scripts(text), expected);
        let path = |words| program_path(Path::new("/etc/xen/scripts"), words);
        assert_eq!(path("network-bridge netdev=eth1"), Path::new("/etc/xen/scripts/network-bridge"));
        assert_eq!(path("/opt/mine x"), Path::new("/opt/mine"));
    }

    #[test]
    fn only_our_own_lines_are_complaints() {
        let text = "+ set -x\nvif-bridge: a\nxen-network: b\nlogger: c\nvif-nat: d\x1b[2J\nvif-bridge\n";
        assert_eq!(complaints(text), ["vif-bridge: a", "vif-nat: d?[2J"]);
    }
}
