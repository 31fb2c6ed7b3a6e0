//! Reads a Rust file as far as the rules need: code without comments and literals, functions, test regions.
//! Must never try to be a parser: an odd file gives an odd count, not a failure.

use std::ops::Range;

/// One Rust file.
pub struct Source {
    pub text: String,
    /// The text with comments and literals blanked; lines and offsets are the same.
    pub code: String,
    lines_of_tests: Vec<Range<usize>>,
    is_test_file: bool,
}

/// A function with a body.
pub struct Function {
    pub name: String,
    /// Index of its line, from 0.
    pub line: usize,
    pub line_count: usize,
}

impl Source {
    pub fn new(path: &str, text: String) -> Source {
        let code = blank_literals(&text);
        let lines_of_tests = test_regions(&code);
        Source { is_test_file: is_test_path(path), lines_of_tests, text, code }
    }

    /// Whether the line of this index belongs to a test.
    pub fn in_test(&self, line: usize) -> bool {
        self.is_test_file || self.lines_of_tests.iter().any(|region| region.contains(&line))
    }

    pub fn functions(&self) -> Vec<Function> {
        let code = self.code.as_bytes();
        let words = find_words(&self.code, "fn");
        words.into_iter().filter_map(|at| function_at(code, at)).collect()
    }
}

/// Offsets where a word stands alone.
pub fn find_words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let inside = |at: usize| bytes.get(at).is_some_and(|&byte| is_word(byte));
    let hits = code.match_indices(word).map(|(at, _)| at);
    let joined = |at: usize| (at > 0 && inside(at - 1)) || inside(at + word.len());
    hits.filter(|&at| !joined(at)).collect()
}

fn is_test_path(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/")
        || path.contains("/tests/")
        || file == "tests.rs"
        || file.ends_with("_tests.rs")
}

/// Lines of the items under `#[cfg(test)]`.
fn test_regions(code: &str) -> Vec<Range<usize>> {
    let marks = ["#[cfg(test)]", "#[cfg(all(test"];
    let starts = marks.iter().flat_map(|mark| code.match_indices(mark)).map(|(at, _)| at);
    starts.filter_map(|at| item_lines(code.as_bytes(), at)).collect()
}

fn item_lines(code: &[u8], at: usize) -> Option<Range<usize>> {
    let open = body_start(code, at)?;
    let close = matching_brace(code, open);
    Some(line_at(code, at)..line_at(code, close) + 1)
}

fn function_at(code: &[u8], at: usize) -> Option<Function> {
    let rest = code.get(at + 2..)?;
    let gap = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let name: Vec<u8> = rest[gap..].iter().copied().take_while(|&byte| is_word(byte)).collect();
    if gap == 0 || name.is_empty() {
        return None; // `fn(` is a type
    }
    let open = body_start(code, at)?;
    let line = line_at(code, at);
    let line_count = line_at(code, matching_brace(code, open)) + 1 - line;
    Some(Function { name: String::from_utf8_lossy(&name).into_owned(), line, line_count })
}

/// The brace that opens an item's body; none if the item ends with a semicolon.
fn body_start(code: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, &byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn matching_brace(code: &[u8], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, &byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

fn line_at(code: &[u8], at: usize) -> usize {
    code[..at].iter().filter(|&&byte| byte == b'\n').count()
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let Some(end) = literal_end(bytes, at) else {
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    code.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b' ');
    String::from_utf8_lossy(&code).into_owned()
}

/// Where the comment or literal that begins here ends; none if code begins here.
fn literal_end(text: &[u8], at: usize) -> Option<usize> {
    match text[at] {
        b'/' if text[at..].starts_with(b"//") => Some(find(text, at, b"\n")),
        b'/' if text[at..].starts_with(b"/*") => Some(block_comment_end(text, at)),
        b'"' => Some(string_end(text, at + 1)),
        b'r' => raw_string_end(text, at),
        b'\'' => char_end(text, at),
        _ => None,
    }
}

fn find(text: &[u8], from: usize, what: &[u8]) -> usize {
    let from = from.min(text.len());
    text[from..].windows(what.len()).position(|window| window == what).map_or(text.len(), |at| from + at)
}

fn block_comment_end(text: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0usize);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if text[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Handles `r"`, `r#"`, `br"`, `cr"`; a raw identifier and a name that ends with r are code.
fn raw_string_end(text: &[u8], at: usize) -> Option<usize> {
    let word_before = |at: usize| at > 0 && is_word(text[at - 1]);
    let prefixed = at > 0 && matches!(text[at - 1], b'b' | b'c') && !word_before(at - 1);
    if word_before(at) && !prefixed {
        return None;
    }
    let hashes = text[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    if text.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    Some(find(text, at + 2 + hashes, &close) + close.len())
}

/// The end of a character literal; a lifetime is code.
fn char_end(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at + 1) == Some(&b'\\') {
        return Some(find(text, at + 3, b"'") + 1);
    }
    let width = (2..=5).find(|width| text.get(at + width) == Some(&b'\''))?;
    let inner = std::str::from_utf8(&text[at + 1..at + width]).ok()?;
    (inner.chars().count() == 1).then_some(at + width + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `wanted` is the code that is left, without spaces.
    fn check_blank(text: &str, wanted: &str) {
        let code = blank_literals(text);
        assert_eq!(code.replace(' ', ""), wanted, "{text}");
        assert_eq!(code.len(), text.len(), "{text}");
    }

    #[test]
    fn comments_and_literals_are_blank() {
        check_blank("a // b\nc", "a\nc");
        check_blank("a /* b /* c */ d */ e", "ae");
        check_blank(r#"x("a\"b", 'c')"#, "x(,)");
        check_blank(r##"r#"a"b"# + br"c""##, "+b");
        check_blank("fn f<'a>(x: &'a str)", "fnf<'a>(x:&'astr)");
        check_blank(r"['\'', '\\', '\u{41}', '\n']", "[,,,]");
        check_blank("for \"{\"", "for");
        check_blank("\"open", "");
        check_blank("\"open\\", "");
        check_blank("r#type", "r#type");
    }

    fn check_functions(text: &str, wanted: &[(&str, usize, usize)]) {
        let source = Source::new("a.rs", text.into());
        let found = source.functions();
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.line_count)).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn functions_are_measured() {
        check_functions("fn a() {}", &[("a", 0, 1)]);
        check_functions("trait T {\n fn a();\n fn b([u8; 2]) {\n }\n}", &[("b", 2, 2)]);
        check_functions("type F = fn(u8);\nfn c(f: fn(u8) -> u8) {\n \"}\";\n}\n", &[("c", 1, 3)]);
        check_functions("fn a() {\n fn b() {}\n", &[("a", 0, 2), ("b", 1, 1)]);
    }

    #[test]
    fn tests_are_known() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("src/a.rs", text.into());
        let in_test: Vec<bool> = (0..6).map(|line| source.in_test(line)).collect();
        assert_eq!(in_test, [false, true, true, true, true, false]);
        assert!(Source::new("crates/a/tests/b.rs", text.into()).in_test(0));
        assert!(Source::new("src/a/tests.rs", text.into()).in_test(0));
    }
}
