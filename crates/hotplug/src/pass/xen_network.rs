//! One pass of xen-network: looks at the host, and says what it saw.

mod doctor;
mod explain;
mod gc;
mod guard;
mod status;
mod watch;

use std::io::IsTerminal;

use crate::inspect::paint::Style;
use crate::invocation::Invocation;
use crate::pass::reload;
use crate::plan::Refusal;
use crate::report::{Report, Trouble};
use crate::system::System;

/// What serves a command.
type Serve = fn(&Invocation, &mut System) -> Result<Report, Trouble>;

/// The commands, and what serves them. A new one has a line here and an entry in [`crate::program::XEN_NETWORK`].
const COMMANDS: [(&str, Serve); 7] = [
    ("status", status::status),
    ("doctor", doctor::doctor),
    ("reload", |invocation, _| reload::pass(invocation)),
    ("gc", gc::gc),
    ("explain", explain::explain),
    ("watch", watch::watch),
    ("guard", guard::guard),
];

/// Calls of xen-network.
///
/// # Errors
/// When the host cannot be looked at, or what was asked for is not there.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    let serve = COMMANDS.iter().find(|(name, _)| *name == invocation.command()).map(|(_, serve)| serve);
    let Some(serve) = serve else { return Err(Refusal::plain(format!("unknown command {}", invocation.command())).into()) };
    serve(invocation, &mut System::open())
}

/// How the output is to look.
fn style() -> Style {
    let variables: Vec<(String, String)> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    Style::of_environment(std::io::stdout().is_terminal(), |name| {
        variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    })
}
