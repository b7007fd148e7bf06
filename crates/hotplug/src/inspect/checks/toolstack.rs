//! xl, xend, XenStore, udev, hooks and the log.

use crate::host::Switch;
use crate::inspect::finding::{Answer, Area, Check, CheckId, Finding};
use crate::inspect::model::{Examined, Hook, HookKind, NamedProgram, ProgramState};

const STORE: CheckId = CheckId("xenstore");
const PROGRAMS: CheckId = CheckId("script-path");
const DEFAULT_BRIDGE: CheckId = CheckId("default-bridge");
const UDEV: CheckId = CheckId("udev-and-toolstack");
const HOOKS: CheckId = CheckId("hooks");
const LOG: CheckId = CheckId("log");

pub(super) static CHECKS: &[Check] = &[
    Check { id: STORE, area: Area::Toolstack, good: "XenStore answers", look: store },
    Check { id: PROGRAMS, area: Area::Toolstack, good: "the programs that configurations name are there", look: programs },
    Check {
        id: DEFAULT_BRIDGE,
        area: Area::Toolstack,
        good: "xl's default bridge is there, or none is named",
        look: default_bridge,
    },
    Check { id: UDEV, area: Area::Toolstack, good: "either the toolstack or udev calls the programs", look: udev },
    Check { id: HOOKS, area: Area::Toolstack, good: "hooks can only be changed by root", look: hooks },
    Check { id: LOG, area: Area::Toolstack, good: "the programs have complained of nothing", look: log },
];

fn store(examined: &Examined) -> Answer {
    let finding = |reason: &String| {
        Finding::problem(STORE, "XenStore does not answer")
            .because(format!("{reason}; nothing is known of guests, and no guest can be started"))
            .mended_by("start xenstored; where it listens at another place, name that in XENSTORED_PATH")
            .typing("systemctl start xenstored")
    };
    Ok(examined.seen.store.0.as_ref().err().map(finding).into_iter().collect())
}

fn programs(examined: &Examined) -> Answer {
    Ok(examined.toolstack.programs.iter().filter_map(program).collect())
}

fn program(program: &NamedProgram) -> Option<Finding> {
    let NamedProgram { path, named_in, state } = program;
    let path = path.display();
    let named = format!("{named_in} names it; guests that need it cannot be started");
    Some(match state {
        ProgramState::Ready => return None,
        ProgramState::Missing => Finding::problem(PROGRAMS, format!("there is no program {path}"))
            .because(named)
            .mended_by(format!("install it, or correct {named_in}")),
        ProgramState::NoFile => Finding::problem(PROGRAMS, format!("{path} is no program"))
            .because(named)
            .mended_by(format!("put the program there, or correct {named_in}")),
        ProgramState::NotExecutable => Finding::problem(PROGRAMS, format!("{path} is not executable"))
            .because(named)
            .mended_by("make it executable")
            .typing(format!("chmod +x {path}")),
    })
}

fn default_bridge(examined: &Examined) -> Answer {
    let missing = examined.toolstack.default_bridge.iter().filter(|bridge| examined.seen.device(bridge.as_str()).is_none());
    let finding = missing.map(|bridge| {
        Finding::problem(DEFAULT_BRIDGE, format!("there is no bridge {bridge}, which xl.conf names for guests that name none"))
            .because("vif.default.bridge in /etc/xen/xl.conf; xl says `Could not find bridge device` when such a guest is started")
            .mended_by("make the bridge, or name another in /etc/xen/xl.conf")
            .typing(format!("/etc/xen/scripts/network-bridge start bridge={bridge}"))
    });
    Ok(finding.collect())
}

fn udev(examined: &Examined) -> Answer {
    let toolstack = &examined.toolstack;
    let store = examined.seen.store.0.as_ref().map_err(|_| "XenStore does not answer".to_owned())?;
    let finding = match (toolstack.xl_calls, &toolstack.udev_rule, store.udev_disabled) {
        (Some(Switch::Off), _, Switch::On) => Finding::problem(
            UDEV,
            "xl leaves the programs to udev, and udev's calls are told to do nothing",
        )
        .because(
            "/etc/xen/xl.conf has run_hotplug_scripts=0, and XenStore has libxl/disable_udev; xl refuses to start guests while \
                     others run, or their interfaces are never set up",
        )
        .mended_by("take run_hotplug_scripts=0 out of /etc/xen/xl.conf; it is of use to xend's udev rules alone")
        .typing("sed -i '/^[[:space:]]*run_hotplug_scripts/d' /etc/xen/xl.conf"),
        (Some(Switch::Off), None, Switch::Off) => Finding::problem(UDEV, "nobody calls the programs")
            .because("/etc/xen/xl.conf has run_hotplug_scripts=0, and there is no udev rule for vifs (xen-backend.rules)")
            .mended_by("take run_hotplug_scripts=0 out of /etc/xen/xl.conf")
            .typing("sed -i '/^[[:space:]]*run_hotplug_scripts/d' /etc/xen/xl.conf"),
        (Some(Switch::On), Some(rule), Switch::Off) if !store.vifs.is_empty() => {
            Finding::problem(UDEV, "both xl and udev call the programs for each interface")
                .because(format!(
                    "/etc/xen/xl.conf has run_hotplug_scripts=1, {} calls them too, and XenStore lacks libxl/disable_udev",
                    rule.display()
                ))
                .mended_by("tell udev's calls to do nothing")
                .typing("xenstore-write libxl/disable_udev 1")
        }
        _ => return Ok(vec![]),
    };
    Ok(vec![finding])
}

fn hooks(examined: &Examined) -> Answer {
    Ok(examined.hooks.iter().flat_map(hook).collect())
}

fn hook(hook: &Hook) -> Vec<Finding> {
    let Hook { path, owner, mode, kind } = hook;
    let path = path.display();
    let refused = "no hook that others than root could change is run: vif programs fail instead";
    let mut findings = vec![];
    if *owner != 0 {
        findings.push(
            Finding::problem(HOOKS, format!("{path} belongs to user {owner}"))
                .because(refused)
                .mended_by("give it to root, once you have read it")
                .typing(format!("chown root {path}")),
        );
    }
    if mode & 0o022 != 0 {
        findings.push(
            Finding::problem(HOOKS, format!("others than root may write to {path} (mode {mode:04o})"))
                .because(refused)
                .mended_by("take that away, once you have read it")
                .typing(format!("chmod go-w {path}")),
        );
    }
    if *kind == HookKind::NotExecutable {
        findings.push(
            Finding::note(HOOKS, format!("the hook {path} is not executable, and so is never run"))
                .because("vif programs run executable files that end in .hook")
                .mended_by("make it executable, or remove it")
                .typing(format!("chmod +x {path}")),
        );
    }
    findings
}

/// Words by which the programs tell that something took too long.
const TIME_OUTS: [&str; 3] = ["did not end", "did not answer", "no answer within"];

fn log(examined: &Examined) -> Answer {
    let complaints = &examined.complaints;
    let Some(last) = complaints.last() else { return Ok(vec![]) };
    let slow = complaints.iter().filter(|line| TIME_OUTS.iter().any(|words| line.contains(words))).count();
    let what = match slow {
        0 => "the programs have complained in the log".to_owned(),
        _ => format!(
            "the programs have complained in the log, {slow} of the last {} times of something that took too long",
            complaints.len()
        ),
    };
    let finding = Finding::note(LOG, what)
        .because(format!("/var/log/xen/xen-hotplug.log, the last of them: {last}"))
        .mended_by("read it, mend what it says, and put the log aside")
        .typing("mv /var/log/xen/xen-hotplug.log /var/log/xen/xen-hotplug.log.read");
    Ok(vec![finding])
}
