//! Keyspace notification classes and their letters in `notify-keyspace-events`.

/// Bits of the directive; the first two say where events go, the others which are sent.
pub mod class {
    pub const KEYSPACE: u32 = 1;
    pub const KEYEVENT: u32 = 1 << 1;
    pub const GENERIC: u32 = 1 << 2;
    pub const STRING: u32 = 1 << 3;
    pub const LIST: u32 = 1 << 4;
    pub const SET: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const SORTED_SET: u32 = 1 << 7;
    pub const EXPIRED: u32 = 1 << 8;
    pub const EVICTED: u32 = 1 << 9;
    pub const STREAM: u32 = 1 << 10;
    pub const KEY_MISS: u32 = 1 << 11;
    pub const MODULE: u32 = 1 << 13;
    pub const NEW: u32 = 1 << 14;
    /// What the letter A stands for: everything but key misses and new keys.
    pub const ALL: u32 =
        GENERIC | STRING | LIST | SET | HASH | SORTED_SET | EXPIRED | EVICTED | STREAM | MODULE;
}

const LETTERS: [(u8, u32); 15] = [
    (b'A', class::ALL),
    (b'g', class::GENERIC),
    (b'$', class::STRING),
    (b'l', class::LIST),
    (b's', class::SET),
    (b'h', class::HASH),
    (b'z', class::SORTED_SET),
    (b'x', class::EXPIRED),
    (b'e', class::EVICTED),
    (b't', class::STREAM),
    (b'd', class::MODULE),
    (b'K', class::KEYSPACE),
    (b'E', class::KEYEVENT),
    (b'm', class::KEY_MISS),
    (b'n', class::NEW),
];

/// The classes that `letters` name; `None` if one is unknown.
pub fn parse_classes(letters: &[u8]) -> Option<u32> {
    let find = |letter: &u8| LETTERS.iter().find(|(known, _)| known == letter).map(|(_, class)| *class);
    letters.iter().map(find).try_fold(0, |all, class| Some(all | class?))
}

/// The letters for `classes`, as CONFIG GET prints them.
pub fn print_classes(classes: u32) -> String {
    let mut text = String::new();
    let all = classes & class::ALL == class::ALL;
    for (letter, class) in LETTERS {
        let covered = all && class::ALL & class == class && letter != b'A';
        if classes & class == class && !covered {
            text.push(letter as char);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_round_trip() {
        let cases =
            [("", ""), ("KEA", "AKE"), ("Kg$lshzxetd", "AK"), ("Elg", "glE"), ("KEm", "KEm"), ("An", "An")];
        for (given, printed) in cases {
            assert_eq!(
                print_classes(parse_classes(given.as_bytes()).expect("known letters")),
                printed,
                "{given}"
            );
        }
        assert_eq!(parse_classes(b"KEQ"), None);
    }
}
