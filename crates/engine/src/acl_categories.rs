//! The ACL categories of commands: most follow from a row's flags and group, the rest stands in the row. Says
//! what a category holds, never who may use it.

use base::bytes::eq_ignore_case;

use crate::command::{Command, Group, flag};

/// The bits of a row's `categories` and of `of`.
pub mod category {
    pub const KEYSPACE: u32 = 1;
    pub const READ: u32 = 1 << 1;
    pub const WRITE: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTED_SET: u32 = 1 << 4;
    pub const LIST: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const STRING: u32 = 1 << 7;
    pub const BITMAP: u32 = 1 << 8;
    pub const HYPERLOGLOG: u32 = 1 << 9;
    pub const GEO: u32 = 1 << 10;
    pub const STREAM: u32 = 1 << 11;
    pub const PUBSUB: u32 = 1 << 12;
    pub const ADMIN: u32 = 1 << 13;
    pub const FAST: u32 = 1 << 14;
    pub const SLOW: u32 = 1 << 15;
    pub const BLOCKING: u32 = 1 << 16;
    pub const DANGEROUS: u32 = 1 << 17;
    pub const CONNECTION: u32 = 1 << 18;
    pub const TRANSACTION: u32 = 1 << 19;
    pub const SCRIPTING: u32 = 1 << 20;

    /// In a row only: the group's category does not apply.
    pub const NOT_OF_GROUP: u32 = 1 << 31;

    /// In the order in which COMMAND and ACL CAT print them.
    pub const NAMES: [(u32, &str); 21] = [
        (KEYSPACE, "keyspace"),
        (READ, "read"),
        (WRITE, "write"),
        (SET, "set"),
        (SORTED_SET, "sortedset"),
        (LIST, "list"),
        (HASH, "hash"),
        (STRING, "string"),
        (BITMAP, "bitmap"),
        (HYPERLOGLOG, "hyperloglog"),
        (GEO, "geo"),
        (STREAM, "stream"),
        (PUBSUB, "pubsub"),
        (ADMIN, "admin"),
        (FAST, "fast"),
        (SLOW, "slow"),
        (BLOCKING, "blocking"),
        (DANGEROUS, "dangerous"),
        (CONNECTION, "connection"),
        (TRANSACTION, "transaction"),
        (SCRIPTING, "scripting"),
    ];
}

/// All categories of a command.
pub fn of(row: &Command) -> u32 {
    let mut all = row.categories & !category::NOT_OF_GROUP;
    if !row.is_container() && row.categories & category::NOT_OF_GROUP == 0 {
        all |= of_group(row.group);
    }
    for (flag, implied) in BY_FLAG {
        if row.has(flag) {
            all |= implied;
        }
    }
    // Scripts are not reads, whatever they are flagged as: they may do anything their commands may.
    if row.has(flag::READONLY) && all & category::SCRIPTING == 0 {
        all |= category::READ;
    }
    if all & category::FAST == 0 {
        all |= category::SLOW;
    }
    all
}

/// A category by its name without the `@`, in any case.
pub fn by_name(name: &[u8]) -> Option<u32> {
    let found = category::NAMES.iter().find(|(_, known)| eq_ignore_case(known.as_bytes(), name));
    found.map(|(bit, _)| *bit)
}

/// Publish and subscribe is not here: its category follows from the flag.
fn of_group(group: Group) -> u32 {
    match group {
        Group::Generic => category::KEYSPACE,
        Group::String => category::STRING,
        Group::List => category::LIST,
        Group::Set => category::SET,
        Group::SortedSet => category::SORTED_SET,
        Group::Hash => category::HASH,
        Group::Transactions => category::TRANSACTION,
        Group::Connection => category::CONNECTION,
        Group::Scripting => category::SCRIPTING,
        Group::HyperLogLog => category::HYPERLOGLOG,
        Group::Geo => category::GEO,
        Group::Stream => category::STREAM,
        Group::Bitmap => category::BITMAP,
        Group::PubSub | Group::Server | Group::Cluster | Group::Sentinel => 0,
    }
}

const BY_FLAG: [(u32, u32); 5] = [
    (flag::WRITE, category::WRITE),
    (flag::ADMIN, category::ADMIN | category::DANGEROUS),
    (flag::PUBSUB, category::PUBSUB),
    (flag::FAST, category::FAST),
    (flag::BLOCKING, category::BLOCKING),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{command, container};

    fn check(row: Command, expected: &str) {
        let all = of(&row);
        let names = category::NAMES.iter().filter(|(bit, _)| all & bit != 0).map(|(_, name)| *name);
        assert_eq!(names.collect::<Vec<_>>().join(" "), expected, "{}", row.name);
    }

    #[test]
    fn categories_follow_from_flags_and_group() {
        let row = |group| command("x", 2, group, |_| Ok(()));
        check(row(Group::String).read().fast(), "read string fast");
        check(row(Group::Generic).write().categories(category::DANGEROUS), "keyspace write slow dangerous");
        check(row(Group::Server).admin(), "admin slow dangerous");
        check(row(Group::PubSub).flags(flag::PUBSUB), "pubsub slow");
        check(row(Group::PubSub), "slow");
        check(row(Group::Scripting).read(), "slow scripting");
        let not_keyspace = category::CONNECTION | category::NOT_OF_GROUP;
        check(row(Group::Generic).categories(not_keyspace), "slow connection");
        check(container("x", Group::Generic, CHILDREN), "slow");
        assert_eq!(by_name(b"SortedSet"), Some(category::SORTED_SET));
        assert_eq!(by_name(b"@read"), None);
    }

    static CHILDREN: &[Command] = &[command("y", 2, Group::Generic, |_| Ok(()))];
}
