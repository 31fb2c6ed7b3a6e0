//! The list of the files that together are the append-only file, as Redis 7 writes it: one line for each,
//! `file NAME seq NUMBER type b|h|i` and whatever later versions add in pairs. Reading trusts no name: a part
//! lies in the manifest's own folder, or the manifest is refused.

use std::ops::Range;

use base::bytes::escape;
use base::num::parse_u64;
use base::quoting::split_args;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The whole of the data at one instant.
    Base,
    /// No longer needed; to be removed.
    History,
    /// What happened since, in the order of the sequence numbers.
    Increment,
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub name: Vec<u8>,
    pub sequence: u64,
}

/// What the base is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BaseForm {
    Rdb,
    Commands,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    pub base: Option<Part>,
    /// The newest first.
    pub history: Vec<Part>,
    /// Ascending; the last one is being written.
    pub increments: Vec<Part>,
    /// The highest numbers given so far.
    last_base: u64,
    last_increment: u64,
}

/// Why a manifest is refused; the text is Redis'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// From 1 on, with its text; `None` if no line is to blame.
    pub line: Option<(usize, String)>,
    pub text: &'static str,
}

/// Redis counts with a sign, and there is always another one.
const SEQUENCES: Range<u64> = 1..i64::MAX as u64;
/// Bytes of a line with its end, at most.
const LINE_LEN: usize = 1024;
const LONG_LINE: &str = "The AOF manifest file contains too long line";

impl Part {
    fn line(&self, letter: char) -> Vec<u8> {
        let rest = format!(" seq {} type {letter}\n", self.sequence);
        [b"file ", quoted(&self.name).as_slice(), rest.as_bytes()].concat()
    }
}

impl Manifest {
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError { line: None, text: "Found an empty AOF manifest" });
        }
        let mut manifest = Manifest::default();
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let shown = || String::from_utf8_lossy(&line[..line.len().min(LINE_LEN)]).trim().to_owned();
            manifest
                .add_line(line)
                .map_err(|text| ManifestError { line: Some((index + 1, shown())), text })?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.starts_with(b"#") {
            return Ok(());
        } else if line.len() > LINE_LEN || !line.ends_with(b"\n") {
            return Err(LONG_LINE);
        }
        let (kind, part) = parse_line(line)?;
        // Quoted, a name is up to four times as long.
        if part.line('b').len() > LINE_LEN {
            return Err(LONG_LINE);
        }
        match kind {
            Kind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            Kind::Base => {
                self.last_base = part.sequence;
                self.base = Some(part);
            }
            Kind::History => self.history.push(part),
            Kind::Increment if part.sequence <= self.last_increment => {
                return Err("Found a non-monotonic sequence number");
            }
            Kind::Increment => {
                self.last_increment = part.sequence;
                self.increments.push(part);
            }
        }
        Ok(())
    }

    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let base = self.base.iter().map(|part| (part, 'b'));
        let history = self.history.iter().map(|part| (part, 'h'));
        let increments = self.increments.iter().map(|part| (part, 'i'));
        for (part, letter) in base.chain(history).chain(increments) {
            text.extend_from_slice(&part.line(letter));
        }
        text
    }

    /// There is nothing to be loaded.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// The files that are loaded, in their order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.increments)
    }

    /// One more increment, of which everything from now on is a part; returns its name.
    pub fn add_increment(&mut self, file_name: &[u8]) -> Vec<u8> {
        let part = self.unused(self.last_increment, file_name, "incr.aof");
        self.last_increment = part.sequence;
        self.increments.push(part.clone());
        part.name
    }

    /// The next base.
    pub fn next_base(&self, file_name: &[u8], form: BaseForm) -> Part {
        let suffix = match form {
            BaseForm::Rdb => "base.rdb",
            BaseForm::Commands => "base.aof",
        };
        self.unused(self.last_base, file_name, suffix)
    }

    /// With the first number behind `last` whose name no history has: numbers begin anew where no increment
    /// is left, and what is called like history goes with it.
    fn unused(&self, last: u64, file_name: &[u8], suffix: &str) -> Part {
        let part = |sequence: u64| {
            let name = [file_name, format!(".{sequence}.{suffix}").as_bytes()].concat();
            Part { name, sequence }
        };
        let is_history = |name: &[u8]| self.history.iter().any(|part| part.name == name);
        let mut parts = (last + 1..).map(part);
        parts.find(|part| !is_history(&part.name)).expect("there are more numbers than files")
    }

    /// A new base, which holds all that the parts before the increment `first_kept` hold: these become
    /// history.
    pub fn replace_base(&mut self, base: Part, first_kept: u64) {
        self.last_base = base.sequence;
        let old = self.base.replace(base);
        self.history.splice(0..0, old);
        let kept = self.increments.iter().position(|part| part.sequence >= first_kept);
        let ended = self.increments.drain(..kept.unwrap_or(self.increments.len()));
        self.history.splice(0..0, ended.rev());
    }

    /// A single file from before there were parts becomes the base.
    pub fn adopt_single_file(&mut self, name: &[u8]) {
        self.last_base = 1;
        self.base = Some(Part { name: name.to_vec(), sequence: 1 });
    }

    /// The last increment's number; 0 if there was none.
    pub fn last_increment(&self) -> u64 {
        self.last_increment
    }
}

fn parse_line(line: &[u8]) -> Result<(Kind, Part), &'static str> {
    const INVALID: &str = "Invalid AOF manifest file format";
    let words = split_args(line.trim_ascii()).map_err(|_| INVALID)?;
    // Later versions add pairs behind these three.
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return Err(INVALID);
    }
    let (mut name, mut sequence, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        match pair[0].to_ascii_lowercase().as_slice() {
            b"file" => name = Some(&pair[1]),
            b"seq" => sequence = parse_u64(&pair[1]).filter(|number| SEQUENCES.contains(number)),
            b"type" => kind = pair[1].first(),
            _ => {}
        }
    }
    let (Some(name), Some(sequence), Some(kind)) = (name, sequence, kind) else { return Err(INVALID) };
    if !is_plain_name(name) {
        return Err("File can't be a path, just a filename");
    }
    let kind = match kind {
        b'b' => Kind::Base,
        b'h' => Kind::History,
        b'i' => Kind::Increment,
        _ => return Err("Unknown AOF file type"),
    };
    Ok((kind, Part { name: name.clone(), sequence }))
}

/// Names a file in the folder itself.
fn is_plain_name(name: &[u8]) -> bool {
    let is_path = name.iter().any(|byte| b"/\\\0".contains(byte));
    !is_path && !matches!(name, b"" | b"." | b"..")
}

/// A name as `split_args` reads it back.
fn quoted(name: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if name.iter().all(is_plain) { name.to_vec() } else { escape(name).into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, &'static str) {
        let error = Manifest::parse(text.as_bytes()).expect_err("it is no manifest");
        (error.line.map_or(0, |(number, _)| number), error.text)
    }

    #[test]
    fn what_is_no_manifest_is_refused_as_by_redis() {
        let invalid = "Invalid AOF manifest file format";
        let cases = [
            ("", (0, "Found an empty AOF manifest")),
            ("\n", (1, invalid)),
            ("file a seq 1 type b", (1, "The AOF manifest file contains too long line")),
            ("file a seq 1 type\n", (1, invalid)),
            ("file a seq 1 type b extra\n", (1, invalid)),
            ("file a seq 0 type b\n", (1, invalid)),
            ("file a seq 9223372036854775807 type b\n", (1, invalid)),
            ("file \"a seq 1 type b\n", (1, invalid)),
            ("file a seq x type b\n", (1, invalid)),
            ("file a seq 1 type x\n", (1, "Unknown AOF file type")),
            ("file ../a seq 1 type b\n", (1, "File can't be a path, just a filename")),
            ("file .. seq 1 type b\n", (1, "File can't be a path, just a filename")),
            ("file a seq 1 type b\nfile b seq 2 type b\n", (2, "Found duplicate base file information")),
            ("#x\nfile a seq 2 type i\nfile b seq 2 type i\n", (3, "Found a non-monotonic sequence number")),
        ];
        for (text, expected) in cases {
            assert_eq!(refused(text), expected, "{text:?}");
        }
        let long = format!("file {} seq 1 type b\n", "x".repeat(LINE_LEN));
        assert_eq!(refused(&long), (1, "The AOF manifest file contains too long line"));
    }

    #[test]
    fn what_is_written_is_read() {
        let text = "# made by hand\nFILE a.1.base.rdb SEQ 1 type b\nfile h.aof seq 1 type h\n\
                    file \"a b\\xff\" seq 3 type i startoffset 77\nfile c seq 9 type incremental\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("it is well formed");
        let names: Vec<_> = manifest.parts().map(|part| part.name.as_slice()).collect();
        assert_eq!(names, [&b"a.1.base.rdb"[..], b"a b\xff", b"c"]);
        let again = Manifest::parse(&manifest.text()).expect("it was just written");
        assert_eq!(again, manifest);
        let expected = "file a.1.base.rdb seq 1 type b\nfile h.aof seq 1 type h\n\
                        file \"a b\\xff\" seq 3 type i\nfile c seq 9 type i\n";
        assert_eq!(String::from_utf8_lossy(&manifest.text()), expected);
    }

    #[test]
    fn a_rewrite_makes_history_of_what_came_before_its_increment() {
        let mut manifest = Manifest::default();
        assert!(manifest.is_empty());
        let base = manifest.next_base(b"log", BaseForm::Rdb);
        manifest.replace_base(base, 1);
        assert_eq!(manifest.add_increment(b"log"), b"log.1.incr.aof");
        assert_eq!(manifest.add_increment(b"log"), b"log.2.incr.aof");
        let base = manifest.next_base(b"log", BaseForm::Commands);
        manifest.replace_base(base, 2);
        let expected = "file log.2.base.aof seq 2 type b\nfile log.1.incr.aof seq 1 type h\n\
                        file log.1.base.rdb seq 1 type h\nfile log.2.incr.aof seq 2 type i\n";
        assert_eq!(String::from_utf8_lossy(&manifest.text()), expected);
    }

    /// Without an increment numbers begin anew; who is called like a file that is to be removed would be
    /// removed with it.
    #[test]
    fn no_part_is_called_like_history() {
        let text = "file log.2.base.rdb seq 2 type h\nfile log.1.incr.aof seq 1 type h\n\
                    file log.2.incr.aof seq 2 type h\nfile log.1.base.rdb seq 1 type h\n";
        let mut manifest = Manifest::parse(text.as_bytes()).expect("it is well formed");
        let base = manifest.next_base(b"log", BaseForm::Rdb);
        assert_eq!(base, Part { name: b"log.3.base.rdb".to_vec(), sequence: 3 });
        assert_eq!(manifest.next_base(b"log", BaseForm::Commands).name, b"log.1.base.aof");
        manifest.replace_base(base, 0);
        assert_eq!(manifest.add_increment(b"log"), b"log.3.incr.aof");
        assert_eq!((manifest.last_base, manifest.last_increment), (3, 3));
    }
}
