//! Tables, and how objects are named.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Chain, Family, Name, Set};

/// Which table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// Which packets it sees.
    pub family: Family,
    /// Its name, unique within the family.
    pub name: Name,
}

impl TableId {
    /// The table `name` of `family`.
    #[must_use]
    pub fn new(family: Family, name: Name) -> Self {
        Self { family, name }
    }

    /// A set of this table.
    #[must_use]
    pub fn set(&self, name: &Name) -> SetId {
        SetId { table: self.clone(), name: name.clone() }
    }

    /// A chain of this table.
    #[must_use]
    pub fn chain(&self, name: &Name) -> ChainId {
        ChainId { table: self.clone(), name: name.clone() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Which set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    /// The table it is in.
    pub table: TableId,
    /// Its name, unique within the table.
    pub name: Name,
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// Which chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId {
    /// The table it is in.
    pub table: TableId,
    /// Its name, unique within the table.
    pub name: Name,
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// A whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which packets it sees.
    pub family: Family,
    /// Its name.
    pub name: Name,
    /// Its sets and maps.
    pub sets: Vec<Set>,
    /// Its chains. A rule may jump to any of them, and to none of another table.
    pub chains: Vec<Chain>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(family: Family, name: Name) -> Self {
        Self { family, name, sets: vec![], chains: vec![] }
    }

    /// How others refer to it.
    #[must_use]
    pub fn id(&self) -> TableId {
        TableId::new(self.family, self.name.clone())
    }

    /// How many rules each of its chains has and how many lead to it, together, as the kernel counts them
    /// ([`ChainSeen::uses`](crate::ChainSeen)). Elements of verdict maps are not counted.
    #[must_use]
    pub fn uses_of_chains(&self) -> BTreeMap<&Name, u32> {
        let mut uses: BTreeMap<&Name, u32> = self.chains.iter().map(|chain| (&chain.name, 0)).collect();
        for chain in &self.chains {
            for rule in &chain.rules {
                *uses.entry(&chain.name).or_default() += 1;
                rule.targets().for_each(|target| *uses.entry(target).or_default() += 1);
            }
        }
        uses
    }
}

/// As `nft list table` prints it.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        let sets = self.sets.iter().map(|set| set as &dyn fmt::Display);
        let chains = self.chains.iter().map(|chain| chain as &dyn fmt::Display);
        for (place, part) in sets.chain(chains).enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{part}")?;
        }
        f.write_str("}")
    }
}
