//! What an administrator has in dom0's packet filter before our programs come.

use testbed::machine::Machine;

/// Whose FORWARD chain drops what the host forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// Nobody's.
    None,
    /// iptables over nf_tables, as Docker sets it up on today's Debian.
    IptablesNft,
    /// The older iptables.
    IptablesLegacy,
    /// A table of the administrator's own, in nft's language.
    Nftables,
}

/// Docker's manner: drop what nobody accepts, accept for one's own devices.
const IPTABLES: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ADMIN - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -j ADMIN
-A FORWARD -i docker0 -j ACCEPT
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ADMIN -s 203.0.113.0/24 -j DROP
-A ADMIN -j RETURN
COMMIT
";

const NFTABLES: &str = "table inet admin {
    set friends {
        type ifname
        elements = { \"docker0\" }
    }
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 22 accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ip saddr 203.0.113.0/24 drop
        iifname @friends accept
        ct state established,related oifname @friends accept comment \"docker's\"
    }
}
";

impl Firewall {
    /// Loads the administrator's rules into a machine, for IPv4 and IPv6.
    pub fn load(self, machine: &Machine) {
        match self {
            Self::None => {}
            Self::IptablesNft => restore(machine, "nft"),
            Self::IptablesLegacy => restore(machine, "legacy"),
            Self::Nftables => {
                machine.write_file("/etc/nftables.conf", NFTABLES).unwrap();
                machine.run("nft", ["-f", "/etc/nftables.conf"]).unwrap();
            }
        }
    }

    /// What an administrator did until now for a bridge of guests: accepts for all that comes from it and goes to it.
    pub fn accept_by_hand(self, machine: &Machine, bridge: &str) {
        let iptables = |tool: &str| format!("{tool} -A FORWARD -i {bridge} -j ACCEPT; {tool} -A FORWARD -o {bridge} -j ACCEPT");
        let commands = match self {
            Self::None => return,
            Self::IptablesNft => iptables("iptables-nft"),
            Self::IptablesLegacy => iptables("iptables-legacy"),
            Self::Nftables => format!("nft add element inet admin friends '{{ {bridge} }}'"),
        };
        machine.shell(&commands).unwrap();
    }

    /// Takes that back.
    pub fn withdraw_by_hand(self, machine: &Machine, bridge: &str) {
        let iptables = |tool: &str| format!("{tool} -D FORWARD -i {bridge} -j ACCEPT; {tool} -D FORWARD -o {bridge} -j ACCEPT");
        let commands = match self {
            Self::None => return,
            Self::IptablesNft => iptables("iptables-nft"),
            Self::IptablesLegacy => iptables("iptables-legacy"),
            Self::Nftables => format!("nft delete element inet admin friends '{{ {bridge} }}'"),
        };
        machine.shell(&commands).unwrap();
    }

    /// All rules of the machine as text, the comments with the time and the counters left out.
    pub fn rules(self, machine: &Machine) -> String {
        let tools: &[&str] = match self {
            Self::None | Self::Nftables => &["nft list ruleset"],
            Self::IptablesNft => &["nft list ruleset", "iptables-nft-save", "ip6tables-nft-save"],
            Self::IptablesLegacy => &["nft list ruleset", "iptables-legacy-save", "ip6tables-legacy-save"],
        };
        let texts = tools.iter().map(|tool| machine.shell(&format!("{tool} 2>/dev/null | sed -E '/^#/d; {COUNTERS}'")).unwrap());
        texts.collect::<Vec<_>>().join("---\n")
    }
}

/// As iptables-save and nft print them.
const COUNTERS: &str = r"s/\[[0-9]+:[0-9]+\]/[]/; s/counter packets [0-9]+ bytes [0-9]+/counter/";

fn restore(machine: &Machine, variant: &str) {
    machine.write_file("/etc/iptables.rules", IPTABLES).unwrap();
    machine.write_file("/etc/ip6tables.rules", IPTABLES.replace("203.0.113.0/24", "2001:db8:bad::/48")).unwrap();
    for tool in ["iptables", "ip6tables"] {
        machine.shell(&format!("{tool}-{variant}-restore </etc/{tool}.rules")).unwrap();
    }
}
