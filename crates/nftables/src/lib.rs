//! The few tables, chains, sets and rules of nf_tables that this project needs, as values.
//!
//! A value prints itself in the words of `nft(8)`, and a [`Batch`] of changes is what `nft -f` would take. [`Connection::send`] has the
//! kernel do a batch whole or not at all, over netlink, without an external command. Numbers and layouts are those of the kernel's
//! `include/uapi/linux/netfilter/nf_tables.h` and `nfnetlink.h`.
//!
//! ```no_run
//! use nftables::{Base, Batch, Chain, Connection, DataType, Family, Hook, Policy, Rule, Selector, Set, Statement, Table};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut table = Table::new(Family::Inet, "xen-nat".parse()?);
//! let uplinks = Set::new("uplinks".parse()?, [DataType::Interface]);
//! let mut chain = Chain::base("postrouting".parse()?, Base::nat(Hook::Postrouting));
//! chain.rules.push(Rule::new([Selector::Oifname.is_in(&uplinks.name), Statement::Masquerade]));
//! table.sets.push(uplinks);
//! table.chains.push(chain);
//!
//! let mut batch = Batch::new();
//! batch.replace_table(table);
//! Connection::open()?.send(&batch)?;
//! # Ok(())
//! # }
//! ```
//!
//! What costs time is not the work but the end of it: after a deletion, a chain declared again, or a batch that failed, closing the
//! socket waits 6 to 20 ms for all processors (`nf_tables_trans_destroy_work`, `synchronize_rcu()`). So look first (one question costs
//! microseconds), then send one batch that will succeed; never try and see.

mod batch;
mod chain;
mod connection;
mod encode;
mod error;
mod expression;
mod family;
mod judge;
mod name;
mod news;
mod number;
mod rule;
mod seen;
mod selector;
mod set;
mod table;
mod value;
mod wire;

pub use batch::{Batch, Generation, Operation, Place, RuleHandle};
pub use chain::{Base, Chain, ChainKind, Policy, Priority};
pub use connection::Connection;
#[cfg(feature = "fuzz")]
pub use connection::read_answer;
pub use error::{Error, Refusal};
pub use family::{Family, Hook};
pub use judge::{Device, Ending, Judgement, Packet};
pub use name::{Comment, InterfaceName, InvalidName, Name};
pub use news::{Change, Commit, News, Told, What};
pub use number::{ArpOperation, ConnectionStates, EtherType, Icmpv6Type, IpVersion, Presence, Protocol};
pub use rule::{LimitSide, LimitUnit, Membership, RateLimit, Rule, Statement, Test, Verdict};
pub use seen::{
    Activity, BaseSeen, ChainSeen, Condition, ElementSeen, End, Owner, RuleSeen, TableSeen, Traffic, place_before_the_stop,
};
pub use selector::{AddressField, ExtensionHeader, PayloadBase, Selector};
pub use set::{Counters, Data, Element, Filled, Ranges, Set, Timeouts};
pub use table::{ChainId, SetId, Table, TableId};
pub use value::{DataType, Field, Value};
