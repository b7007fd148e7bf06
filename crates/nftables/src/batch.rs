//! Changes that the kernel makes together or not at all.

use std::fmt;

use crate::set::Joined;
use crate::{Chain, ChainId, Element, Ranges, Rule, Set, SetId, Table, TableId};

/// A list of changes. The kernel makes all of them in one instant, or none.
///
/// It prints itself as the script that `nft -f` would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
    generation: Option<Generation>,
}

impl Batch {
    /// Nothing to do.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The changes, in order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Appends a change.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Has the kernel refuse the batch (`ERESTART`) where anything of nf_tables has changed since `generation`.
    pub fn only_in(&mut self, generation: Generation) {
        self.generation = Some(generation);
    }

    /// The generation that the batch is for, where it is for one alone.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Makes a table with all that is in it. The kernel refuses (`EEXIST`) where there is one of that name.
    pub fn create_table(&mut self, table: Table) {
        self.push(Operation::CreateTable(table));
    }

    /// Makes a table with all that is in it. Where it is there already, this adds to it.
    pub fn add_table(&mut self, table: Table) {
        self.push(Operation::AddTable(table));
    }

    /// Makes a table with all that is in it, in place of whatever was there by that name.
    pub fn replace_table(&mut self, table: Table) {
        self.push(Operation::ReplaceTable(table));
    }

    /// Deletes a table that is there.
    pub fn delete_table(&mut self, table: TableId) {
        self.push(Operation::DeleteTable(table));
    }

    /// Adds elements to a set. Those it has already stay.
    pub fn add_elements(&mut self, set: SetId, ranges: Ranges, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.push(Operation::AddElements { set, ranges, elements });
        }
    }

    /// Takes elements out of a set. All of them must be there.
    pub fn delete_elements(&mut self, set: SetId, ranges: Ranges, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.push(Operation::DeleteElements { set, ranges, elements });
        }
    }

    /// Puts a rule at the head of a chain.
    pub fn insert_rule(&mut self, chain: ChainId, rule: Rule) {
        self.push(Operation::AddRule { chain, place: Place::Head, rule });
    }

    /// Puts a rule at the end of a chain.
    pub fn append_rule(&mut self, chain: ChainId, rule: Rule) {
        self.push(Operation::AddRule { chain, place: Place::End, rule });
    }

    /// Puts a rule before another one of the chain.
    pub fn insert_rule_before(&mut self, chain: ChainId, handle: RuleHandle, rule: Rule) {
        self.push(Operation::AddRule { chain, place: Place::Before(handle), rule });
    }

    /// Deletes a rule.
    pub fn delete_rule(&mut self, chain: ChainId, handle: RuleHandle) {
        self.push(Operation::DeleteRule { chain, handle });
    }

    /// The changes one by one as the kernel takes them, each with the place of the operation it belongs to.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (usize, Step<'_>)> {
        self.operations
            .iter()
            .enumerate()
            .flat_map(|(place, operation)| operation.steps().into_iter().map(move |step| (place, step)))
    }
}

impl FromIterator<Operation> for Batch {
    fn from_iter<T: IntoIterator<Item = Operation>>(operations: T) -> Self {
        Self { operations: operations.into_iter().collect(), generation: None }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operations.iter().try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

/// A state of all of nf_tables in a network namespace: every batch that the kernel takes makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(pub(crate) u32);

impl Generation {
    /// How many changes there were from an earlier one to this.
    #[must_use]
    pub const fn steps_since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// What the kernel calls a rule: a number, unique within the table, that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleHandle(pub u64);

impl fmt::Display for RuleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where in its chain a rule is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Before all others.
    Head,
    /// After all others.
    End,
    /// Before this one.
    Before(RuleHandle),
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make a table with all that is in it, unless there is one.
    CreateTable(Table),
    /// Make a table with all that is in it, or add that to the table.
    AddTable(Table),
    /// Make a table with all that is in it, in place of whatever was there.
    ReplaceTable(Table),
    /// Delete a table that is there.
    DeleteTable(TableId),
    /// Delete a table if it is there. Look first: where it is not, this waits as long as any deletion.
    DeleteTableIfAny(TableId),
    /// Make a set with its elements.
    AddSet(TableId, Set),
    /// Delete a set that no rule uses.
    DeleteSet(SetId),
    /// Empty a set.
    FlushSet(SetId),
    /// Make a chain with its rules.
    AddChain(TableId, Chain),
    /// Delete a chain that no rule leads to, and its rules.
    DeleteChain(ChainId),
    /// Delete all rules of a chain.
    FlushChain(ChainId),
    /// Add elements to a set.
    AddElements {
        /// The set.
        set: SetId,
        /// What the set was made with.
        ranges: Ranges,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Take elements out of a set.
    DeleteElements {
        /// The set.
        set: SetId,
        /// What the set was made with.
        ranges: Ranges,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Put a rule into a chain.
    AddRule {
        /// The chain.
        chain: ChainId,
        /// Where in it.
        place: Place,
        /// The rule.
        rule: Rule,
    },
    /// Delete a rule.
    DeleteRule {
        /// The chain it is in.
        chain: ChainId,
        /// Which it is.
        handle: RuleHandle,
    },
}

impl Operation {
    fn steps(&self) -> Vec<Step<'_>> {
        match self {
            Self::CreateTable(table) => table_steps(Step::CreateTable(table.id()), table).collect(),
            Self::AddTable(table) => table_steps(Step::AddTable(table.id()), table).collect(),
            Self::ReplaceTable(table) => {
                let id = table.id();
                let made = table_steps(Step::AddTable(id.clone()), table);
                [Step::AddTable(id.clone()), Step::DeleteTable(id)].into_iter().chain(made).collect()
            }
            Self::DeleteTable(table) => vec![Step::DeleteTable(table.clone())],
            Self::DeleteTableIfAny(table) => vec![Step::AddTable(table.clone()), Step::DeleteTable(table.clone())],
            Self::AddSet(table, set) => {
                [Step::AddSet(table.clone(), set)].into_iter().chain(element_steps(table.set(&set.name), set)).collect()
            }
            Self::DeleteSet(set) => vec![Step::DeleteSet(set)],
            Self::FlushSet(set) => vec![Step::FlushSet(set)],
            Self::AddChain(table, chain) => {
                [Step::AddChain(table.clone(), chain)].into_iter().chain(rule_steps(table.chain(&chain.name), chain)).collect()
            }
            Self::DeleteChain(chain) => vec![Step::DeleteChain(chain)],
            Self::FlushChain(chain) => vec![Step::FlushChain(chain)],
            Self::AddElements { set, ranges, elements } => {
                let part = |elements| Step::Elements { act: ElementAct::Add, set: set.clone(), ranges: *ranges, elements };
                elements.chunks(ELEMENTS_PER_MESSAGE).map(part).collect()
            }
            Self::DeleteElements { set, ranges, elements } => {
                let part = |elements| Step::Elements { act: ElementAct::Delete, set: set.clone(), ranges: *ranges, elements };
                elements.chunks(ELEMENTS_PER_MESSAGE).map(part).collect()
            }
            Self::AddRule { chain, place, rule } => vec![Step::AddRule { chain: chain.clone(), place: *place, rule }],
            Self::DeleteRule { chain, handle } => vec![Step::DeleteRule { chain, handle: *handle }],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable(table) | Self::CreateTable(table) => table.fmt(f),
            Self::ReplaceTable(table) => {
                let id = table.id();
                write!(f, "add table {id}\ndelete table {id}\n{table}")
            }
            Self::AddSet(table, set) => write!(f, "table {table} {{\n{set}\n}}"),
            Self::AddChain(table, chain) => write!(f, "table {table} {{\n{chain}\n}}"),
            // Without the parts that only the kernel's limits make.
            Self::AddElements { set, elements, .. } => write_elements(f, "add", set, elements),
            Self::DeleteElements { set, elements, .. } => write_elements(f, "delete", set, elements),
            _ => write!(f, "{}", Joined(&self.steps(), "\n")),
        }
    }
}

fn write_elements(f: &mut fmt::Formatter<'_>, act: &str, set: &SetId, elements: &[Element]) -> fmt::Result {
    write!(f, "{act} element {set} {{ {} }}", Joined(elements, ", "))
}

/// How many elements go into one message: an attribute holds 64 KiB, and an element with two keys of 64 bytes, a verdict and the
/// longest name of a chain takes less than 500 bytes.
const ELEMENTS_PER_MESSAGE: usize = 128;

/// A table's parts in such an order that each finds what it refers to.
fn table_steps<'a>(first: Step<'a>, table: &'a Table) -> impl Iterator<Item = Step<'a>> {
    let id = table.id();
    let mut steps = vec![first];
    steps.extend(table.sets.iter().map(|set| Step::AddSet(id.clone(), set)));
    steps.extend(table.chains.iter().map(|chain| Step::AddChain(id.clone(), chain)));
    steps.extend(table.sets.iter().flat_map(|set| element_steps(id.set(&set.name), set)));
    steps.extend(table.chains.iter().flat_map(|chain| rule_steps(id.chain(&chain.name), chain)));
    steps.into_iter()
}

fn element_steps(id: SetId, set: &Set) -> impl Iterator<Item = Step<'_>> {
    let ranges = set.ranges;
    set.elements.chunks(ELEMENTS_PER_MESSAGE).map(move |elements| Step::Elements {
        act: ElementAct::Add,
        set: id.clone(),
        ranges,
        elements,
    })
}

fn rule_steps(id: ChainId, chain: &Chain) -> impl Iterator<Item = Step<'_>> {
    chain.rules.iter().map(move |rule| Step::AddRule { chain: id.clone(), place: Place::End, rule })
}

/// What one message has the kernel do.
#[derive(Clone, Debug)]
pub(crate) enum Step<'a> {
    CreateTable(TableId),
    AddTable(TableId),
    DeleteTable(TableId),
    AddSet(TableId, &'a Set),
    DeleteSet(&'a SetId),
    FlushSet(&'a SetId),
    AddChain(TableId, &'a Chain),
    DeleteChain(&'a ChainId),
    FlushChain(&'a ChainId),
    Elements { act: ElementAct, set: SetId, ranges: Ranges, elements: &'a [Element] },
    AddRule { chain: ChainId, place: Place, rule: &'a Rule },
    DeleteRule { chain: &'a ChainId, handle: RuleHandle },
}

/// Whether elements come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementAct {
    Add,
    Delete,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTable(table) => write!(f, "create table {table}"),
            Self::AddTable(table) => write!(f, "add table {table}"),
            Self::DeleteTable(table) => write!(f, "delete table {table}"),
            Self::AddSet(table, set) => write!(f, "add set {table} {}", set.name),
            Self::DeleteSet(set) => write!(f, "delete set {set}"),
            Self::FlushSet(set) => write!(f, "flush set {set}"),
            Self::AddChain(table, chain) => {
                write!(f, "add chain {table} {}", chain.name)?;
                chain.base.iter().try_for_each(|base| write!(f, " {{ {base} }}"))
            }
            Self::DeleteChain(chain) => write!(f, "delete chain {chain}"),
            Self::FlushChain(chain) => write!(f, "flush chain {chain}"),
            Self::Elements { act: ElementAct::Add, set, elements, .. } => write_elements(f, "add", set, elements),
            Self::Elements { act: ElementAct::Delete, set, elements, .. } => write_elements(f, "delete", set, elements),
            Self::AddRule { chain, place: Place::Head, rule } => write!(f, "insert rule {chain} {rule}"),
            Self::AddRule { chain, place: Place::End, rule } => write!(f, "add rule {chain} {rule}"),
            Self::AddRule { chain, place: Place::Before(handle), rule } => write!(f, "insert rule {chain} handle {handle} {rule}"),
            Self::DeleteRule { chain, handle } => write!(f, "delete rule {chain} handle {handle}"),
        }
    }
}
