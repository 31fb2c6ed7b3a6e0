//! The records of a command file: requests as arrays of bulks, and lines of annotation between them. A record
//! is whole or it is not there; nothing is guessed of one that is cut off or damaged.

use base::num::parse_u64;
use resp::request::Span;

/// What stands at the beginning of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Its arguments are the spans that were added.
    Request,
    /// A comment; with the second that follows, if it is a stamp of time.
    Annotation(Option<i64>),
}

/// How far the input reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scan {
    Whole {
        record: Record,
        len: usize,
    },
    /// It ends inside a record, which has at least so many bytes in all.
    Short {
        least: u64,
    },
}

/// Where the input is no record, from its beginning, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    pub at: usize,
    pub text: &'static str,
}

/// Bytes of a line of annotation with its end, at most: Redis reads no longer ones.
const ANNOTATION_LEN: usize = 1023;
/// Bytes of a line that holds a number, with its end.
const NUMBER_LINE_LEN: usize = 24;
/// Arguments of a request: Redis' limit.
const ARGUMENTS_MAX: u64 = i32::MAX as u64;

/// Reads the record at the beginning of `input`. Spans count from there; they are those of a whole request
/// only if there is one.
pub fn scan(input: &[u8], spans: &mut Vec<Span>) -> Result<Scan, Malformed> {
    spans.clear();
    match input.first() {
        None => Ok(short(input)),
        Some(b'#') => scan_annotation(input),
        Some(b'*') => scan_request(input, spans),
        Some(_) => Err(Malformed { at: 0, text: "a request begins with '*'" }),
    }
}

fn scan_annotation(input: &[u8]) -> Result<Scan, Malformed> {
    let head = &input[..input.len().min(ANNOTATION_LEN)];
    let Some(end) = memchr::memchr(b'\n', head) else {
        return match head.len() < ANNOTATION_LEN {
            true => Ok(short(input)),
            false => Err(Malformed { at: 0, text: "an annotation is too long" }),
        };
    };
    let line = head[..end].trim_ascii_end();
    let second = line.strip_prefix(b"#TS:").and_then(parse_u64).and_then(|second| second.try_into().ok());
    Ok(Scan::Whole { record: Record::Annotation(second), len: end + 1 })
}

fn scan_request(input: &[u8], spans: &mut Vec<Span>) -> Result<Scan, Malformed> {
    let Some((count, mut at)) = number_line(input, 0)? else { return Ok(short(input)) };
    if count == 0 || count > ARGUMENTS_MAX {
        return Err(Malformed { at: 0, text: "no request has so many arguments" });
    }
    for index in 0..count {
        // Each argument that is to come has six bytes at least.
        let rest = (count - index) * ARGUMENT_LEN_LEAST;
        match input.get(at) {
            None => return Ok(Scan::Short { least: at as u64 + rest }),
            Some(b'$') => {}
            Some(_) => return Err(Malformed { at, text: "an argument begins with '$'" }),
        }
        let Some((len, start)) = number_line(input, at)? else { return Ok(short(input)) };
        let end = start as u64 + len;
        if end + LINE_END.len() as u64 >= u64::from(u32::MAX) {
            return Err(Malformed { at, text: "a request is longer than 4 GB" });
        }
        let behind = end + LINE_END.len() as u64;
        if behind > input.len() as u64 {
            return Ok(Scan::Short { least: behind + rest - ARGUMENT_LEN_LEAST });
        }
        if &input[end as usize..behind as usize] != LINE_END {
            return Err(Malformed { at: end as usize, text: "an argument ends with a line end" });
        }
        spans.push(Span { start: start as u32, len: len as u32 });
        at = behind as usize;
    }
    Ok(Scan::Whole { record: Record::Request, len: at })
}

const LINE_END: &[u8] = b"\r\n";
/// `$0`, and two ends of lines.
const ARGUMENT_LEN_LEAST: u64 = 6;

fn short(input: &[u8]) -> Scan {
    Scan::Short { least: input.len() as u64 + 1 }
}

/// The number in the line at `at`, whose first byte says its kind, and where the next line begins. `None` if
/// the input ends before the line does.
fn number_line(input: &[u8], at: usize) -> Result<Option<(u64, usize)>, Malformed> {
    let line = &input[at..input.len().min(at + NUMBER_LINE_LEN)];
    let malformed = Malformed { at, text: "a line holds no number" };
    let digits = line[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = &line[1 + digits..];
    if !LINE_END.starts_with(&behind[..behind.len().min(LINE_END.len())]) {
        return Err(malformed);
    }
    if behind.len() < LINE_END.len() {
        return if line.len() < NUMBER_LINE_LEN { Ok(None) } else { Err(malformed) };
    }
    let number = parse_u64(&line[1..1 + digits]).ok_or(malformed)?;
    Ok(Some((number, at + 1 + digits + LINE_END.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\nv2\r\n";

    fn words(input: &[u8]) -> Vec<Vec<u8>> {
        let mut spans = Vec::new();
        let scanned = scan(input, &mut spans);
        assert!(matches!(scanned, Ok(Scan::Whole { .. })), "{scanned:?}");
        spans.iter().map(|span| span.of(input).to_vec()).collect()
    }

    #[test]
    fn records_are_read() {
        assert_eq!(words(&[REQUEST, b"*1"].concat()), [&b"SET"[..], b"k", b"v\r\nv2"]);
        assert_eq!(words(b"*1\r\n$0\r\n\r\n"), [b""]);
        let annotation = |input: &[u8]| scan(input, &mut Vec::new());
        let whole = |second, len| Ok(Scan::Whole { record: Record::Annotation(second), len });
        assert_eq!(annotation(b"#TS:1234\r\n*"), whole(Some(1234), 10));
        assert_eq!(annotation(b"# anything\n"), whole(None, 11));
    }

    #[test]
    fn whatever_is_cut_off_is_short_and_needs_no_more_than_there_is() {
        for input in [REQUEST, b"#TS:1234\r\n", b"*1\r\n$10\r\n0123456789\r\n"] {
            for len in 0..input.len() {
                match scan(&input[..len], &mut Vec::new()) {
                    Ok(Scan::Short { least }) => {
                        assert!(least > len as u64 && least <= input.len() as u64, "{len}: {least}");
                    }
                    other => panic!("{len}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_damaged_is_told_with_its_place() {
        let cases: [(&[u8], usize); 11] = [
            (b"SET k v\r\n", 0),
            (b"\0\0\0", 0),
            (b"*0\r\n", 0),
            (b"*x\r\n", 0),
            (b"*-1\r\n", 0),
            (b"*1\n$1\r\n", 0),
            (b"*99999999999999999999999\r\n", 0),
            (b"*2\r\n:1\r\n", 4),
            (b"*1\r\n$-1\r\n", 4),
            (b"*1\r\n$1\r\nkk\r\n", 9),
            (b"*1\r\n$4294967290\r\n", 4),
        ];
        for (input, at) in cases {
            let error = scan(input, &mut Vec::new()).expect_err("it is damaged");
            assert_eq!(error.at, at, "{input:?}: {}", error.text);
        }
        let long = vec![b'#'; 2000];
        assert!(scan(&long, &mut Vec::new()).is_err());
    }
}
