//! All commands by name, and the number each has in statistics.

use std::collections::HashMap;
use std::sync::LazyLock;

use base::bytes::eq_ignore_case;

use crate::ahead::{self, Parts};
use crate::command::{Command, Group};
use crate::commands::FAMILIES;

/// A command or subcommand in the registry.
pub struct Registered {
    pub row: &'static Command,
    /// Its place in `REGISTRY.all` and in every table of statistics.
    pub id: u16,
    /// `get`, `client|kill`.
    pub full_name: String,
    pub parent: Option<u16>,
    /// Subcommands, by their place in `REGISTRY.all`.
    pub children: Vec<u16>,
    /// Which argument is the first key, where rows name a fixed one; 0 for none.
    pub first_key: usize,
    /// Which argument names a field or member of the key's value; 0 for none.
    pub part: usize,
    /// Parts of a value that it may change, if that does not follow from the number of its arguments.
    pub parts: Option<Parts>,
    /// It runs scripts: EVAL and its like. Or takes as long, and hears other clients meanwhile: DEBUG
    /// LOADAOF.
    pub runs_scripts: bool,
    /// See `name_head`.
    head: u64,
    /// Nothing of the name is lost there.
    in_head: bool,
}

impl Registered {
    #[inline]
    fn is_called(&self, head: u64, name: &[u8]) -> bool {
        let own = self.row.name.as_bytes();
        self.head == head && own.len() == name.len() && (self.in_head || eq_ignore_case(own, name))
    }
}

pub struct Registry {
    pub all: Vec<Registered>,
    /// Top-level commands in the order of their families.
    pub top: Vec<u16>,
    index: Vec<u16>,
}

pub static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::build);

/// Where commands on fields and members name the first one, so that it can be fetched ahead.
const PARTS: [(&str, usize); 22] = [
    ("hdel", 2),
    ("hexists", 2),
    ("hget", 2),
    ("hincrby", 2),
    ("hincrbyfloat", 2),
    ("hmget", 2),
    ("hmset", 2),
    ("hset", 2),
    ("hsetnx", 2),
    ("hstrlen", 2),
    ("sadd", 2),
    ("sismember", 2),
    ("smismember", 2),
    ("smove", 3),
    ("srem", 2),
    ("zadd", 3),
    ("zincrby", 3),
    ("zmscore", 2),
    ("zrank", 2),
    ("zrem", 2),
    ("zrevrank", 2),
    ("zscore", 2),
];

const EMPTY: u16 = u16::MAX;
/// Longest name looked up without hashing the whole of it.
const NAME_LEN_MAX: usize = 32;

impl Registry {
    fn build() -> Registry {
        let mut registry = Registry { all: Vec::new(), top: Vec::new(), index: Vec::new() };
        for row in FAMILIES.iter().flat_map(|family| family.iter()) {
            let id = registry.add(row, None);
            registry.top.push(id);
            for child in row.subcommands {
                let child = registry.add(child, Some(id));
                registry.all[id as usize].children.push(child);
            }
        }
        registry.index_names();
        registry
    }

    fn add(&mut self, row: &'static Command, parent: Option<u16>) -> u16 {
        let id = self.all.len() as u16;
        let full_name = match parent {
            Some(parent) => format!("{}|{}", self.all[parent as usize].row.name, row.name),
            None => row.name.to_string(),
        };
        let head = name_head(row.name.as_bytes());
        let in_head = row.name.len() <= 8 && row.name.bytes().all(|byte| byte.is_ascii_lowercase());
        let part = PARTS.iter().find(|part| part.0 == full_name).map_or(0, |part| part.1);
        let parts = ahead::PARTS.iter().find(|parts| parts.0 == full_name).map(|parts| parts.1);
        let (first_key, children) = (row.first_key().unwrap_or(0), Vec::new());
        let runs_scripts = match row.group {
            Group::Scripting => parent.is_none(),
            Group::Server => row.name == "debug",
            _ => false,
        };
        self.all.push(Registered {
            row,
            id,
            full_name,
            parent,
            children,
            first_key,
            part,
            parts,
            runs_scripts,
            head,
            in_head,
        });
        id
    }

    /// Open addressing over a power of two at least four times the commands.
    fn index_names(&mut self) {
        let size = (self.top.len() * 4).next_power_of_two();
        self.index = vec![EMPTY; size];
        for &id in &self.top {
            let command = &self.all[id as usize];
            let mut at = name_hash(command.head, command.row.name.len()) & (size - 1);
            while self.index[at] != EMPTY {
                at = (at + 1) & (size - 1);
            }
            self.index[at] = id;
        }
    }

    /// A top-level command, in any case.
    #[inline(always)]
    pub fn find(&'static self, name: &[u8]) -> Option<&'static Registered> {
        if name.is_empty() || name.len() > NAME_LEN_MAX {
            return None;
        }
        let mask = self.index.len() - 1;
        let head = name_head(name);
        let mut at = name_hash(head, name.len()) & mask;
        loop {
            let id = self.index[at];
            if id == EMPTY {
                return None;
            }
            let found = &self.all[id as usize];
            if found.is_called(head, name) {
                return Some(found);
            }
            at = (at + 1) & mask;
        }
    }

    /// A subcommand of a container, in any case.
    pub fn find_child(&'static self, parent: &Registered, name: &[u8]) -> Option<&'static Registered> {
        let children = parent.children.iter().map(|&id| &self.all[id as usize]);
        children.into_iter().find(|child| eq_ignore_case(child.row.name.as_bytes(), name))
    }

    /// A command by its full name, `config|get` or `get`.
    pub fn find_full(&'static self, name: &[u8]) -> Option<&'static Registered> {
        let mut words = name.splitn(2, |&byte| byte == b'|');
        let top = self.find(words.next()?)?;
        match words.next() {
            Some(child) => self.find_child(top, child),
            None => Some(top),
        }
    }

    pub fn by_id(&'static self, id: u16) -> Option<&'static Registered> {
        self.all.get(id as usize)
    }

    /// Names for the documentation: full name to row.
    pub fn by_full_name(&'static self) -> HashMap<&'static str, &'static Registered> {
        self.all.iter().map(|registered| (registered.full_name.as_str(), registered)).collect()
    }
}

/// The first eight bytes of a name in one number, lower-cased by setting a bit: what is equal in it is equal
/// but for the case, if the name is all letters.
#[inline]
fn name_head(name: &[u8]) -> u64 {
    let part = |at: usize, len: usize| {
        name[at..at + len].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    };
    let word = match name.len() {
        8.. => part(0, 8),
        // Two halves that overlap.
        len @ 4..8 => part(0, 4) | part(len - 4, 4) << (8 * (len - 4)),
        len => part(0, len),
    };
    word | 0x2020_2020_2020_2020
}

#[inline]
fn name_hash(head: u64, len: usize) -> usize {
    ((head ^ (len as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_parts_is_said_of_commands() {
        let names = PARTS.iter().map(|part| part.0).chain(ahead::PARTS.iter().map(|parts| parts.0));
        let unknown: Vec<&str> = names.filter(|name| REGISTRY.find_full(name.as_bytes()).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
