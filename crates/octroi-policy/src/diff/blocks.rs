//! Blocks by kind and name: in one policy only, or in both and different. What
//! a block means is the affair of the other parts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ast::{self, Document};

/// A block that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BlockChange {
    /// `target`, `classify`, …: as in the files.
    pub kind: &'static str,
    /// Its id; of a producer its SIREN, of a test its name.
    pub id: String,
    /// What became of it.
    pub change: Block,
    /// What it lets through may be more, and labels do not show it.
    pub may_lower: bool,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// In the new policy only.
    Added,
    /// In the old policy only.
    Removed,
    /// In both, and different.
    Changed,
}

impl Block {
    /// The same change the other way round.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::Added => Self::Removed,
            Self::Removed => Self::Added,
            Self::Changed => self,
        }
    }
}

/// Every block that is not the same in both, in the order of the language.
pub(super) fn changes(old: &Document, new: &Document) -> Vec<BlockChange> {
    let mut changes = Changes(Vec::new());
    let versionless = |document: &Document| {
        let mut policy = document.policy.value.clone();
        policy.version.clear();
        policy
    };
    changes.whole("policy", versionless(old) != versionless(new));
    changes.whole("defaults", old.defaults.value != new.defaults.value);
    changes.of("acknowledge", &old.acknowledge, &new.acknowledge, |b| format!("{} {}", b.code, b.subject));
    changes.of("producer", &old.producer, &new.producer, |block| block.siren.clone());
    changes.of("perimeter", &old.perimeter, &new.perimeter, |block| block.id.clone());
    changes.of("domain", &old.domain, &new.domain, |block| block.id.clone());
    changes.of("target", &old.target, &new.target, |block| block.id.clone());
    changes.of("space", &old.space, &new.space, |block| block.id.clone());
    changes.of("source", &old.source, &new.source, |block| block.id.clone());
    changes.of("processing", &old.processing, &new.processing, |block| block.id.clone());
    changes.of("classify", &old.classify, &new.classify, |block| block.id.clone());
    changes.of("requirement", &old.requirement, &new.requirement, |block| block.id.clone());
    changes.of("transform", &old.transform, &new.transform, |block| block.id.clone());
    changes.of("copy", &old.copy, &new.copy, |block| block.id.clone());
    changes.of("derogation", &old.derogation, &new.derogation, |block| {
        let scope = [&block.scope.source, &block.scope.space].into_iter().flatten();
        scope.fold(block.requirement.clone(), |id, scope| format!("{id} {scope}"))
    });
    changes.of("invariant", &old.invariant, &new.invariant, |block| block.id.clone());
    changes.of("test", &old.test, &new.test, |block| block.name.clone());
    let mut changes = changes.0;
    for change in &mut changes {
        change.may_lower = super::doubt::may_lower(change, old, new);
    }
    changes
}

struct Changes(Vec<BlockChange>);

impl Changes {
    fn whole(&mut self, kind: &'static str, changed: bool) {
        if changed {
            self.push(kind, String::new(), Block::Changed);
        }
    }

    fn of<T: PartialEq>(
        &mut self,
        kind: &'static str,
        old: &[ast::Block<T>],
        new: &[ast::Block<T>],
        id: impl Fn(&T) -> String,
    ) {
        let mut pairs: BTreeMap<String, (Option<&T>, Option<&T>)> = BTreeMap::new();
        old.iter().for_each(|block| pairs.entry(id(block)).or_default().0 = Some(block));
        new.iter().for_each(|block| pairs.entry(id(block)).or_default().1 = Some(block));
        for (id, pair) in pairs {
            match pair {
                (Some(_), None) => self.push(kind, id, Block::Removed),
                (None, Some(_)) => self.push(kind, id, Block::Added),
                (before, after) if before != after => self.push(kind, id, Block::Changed),
                _ => {}
            }
        }
    }

    fn push(&mut self, kind: &'static str, id: String, change: Block) {
        self.0.push(BlockChange { kind, id, change, may_lower: false });
    }
}
