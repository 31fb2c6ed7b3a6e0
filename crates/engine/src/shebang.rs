//! The first line of a script, `#!lua flags=no-writes,allow-oom`: what it says about the script.

use base::quoting::split_args;

use crate::scripts::Refusal;

/// What a script says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shebang {
    /// Bytes of the line, without its end: the compiler does not see them, but counts the line.
    pub len: usize,
    /// It has such a line: the rules for scripts without one, as before Redis 7, do not hold.
    pub given: bool,
    pub no_writes: bool,
    pub allow_oom: bool,
    /// It keeps to its keys: only their shards are locked, and other keys are errors.
    pub declared_keys: bool,
}

/// What a script may say of itself, in the order in which FUNCTION LIST tells it. Those without an effect are
/// about a cluster or a replica that has lost its master.
pub const FLAGS: &[&str] =
    &["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys", "declared-keys"];

impl Shebang {
    /// What a function says of itself: bits by the places in `FLAGS`.
    pub fn of_function(bits: u32) -> Shebang {
        let mut shebang = Shebang { given: true, ..Shebang::default() };
        (0..FLAGS.len()).filter(|place| bits >> place & 1 == 1).for_each(|place| shebang.set(place));
        shebang
    }

    fn set(&mut self, place: usize) {
        match FLAGS[place] {
            "no-writes" => self.no_writes = true,
            "allow-oom" => self.allow_oom = true,
            "declared-keys" => self.declared_keys = true,
            _ => {}
        }
    }
}

pub fn parse(text: &[u8]) -> Result<Shebang, Refusal> {
    let mut shebang = Shebang::default();
    if !text.starts_with(b"#!") {
        return Ok(shebang);
    }
    let len = text.iter().position(|&byte| byte == b'\n').ok_or(b"ERR Invalid script shebang")?;
    (shebang.len, shebang.given) = (len, true);
    let words = split_args(&text[..len]).map_err(|_| b"ERR Invalid engine in script shebang")?;
    let (engine, options) = words.split_first().ok_or(b"ERR Invalid engine in script shebang")?;
    if engine != b"#!lua" {
        return Err([b"ERR Unexpected engine in script shebang: ", &engine[..]].concat());
    }
    for option in options {
        let Some(flags) = option.strip_prefix(b"flags=") else {
            return Err([b"ERR Unknown lua shebang option: ", &option[..]].concat());
        };
        for flag in flags.split(|&byte| byte == b',').filter(|_| !flags.is_empty()) {
            let Some(place) = FLAGS.iter().position(|name| name.as_bytes() == flag) else {
                return Err([b"ERR Unexpected flag in script shebang: ", flag].concat());
            };
            shebang.set(place);
        }
    }
    Ok(shebang)
}
