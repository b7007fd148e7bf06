//! The packages on a clean Debian with Xen's own tools (`tests/fetch-debian-root`): they install over Xen's scripts, put them back byte for
//! byte, keep the administrator's configuration, and please the tools that look at packages, units and man pages.
//!
//! What a toolstack makes of them is looked at on real Xen, in `tests/xen/dom0/scenarios/package.sh`.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::guest::Dom0;
use testbed::machine::{Machine, workspace};
use testbed::originals::{Originals, fetched};

/// Where Debian's scripts and ours are.
const SCRIPTS: &str = "/etc/xen/scripts";
/// Where a machine sees the Debian it holds.
const ROOT: &str = "/run/debian";
/// What the package puts into the place of Xen's scripts.
const STAND_INS: [&str; 5] = ["vif-bridge", "vif-nat", "vif-route", "vif-setup", "network-bridge"];

/// A Debian whose files may be changed: they are laid over those of the cache, in memory. Nothing runs in it but what a test starts.
struct Debian {
    machine: Machine,
}

impl Debian {
    fn new() -> Self {
        Self::inside(Machine::new("debian").unwrap())
    }

    fn inside(machine: Machine) -> Self {
        let clean = fetched("tests/fetch-debian-root").unwrap();
        machine
            .shell(&format!(
                "mkdir {ROOT} {ROOT}.upper {ROOT}.work
                 mount -t overlay -o lowerdir={},upperdir={ROOT}.upper,workdir={ROOT}.work overlay {ROOT}
                 mount -t proc proc {ROOT}/proc
                 mount --rbind /sys {ROOT}/sys
                 mount --rbind /dev {ROOT}/dev
                 mount -t tmpfs tmpfs {ROOT}/run
                 mkdir {ROOT}/packages
                 mount --bind {} {ROOT}/packages",
                clean.display(),
                fetched("tests/make-packages").unwrap().display()
            ))
            .unwrap();
        Self { machine }
    }

    /// Runs a small shell program in it (`sh -e`), and gives what it printed.
    #[track_caller]
    fn run(&self, program: &str) -> String {
        self.machine.finish(&mut self.command(program)).unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.machine.command("chroot");
        command.args([ROOT, "sh", "-ec", program]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Like [`Debian::run`], for a program that must say nothing on standard error either.
    #[track_caller]
    fn run_silently(&self, program: &str) {
        let output = self.command(program).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{program}: {}", String::from_utf8_lossy(&said));
    }

    fn install(&self) {
        self.run("dpkg --install /packages/xen-network_*.deb");
    }

    /// Every file of /etc, /usr and /var/lib/systemd: its kind, mode, owner and content.
    fn files(&self) -> BTreeMap<String, String> {
        let listing = self.run(
            "folders='/etc /usr /opt /var/lib/systemd'
             find $folders ! -path '*/__pycache__*' -printf '%p\\t%y %m %u:%g %l\\n'
             find $folders -type f ! -path '*/__pycache__*' -print0 | xargs -0 md5sum | sed 's/^\\([0-9a-f]*\\)  \\(.*\\)/\\2 content\\t\\1/'",
        );
        listing.lines().filter_map(|line| line.split_once('\t')).map(|(path, rest)| (path.to_owned(), rest.to_owned())).collect()
    }

    fn read(&self, path: &str) -> String {
        self.machine.read_file(format!("{ROOT}{path}")).unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        self.machine.write_file(format!("{ROOT}{path}"), content).unwrap();
    }
}

/// What is in one listing of files and not, or otherwise, in another.
fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let missing = before.iter().filter(|(path, _)| !after.contains_key(*path)).map(|(path, _)| format!("- {path}"));
    let other = after.iter().filter(|(path, what)| before.get(*path) != Some(what)).map(|(path, what)| format!("+ {path} {what}"));
    missing.chain(other).collect()
}

#[track_caller]
fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    assert!(before.len() > 1000, "{}", before.len());
    assert_eq!(difference(before, after), Vec::<String>::new());
}

#[test]
fn the_package_takes_the_scripts_places_and_gives_them_back() {
    let debian = Debian::new();
    // Somebody has changed one script, and brought one that Xen no longer has.
    debian.write(&format!("{SCRIPTS}/vif-nat"), "#!/bin/sh\n# mine\n");
    debian.write(&format!("{SCRIPTS}/network-bridge"), "#!/bin/sh\n# from Xen 4.4\n");
    debian.run(&format!("chmod 750 {SCRIPTS}/network-bridge"));
    let before = debian.files();
    debian.install();
    for name in STAND_INS {
        assert_eq!(debian.run(&format!("readlink {SCRIPTS}/{name}")).trim(), format!("/usr/lib/xen-network/{name}"));
    }
    assert!(debian.run(&format!("{SCRIPTS}/vif-bridge --version")).starts_with("vif-bridge "));
    assert!(debian.run("network-nat --version").starts_with("network-nat "));
    assert_eq!(debian.read(&format!("{SCRIPTS}/network-bridge.distrib")), "#!/bin/sh\n# from Xen 4.4\n");
    // Nothing of Xen's is gone, its libraries of shell functions least of all.
    let installed = debian.files();
    for name in ["vif-common.sh", "xen-hotplug-common.sh", "locking.sh", "block"] {
        let path = format!("{SCRIPTS}/{name}");
        assert_eq!(before[&path], installed[&path]);
    }
    assert_eq!(debian.run("dpkg --verify xen-network"), "");

    debian.run("dpkg --purge xen-network");
    assert_same(&before, &debian.files());
}

#[test]
fn an_update_of_xen_leaves_our_programs_in_place() {
    let debian = Debian::new();
    debian.install();
    let packages = fetched("tests/fetch-originals").unwrap().join("packages");
    debian.machine.shell(&format!("mkdir {ROOT}/originals; mount --bind {} {ROOT}/originals", packages.display())).unwrap();
    // It may be a newer one than the root's, whose libraries it would ask for.
    debian.run("dpkg --install --force-depends --force-confask --force-confnew /originals/xen-utils-common_*.deb </dev/null");
    assert!(debian.run(&format!("{SCRIPTS}/vif-bridge --version")).starts_with("vif-bridge "));
    debian.run("dpkg --purge --force-depends xen-network");
    // Now every script is the one of the update.
    debian
        .run(&format!("dpkg-deb --extract /originals/xen-utils-common_*.deb /tmp/update; diff -r /tmp/update{SCRIPTS} {SCRIPTS}"));
}

#[test]
fn an_upgrade_keeps_configuration() {
    let debian = Debian::new();
    debian.install();
    debian.write("/etc/xen/network.d/nat.conf", "bridge=br0\n");
    debian.write("/etc/xen/network.d/udev", "");
    // A newer version, whose own nat.conf is another one as well.
    debian.run(
        "dpkg-deb --raw-extract /packages/xen-network_*.deb /tmp/newer
         sed -i 's/^Version: .*/Version: 99/' /tmp/newer/DEBIAN/control
         echo '# news' >>/tmp/newer/etc/xen/network.d/nat.conf
         echo '# news' >>/tmp/newer/etc/xen/network.d/route.conf
         dpkg-deb --root-owner-group -Znone --build /tmp/newer /tmp/newer.deb
         dpkg --install --force-confdef --force-confold /tmp/newer.deb </dev/null",
    );
    assert_eq!(debian.run("dpkg-query --show --showformat='${Version}' xen-network"), "99");
    assert_eq!(debian.read("/etc/xen/network.d/nat.conf"), "bridge=br0\n");
    assert!(debian.read("/etc/xen/network.d/route.conf").ends_with("# news\n"), "what nobody has changed is renewed");
    assert!(debian.run(&format!("{SCRIPTS}/vif-bridge --version")).starts_with("vif-bridge "));
    // Back to the older one, and removed: the configuration stays until it is purged.
    debian.run("dpkg --install --force-downgrade --force-confdef --force-confold /packages/xen-network_*.deb </dev/null");
    debian.run("dpkg --remove xen-network");
    assert_eq!(debian.read("/etc/xen/network.d/nat.conf"), "bridge=br0\n");
    assert!(debian.read(&format!("{SCRIPTS}/vif-bridge")).starts_with("#!/bin/bash"));
    debian.run("dpkg --purge xen-network; ! test -e /etc/xen/network.d; ! test -e /etc/default/xen-network");
}

#[test]
fn lintian_finds_nothing() {
    let packages = fetched("tests/make-packages").unwrap();
    let deb = only_file(&packages, ".deb");
    let lintian = |path: &Path| {
        let output = Command::new("lintian")
            .args(["--allow-root", "--fail-on", "none", "--info", "--display-info"])
            .arg(path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = lintian(&deb);
    let faults: Vec<_> = said.lines().filter(|line| ["E: ", "W: "].iter().any(|mark| line.starts_with(mark))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    // A fault would be found: the maintainer scripts without their strictness.
    let folder = tempfile();
    let run = |words: &str| assert!(Command::new("sh").args(["-ec", words]).status().unwrap().success());
    run(&format!(
        "dpkg-deb --raw-extract {} {folder}/t; sed -i '/^set -e/d' {folder}/t/DEBIAN/preinst
         find {folder}/t -size +1M -delete; dpkg-deb -Znone --build {folder}/t {folder}/bad.deb >/dev/null",
        deb.display(),
        folder = folder.display()
    ));
    let said = lintian(&folder.join("bad.deb"));
    fs::remove_dir_all(&folder).unwrap();
    assert!(said.contains("maintainer-script-ignores-errors"), "{said}");
}

fn only_file(folder: &Path, ending: &str) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = names.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn tempfile() -> PathBuf {
    let output = Command::new("mktemp").arg("--directory").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn packages_are_small() {
    let packages = fetched("tests/make-packages").unwrap();
    for ending in [".deb", ".rpm"] {
        let size = fs::metadata(only_file(&packages, ending)).unwrap().len();
        assert!(size <= 8 << 20, "{ending}: {size} bytes");
    }
}

#[test]
fn systemd_understands_the_units() {
    let debian = Debian::new();
    debian.install();
    for mode in ["bridge", "nat", "route"] {
        debian.run_silently(&format!("systemd-analyze verify --man=yes xen-network@{mode}.service"));
    }
    for name in ["reload", "guard"] {
        debian.run_silently(&format!("systemd-analyze verify --man=yes xen-network-{name}.service"));
    }
    // A fault would be found.
    debian.run("sed -i 's/^KillMode=.*/KillMode=nonsense/' /usr/lib/systemd/system/xen-network@.service");
    let said = debian.command("systemd-analyze verify xen-network@nat.service").output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("nonsense"));
}

/// The unit of the host's network comes after the uplink and the firewall, and before guests and the servers that serve them.
#[test]
fn the_units_come_in_their_order() {
    let debian = Debian::new();
    debian.install();
    let text = debian.read("/usr/lib/systemd/system/xen-network@.service");
    let words = |key: &str| -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(key)).flat_map(str::split_whitespace).collect()
    };
    for unit in ["network-online.target", "nftables.service", "firewalld.service"] {
        assert!(words("After=").contains(&unit), "{unit}");
    }
    for unit in ["xendomains.service", "dnsmasq.service", "isc-dhcp-server.service"] {
        assert!(words("Before=").contains(&unit), "{unit}");
    }
    // Nothing of a network is switched on by installing the package.
    assert_eq!(debian.run("find /etc/systemd -name 'xen-network@*'"), "");
}

/// The units on a running systemd, in their sandboxes: from boot on, with a DHCP server, and with a firewall that is loaded anew.
#[test]
fn the_units_do_their_work() {
    let (clean, packages) = (fetched("tests/fetch-debian-root").unwrap(), fetched("tests/make-packages").unwrap());
    let output = Command::new(workspace().join("tests/suites/packaging/boot")).arg(clean).arg(packages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let seen = |what: &str| {
        text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": ")).unwrap_or_else(|| panic!("no {what} in {text}"))
    };
    for (what, value) in [
        ("nat at boot", "active"),
        ("address", "192.168.2.1/24"),
        ("forwarding", "1"),
        ("dnsmasq at boot", "active"),
        ("dnsmasq after us", "1"),
        ("served", "1"),
        ("restart", "0"),
        ("restart was quick", "1"),
        ("dnsmasq after restart", "active"),
        ("stop", "0"),
        ("dnsmasq after stop", "active"),
        ("bridge after stop", "0"),
        ("forwarding after stop", "0"),
        ("bridge", "active"),
        ("eth0 is a bridge", "yes"),
        ("reload", "0"),
        ("bridge stop", "0"),
        ("eth0 is a bridge after stop", "no"),
        ("eth0", "192.168.1.100/24"),
        ("reloads at start", "1"),
        ("reloads at restart", "1"),
        ("reloads at reload", "1"),
        ("end", "reached"),
    ] {
        assert_eq!(seen(what), value, "{what}: {text}");
    }
    // The router is only a device here, so the bridge cannot have been checked by asking it; nothing else is to be complained of.
    assert_eq!(
        seen("complaints"),
        "the gateway 192.168.1.1 does not answer on eth0: going on, without asking it again afterwards "
    );
}

#[test]
fn man_finds_nothing_to_warn_of() {
    let debian = Debian::new();
    debian.install();
    let pages = debian.run("dpkg -L xen-network | grep /man8/.*gz");
    assert!(pages.lines().count() >= 6, "{pages}");
    for page in pages.lines() {
        debian.run_silently(&format!("LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z {page} >/dev/null"));
    }
    debian.write("/tmp/bad.8", ".TH X 8\n.nonsense\n");
    let said = debian.command("man --warnings -l -Tutf8 -Z /tmp/bad.8 >/dev/null").output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("nonsense"));
}

#[test]
fn udev_logrotate_and_tmpfiles_understand_their_files() {
    let debian = Debian::new();
    debian.install();
    let said = debian.run("udevadm test /devices/virtual/net/lo 2>&1");
    assert!(said.contains("60-xen-network.rules") && !said.contains("60-xen-network.rules:"), "{said}");
    debian.write("/var/log/xen/xen-hotplug.log", "one line\n");
    debian.run("logrotate --force /etc/logrotate.d/xen-network");
    assert_eq!(debian.read("/var/log/xen/xen-hotplug.log.1"), "one line\n");
    let mode = debian.run("stat -c %a /var/log/xen");
    debian.run_silently("systemd-tmpfiles --create xen-network.conf");
    assert_eq!(debian.run("stat -c '%a %U' /run/xen-network /run/xen-hotplug"), "700 root\n755 root\n");
    assert_eq!(debian.run("stat -c %a /var/log/xen"), mode, "Debian's own mode stays");
}

#[test]
fn the_rpm_takes_the_scripts_places_and_gives_them_back() {
    let debian = Debian::new();
    let before = debian.files();
    let rpm = only_file(&fetched("tests/make-packages").unwrap(), ".rpm");
    let call = |words: &str| debian.machine.shell(&format!("rpm --root {ROOT} --nodeps {words} 2>&1"));
    call(&format!("--install {}", rpm.display())).unwrap();
    for name in STAND_INS {
        assert_eq!(debian.run(&format!("readlink {SCRIPTS}/{name}")).trim(), format!("/usr/lib/xen-network/{name}"));
    }
    assert!(debian.read(&format!("{SCRIPTS}/vif-bridge.orig")).starts_with("#!/bin/bash"));
    // An update of Xen has put its script over ours; the trigger then calls:
    debian.run(&format!("rm {SCRIPTS}/vif-nat; cp {SCRIPTS}/vif-nat.orig {SCRIPTS}/vif-nat; /usr/lib/xen-network/takeover put"));
    assert_eq!(debian.run(&format!("readlink {SCRIPTS}/vif-nat")).trim(), "/usr/lib/xen-network/vif-nat");
    // The administrator's configuration outlives an upgrade to a package with the same files.
    debian.write("/etc/xen/network.d/nat.conf", "bridge=br0\n");
    call(&format!("--upgrade --force {}", rpm.display())).unwrap();
    assert_eq!(debian.read("/etc/xen/network.d/nat.conf"), "bridge=br0\n");
    call("--erase xen-network").unwrap();
    assert_eq!(debian.read("/etc/xen/network.d/nat.conf.rpmsave"), "bridge=br0\n");
    debian.run("rm -r /etc/xen/network.d");
    let mut after = debian.files();
    after.retain(|path, _| !path.starts_with("/usr/lib/sysimage/rpm"));
    assert_same(&before, &after);
}

/// Xen's own RPM comes, is updated and goes while ours is there.
#[test]
fn the_rpm_stays_in_place_when_xens_changes() {
    let debian = Debian::new();
    let ours = only_file(&fetched("tests/make-packages").unwrap(), ".rpm");
    let call = |words: &str| debian.machine.shell(&format!("rpm --root {ROOT} --nodeps {words} 2>&1")).unwrap();
    let folder = tempfile();
    for version in ["1", "2"] {
        let specification = format!(
            "Name: xen-runtime\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%install\n\
             mkdir -p %{{buildroot}}{SCRIPTS}; echo '# Xen {version}' >%{{buildroot}}{SCRIPTS}/vif-bridge\n%files\n{SCRIPTS}/vif-bridge\n"
        );
        let path = folder.join(format!("xen-runtime-{version}.spec"));
        fs::write(&path, specification).unwrap();
        let mut build = Command::new("rpmbuild");
        build.args(["-bb", "--quiet", "--define", &format!("_topdir {}", folder.display())]).arg(&path);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let xens = |version: &str| format!("{}/RPMS/noarch/xen-runtime-{version}-1.noarch.rpm", folder.display());
    let place = || debian.run(&format!("readlink {SCRIPTS}/vif-bridge || cat {SCRIPTS}/vif-bridge"));
    let ours_is_there = || assert_eq!(place(), "/usr/lib/xen-network/vif-bridge\n");

    debian.run(&format!("rm -r {SCRIPTS}"));
    call(&format!("--install {}", xens("1")));
    assert_eq!(place(), "# Xen 1\n");
    call(&format!("--install {}", ours.display()));
    ours_is_there();
    call(&format!("--upgrade {}", xens("2")));
    ours_is_there();
    assert_eq!(debian.read(&format!("{SCRIPTS}/vif-bridge.orig")), "# Xen 2\n");
    call("--erase xen-network");
    assert_eq!(place(), "# Xen 2\n");

    call(&format!("--install {}", ours.display()));
    call("--erase xen-runtime");
    ours_is_there();
    call("--erase xen-network");
    debian.run(&format!("! ls {SCRIPTS}/vif-bridge {SCRIPTS}/vif-bridge.orig 2>/dev/null"));
    fs::remove_dir_all(&folder).unwrap();
}

/// `scripts/install` under /usr/local, twice, and back.
#[test]
fn a_plain_installation_takes_the_scripts_places_and_gives_them_back() {
    let debian = Debian::new();
    let before = debian.files();
    let call = |words: &str| {
        let script = workspace().join("scripts/install");
        debian.machine.shell(&format!("DESTDIR={ROOT} {} {words} 2>&1", script.display())).unwrap()
    };
    call("");
    debian.write("/etc/xen/network.d/nat.conf", "bridge=br0\n");
    call("");
    assert_eq!(debian.read("/etc/xen/network.d/nat.conf"), "bridge=br0\n");
    for name in STAND_INS {
        assert_eq!(debian.run(&format!("readlink {SCRIPTS}/{name}")).trim(), format!("/usr/local/lib/xen-network/{name}"));
    }
    assert!(debian.run(&format!("{SCRIPTS}/vif-bridge --version")).starts_with("vif-bridge "));
    assert!(
        debian.read(&format!("{SCRIPTS}/vif-bridge.orig")).starts_with("#!/bin/bash"),
        "the second run did not take our link for Xen's script"
    );
    debian.run_silently("systemd-analyze verify --man=no xen-network@bridge.service");
    let said = call("--uninstall");
    assert!(said.contains("kept: /run/debian/etc/xen/network.d/nat.conf"), "{said}");
    debian.run("rm -r /etc/xen/network.d");
    let mut after = debian.files();
    // Folders of /usr/local that Debian has not made yet stay.
    after.retain(|path, what| !(path.starts_with("/usr/local/") && what.starts_with("d ")));
    let mut before = before;
    before.retain(|path, what| !(path.starts_with("/usr/local/") && what.starts_with("d ")));
    assert_same(&before, &after);
}

/// The same programs give the same packages in another folder.
#[test]
fn packages_do_not_depend_on_the_folder() {
    let first = fetched("tests/make-packages").unwrap();
    let folder = tempfile();
    let act = format!(
        "cp -a {0}/packaging {0}/scripts {0}/README.md {0}/LICENSE-APACHE {0}/LICENSE-MIT {1}; mkdir {1}/dist; cp -r {0}/dist/bin {0}/dist/share {1}/dist
         umask 077; TZ=Asia/Tokyo {1}/scripts/package deb rpm",
        workspace().display(),
        folder.display()
    );
    let output = Command::new("sh").args(["-ec", &act]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for ending in [".deb", ".rpm"] {
        let (one, other) = (only_file(&first, ending), only_file(&folder.join("dist/packages"), ending));
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "the {ending} is another one");
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// A dom0 with the package installed on its Debian, whose XenStore is the test's own.
fn dom0_with_package() -> (Dom0, Debian) {
    let dom0 = Dom0::new("dom0").unwrap();
    Originals::fetched().unwrap();
    let debian = Debian::inside(dom0.machine().clone());
    debian.install();
    debian.machine.shell(&format!("mkdir -p {ROOT}/run/xenstored; mount --bind /run/xenstored {ROOT}/run/xenstored")).unwrap();
    (dom0, debian)
}

fn keys(dom0: &Dom0, prefix: &str) -> Vec<String> {
    dom0.server().snapshot().into_keys().filter(|path| path.starts_with(prefix)).collect()
}

fn seed(dom0: &Dom0, entries: &[&str]) {
    for entry in entries {
        let (path, value) = entry.split_once('=').unwrap();
        dom0.server().seed(&path.parse().unwrap(), value.as_bytes()).unwrap();
    }
}

#[test]
fn xen_hotplug_cleanup_takes_a_dead_device_out_of_the_store() {
    let (dom0, debian) = dom0_with_package();
    seed(
        &dom0,
        &[
            "/local/domain/0/backend/vif/7/0/mac=x",
            "/local/domain/0/backend/vif/7/1/mac=x",
            "/local/domain/0/error/backend/vif/7/0/error=x",
            "/local/domain/7/vm=/vm/some-id",
            "/vm/some-id/device/vif/0/frontend=x",
            "/vm/some-id/name=web",
        ],
    );
    let cleanup = |variables: &str| debian.command(&format!("{variables} {SCRIPTS}/xen-hotplug-cleanup")).output().unwrap();
    for hostile in [
        "",
        "/",
        "backend",
        "backend/vif",
        "backend/vif/7",
        "backend/vif/7/0/mac",
        "backend/vif/7/",
        "backend/vif/*/0",
        "backend/../7/0",
        "x/vif/7/0",
        "backend/vif/7/0 /",
    ] {
        let output = cleanup(&format!("XENBUS_PATH='{hostile}'"));
        assert!(!output.status.success(), "{hostile}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is no device's backend"), "{hostile}");
    }
    assert_eq!(keys(&dom0, "/local/domain/0/backend/vif/7/").len(), 4);
    // The toolstack does so itself.
    seed(&dom0, &["/local/domain/0/libxl/disable_udev=1"]);
    let output = cleanup("UDEV_CALL=1 XENBUS_PATH=backend/vif/7/0");
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty());
    assert_eq!(keys(&dom0, "/local/domain/0/backend/vif/7/").len(), 4);

    let output = cleanup("XENBUS_PATH=backend/vif/7/0");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(keys(&dom0, "/local/domain/0/backend/vif/7/0"), Vec::<String>::new());
    assert_eq!(keys(&dom0, "/local/domain/0/backend/vif/7/1").len(), 2);
    assert_eq!(keys(&dom0, "/local/domain/0/error/backend/vif/7/0/"), Vec::<String>::new());
    assert_eq!(keys(&dom0, "/vm/some-id/device/vif/0"), Vec::<String>::new());
    assert_eq!(keys(&dom0, "/vm/some-id/name").len(), 1);
    assert_eq!(debian.run("ls /run/xen-hotplug 2>/dev/null || :"), "", "no lock is left");
}

#[test]
fn vif_setup_runs_the_program_that_the_toolstack_names() {
    let debian = Debian::new();
    debian.install();
    debian.write("/tmp/program", "#!/bin/sh\nprintf '%s|' \"$0\" \"$@\"\n");
    debian.run("chmod 755 /tmp/program; touch /tmp/a /tmp/b");
    let setup = |script: &str| {
        let mut command = debian.command(&format!("cd /tmp; exec {SCRIPTS}/vif-setup online type_if=vif"));
        command.env("script", script).output().unwrap()
    };
    for (script, called) in [
        ("/tmp/program", "/tmp/program|online|type_if=vif|"),
        ("/tmp/program bridge=xenbr1  x=1", "/tmp/program|bridge=xenbr1|x=1|online|type_if=vif|"),
        ("/tmp/program * $(touch c) `touch c`; touch c", "/tmp/program|*|$(touch|c)|`touch|c`;|touch|c|online|type_if=vif|"),
    ] {
        let output = setup(script);
        assert_eq!(String::from_utf8_lossy(&output.stdout), called, "{}", String::from_utf8_lossy(&output.stderr));
    }
    for hostile in ["program", "../tmp/program", "-c id", " "] {
        let output = setup(hostile);
        assert!(!output.status.success() && output.stdout.is_empty(), "{hostile}");
    }
    debian.run("! test -e /tmp/c");
    // Without a name it is vif-bridge, which misses its variables here.
    let output = debian.command(&format!("{SCRIPTS}/vif-setup online type_if=vif")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("vif-bridge"), "{said}");
}

/// The examples are what they say: hooks that run, configuration that its reader understands.
#[test]
fn the_examples_are_well_formed() {
    let debian = Debian::new();
    debian.install();
    let examples = "/usr/share/doc/xen-network/examples";
    debian.run_silently(&format!("bash -n {examples}/hooks/10-fabric.hook; sh -n {examples}/xend/network-bridge-two-cards"));
    debian.run(&format!("perl -c {examples}/hooks/20-audit.exec 2>&1"));
    let folder = "/etc/network/interfaces.d";
    for (name, device) in [("bridge", "xenbr0"), ("private-bridge", "br0"), ("uplink", "eth0")] {
        let said = debian.run(&format!("ifquery --interfaces={examples}/interfaces/{name} {device} 2>&1"));
        assert!(said.contains("address: 192.168."), "{folder} {name}: {said}");
    }
    // xl reads a guest's configuration without a hypervisor when it only checks it; Python reads the same grammar's assignments.
    for name in ["bridged", "private", "nat", "routed"] {
        let said = debian.run(&format!("python3 -c \"exec(open('{examples}/xl/{name}.cfg').read()); print(name, vif[0])\""));
        assert!(said.starts_with(name), "{said}");
    }
}
