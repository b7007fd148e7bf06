//! The rules of the guest filter: they name no guest, and look each packet up in sets.
//!
//! What they promise, for an interface in the set `guests`:
//!
//! - No frame passes whose source is not the guest's Ethernet address.
//! - IPv4 and IPv6 pass from the guest's own addresses, ARP and neighbour discovery speak of no others. Two exceptions have no address yet:
//!   a DHCP client's call (RFC 2131), and duplicate address detection, router solicitation and group membership from `::` (RFC 4862, 4861,
//!   3590).
//! - A link-local IPv6 address is the guest's own if it follows from its Ethernet address, or if the guest has asked for it by duplicate
//!   address detection before any other guest had it, and nobody who is not filtered (the host, a router) has said that it is theirs (as FCFS SAVI does, RFC 6620). How often a guest may do so is limited.
//! - Nothing else passes: no other protocol, no VLAN tag unless it is allowed, nothing that cannot be understood.
//! - `strict` takes away what only servers, relays and routers say: DHCP answers, DHCP for others, router advertisements, redirects, IGMP and MLD
//!   queries, multicast routers' hellos; and the extension headers that no guest needs (RFC 7045): routing, destination options, mobility, authentication, which hides from us
//!   what follows; hop-by-hop options but for MLD.
//!
//! What a guest is sent is not looked at. The likeliest packets come first: one that is known by its source address meets one lookup.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nftables::{
    AddressField, ArpOperation, Base, Chain, Counters, DataType, EtherType, ExtensionHeader, Family, Field, Filled, Hook,
    Icmpv6Type, InvalidName, IpVersion, LimitSide, LimitUnit, Name, PayloadBase, Presence, Priority, Protocol, RateLimit, Rule,
    Selector, Set, Statement, Table, TableId, Test, Timeouts, Value, Verdict,
};

use super::{IPV4_LENGTHS, IPV6_LENGTHS, Way};

/// Our tables of the guest filter, in each family that has one.
pub const TABLE: &str = "xen-guests";

impl Way {
    /// The families of the tables that see such guests, the one that holds all of a guest first. ARP comes to a link of its own by itself.
    #[must_use]
    pub const fn families(self) -> &'static [Family] {
        match self {
            Self::Bridged => &[Family::Bridge],
            Self::Routed => &[Family::Inet, Family::Arp],
        }
    }
}

/// A set of the guest filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuestSet {
    /// Interfaces that are filtered. The comment tells how.
    Guests,
    /// The same, each with the number of packets that were dropped.
    Dropped,
    /// The same, as the way back to an address tells them.
    Links,
    /// Those whose policy is `strict`.
    Strict,
    /// Those that may send VLAN tags.
    Tagged,
    /// The Ethernet address behind each interface.
    Macs,
    /// The same, as messages tell it: nft takes bytes within a packet for none.
    InnerMacs,
    /// IPv4 addresses behind each, as frames without a tag bear them: what an Ethernet header says of their content stands in the key, so that no
    /// rule need ask. nft leaves out of its listing that a rule asks for it.
    Senders4,
    /// IPv4 addresses behind each.
    Ip4,
    /// IPv4 networks behind each.
    Networks4,
    /// IPv6 addresses behind each.
    Ip6,
    /// IPv6 networks of so many bits behind each. A set for each length: nft 1.1.3 does not read what it lists of an address under a mask.
    Networks6(u8),
    /// Link-local addresses that guests have asked for, whoever they are.
    Claimed,
    /// The same behind each Ethernet address: a guest may have several interfaces with one, an emulated one and a vif.
    Owned,
    /// The same behind each interface.
    Announced,
    /// Interfaces whose guests have done so lately.
    Announcers,
    /// Link-local addresses that somebody who is not filtered has lately said to have.
    Defended,
}

impl GuestSet {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::Guests,
        Self::Dropped,
        Self::Links,
        Self::Strict,
        Self::Tagged,
        Self::Macs,
        Self::InnerMacs,
        Self::Senders4,
        Self::Ip4,
        Self::Networks4,
        Self::Ip6,
        Self::Networks6(0),
        Self::Networks6(16),
        Self::Networks6(24),
        Self::Networks6(32),
        Self::Networks6(40),
        Self::Networks6(48),
        Self::Networks6(56),
        Self::Networks6(64),
        Self::Networks6(72),
        Self::Networks6(80),
        Self::Networks6(88),
        Self::Networks6(96),
        Self::Networks6(104),
        Self::Networks6(112),
        Self::Networks6(120),
        Self::Claimed,
        Self::Owned,
        Self::Announced,
        Self::Announcers,
        Self::Defended,
    ];

    /// Its name in the tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guests => "guests",
            Self::Dropped => "dropped",
            Self::Links => "links",
            Self::Strict => "strict",
            Self::Tagged => "tagged",
            Self::Macs => "macs",
            Self::InnerMacs => "inner-macs",
            Self::Senders4 => "senders4",
            // nft takes no keyword for a name, not even from its own list (`ip6` is one).
            Self::Ip4 => "addresses4",
            Self::Networks4 => "networks4",
            Self::Ip6 => "addresses6",
            Self::Networks6(bits) => word_of_networks6(bits),
            Self::Claimed => "claimed",
            Self::Owned => "owned",
            Self::Announced => "announced",
            Self::Announcers => "announcers",
            Self::Defended => "defended",
        }
    }

    /// The parts of its keys.
    #[must_use]
    pub const fn key(self) -> &'static [DataType] {
        use DataType::{EtherAddress, Interface, Ipv4Address};
        match self {
            Self::Links => &[DataType::WayBack],
            Self::Guests | Self::Dropped | Self::Strict | Self::Tagged | Self::Announcers => &[Interface],
            Self::Macs => &[Interface, EtherAddress],
            Self::InnerMacs => &[Interface, INNER_MAC],
            Self::Senders4 => &[Interface, SENDER, Ipv4Address],
            Self::Ip4 | Self::Networks4 => &[Interface, EtherAddress, Ipv4Address],
            Self::Networks6(bits) => key_of_networks6(bits),
            Self::Ip6 | Self::Announced => &[Interface, EtherAddress, ANY_IP6],
            Self::Owned => &[EtherAddress, ANY_IP6],
            Self::Claimed | Self::Defended => &[ANY_IP6],
        }
    }

    /// Whether the table of `family` has it.
    #[must_use]
    pub const fn is_in(self, family: Family) -> bool {
        match self {
            Self::Links => matches!(family, Family::Inet),
            Self::Guests | Self::Dropped | Self::Macs | Self::Ip4 | Self::Networks4 => true,
            // Links of their own have no tags, and link-local addresses on them concern nobody else.
            Self::Senders4 | Self::Tagged | Self::Claimed | Self::Owned | Self::Defended => matches!(family, Family::Bridge),
            Self::InnerMacs | Self::Strict | Self::Ip6 | Self::Networks6(_) | Self::Announced | Self::Announcers => {
                !matches!(family, Family::Arp)
            }
        }
    }

    /// Whether packets put elements into it.
    #[must_use]
    pub const fn is_filled_by_packets(self) -> bool {
        matches!(self, Self::Claimed | Self::Owned | Self::Announced | Self::Announcers | Self::Defended)
    }

    /// Its name, checked.
    ///
    /// # Errors
    /// Never: the words above are names.
    pub fn name(self) -> Result<Name, InvalidName> {
        self.word().parse()
    }

    fn make(self) -> Result<Set, InvalidName> {
        let mut set = Set::new(self.name()?, self.key().iter().copied());
        if self == Self::Dropped {
            set.counters = Counters::PerElement;
        }
        // An element that may end by itself can be made to, which spares the wait of a deletion.
        set.timeouts = Timeouts::Allowed;
        if self.is_filled_by_packets() {
            set.filled = Filled::ByPackets;
            set.size = Some(ANNOUNCED_MAX);
            set.lifetime = Some(if self == Self::Defended { DEFENCE } else { UNTIL_THE_GUEST_GOES });
        }
        Ok(set)
    }
}

/// An Ethernet address in a message of neighbour discovery or DHCP, at whatever place; written so that nft can read what it lists.
const INNER_MAC: DataType = DataType::Payload { base: PayloadBase::Transport, offset: 26, length: 6 };

/// A frame's sender, and what the frame carries. Where there is a tag, that is what it carries.
const SENDER: DataType = DataType::Payload { base: PayloadBase::Link, offset: SENDER_OFFSET, length: SENDER_LENGTH };
const SENDER_OFFSET: u32 = 6;
const SENDER_LENGTH: u32 = 8;

/// An IPv6 address in a header or in a message, which are one to the sets: nft has a name for the one and none for the other.
const ANY_IP6: DataType = DataType::Payload { base: PayloadBase::Network, offset: 8, length: 16 };

/// The first bits of an address, of which there are whole bytes.
const fn begin_of_ip6(bits: u8) -> DataType {
    DataType::Payload { base: PayloadBase::Network, offset: 8, length: bits as u32 / 8 }
}

/// The names of the sets for [`IPV6_LENGTHS`].
const fn word_of_networks6(bits: u8) -> &'static str {
    match bits {
        0 => "networks6-0",
        16 => "networks6-16",
        24 => "networks6-24",
        32 => "networks6-32",
        40 => "networks6-40",
        48 => "networks6-48",
        56 => "networks6-56",
        64 => "networks6-64",
        72 => "networks6-72",
        80 => "networks6-80",
        88 => "networks6-88",
        96 => "networks6-96",
        104 => "networks6-104",
        112 => "networks6-112",
        _ => "networks6-120",
    }
}

/// Their keys; everything is a network that no address need be looked at for.
const fn key_of_networks6(bits: u8) -> &'static [DataType] {
    use DataType::{EtherAddress, Interface};
    match bits {
        0 => &[Interface, EtherAddress],
        16 => const { &[Interface, EtherAddress, begin_of_ip6(16)] },
        24 => const { &[Interface, EtherAddress, begin_of_ip6(24)] },
        32 => const { &[Interface, EtherAddress, begin_of_ip6(32)] },
        40 => const { &[Interface, EtherAddress, begin_of_ip6(40)] },
        48 => const { &[Interface, EtherAddress, begin_of_ip6(48)] },
        56 => const { &[Interface, EtherAddress, begin_of_ip6(56)] },
        64 => const { &[Interface, EtherAddress, begin_of_ip6(64)] },
        72 => const { &[Interface, EtherAddress, begin_of_ip6(72)] },
        80 => const { &[Interface, EtherAddress, begin_of_ip6(80)] },
        88 => const { &[Interface, EtherAddress, begin_of_ip6(88)] },
        96 => const { &[Interface, EtherAddress, begin_of_ip6(96)] },
        104 => const { &[Interface, EtherAddress, begin_of_ip6(104)] },
        112 => const { &[Interface, EtherAddress, begin_of_ip6(112)] },
        _ => const { &[Interface, EtherAddress, begin_of_ip6(120)] },
    }
}

/// Most addresses that guests may have asked for, all together.
const ANNOUNCED_MAX: u32 = 65_536;

/// How long a word of somebody who is not filtered counts. Routers repeat theirs within half an hour (`MaxRtrAdvInterval`, RFC 4861, 6.2.1).
const DEFENCE: Duration = Duration::from_secs(3600);

/// Packets make no elements without an end (`nft_dynset_init()`), and only those that have one can be given another.
const UNTIL_THE_GUEST_GOES: Duration = Duration::from_secs(3650 * 86_400);

/// How many new link-local addresses a guest may ask for; five more at once.
pub const ANNOUNCEMENTS: RateLimit =
    RateLimit { packets: 10, per: LimitUnit::Hour, burst: RateLimit::USUAL_BURST, side: LimitSide::Within };

/// How often an address may be claimed: by the first of two packets that come at once by two processors. A later one finds it claimed.
pub const CLAIMS: RateLimit = RateLimit { packets: 1, per: LimitUnit::Hour, burst: 1, side: LimitSide::Within };

/// Before anything else looks at bridged frames.
const FIRST_ON_BRIDGE: Priority = Priority(-400);
/// Before fragments are put together (`NF_IP_PRI_CONNTRACK_DEFRAG`, -400), so that each is seen as the guest sent it.
const FIRST_OF_IP: Priority = Priority(-450);

/// IEEE 802.1D's group addresses, which no bridge passes on: STP, LACP, LLDP and others (01:80:c2:00:00:00 to :0f).
const LINK_LOCAL_GROUPS: ([u8; 6], u8) = ([0x01, 0x80, 0xc2, 0, 0, 0], 44);

/// Protocol numbers of IPv6 headers that only `strict` refuses: routing, authentication, destination options, mobility, HIP, shim6 (IANA).
const NEEDLESS_HEADERS: [u8; 6] = [43, 51, 60, 135, 139, 140];
/// Those of them that the kernel finds wherever they stand, behind others that it knows (`ipv6_find_hdr()`).
const FOUND_ANYWHERE: [ExtensionHeader; 2] = [ExtensionHeader::Routing, ExtensionHeader::Destination];
/// The others: it takes them for what the packet carries, wherever they stand, and looks no further.
const TAKEN_FOR_CONTENT: [u8; 4] = [51, 135, 139, 140];
/// `IPPROTO_HOPOPTS`
const HOP_BY_HOP: u8 = 0;
/// Where the first extension header begins, with the number of what follows it.
const BEHIND_IP6: u32 = 40;
/// `IPPROTO_FRAGMENT`: only the first of two such headers is looked at, and no host sends two.
const FRAGMENT: u8 = 44;
/// `IPPROTO_IGMP`
const IGMP: Protocol = Protocol(2);
/// What hosts say in it: reports of all versions, and that they leave (RFC 1112, 2236, 3376).
const IGMP_OF_HOSTS: [u8; 4] = [0x12, 0x16, 0x17, 0x22];
/// `IPPROTO_PIM`: routers of multicast know each other by it, and bridges know them by it, and give them all of it (`br_multicast_pim()`).
const PIM: Protocol = Protocol(103);
/// The ports of DHCP's servers and clients, and of DHCPv6's (RFC 2131, 8415).
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCP6_SERVER: u16 = 547;
const DHCP6_CLIENT: u16 = 546;

/// The empty table of a family.
///
/// # Errors
/// Never: all names in it are names.
pub fn table(family: Family) -> Result<Table, InvalidName> {
    let mut table = Table::new(family, TABLE.parse()?);
    for set in GuestSet::ALL.into_iter().filter(|set| set.is_in(family)) {
        table.sets.push(set.make()?);
    }
    table.chains = Rules::new(family)?.chains();
    Ok(table)
}

/// What the kernel counts of a whole table: it takes one question each to see whether somebody has changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Sets and chains.
    pub parts: u32,
    /// Rules, and rules that lead to a chain.
    pub uses: u32,
}

/// The tally of the table of a family that nobody has changed. Written down, because a guest should not have to wait until all rules have been
/// made up in order to be counted.
#[must_use]
pub const fn tally(family: Family) -> Tally {
    match family {
        Family::Bridge => Tally { parts: 61, uses: 330 },
        Family::Arp => Tally { parts: 9, uses: 34 },
        _ => Tally { parts: 49, uses: 267 },
    }
}

/// The table of a family.
///
/// # Errors
/// Never: its name is a name.
pub fn table_id(family: Family) -> Result<TableId, InvalidName> {
    Ok(TableId::new(family, TABLE.parse()?))
}

/// The names that the rules of one family need.
struct Rules {
    family: Family,
    guests: Name,
    dropped: Name,
    links: Name,
    strict: Name,
    tagged: Name,
    macs: Name,
    inner_macs: Name,
    senders4: Name,
    ip4: Name,
    networks4: Name,
    ip6: Name,
    networks6: Vec<(u8, Name)>,
    claimed: Name,
    owned: Name,
    announced: Name,
    announcers: Name,
    defended: Name,
    entry: Name,
    to_host: Name,
    by_host: Name,
    defence: Name,
    defended_target: Name,
    defended_source: Name,
    ip6_entry: Name,
    known4: Name,
    udp4: Name,
    membership4: Name,
    known6: Name,
    other: Name,
    with_tag: Name,
    other4: Name,
    other6: Name,
    unspecified4: Name,
    unspecified6: Name,
    headers6: Name,
    upper6: Name,
    icmp6: Name,
    solicitation: Name,
    advertisement: Name,
    own_target: Name,
    detection: Name,
    claim: Name,
    again: Name,
    dhcp: Name,
    membership: Name,
    arp: Name,
    arp_probe: Name,
    refused: Name,
}

fn iif() -> Selector {
    Selector::Iifname
}

fn ether() -> Selector {
    Selector::EtherSource
}

fn goto(chain: &Name) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.clone()))
}

fn jump(chain: &Name) -> Statement {
    Statement::Verdict(Verdict::Jump(chain.clone()))
}

fn transport(offset: u32, length: u32) -> Selector {
    Selector::Payload { base: PayloadBase::Transport, offset, length }
}

/// What follows the IP header, by its place in it. Nearly every packet is decided by this, and by what version it is of it is here already,
/// so that is not asked again as the rules for less common packets do.
fn upper_header_is(offset: u32, protocol: Protocol) -> Statement {
    Selector::Payload { base: PayloadBase::Network, offset, length: 1 }.is(Value::Bytes(vec![protocol.0]))
}

/// Neither port of a UDP packet is among the 256 that begin with this byte. Where the first bytes of both are compared, and not the ports, nft
/// does not make one comparison of the two when it loads what it has listed.
fn ports_do_not_begin_with(byte: u8) -> [Statement; 2] {
    [0, 2].map(|offset| transport(offset, 1).is_not(Value::Bytes(vec![byte])))
}

fn type_is(icmp: Icmpv6Type) -> Statement {
    Selector::Icmpv6Type.is(Value::from(icmp))
}

fn next_header(number: u8) -> Statement {
    Selector::Ip6NextHeader.is(Value::from(Protocol(number)))
}

fn length_is(bytes: u16) -> Statement {
    Selector::Ip6Length.is(Value::U16(bytes))
}

/// An option of neighbour discovery, by type and length (RFC 4861, 4.6.1): an Ethernet address, or the nonce of RFC 7527.
fn option_is(at: u32, option: [u8; 2]) -> Statement {
    transport(at, 2).is(Value::Bytes(option.to_vec()))
}

const SOURCE_LINK_LAYER: [u8; 2] = [1, 1];
const TARGET_LINK_LAYER: [u8; 2] = [2, 1];
const NONCE: [u8; 2] = [14, 1];

/// The upper protocol has been found.
fn is_understood() -> Statement {
    Selector::L4Protocol.is(Field::Range(Value::from(Protocol(0)), Value::from(Protocol(255))))
}

/// An IPv6 address that stands as bytes in a packet is a link-local one (fe80::/10).
fn is_link_local(address: Selector) -> Statement {
    let beginning = match address {
        Selector::Payload { base, offset, .. } => Selector::Payload { base, offset, length: 2 },
        other => other,
    };
    beginning.masked_is(Value::Bytes(vec![0xff, 0xc0]), Value::Bytes(vec![0xfe, 0x80]))
}

/// What a message of neighbour discovery is about is one.
fn target_is_link_local() -> Statement {
    is_link_local(Selector::ND_TARGET)
}

/// Not the first piece of a packet: the twelve bits and one of the offset, less the flags (RFC 8200, 4.5).
fn is_later_fragment() -> Statement {
    Selector::FragmentOffset.masked_is_not(Value::Bytes(vec![0xff, 0xf8]), Value::Bytes(vec![0, 0]))
}

impl Rules {
    fn new(family: Family) -> Result<Self, InvalidName> {
        Ok(Self {
            family,
            guests: GuestSet::Guests.name()?,
            dropped: GuestSet::Dropped.name()?,
            links: GuestSet::Links.name()?,
            strict: GuestSet::Strict.name()?,
            tagged: GuestSet::Tagged.name()?,
            macs: GuestSet::Macs.name()?,
            inner_macs: GuestSet::InnerMacs.name()?,
            senders4: GuestSet::Senders4.name()?,
            ip4: GuestSet::Ip4.name()?,
            networks4: GuestSet::Networks4.name()?,
            ip6: GuestSet::Ip6.name()?,
            networks6: IPV6_LENGTHS.iter().map(|bits| Ok((*bits, GuestSet::Networks6(*bits).name()?))).collect::<Result<_, _>>()?,
            claimed: GuestSet::Claimed.name()?,
            owned: GuestSet::Owned.name()?,
            announced: GuestSet::Announced.name()?,
            announcers: GuestSet::Announcers.name()?,
            defended: GuestSet::Defended.name()?,
            by_host: "output".parse()?,
            defence: "defence".parse()?,
            defended_target: "defended-target".parse()?,
            defended_source: "defended-source".parse()?,
            ip6_entry: "ip6-source".parse()?,
            entry: if family == Family::Arp { "input" } else { "prerouting" }.parse()?,
            to_host: "input".parse()?,
            known4: "known4".parse()?,
            udp4: "udp4".parse()?,
            membership4: "membership4".parse()?,
            known6: "known6".parse()?,
            other: "other".parse()?,
            with_tag: "with-tag".parse()?,
            other4: "other4".parse()?,
            other6: "other6".parse()?,
            unspecified4: "unspecified4".parse()?,
            unspecified6: "unspecified6".parse()?,
            headers6: "headers6".parse()?,
            upper6: "upper6".parse()?,
            icmp6: "icmp6".parse()?,
            solicitation: "solicitation".parse()?,
            advertisement: "advertisement".parse()?,
            own_target: "own-target".parse()?,
            detection: "detection".parse()?,
            claim: "claim".parse()?,
            again: "announcement".parse()?,
            dhcp: "dhcp-client".parse()?,
            membership: "membership".parse()?,
            arp: "arp-claim".parse()?,
            arp_probe: "arp-probe".parse()?,
            refused: "refused".parse()?,
        })
    }

    fn chains(&self) -> Vec<Chain> {
        match self.family {
            Family::Bridge => [
                self.of_ip(),
                self.of_arp(),
                vec![
                    self.tag_chain(),
                    self.to_host_chain(),
                    self.by_host_chain(),
                    self.defence(),
                    self.defended(&self.defended_target, Selector::ND_TARGET),
                    self.defended(&self.defended_source, Selector::IP6_SOURCE_BYTES),
                ],
            ]
            .concat(),
            Family::Arp => [vec![self.arp_entry()], self.of_arp(), vec![self.refused()]].concat(),
            _ => self.of_ip(),
        }
    }

    /// Chains in such an order that each stands before those that lead to it, as nft shows them.
    fn of_ip(&self) -> Vec<Chain> {
        vec![
            self.prerouting(),
            self.ip6_entry(),
            self.known4(),
            self.udp4(),
            self.dhcp(),
            self.membership4(),
            self.known6(),
            self.headers6(),
            self.upper6(),
            self.icmp6(),
            self.solicitation(),
            self.advertisement(),
            self.own_target(),
            self.other(),
            self.other4(),
            self.unspecified4(),
            self.other6(),
            self.unspecified6(),
            self.detection(),
            self.again(),
            self.claim(),
            self.membership(),
            self.refused(),
        ]
    }

    fn of_arp(&self) -> Vec<Chain> {
        vec![self.arp(), self.arp_probe()]
    }

    /// Only what carries this, without a tag.
    fn carries(&self, what: EtherType) -> Statement {
        match (self.family, what) {
            (Family::Bridge, what) => Selector::EtherType.is(Value::from(what)),
            (_, EtherType::IP6) => Selector::IpVersion.is(Value::from(IpVersion::V6)),
            _ => Selector::IpVersion.is(Value::from(IpVersion::V4)),
        }
    }

    fn own(&self, address: Selector, set: &Name) -> Statement {
        Statement::all_in([iif(), ether(), address], set)
    }

    /// One rule for each length of network that is looked for.
    fn own_networks(&self, field: AddressField, verdict: &Statement) -> Vec<Rule> {
        let rule = |bits: &u8| Rule::new([self.own(Selector::Network(field, *bits), &self.networks4), verdict.clone()]);
        IPV4_LENGTHS.iter().map(rule).collect()
    }

    /// The same for an IPv6 address that begins at this place.
    fn own_networks6(&self, base: PayloadBase, verdict: &Statement) -> Vec<Rule> {
        let rule = |(bits, set): &(u8, Name)| {
            let begin = Selector::Payload { base, offset: 8, length: u32::from(*bits) / 8 };
            let key = [iif(), ether()].into_iter().chain((*bits > 0).then_some(begin));
            Rule::new([Statement::all_in(key, set), verdict.clone()])
        };
        self.networks6.iter().map(rule).collect()
    }

    fn is_strict(&self) -> Statement {
        iif().is_in(&self.strict)
    }

    fn ether_is_own(&self) -> Statement {
        Statement::all_in([iif(), ether()], &self.macs)
    }

    /// An Ethernet address somewhere in the packet is the guest's.
    fn is_own_mac(&self, field: Selector) -> Statement {
        Statement::all_in([iif(), field], &self.inner_macs)
    }

    fn refuse(&self) -> Rule {
        Rule::new([goto(&self.refused)])
    }

    /// What every packet meets. Most guests' packets are decided by the first rule of it, or of the chain for IPv6.
    fn prerouting(&self) -> Chain {
        let priority = if self.family == Family::Bridge { FIRST_ON_BRIDGE } else { FIRST_OF_IP };
        let mut chain = Chain::base(self.entry.clone(), Base::filter(self.family, Hook::Prerouting).at(priority));
        chain.rules = vec![
            self.known_sender4(),
            Rule::new([self.carries(EtherType::IP6), goto(&self.ip6_entry)]),
            Rule::new([iif().is_in(&self.guests), goto(&self.other)]),
        ];
        chain.rules.push(match self.family {
            // Behind a VLAN's tag.
            Family::Bridge => self.learn(),
            _ => Rule::new([self.carries(EtherType::IP)].into_iter().chain(self.poses())),
        });
        chain
    }

    fn known_sender4(&self) -> Rule {
        let sender = Selector::Payload { base: PayloadBase::Link, offset: SENDER_OFFSET, length: SENDER_LENGTH };
        let by_key = Statement::all_in([iif(), sender, Selector::IpSource], &self.senders4);
        match self.family {
            Family::Bridge => Rule::new([Selector::Protocol.is(Value::from(EtherType::IP)), by_key, goto(&self.known4)]),
            _ => Rule::new([self.carries(EtherType::IP), self.own(Selector::IpSource, &self.ip4), goto(&self.known4)]),
        }
    }

    /// A chain of its own: its rules must not ask for the protocol, or nft would not know the address for the bytes that the sets hold.
    fn ip6_entry(&self) -> Chain {
        let mut chain = Chain::regular(self.ip6_entry.clone());
        chain.rules = vec![
            Rule::new([self.own(Selector::IP6_SOURCE_BYTES, &self.ip6), goto(&self.known6)]),
            Rule::new([iif().is_in(&self.guests), goto(&self.other6)]),
        ];
        if self.family == Family::Bridge {
            chain.rules.push(self.learn());
        } else {
            let not_link_local =
                Selector::Ip6Source.is_not(Field::Prefix(Value::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10));
            chain.rules.push(Rule::new([not_link_local].into_iter().chain(self.poses())));
        }
        chain
    }

    /// Nobody else may pose as a guest that has a link of its own: its addresses lead to that link. Link-local ones are on every link.
    fn poses(&self) -> [Statement; 3] {
        [Selector::WayBack.is_in(&self.links), Statement::Counter, Statement::DROP]
    }

    /// IPv4 from an address of the guest's.
    fn known4(&self) -> Chain {
        let mut chain = Chain::regular(self.known4.clone());
        // ICMP's redirect and router advertisement (RFC 792, RFC 1256).
        let routers_word =
            |number: u8| Rule::new([Selector::IcmpType.is(Value::U8(number)), self.is_strict(), goto(&self.refused)]);
        let [source, target] = ports_do_not_begin_with(0);
        chain.rules = vec![
            Rule::new([upper_header_is(9, Protocol::TCP), Statement::ACCEPT]),
            Rule::new([upper_header_is(9, Protocol::UDP), source, target, Statement::ACCEPT]),
            Rule::new([upper_header_is(9, Protocol::UDP), goto(&self.udp4)]),
            routers_word(5),
            routers_word(9),
            Rule::new([upper_header_is(9, IGMP), self.is_strict(), goto(&self.membership4)]),
            Rule::new([upper_header_is(9, PIM), self.is_strict(), goto(&self.refused)]),
            // A header that contradicts itself or its frame has no upper protocol (nft_set_pktinfo_ipv4_validate()).
            Rule::new([is_understood(), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    /// What only servers of DHCP say, clients know by its target alone: they look at no source port.
    fn udp4(&self) -> Chain {
        let mut chain = Chain::regular(self.udp4.clone());
        let strictly = |port: Selector, number, to: &Name| Rule::new([port.is(Value::Port(number)), self.is_strict(), goto(to)]);
        chain.rules = vec![
            strictly(Selector::UdpSource, DHCP_SERVER, &self.refused),
            strictly(Selector::UdpDestination, DHCP_CLIENT, &self.refused),
            strictly(Selector::UdpDestination, DHCP_SERVER, &self.dhcp),
            Rule::new([is_understood(), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    /// Group membership of IPv4, as hosts tell it.
    fn membership4(&self) -> Chain {
        let mut chain = Chain::regular(self.membership4.clone());
        let says = |kind: u8| Rule::new([transport(0, 1).is(Value::Bytes(vec![kind])), Statement::ACCEPT]);
        chain.rules = IGMP_OF_HOSTS.map(says).to_vec();
        chain.rules.push(self.refuse());
        chain
    }

    /// What a DHCP client says: it asks for an address, renews, releases or declines what is its own (RFC 2131). That is a BOOTREQUEST for its
    /// own Ethernet address; a relay speaks for others (RFC 951).
    fn dhcp(&self) -> Chain {
        const OPERATION: u32 = 8;
        const RELAY: u32 = 8 + 24;
        const CLIENT_HARDWARE_ADDRESS: u32 = 8 + 28;
        let mut chain = Chain::regular(self.dhcp.clone());
        // Of a piece we see the first bytes only, and another piece may say them otherwise.
        let is_a_piece = Selector::Payload { base: PayloadBase::Network, offset: 6, length: 2 }
            .masked_is_not(Value::Bytes(vec![0x3f, 0xff]), Value::Bytes(vec![0, 0]));
        chain.rules = vec![
            Rule::new([is_a_piece, goto(&self.refused)]),
            Rule::new([
                transport(OPERATION, 1).is(Value::Bytes(vec![1])),
                transport(RELAY, 4).is(Value::Bytes(vec![0; 4])),
                self.is_own_mac(transport(CLIENT_HARDWARE_ADDRESS, 6)),
                Statement::ACCEPT,
            ]),
            self.refuse(),
        ];
        chain
    }

    /// IPv6 from an address of the guest's.
    fn known6(&self) -> Chain {
        let mut chain = Chain::regular(self.known6.clone());
        let [source, target] = ports_do_not_begin_with(2);
        chain.rules = vec![
            Rule::new([upper_header_is(6, Protocol::TCP), Statement::ACCEPT]),
            // DHCPv6's two ports, 546 and 547, begin with 2.
            Rule::new([upper_header_is(6, Protocol::UDP), source, target, Statement::ACCEPT]),
            Rule::new([next_header(Protocol::ICMPV6.0), goto(&self.icmp6)]),
            Rule::new([self.is_strict(), goto(&self.headers6)]),
            Rule::new([goto(&self.upper6)]),
        ];
        chain
    }

    /// Which headers `strict` lets stand before the upper one. Behind the first header of a fragment that is not the first one there is nothing
    /// to be seen; what that header names is refused with the first fragment.
    fn headers6(&self) -> Chain {
        let mut chain = Chain::regular(self.headers6.clone());
        let behind_fragment = |number: u8| Selector::FragmentNextHeader.is(Value::from(Protocol(number)));
        let somewhere = |header: ExtensionHeader| Selector::ExtensionHeader(header).is(Value::from(Presence::Present));
        let refused = |test: Statement| Rule::new([test, goto(&self.refused)]);
        chain.rules = FOUND_ANYWHERE.into_iter().map(|header| refused(somewhere(header))).collect();
        chain.rules.extend(TAKEN_FOR_CONTENT.map(|number| refused(Selector::L4Protocol.is(Value::from(Protocol(number))))));
        chain.rules.extend(NEEDLESS_HEADERS.map(|number| refused(next_header(number))));
        chain
            .rules
            .extend(NEEDLESS_HEADERS.into_iter().chain([HOP_BY_HOP, FRAGMENT]).map(|number| refused(behind_fragment(number))));
        // It stands first, or nowhere (RFC 8200, 4.3).
        chain.rules.push(Rule::new([next_header(HOP_BY_HOP), goto(&self.membership)]));
        chain.rules.push(refused(somewhere(ExtensionHeader::HopByHop)));
        chain.rules.push(refused(Selector::UdpSource.is(Value::Port(DHCP6_SERVER))));
        chain.rules.push(refused(Selector::UdpDestination.is(Value::Port(DHCP6_CLIENT))));
        // What relays say: their messages are the twelfth and the thirteenth (RFC 8415, 7.3).
        // Of a piece we may not see which it is.
        let to_servers = || Selector::UdpDestination.is(Value::Port(DHCP6_SERVER));
        let by_a_relay = transport(8, 1).masked_is(Value::Bytes(vec![0xfe]), Value::Bytes(vec![12]));
        chain.rules.push(Rule::new([to_servers(), by_a_relay, goto(&self.refused)]));
        chain.rules.push(Rule::new([to_servers(), somewhere(ExtensionHeader::Fragment), goto(&self.refused)]));
        chain.rules.push(refused(Selector::L4Protocol.is(Value::from(PIM))));
        chain.rules.push(Rule::new([goto(&self.upper6)]));
        chain
    }

    /// The upper header, wherever it stands. Where it cannot be found, because a first fragment ends before it, there is nothing to match
    /// (RFC 7112).
    fn upper6(&self) -> Chain {
        let mut chain = Chain::regular(self.upper6.clone());
        chain.rules = vec![
            Rule::new([is_later_fragment(), Statement::ACCEPT]),
            Rule::new([Selector::L4Protocol.is(Value::from(Protocol::ICMPV6)), goto(&self.icmp6)]),
            Rule::new([is_understood(), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    /// ICMPv6 from an address of the guest's. Neighbour discovery's messages must end behind the one option that we look at.
    fn icmp6(&self) -> Chain {
        let mut chain = Chain::regular(self.icmp6.clone());
        let any = Field::Range(Value::from(Icmpv6Type(0)), Value::from(Icmpv6Type(255)));
        let up_to_echo = Field::Range(Value::from(Icmpv6Type(0)), Value::from(Icmpv6Type::ECHO_REPLY));
        let router_solicitation = || type_is(Icmpv6Type::ROUTER_SOLICIT);
        let accept = |what: Icmpv6Type| Rule::new([type_is(what), Statement::ACCEPT]);
        chain.rules = vec![
            Rule::new([Selector::Icmpv6Type.is(up_to_echo), Statement::ACCEPT]),
            // Neighbour discovery comes whole (RFC 6980).
            Rule::new([
                Selector::Icmpv6Type.is(Field::Range(Value::from(Icmpv6Type::ROUTER_SOLICIT), Value::from(Icmpv6Type::REDIRECT))),
                Selector::ExtensionHeader(ExtensionHeader::Fragment).is(Value::from(Presence::Present)),
                goto(&self.refused),
            ]),
            Rule::new([type_is(Icmpv6Type::NEIGHBOR_SOLICIT), goto(&self.solicitation)]),
            Rule::new([type_is(Icmpv6Type::NEIGHBOR_ADVERT), goto(&self.advertisement)]),
            Rule::new([router_solicitation(), length_is(8), Statement::ACCEPT]),
            Rule::new([
                router_solicitation(),
                length_is(16),
                option_is(8, SOURCE_LINK_LAYER),
                self.is_own_mac(transport(10, 6)),
                Statement::ACCEPT,
            ]),
            Rule::new([router_solicitation(), goto(&self.refused)]),
            accept(Icmpv6Type::LISTENER_REPORT),
            accept(Icmpv6Type::LISTENER_DONE),
            accept(Icmpv6Type::LISTENER_REPORT_V2),
            Rule::new([is_later_fragment(), Statement::ACCEPT]),
            Rule::new([self.is_strict(), goto(&self.refused)]),
            // A first fragment may end before its type, so that the message comes together behind us only (RFC 7112).
            Rule::new([Selector::Icmpv6Type.is(any), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    fn solicitation(&self) -> Chain {
        let mut chain = Chain::regular(self.solicitation.clone());
        chain.rules = vec![
            Rule::new([length_is(24), Statement::ACCEPT]),
            Rule::new([length_is(32), option_is(24, SOURCE_LINK_LAYER), self.is_own_mac(transport(26, 6)), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    fn advertisement(&self) -> Chain {
        let mut chain = Chain::regular(self.advertisement.clone());
        chain.rules = vec![
            Rule::new([length_is(24), jump(&self.own_target)]),
            Rule::new([length_is(32), option_is(24, TARGET_LINK_LAYER), self.is_own_mac(transport(26, 6)), jump(&self.own_target)]),
            self.refuse(),
        ];
        chain
    }

    /// What the message is about is the guest's. Only messages whose type has been asked for come here.
    fn own_target(&self) -> Chain {
        let mut chain = Chain::regular(self.own_target.clone());
        chain.rules = vec![Rule::new([self.own(Selector::ND_TARGET, &self.ip6), Statement::ACCEPT])];
        chain.rules.extend(self.unless_defended(Selector::ND_TARGET));
        chain.rules.push(Rule::new([self.own(Selector::ND_TARGET, &self.announced), Statement::ACCEPT]));
        chain.rules.extend(self.own_networks6(PayloadBase::Transport, &Statement::ACCEPT));
        chain
    }

    /// On a link of its own a guest's link-local address concerns nobody else.
    fn unless_defended(&self, address: Selector) -> Option<Rule> {
        (self.family == Family::Bridge).then(|| Rule::new([address.is_in(&self.defended), goto(&self.refused)]))
    }

    /// A guest's frames that are not from an address by itself.
    fn other(&self) -> Chain {
        let mut chain = Chain::regular(self.other.clone());
        chain.rules = vec![Rule::new([self.carries(EtherType::IP), goto(&self.other4)])];
        if self.family == Family::Bridge {
            chain.rules.push(Rule::new([self.carries(EtherType::ARP), goto(&self.arp)]));
            chain.rules.push(Rule::new([self.carries(EtherType::VLAN), iif().is_in(&self.tagged), goto(&self.with_tag)]));
        }
        chain.rules.push(self.refuse());
        chain
    }

    /// What stands behind a tag.
    fn tag_chain(&self) -> Chain {
        let mut chain = Chain::regular(self.with_tag.clone());
        let behind = |what: EtherType| Selector::Protocol.is(Value::from(what));
        chain.rules = vec![
            Rule::new([behind(EtherType::IP), self.own(Selector::IpSource, &self.ip4), goto(&self.known4)]),
            Rule::new([behind(EtherType::IP), goto(&self.other4)]),
            Rule::new([behind(EtherType::IP6), goto(&self.other6)]),
            Rule::new([behind(EtherType::ARP), goto(&self.arp)]),
            self.refuse(),
        ];
        chain
    }

    fn other4(&self) -> Chain {
        let mut chain = Chain::regular(self.other4.clone());
        let begins = |address: [u8; 4], bits: u8| Selector::IpSource.is(Field::Prefix(Value::from(Ipv4Addr::from(address)), bits));
        chain.rules = vec![
            Rule::new([begins([0, 0, 0, 0], 8), goto(&self.unspecified4)]),
            // Loopback, multicast and beyond are nobody's, though everything else were allowed.
            Rule::new([begins([127, 0, 0, 0], 8), goto(&self.refused)]),
            Rule::new([begins([224, 0, 0, 0], 3), goto(&self.refused)]),
        ];
        chain.rules.extend(self.own_networks(AddressField::IpSource, &goto(&self.known4)));
        chain.rules.push(self.refuse());
        chain
    }

    /// A DHCP client without an address (RFC 2131): a BOOTREQUEST for its own Ethernet address, to everybody.
    fn unspecified4(&self) -> Chain {
        let mut chain = Chain::regular(self.unspecified4.clone());
        let call = [
            Selector::IpSource.is(Value::from(Ipv4Addr::UNSPECIFIED)),
            Selector::IpDestination.is(Value::from(Ipv4Addr::BROADCAST)),
            Selector::UdpSource.is(Value::Port(DHCP_CLIENT)),
            Selector::UdpDestination.is(Value::Port(DHCP_SERVER)),
            self.ether_is_own(),
            goto(&self.dhcp),
        ];
        chain.rules = vec![Rule::new(call), self.refuse()];
        chain
    }

    fn other6(&self) -> Chain {
        let mut chain = Chain::regular(self.other6.clone());
        let multicast = Field::Prefix(Value::from(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8);
        chain.rules = vec![
            Rule::new([Selector::Ip6Source.is(Value::from(Ipv6Addr::UNSPECIFIED)), goto(&self.unspecified6)]),
            Rule::new([Selector::Ip6Source.is(Value::from(Ipv6Addr::LOCALHOST)), goto(&self.refused)]),
            Rule::new([Selector::Ip6Source.is(multicast), goto(&self.refused)]),
        ];
        if self.family == Family::Bridge {
            // What comes behind a tag was not looked up before.
            chain.rules.push(Rule::new([self.own(Selector::IP6_SOURCE_BYTES, &self.ip6), goto(&self.known6)]));
        }
        chain.rules.extend(self.unless_defended(Selector::IP6_SOURCE_BYTES));
        chain.rules.push(Rule::new([self.own(Selector::IP6_SOURCE_BYTES, &self.announced), goto(&self.known6)]));
        chain.rules.extend(self.own_networks6(PayloadBase::Network, &goto(&self.known6)));
        chain.rules.push(Rule::new([next_header(Protocol::ICMPV6.0), type_is(Icmpv6Type::NEIGHBOR_ADVERT), goto(&self.again)]));
        chain.rules.push(self.refuse());
        chain
    }

    /// A guest that was at work elsewhere before, and tells its new neighbours of an address of its own making (Linux does, when
    /// xen-netfront is connected again: `ndisc_send_unsol_na()`). That is as good as asking for it; it must come from the address itself.
    fn again(&self) -> Chain {
        let mut chain = Chain::regular(self.again.clone());
        chain.rules = vec![
            Rule::new([Statement::all_not_in([iif(), ether()], &self.macs), goto(&self.refused)]),
            Rule::new([length_is(24), jump(&self.claim)]),
            Rule::new([length_is(32), option_is(24, TARGET_LINK_LAYER), self.is_own_mac(transport(26, 6)), jump(&self.claim)]),
            Rule::new([self.own(Selector::IP6_SOURCE_BYTES, &self.announced), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    /// A host that has no address yet.
    fn unspecified6(&self) -> Chain {
        let mut chain = Chain::regular(self.unspecified6.clone());
        let icmp = || next_header(Protocol::ICMPV6.0);
        let solicitation = || type_is(Icmpv6Type::NEIGHBOR_SOLICIT);
        chain.rules = vec![
            Rule::new([Statement::all_not_in([iif(), ether()], &self.macs), goto(&self.refused)]),
            Rule::new([next_header(HOP_BY_HOP), goto(&self.membership)]),
            Rule::new([length_is(8), icmp(), type_is(Icmpv6Type::ROUTER_SOLICIT), Statement::ACCEPT]),
            Rule::new([length_is(24), icmp(), solicitation(), goto(&self.detection)]),
            Rule::new([length_is(32), icmp(), solicitation(), option_is(24, NONCE), goto(&self.detection)]),
            self.refuse(),
        ];
        chain
    }

    /// Duplicate address detection: may the guest have this address?
    fn detection(&self) -> Chain {
        let mut chain = Chain::regular(self.detection.clone());
        chain.rules = vec![
            Rule::new([jump(&self.own_target)]),
            Rule::new([jump(&self.claim)]),
            Rule::new([self.own(Selector::ND_TARGET, &self.announced), Statement::ACCEPT]),
            self.refuse(),
        ];
        chain
    }

    /// The target becomes an announced address of the guest's, if it may: where no other guest has it, and nobody defends it.
    fn claim(&self) -> Chain {
        let mut chain = Chain::regular(self.claim.clone());
        let add = |set: &Name, key: Vec<Selector>, limit| Statement::Add(set.clone(), key, limit);
        let limited = || add(&self.announcers, vec![iif()], Some(ANNOUNCEMENTS));
        let announce = || add(&self.announced, vec![iif(), ether(), Selector::ND_TARGET], None);
        // One that is made of an Ethernet address (ff:fe in its middle) belongs to that address, be it a guest's, the host's or a router's.
        let made_of_ethernet = || transport(8 + 11, 2).is_not(Value::Bytes(vec![0xff, 0xfe]));
        if self.family != Family::Bridge {
            chain.rules.push(Rule::new([target_is_link_local(), made_of_ethernet(), limited(), announce()]));
            return chain;
        }
        let undefended = || Selector::ND_TARGET.is_not_in(&self.defended);
        let by_this_guest = || vec![ether(), Selector::ND_TARGET];
        chain.rules = vec![
            // By another interface of this guest's.
            Rule::new([Statement::all_in(by_this_guest(), &self.owned), undefended(), limited(), announce()]),
            Rule::new([
                target_is_link_local(),
                made_of_ethernet(),
                Selector::ND_TARGET.is_not_in(&self.claimed),
                undefended(),
                limited(),
                add(&self.claimed, vec![Selector::ND_TARGET], Some(CLAIMS)),
                add(&self.owned, by_this_guest(), None),
                announce(),
            ]),
        ];
        chain
    }

    /// Group membership (MLD, RFC 2710 and 3810), which alone needs a hop-by-hop option.
    fn membership(&self) -> Chain {
        let mut chain = Chain::regular(self.membership.clone());
        let says = |what: Icmpv6Type| Rule::new([type_is(what), Statement::ACCEPT]);
        // Behind the hop-by-hop header comes the message, and no other header.
        let comes_next = Selector::Payload { base: PayloadBase::Network, offset: BEHIND_IP6, length: 1 };
        chain.rules = vec![
            Rule::new([comes_next.is_not(Value::Bytes(vec![Protocol::ICMPV6.0])), goto(&self.refused)]),
            says(Icmpv6Type::LISTENER_REPORT),
            says(Icmpv6Type::LISTENER_DONE),
            says(Icmpv6Type::LISTENER_REPORT_V2),
            self.refuse(),
        ];
        chain
    }

    fn arp_entry(&self) -> Chain {
        let mut chain = Chain::base(self.entry.clone(), Base::filter(self.family, Hook::Input).at(FIRST_OF_IP));
        chain.rules = vec![Rule::new([iif().is_in(&self.guests), goto(&self.arp)])];
        chain
    }

    /// ARP for IPv4 over Ethernet (RFC 826), in which the sender speaks of itself.
    fn arp(&self) -> Chain {
        let mut chain = Chain::regular(self.arp.clone());
        let request_or_reply = Field::Range(Value::from(ArpOperation::REQUEST), Value::from(ArpOperation::REPLY));
        let odd = |test: Statement| Rule::new([test, goto(&self.refused)]);
        chain.rules = vec![
            odd(Selector::ArpHardware.is_not(Value::U16(1))),
            odd(Selector::ArpProtocol.is_not(Value::from(EtherType::IP))),
            odd(Selector::ArpHardwareLength.is_not(Value::U8(6))),
            odd(Selector::ArpProtocolLength.is_not(Value::U8(4))),
            odd(Selector::ArpOperation.is_not(request_or_reply)),
            odd(Statement::all_not_in([iif(), Selector::ArpSenderEther], &self.macs)),
            Rule::new([Selector::ArpSenderIp.is(Value::from(Ipv4Addr::UNSPECIFIED)), goto(&self.arp_probe)]),
            Rule::new([self.own(Selector::ArpSenderIp, &self.ip4), Statement::ACCEPT]),
        ];
        chain.rules.extend(self.own_networks(AddressField::ArpSenderIp, &Statement::ACCEPT));
        chain.rules.push(self.refuse());
        chain
    }

    /// Does anybody have an address of mine? (RFC 5227)
    fn arp_probe(&self) -> Chain {
        let mut chain = Chain::regular(self.arp_probe.clone());
        chain.rules = vec![
            Rule::new([Selector::ArpOperation.is_not(Value::from(ArpOperation::REQUEST)), goto(&self.refused)]),
            Rule::new([self.own(Selector::ArpTargetIp, &self.ip4), Statement::ACCEPT]),
        ];
        chain.rules.extend(self.own_networks(AddressField::ArpTargetIp, &Statement::ACCEPT));
        chain.rules.push(self.refuse());
        chain
    }

    /// A bridge with spanning tree gives frames to the host that it does not pass on.
    fn to_host_chain(&self) -> Chain {
        let base = Base::filter(self.family, Hook::Input).at(FIRST_ON_BRIDGE);
        let mut chain = Chain::base(self.to_host.clone(), base);
        let (address, bits) = LINK_LOCAL_GROUPS;
        let to_bridges = Statement::Match(Selector::EtherDestination, Test::Is(Field::Prefix(Value::from(address), bits)));
        chain.rules = vec![Rule::new([to_bridges, iif().is_in(&self.guests), goto(&self.refused)])];
        chain
    }

    fn by_host_chain(&self) -> Chain {
        let base = Base::filter(self.family, Hook::Output).at(FIRST_ON_BRIDGE);
        let mut chain = Chain::base(self.by_host.clone(), base);
        chain.rules = vec![self.learn()];
        chain
    }

    /// What the host and those who are not filtered say of link-local addresses is noted.
    fn learn(&self) -> Rule {
        let neighbour_discovery = Field::Range(Value::from(Icmpv6Type::ROUTER_ADVERT), Value::from(Icmpv6Type::NEIGHBOR_ADVERT));
        Rule::new([Selector::Icmpv6Type.is(neighbour_discovery), jump(&self.defence)])
    }

    fn defence(&self) -> Chain {
        let mut chain = Chain::regular(self.defence.clone());
        chain.rules = vec![
            Rule::new([type_is(Icmpv6Type::NEIGHBOR_ADVERT), jump(&self.defended_target)]),
            Rule::new([type_is(Icmpv6Type::ROUTER_ADVERT), jump(&self.defended_source)]),
        ];
        chain
    }

    fn defended(&self, name: &Name, address: Selector) -> Chain {
        let mut chain = Chain::regular(name.clone());
        chain.rules = vec![Rule::new([is_link_local(address), Statement::Add(self.defended.clone(), vec![address], None)])];
        chain
    }

    /// The end of all that is not let through.
    fn refused(&self) -> Chain {
        let mut chain = Chain::regular(self.refused.clone());
        chain.rules = vec![Rule::new([iif().is_in(&self.dropped), Statement::DROP]), Rule::new([Statement::DROP])];
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_are_those_of_the_tables() {
        for family in [Family::Bridge, Family::Inet, Family::Arp] {
            let table = table(family).unwrap();
            let parts = u32::try_from(table.sets.len() + table.chains.len()).unwrap();
            assert_eq!(tally(family), Tally { parts, uses: table.uses_of_chains().values().sum() }, "{family}");
        }
    }
}
