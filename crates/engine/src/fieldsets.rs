//! Names of a hash's fields that a connection has prepared (HIMPORT PREPARE), so that it need not repeat them
//! with each hash. They live as long as the connection; others never see them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The fields of one set, in the order in which their values come.
pub type Fields = Arc<[Box<[u8]>]>;

#[derive(Default)]
pub struct Fieldsets {
    by_name: BTreeMap<Box<[u8]>, Fields>,
    /// Bytes it holds.
    bytes: usize,
}

impl Fieldsets {
    /// Keeps the fields under a name, in place of those that were there; false, and nothing happens, if one
    /// of them comes twice.
    pub fn prepare<'a>(&mut self, name: &[u8], fields: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
        let mut seen = HashSet::new();
        if !fields.clone().all(|field| seen.insert(field)) {
            return false;
        }
        self.discard(name);
        let fields: Fields = fields.map(Box::from).collect();
        self.bytes += size(name, &fields);
        self.by_name.insert(name.into(), fields);
        true
    }

    pub fn find(&self, name: &[u8]) -> Option<Fields> {
        self.by_name.get(name).cloned()
    }

    /// Whether there was one of that name.
    pub fn discard(&mut self, name: &[u8]) -> bool {
        let Some(fields) = self.by_name.remove(name) else { return false };
        self.bytes -= size(name, &fields);
        true
    }

    /// How many there were.
    pub fn discard_all(&mut self) -> usize {
        std::mem::take(self).by_name.len()
    }

    pub fn memory(&self) -> usize {
        self.bytes
    }
}

fn size(name: &[u8], fields: &Fields) -> usize {
    let entry = size_of::<(Box<[u8]>, Fields)>() + name.len();
    let each = |len: usize| size_of::<Box<[u8]>>() + len;
    entry + fields.iter().map(|field| each(field.len())).sum::<usize>()
}
