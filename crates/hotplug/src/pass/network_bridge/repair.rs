//! `network-bridge repair`: what is left to do once a killed run has been taken back.

use super::Session;
use super::stop::{bridges_and_ports, forget_gone};
use crate::plan::network_bridge::Asked;
use crate::report::{Report, Trouble};

/// Forgets what was noted of a bridge that is not there.
pub(super) fn repair(session: &mut Session<'_>, asked: &Asked) -> Result<Report, Trouble> {
    if session.is_dry_run() {
        return Ok(Report::nothing("what a killed run has left half done is only taken back without --dry-run"));
    }
    let routes = session.default_routes()?;
    let around = bridges_and_ports(session.system)?;
    forget_gone(session, asked, &routes, &around);
    Ok(Report::nothing("nothing of a killed run is left"))
}
