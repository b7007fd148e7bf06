//! Native hooks: processes that get the call's variables as their environment.

use std::path::Path;
use std::time::Duration;

use super::{may_set, too_slow};
use crate::operation::HookCall;
use crate::system::child::{Ending, bare_command, last_words, listen_to};

/// Variables of toolstacks and udev that hooks may need, though their names are in capitals.
const CAPITALS: [&str; 2] = ["INTERFACE", "UDEV_CALL"];

/// Runs the hook at `path` with the command as its first word. `left` is what it may still take of the `limit` for all.
pub(super) fn run(path: &Path, call: &HookCall, left: Duration, limit: Duration) -> Result<(), String> {
    let hook = path.display().to_string();
    let mut command = bare_command(path);
    command.envs(call.variables.iter().filter(|(name, _)| may_export(name)).map(|(name, value)| (name, value)));
    command.args(call.variables.iter().rfind(|(name, _)| name == "command").map(|(_, value)| value));
    match listen_to(command, &hook, left) {
        Ok((Ending::Exited(status), _)) if status.success() => Ok(()),
        Ok((Ending::Exited(status), output)) => Err(format!("the hook {hook} failed ({status}){}", last_words(&output))),
        Ok((Ending::Stopped, _)) => Err(too_slow(&hook, limit)),
        Err(error) => Err(format!("the hook {hook} cannot be run: {error}")),
    }
}

/// Whether a variable of this name is given to native hooks.
///
/// The names that the dynamic linker and interpreters obey (`LD_PRELOAD`, `PYTHONPATH`, `PERL5OPT`) are all in capitals; those that
/// hooks know begin with a small letter or with `XENBUS_`.
fn may_export(name: &str) -> bool {
    may_set(name)
        && (name.starts_with(|letter: char| letter.is_ascii_lowercase()) || name.starts_with("XENBUS_") || CAPITALS.contains(&name))
}
