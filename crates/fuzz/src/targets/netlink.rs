//! What the kernel says: of devices, addresses and routes, and of nf_tables.

use nftables::{DataType, Ranges};

use super::chosen;

/// A datagram.
pub(crate) fn rtnetlink(input: &[u8]) {
    hotplug::system::fuzz::rtnetlink(input, &"eth0".parse().unwrap());
}

/// The first byte chooses of which types a set's keys are taken to be; the rest is a datagram.
pub(crate) fn nftables(input: &[u8]) {
    let Some((choice, datagram)) = chosen(input) else { return };
    let keys: [(&[DataType], Ranges); 5] = [
        (&[DataType::Interface], Ranges::None),
        (&[DataType::Interface, DataType::EtherAddress, DataType::Ipv4Address], Ranges::Allowed),
        (&[DataType::Ipv6Address], Ranges::Allowed),
        (&[DataType::Ipv4Address], Ranges::Allowed),
        (&[DataType::Interface, DataType::Ipv6Address], Ranges::None),
    ];
    let (key, ranges) = keys[choice % keys.len()];
    nftables::read_answer(datagram, key, ranges);
}
