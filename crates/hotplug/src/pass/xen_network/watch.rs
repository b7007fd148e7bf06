//! `xen-network watch`

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::inspect::watch::{Event, Watcher, clock};
use crate::invocation::{Format, Invocation};
use crate::report::{Report, Trouble};
use crate::system::System;

/// Prints a line for whatever happens, until it is interrupted or nobody reads any more.
pub(super) fn watch(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let news = system.news()?;
    let mut watcher = Watcher::default();
    let numbers: BTreeMap<_, u32> =
        news.devices.iter().filter_map(|device| Some((device.link.name.clone(), device.link.index?))).collect();
    for device in news.devices {
        let master = device.link.master.as_ref().and_then(|name| numbers.get(name)).copied();
        watcher.begin(Event::Device { link: device.link, carrier: device.carrier, master });
    }
    for event in news.events {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
        for line in watcher.lines(event) {
            let line = match invocation.format() {
                Format::Text => format!("{}  {line}\n", clock(seconds)),
                Format::Json => format!("{}\n", serde_json::json!({ "time": seconds, "event": line })),
            };
            let mut stdout = stdout();
            if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
                return Ok(Report::silent());
            }
        }
    }
    Ok(Report::silent())
}
