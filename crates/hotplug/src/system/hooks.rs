//! Hooks: what the administrator has run when a vif comes or goes.
//!
//! Xen's scripts source every executable `vif-post.d/*.hook`, so these hooks use those scripts' variables and functions. One bash gives
//! them the same surroundings (`hooks/prelude.bash`). No value reaches it through the environment or as code. After them, every executable
//! `vif-post.d/*.exec` runs as a process of its own, whatever it is written in (`hooks/native.rs`).

mod native;

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::child::{follow, stop};
use super::patience::within;
use super::state::trusted;
use crate::invocation::is_variable_name;
use crate::operation::HookCall;

/// Where hooks are kept, beside the program.
const FOLDER: &str = "vif-post.d";
/// What sets the variables of an installation, such as `LIBEXEC_BIN`; kept beside Xen's scripts.
const LIBRARY: &str = "hotplugpath.sh";
/// How long all hooks of one call may take: half of what libxl gives the whole program (`LIBXL_HOTPLUG_TIMEOUT`, 40 s).
const LIMIT: Duration = Duration::from_secs(20);
/// Most that is kept of what the hooks report, in bytes.
const REPORT_MAX: usize = 64 * 1024;
const PRELUDE: &str = include_str!("hooks/prelude.bash");

/// How a hook is run: its name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Sourced by bash, as Xen's scripts do.
    Sourced,
    /// A process of its own.
    Native,
}

impl Kind {
    fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "hook" => Some(Self::Sourced),
            "exec" => Some(Self::Native),
            _ => None,
        }
    }
}

/// The hooks of the program called as `program`, in the order they run: first those that bash sources, then the native ones, each in the
/// byte order of their names. No folder, no hooks.
///
/// The folder is beside the program: where `program` says, or, for a bare name, where the running executable is.
///
/// # Errors
/// When the folder or a hook could be changed by anybody but root and ourselves, or cannot be read.
pub fn find(program: &str) -> Result<Vec<String>, String> {
    find_in(&scripts_folder(program)?.join(FOLDER))
}

fn scripts_folder(program: &str) -> Result<PathBuf, String> {
    let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    if program.contains('/') {
        return Ok(parent(Path::new(program)));
    }
    let own = std::env::current_exe().map_err(|error| format!("cannot tell where {program} is installed: {error}"))?;
    Ok(parent(&own))
}

fn find_in(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| format!("cannot read the hooks in {}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        opened => opened.map_err(failed)?,
    };
    let mut hooks = vec![];
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let path = folder.join(&name);
        let Some(name) = name.to_str() else {
            return Err(format!("the hook {} has a name that is not UTF-8; rename it", path.display()));
        };
        // The shell's pattern *.hook passes over hidden files.
        let kind = Kind::of(name).filter(|_| !name.starts_with('.'));
        if let Some(kind) = kind
            && is_executable_file(&path)?
        {
            check(&path)?;
            hooks.push((kind, path.display().to_string()));
        }
    }
    if !hooks.is_empty() {
        check(folder)?;
    }
    hooks.sort_unstable();
    Ok(hooks.into_iter().map(|(_, path)| path).collect())
}

fn is_executable_file(path: &Path) -> Result<bool, String> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0),
        // A link that leads nowhere is as little executable for the scripts.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("cannot examine the hook {}: {error}", path.display())),
    }
}

/// Refuses what others could change. Where `path` is a link, that goes for what it leads to and for the folder that is in.
fn check(path: &Path) -> Result<(), String> {
    let refused = |cause: String| format!("refusing to run the hook {}: {cause}", path.display());
    let examined = |path: &Path| -> Result<Metadata, String> { fs::metadata(path).map_err(|error| refused(error.to_string())) };
    trusted(&examined(path)?).map_err(refused)?;
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link {
        let target = fs::canonicalize(path).map_err(|error| refused(error.to_string()))?;
        if let Some(parent) = target.parent() {
            let explained = |cause: String| refused(format!("the folder {} that it leads to: {cause}", parent.display()));
            trusted(&examined(parent)?).map_err(explained)?;
        }
    }
    Ok(())
}

/// Runs the hooks of `call`: those to be sourced in one bash, then the native ones. Without hooks, nothing is started.
///
/// # Errors
/// When a hook fails, or all together take longer than 20 s and are stopped. The sentence names the hook.
pub fn run(call: &HookCall) -> Result<(), String> {
    run_within(call, within(LIMIT))
}

fn run_within(call: &HookCall, limit: Duration) -> Result<(), String> {
    let start = Instant::now();
    let (native, sourced): (Vec<_>, Vec<_>) =
        call.hooks.iter().map(String::as_str).partition(|hook| Kind::of(hook) == Some(Kind::Native));
    source(call, &sourced, limit)?;
    native.into_iter().try_for_each(|hook| native::run(Path::new(hook), call, limit.saturating_sub(start.elapsed()), limit))
}

fn source(call: &HookCall, hooks: &[&str], limit: Duration) -> Result<(), String> {
    let Some(first) = hooks.first() else { return Ok(()) };
    let (reader, writer) = io::pipe().map_err(|error| format!("cannot run the hook {first}: {error}"))?;
    let mut command = shell(call, hooks)?;
    let mut child = command.stdin(Stdio::from(OwnedFd::from(writer))).spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("cannot run the hook {first}: there is no /bin/bash; install bash, or remove the hook"),
        _ => format!("cannot run the hook {first}: {error}"),
    })?;
    // The command has a copy of the pipe's writing end, which would keep it open.
    drop(command);
    let mut report = Report::new(first);
    match follow(&mut child, reader, limit, |bytes| report.take_in(bytes)) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(report.failure(status)),
        Ok(None) => {
            stop(&mut child);
            Err(too_slow(&report.hook, limit))
        }
        Err(error) => {
            stop(&mut child);
            Err(format!("cannot wait for the hook {}: {error}", report.hook))
        }
    }
}

fn too_slow(hook: &str, limit: Duration) -> String {
    format!("the hook {hook} did not end: all hooks together have {} s, and it was stopped", limit.as_secs_f32())
}

/// The bash for `call` that sources `hooks`, with all but its standard input.
fn shell(call: &HookCall, hooks: &[&str]) -> Result<Command, String> {
    let mut shell = Command::new("/bin/bash");
    // -p: no functions, options or start-up files from the environment.
    shell.args(["--noprofile", "--norc", "-p", "-c", PRELUDE]).arg(&call.program);
    let folder = hooks.first().and_then(|hook| Path::new(hook).parent()?.parent()).unwrap_or(Path::new("."));
    shell.arg(folder).arg(library(folder)?.unwrap_or_default());
    let variables: Vec<_> = call.variables.iter().filter(|(name, _)| may_set(name)).collect();
    shell.arg(variables.len().to_string());
    shell.args(variables.into_iter().flat_map(|(name, value)| [name, value]));
    shell.arg(hooks.len().to_string()).args(hooks).args(&call.words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| !name.to_str().is_some_and(may_inherit)) {
        shell.env_remove(name);
    }
    shell.process_group(0);
    Ok(shell)
}

/// The file of the installation's variables, where there is one in the scripts' `folder`.
fn library(folder: &Path) -> Result<Option<PathBuf>, String> {
    let path = folder.join(LIBRARY);
    match fs::metadata(&path) {
        Ok(metadata) => match trusted(&metadata) {
            Ok(()) => Ok(Some(path)),
            Err(cause) => Err(format!("refusing to run hooks with {}: {cause}", path.display())),
        },
        Err(_) => Ok(None),
    }
}

/// Names that mean something to bash itself (bash(1), "Shell Variables"), to the dynamic linker or to the prelude. With some of them
/// a value would be executed: `RANDOM=a[$(reboot)]` is arithmetic.
const RESERVED: [&str; 43] = [
    "CDPATH",
    "COLUMNS",
    "COMPREPLY",
    "COPROC",
    "DIRSTACK",
    "ENV",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "EXECIGNORE",
    "FCEDIT",
    "FIGNORE",
    "FUNCNAME",
    "FUNCNEST",
    "GLOBIGNORE",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "INSIDE_EMACS",
    "LANG",
    "LINENO",
    "LINES",
    "MAILCHECK",
    "MAPFILE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PATH",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "RANDOM",
    "READLINE_LINE",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
    "_",
];
const RESERVED_PREFIXES: [&str; 6] = ["BASH", "COMP_", "GCONV_", "LC_", "LD_", "_hotplug"];

/// Whether a word of the command line or a key of XenStore may become a shell variable of this name.
fn may_set(name: &str) -> bool {
    is_variable_name(name) && !RESERVED.contains(&name) && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a variable of our own environment is left to the hooks.
fn may_inherit(name: &str) -> bool {
    may_set(name) || name == "PATH"
}

/// What the prelude has said so far.
struct Report {
    bytes: Vec<u8>,
    /// The hook that is running.
    hook: String,
    /// Why it gave up, in its own words.
    reason: Option<String>,
}

impl Report {
    fn new(first: &str) -> Self {
        Self { bytes: vec![], hook: first.to_owned(), reason: None }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != 0 {
                if self.bytes.len() < REPORT_MAX {
                    self.bytes.push(*byte);
                }
                continue;
            }
            let record = String::from_utf8_lossy(&self.bytes).into_owned();
            self.bytes.clear();
            match record.split_once(' ') {
                Some(("hook", path)) => (self.hook, self.reason) = (path.to_owned(), None),
                Some(("fatal", reason)) => self.reason = Some(reason.to_owned()),
                _ => {}
            }
        }
    }

    fn failure(&self, status: ExitStatus) -> String {
        match &self.reason {
            Some(reason) => format!("the hook {} failed: {reason}", self.hook),
            None => format!("the hook {} failed ({status})", self.hook),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::thread::sleep;
    use std::time::Instant;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    /// A folder of scripts with hooks, and a place for what they leave.
    struct Scripts {
        folder: tempfile::TempDir,
    }

    impl Scripts {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["vif-post.d", "bin", "locks"] {
                fs::create_dir(folder.path().join(name)).unwrap();
                set_mode(&folder.path().join(name), 0o755);
            }
            let library = format!("bindir={0}/bin\nLOCK_BASEDIR={0}/locks\n", folder.path().display());
            let scripts = Self { folder };
            scripts.write("hotplugpath.sh", &library, 0o644);
            // Instead of the system's log, and of the store.
            scripts.write("bin/logger", "#!/bin/bash\necho \"$@\" >>\"${0%/bin/logger}/log\"\n", 0o755);
            scripts
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, content: &str, mode: u32) {
            fs::write(self.path(name), content).unwrap();
            set_mode(&self.path(name), mode);
        }

        fn hook(&self, name: &str, body: &str) {
            self.write(&format!("vif-post.d/{name}"), &format!("#!/bin/bash\nout=$dir/out\n{body}\n"), 0o755);
        }

        fn program(&self) -> String {
            self.path("vif-bridge").display().to_string()
        }

        fn call(&self, words: &[&str], variables: &[(&str, &str)]) -> HookCall {
            HookCall {
                hooks: find(&self.program()).unwrap(),
                program: self.program(),
                words: words.iter().map(ToString::to_string).collect(),
                variables: variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            }
        }

        fn run(&self, variables: &[(&str, &str)]) -> Result<(), String> {
            run(&self.call(&["online", "type_if=vif"], variables))
        }

        fn out(&self) -> String {
            fs::read_to_string(self.path("out")).unwrap_or_default()
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn names(hooks: &[String]) -> Vec<&str> {
        hooks.iter().map(|hook| hook.rsplit('/').next().unwrap()).collect()
    }

    #[test]
    fn hooks_are_executables_in_the_order_of_their_bytes() {
        let scripts = Scripts::new();
        for name in
            ["b.hook", "10-a.hook", "B.hook", "9-a.hook", ".hidden.hook", "a.hook~", "a.sh", "hook", "10.exec", ".b.exec", "exec"]
        {
            scripts.hook(name, "");
        }
        scripts.write("vif-post.d/not-executable.hook", "", 0o644);
        scripts.write("vif-post.d/not-executable.exec", "", 0o644);
        fs::create_dir(scripts.path("vif-post.d/folder.hook")).unwrap();
        symlink("nowhere", scripts.path("vif-post.d/dangling.hook")).unwrap();
        assert_eq!(names(&find(&scripts.program()).unwrap()), ["10-a.hook", "9-a.hook", "B.hook", "b.hook", "10.exec"]);
    }

    #[test]
    fn no_folder_is_no_hooks() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find(&folder.path().join("vif-bridge").display().to_string()), Ok(vec![]));
        // The test's own executable has no hooks beside it.
        assert_eq!(find("vif-bridge"), Ok(vec![]));
    }

    #[test]
    fn without_hooks_nothing_is_started() {
        let call = HookCall { hooks: vec![], program: "/nowhere/vif-bridge".to_owned(), words: vec![], variables: vec![] };
        assert_eq!(run(&call), Ok(()));
    }

    #[test]
    fn what_others_could_change_is_refused() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", "");
        set_mode(&scripts.path("vif-post.d"), 0o775);
        let error = find(&scripts.program()).unwrap_err();
        assert!(error.contains("vif-post.d: others than its owner may write to it (mode 0775)"), "{error}");
        set_mode(&scripts.path("vif-post.d"), 0o755);
        set_mode(&scripts.path("vif-post.d/a.hook"), 0o757);
        assert!(find(&scripts.program()).unwrap_err().contains("a.hook: others than its owner"));
        set_mode(&scripts.path("vif-post.d/a.hook"), 0o755);
        assert!(find(&scripts.program()).is_ok());
        // Tests run as root, in a user namespace perhaps; only root can give a file away.
        chown(scripts.path("vif-post.d/a.hook"), Some(1), None).unwrap();
        assert!(find(&scripts.program()).unwrap_err().contains("it belongs to user 1 and not to root"));
        chown(scripts.path("vif-post.d/a.hook"), Some(0), None).unwrap();
        scripts.hook("native.exec", "");
        set_mode(&scripts.path("vif-post.d/native.exec"), 0o775);
        assert!(find(&scripts.program()).unwrap_err().contains("native.exec: others than its owner"));
    }

    #[test]
    fn a_link_is_as_good_as_the_folder_it_leads_to() {
        let scripts = Scripts::new();
        fs::create_dir(scripts.path("shared")).unwrap();
        scripts.write("shared/a", "", 0o755);
        symlink(scripts.path("shared/a"), scripts.path("vif-post.d/a.hook")).unwrap();
        assert_eq!(find(&scripts.program()).unwrap().len(), 1);
        set_mode(&scripts.path("shared"), 0o777);
        assert!(find(&scripts.program()).unwrap_err().contains("that it leads to: others than its owner"));
    }

    #[test]
    fn hooks_see_what_the_scripts_give_them() {
        let scripts = Scripts::new();
        scripts.hook(
            "a.hook",
            r#"echo "0=$0 1=$1 2=$2 command=$command dev=$dev bridge=$bridge ip=$ip dir=$dir" >>"$out"; mine=kept"#,
        );
        scripts.hook("b.hook", r#"echo "mine=$mine lang=$LANG path=${PATH%%:*} stdin=$(cat)" >>"$out""#);
        scripts.run(&[("command", "online"), ("dev", "vif1.0"), ("bridge", "xenbr0"), ("ip", "10.0.0.1 10.0.0.2")]).unwrap();
        let folder = scripts.folder.path().display();
        assert_eq!(
            scripts.out(),
            format!(
                "0={folder}/vif-bridge 1=vif 2=post command=online dev=vif1.0 bridge=xenbr0 ip=10.0.0.1 10.0.0.2 dir={folder}\n\
                 mine=kept lang=POSIX path={folder}/bin stdin=\n"
            )
        );
    }

    #[test]
    fn the_words_of_the_call_are_the_shells_own() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", r#"printf '%s|' "${BASH_ARGV[@]}" >"$out" || :"#);
        scripts.hook("b.hook", r#"[[ $- == *e* ]]; [[ $- == *p* ]]; tty -s || echo "no terminal" >"$out""#);
        scripts.run(&[]).unwrap();
        assert_eq!(scripts.out(), "no terminal\n");
    }

    #[test]
    fn values_are_inert() {
        let scripts = Scripts::new();
        scripts.hook(
            "a.hook",
            r#"printf '%s\n' "$bridge" "$x" "$RANDOM" "$PATH" "$LD_PRELOAD" "$BASH_ENV" >"$out"; test ! -v _hotplugged"#,
        );
        let trap = format!("$(touch {0})`touch {0}`; touch {0}", scripts.path("evaluated").display());
        let index = format!("a[$(touch {})]", scripts.path("evaluated").display());
        let hostile = [
            ("bridge", trap.as_str()),
            ("x", &index),
            ("RANDOM", &index),
            ("SECONDS", &index),
            ("OPTIND", &index),
            ("HISTCMD", &index),
            ("LINENO", &index),
            ("EPOCHSECONDS", &index),
            ("UID", "7"),
            ("PATH", "/nowhere"),
            ("IFS", "x"),
            ("PS4", &trap),
            ("ENV", &trap),
            ("BASH_ENV", "/nowhere/bash-env"),
            ("BASH_CMDS", &index),
            ("LD_PRELOAD", "/nowhere/library.so"),
            ("SHELLOPTS", "xtrace"),
            ("a[$(touch)]", "x"),
            ("", "x"),
            ("_hotplug_hooks", "/nowhere"),
            ("_hotplugged", "x"),
        ];
        scripts.run(&hostile).unwrap();
        let out = scripts.out();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[..2], [trap.as_str(), &index]);
        assert!(lines[2].parse::<u16>().is_ok() && !lines[3].contains("nowhere"), "{out}");
        assert_eq!(lines[4..], ["", ""]);
        assert!(!scripts.path("evaluated").exists());
    }

    #[test]
    fn every_variable_that_bash_computes_with_is_reserved() {
        let listed = Command::new("/bin/bash").args(["-p", "-c", "x=; compgen -A variable"]).env_clear().output().unwrap();
        let names = String::from_utf8(listed.stdout).unwrap();
        assert!(names.lines().count() > 20, "{names}");
        // Plain text to bash: the names of the machine, the user and the terminal, and a hook's own.
        let plain = ["HOSTNAME", "HOSTTYPE", "MACHTYPE", "OSTYPE", "PS1", "PS2", "SHELL", "TERM", "x"];
        let open: Vec<_> = names.lines().filter(|name| may_set(name) && !plain.contains(name)).collect();
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn what_the_environment_may_bring_is_limited() {
        for name in
            ["BASH_ENV", "BASH_FUNC_log%%", "ENV", "IFS", "LD_PRELOAD", "LD_LIBRARY_PATH", "LC_ALL", "SHELLOPTS", "PS4", "a-b", ""]
        {
            assert!(!may_inherit(name), "{name}");
        }
        for name in ["PATH", "HOME", "XENBUS_PATH", "vif", "script", "XENBUS_BASE_PATH", "_mine"] {
            assert!(may_inherit(name), "{name}");
        }
    }

    #[test]
    fn a_hook_may_return_early() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", r#"[[ $command == online ]] || return 0; echo no >>"$out""#);
        scripts.hook("b.hook", r#"echo b >>"$out""#);
        scripts.run(&[("command", "offline")]).unwrap();
        assert_eq!(scripts.out(), "b\n");
    }

    #[test]
    fn a_failure_names_its_hook() {
        for (body, reason) in [
            ("return 3", "failed (exit status: 3)"),
            ("false; echo unreached >>\"$out\"", "failed (exit status: 1)"),
            ("fatal no such thing", "failed: no such thing"),
            ("do_or_die test a = b", "failed: test a = b failed"),
            ("exit 7", "failed (exit status: 7)"),
            ("kill -9 $$", "failed (signal: 9 (SIGKILL))"),
            ("f() { no-such-command 2>/dev/null; }; f", "failed (exit status: 127)"),
            ("local mine=$(false; echo x); test $mine = x; mine=$(exit 4)", "failed (exit status: 4)"),
        ] {
            let scripts = Scripts::new();
            scripts.hook("a.hook", "do_without_error false");
            scripts.hook("b.hook", body);
            scripts.hook("c.hook", r#"echo c >>"$out""#);
            let error = scripts.run(&[]).unwrap_err();
            assert_eq!(error, format!("the hook {}/vif-post.d/b.hook {reason}", scripts.folder.path().display()));
            assert_eq!(scripts.out(), "", "{body}");
        }
    }

    #[test]
    fn a_hook_that_hangs_is_stopped_with_all_it_started() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", ":");
        scripts.hook("b.hook", r#"trap '' TERM; sleep 1000 & echo $! >"$out"; wait"#);
        let error = run_within(&scripts.call(&[], &[]), Duration::from_millis(500)).unwrap_err();
        assert!(error.ends_with("/b.hook did not end: all hooks together have 0.5 s, and it was stopped"), "{error}");
        let pid = scripts.out().trim().to_owned();
        let start = Instant::now();
        // A killed process stays visible as a zombie until init takes it.
        let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() && start.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(5));
        }
        assert!(!pid.is_empty() && !alive());
    }

    #[test]
    fn a_daemon_that_a_hook_starts_is_not_waited_for() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", r#"sleep 1000 >/dev/null 2>&1 & echo $! >"$out""#);
        run_within(&scripts.call(&[], &[]), Duration::from_secs(10)).unwrap();
        let daemon = Pid::from_raw(scripts.out().trim().parse().unwrap());
        kill(daemon, Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_native_hook_gets_the_command_and_the_variables() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", r#"echo sourced >>"$out""#);
        let out = scripts.path("out");
        let body = format!(
            "#!/usr/bin/awk -f\nBEGIN {{ print ARGV[1], ENVIRON[\"command\"], ENVIRON[\"dev\"], ENVIRON[\"XENBUS_PATH\"], ENVIRON[\"x\"] \
             >>\"{}\" }}\n",
            out.display()
        );
        scripts.write("vif-post.d/a.exec", &body, 0o755);
        let trap = "$(touch evaluated)";
        scripts.run(&[("command", "online"), ("dev", "vif1.0"), ("XENBUS_PATH", "backend/vif/1/0"), ("x", trap)]).unwrap();
        assert_eq!(scripts.out(), format!("sourced\nonline online vif1.0 backend/vif/1/0 {trap}\n"));
    }

    #[test]
    fn a_native_hook_gets_nothing_that_an_interpreter_obeys() {
        let scripts = Scripts::new();
        scripts.write("vif-post.d/a.exec", &format!("#!/bin/sh\nenv >{}\n", scripts.path("out").display()), 0o755);
        let hostile = [
            "LD_PRELOAD",
            "PYTHONPATH",
            "PERL5OPT",
            "RUBYOPT",
            "NODE_OPTIONS",
            "IFS",
            "PATH",
            "HOME",
            "TMPDIR",
            "_x",
            "a-b",
            "a=b",
            "",
        ];
        let hostile = hostile.map(|name| (name, "/nowhere"));
        let fine = [("ip", "10.0.0.1"), ("INTERFACE", "vif1.0-emu"), ("XENBUS_TYPE", "vif"), ("UDEV_CALL", "1")];
        scripts.run(&[&hostile[..], &fine].concat()).unwrap();
        let out = scripts.out();
        assert!(!out.contains("/nowhere"), "{out}");
        for (name, value) in fine {
            assert!(out.lines().any(|line| line == format!("{name}={value}")), "{out}");
        }
        // PATH, and PWD of the shell that runs env.
        assert_eq!(out.lines().count(), fine.len() + 2, "{out}");
    }

    #[test]
    fn a_native_hook_that_fails_is_named_with_its_last_words() {
        for (body, reason) in [
            ("#!/bin/sh\necho one; echo 'no such switch' >&2; exit 3\n", "failed (exit status: 3): no such switch"),
            ("#!/bin/sh\nkill -9 $$\n", "failed (signal: 9 (SIGKILL))"),
            ("#!/nowhere/interpreter\n", "cannot be run: No such file or directory (os error 2)"),
            ("\x7fELF, but no program", "cannot be run: Exec format error (os error 8)"),
        ] {
            let scripts = Scripts::new();
            scripts.write("vif-post.d/a.exec", "#!/bin/true\n", 0o755);
            scripts.write("vif-post.d/b.exec", body, 0o755);
            scripts.write("vif-post.d/c.exec", &format!("#!/bin/sh\necho c >{}\n", scripts.path("out").display()), 0o755);
            let error = scripts.run(&[]).unwrap_err();
            assert_eq!(error, format!("the hook {}/vif-post.d/b.exec {reason}", scripts.folder.path().display()));
            assert_eq!(scripts.out(), "");
        }
    }

    #[test]
    fn native_hooks_have_what_the_sourced_ones_left_of_the_time() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", "sleep 0.4");
        scripts.write("vif-post.d/a.exec", "#!/bin/sh\nexec sleep 1000\n", 0o755);
        let start = Instant::now();
        let error = run_within(&scripts.call(&[], &[]), Duration::from_millis(600)).unwrap_err();
        assert!(error.ends_with("/a.exec did not end: all hooks together have 0.6 s, and it was stopped"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_native_hook_does_not_run_after_a_sourced_one_that_failed() {
        let scripts = Scripts::new();
        scripts.hook("a.hook", "false");
        scripts.write("vif-post.d/a.exec", &format!("#!/bin/sh\necho ran >{}\n", scripts.path("out").display()), 0o755);
        assert!(scripts.run(&[]).unwrap_err().ends_with("/a.hook failed (exit status: 1)"));
        assert_eq!(scripts.out(), "");
    }

    /// A store of files: `xenstore-read` and `xenstore-write` as far as hooks use them.
    fn add_store(scripts: &Scripts) {
        let read =
            "#!/bin/bash\ncd \"${0%/bin/*}/store\" && for key; do [[ -f ./$key ]] && cat \"./$key\" && echo || exit 1; done\n";
        let write = "#!/bin/bash\ncd \"${0%/bin/*}/store\" && mkdir -p \"./${1%/*}\" && printf %s \"$2\" >\"./$1\"\n";
        scripts.write("bin/xenstore-read", read, 0o755);
        scripts.write("bin/xenstore-write", write, 0o755);
        fs::create_dir_all(scripts.path("store/backend/vif/1/0")).unwrap();
        scripts.write("store/backend/vif/1/0/mac", "00:16:3e:00:00:01", 0o644);
    }

    /// Like the hook of osstest's Calxeda machines: what it does depends on the command and the device, and it tells a switch outside
    /// of the bridge which address is where.
    #[test]
    fn a_hook_that_keeps_a_switch_informed_works() {
        let scripts = Scripts::new();
        add_store(&scripts);
        scripts.write("bin/fabric", "#!/bin/bash\necho \"$@\" >>\"${0%/bin/*}/out\"\n", 0o755);
        scripts.hook(
            "fabric.hook",
            r#"
            if [ "$type_if" != vif ]; then return; fi
            mac=$(xenstore_read "$XENBUS_PATH/mac")
            case "$command" in
                online) do_or_die fabric add "$mac" "$dev" ;;
                offline) do_without_error fabric del "$mac" "$dev" ;;
            esac
            log debug "fabric knows $mac"
            "#,
        );
        let common = [("type_if", "vif"), ("XENBUS_PATH", "backend/vif/1/0"), ("dev", "vif1.0")];
        for command in ["online", "offline"] {
            scripts.run(&[&common[..], &[("command", command)]].concat()).unwrap();
        }
        assert_eq!(scripts.out(), "add 00:16:3e:00:00:01 vif1.0\ndel 00:16:3e:00:00:01 vif1.0\n");
        let log = fs::read_to_string(scripts.path("log")).unwrap();
        assert_eq!(log.lines().next(), Some(&*format!("-p daemon.debug -- {}: fabric knows 00:16:3e:00:00:01", scripts.program())));
    }

    /// Like meta-arm's hook for its guests' network types: keys with defaults, a lock around packet filter rules, entries of a DHCP
    /// server taken out and put in again, keys written.
    #[test]
    fn a_hook_that_makes_its_own_network_works() {
        let scripts = Scripts::new();
        add_store(&scripts);
        scripts.write("bin/iptables", "#!/bin/bash\necho \"iptables $*\" >>\"${0%/bin/*}/out\"\n", 0o755);
        scripts.write("dhcpd", "#!/bin/bash\necho \"dhcpd $*\" >>\"${0%/*}/out\"\n", 0o755);
        scripts.write("dhcpd.conf", "subnet x {}\nhost dom1 { old; }\nhost dom10 { other; }\n", 0o644);
        scripts.write("dhcpd.args", "# lists\nDHCPDARGS=eth1 vif1.0 vif1.01\nINTERFACES=\"\"\n", 0o644);
        scripts.hook(
            "00-network.hook",
            r#"
            kind=$(xenstore_read_default "$XENBUS_PATH/network-kind" nat)
            [ "$kind" = nat ] || return 0
            claim_lock "iptables"
            if flock -n "$LOCK_BASEDIR/iptables" true; then fatal "the lock is open"; fi
            iptables_w -t nat -A POSTROUTING -s "$vif_ip" -j MASQUERADE
            release_lock "iptables"
            [ ! -e "$LOCK_BASEDIR/iptables" ]
            claim_lock "iptables"; release_lock "iptables"
            dhcp_remove_entry
            echo "host $hostname { fixed-address $vif_ip; option routers $router_ip; }" >>"$dhcpd_conf_file"
            dhcparg_add_entry
            do_or_die "$dhcpd_init_file" restart
            xenstore_write "$XENBUS_PATH/network-kind" "$kind"
            "#,
        );
        let (conf, args, init) = (scripts.path("dhcpd.conf"), scripts.path("dhcpd.args"), scripts.path("dhcpd"));
        let variables = [
            ("command", "online"),
            ("dev", "vif1.0"),
            ("XENBUS_PATH", "backend/vif/1/0"),
            ("vif_ip", "10.0.1.1"),
            ("router_ip", "10.0.1.128"),
            ("hostname", "dom1"),
            ("dhcpd_conf_file", conf.to_str().unwrap()),
            ("dhcpd_arg_file", args.to_str().unwrap()),
            ("dhcpd_init_file", init.to_str().unwrap()),
        ];
        scripts.run(&variables).unwrap();
        assert_eq!(scripts.out(), "iptables -w -t nat -A POSTROUTING -s 10.0.1.1 -j MASQUERADE\ndhcpd restart\n");
        assert_eq!(
            fs::read_to_string(conf).unwrap(),
            "subnet x {}\nhost dom10 { other; }\nhost dom1 { fixed-address 10.0.1.1; option routers 10.0.1.128; }\n"
        );
        assert_eq!(fs::read_to_string(args).unwrap(), "# lists\nDHCPDARGS=\"eth1 vif1.01 vif1.0 \"\nINTERFACES=\"vif1.0 \"\n");
        assert_eq!(fs::read_to_string(scripts.path("store/backend/vif/1/0/network-kind")).unwrap(), "nat");
    }

    #[test]
    fn a_missing_key_is_fatal_where_it_is_needed() {
        let scripts = Scripts::new();
        add_store(&scripts);
        scripts.hook("a.hook", r#"value=$(xenstore_read "$XENBUS_PATH/none"); echo unreached >"$out""#);
        let error = scripts.run(&[("XENBUS_PATH", "backend/vif/1/0")]).unwrap_err();
        assert!(error.ends_with("failed: xenstore-read backend/vif/1/0/none failed."), "{error}");
        assert_eq!(scripts.out(), "");
    }
}
