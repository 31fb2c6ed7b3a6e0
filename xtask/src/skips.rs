//! The lists of tests that are not run: `name  # reason`. Must never let an entry stand without a reason, or
//! for a test that no longer exists.

use std::collections::BTreeSet;

/// One entry: the exact name of a test, or `/^beginning` for tests that a loop makes, or `start: line` for a
/// server that the suite starts outside of any test with this line of configuration, and that does not start.
#[derive(Debug, PartialEq)]
pub struct Skip<'a> {
    pub pattern: &'a str,
    reason: &'a str,
}

pub fn parse(list: &str) -> Vec<Skip<'_>> {
    let lines = list.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(parse_line).collect()
}

fn parse_line(line: &str) -> Skip<'_> {
    let (pattern, reason) = line.rsplit_once("  # ").unwrap_or((line, ""));
    Skip { pattern: pattern.trim_end(), reason: reason.trim() }
}

/// The list as the suite's `--skipfile` takes it.
pub fn to_skip_file(skips: &[Skip]) -> String {
    let tests = skips.iter().filter(|skip| skip.start().is_none());
    tests.map(|skip| format!("{}\n", skip.pattern)).collect()
}

impl<'a> Skip<'a> {
    /// The line of configuration with which no server starts.
    pub fn start(&self) -> Option<&'a str> {
        self.pattern.strip_prefix("start: ")
    }
}

/// Complaints about entries without a reason, and those that name no test in these sources.
pub fn check(skips: &[Skip], sources: &[String]) -> Vec<String> {
    let names: Vec<Name> = sources.iter().flat_map(|source| names(source)).collect();
    let (telling, other): (Vec<_>, Vec<_>) = names.into_iter().partition(Name::is_telling);
    // Where a name is a variable, as in a procedure that makes tests, it is some word of these sources.
    let words = if other.is_empty() { &[] } else { sources };
    let is_known = |skip: &Skip| match skip.start() {
        Some(line) => sources.iter().any(|source| source.replace(['{', '}'], "").contains(line)),
        None => is_test(skip.pattern, &telling, words),
    };
    skips.iter().filter_map(|skip| judge(skip, is_known(skip))).collect()
}

fn is_test(pattern: &str, names: &[Name], sources: &[String]) -> bool {
    match pattern.strip_prefix("/^") {
        Some(beginning) => names.iter().any(|name| name.begins_with(&beginning.replace('\\', ""))),
        None => {
            names.iter().any(|name| name.matches(pattern))
                || sources.iter().any(|source| has_word(source, pattern))
        }
    }
}

fn judge(skip: &Skip, known: bool) -> Option<String> {
    if skip.reason.is_empty() {
        return Some(format!("skipped without a reason: {}", skip.pattern));
    }
    (!known).then(|| format!("skipped, but no such test exists: {}", skip.pattern))
}

/// Whether a text stands in braces or quotes somewhere.
fn has_word(source: &str, text: &str) -> bool {
    source.contains(&format!("{{{text}}}")) || source.contains(&format!("\"{text}\""))
}

/// A test's name as written: literal parts, with anything between them.
#[derive(Debug, PartialEq)]
struct Name {
    parts: Vec<String>,
}

impl Name {
    fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.iter().any(|only| only == text);
        };
        let rest = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        let Some(mut rest) = rest else { return false };
        for part in middle {
            let Some((_, after)) = rest.split_once(part.as_str()) else { return false };
            rest = after;
        }
        true
    }

    /// Looks at the literal beginning only: what a loop fills in is not known here.
    fn begins_with(&self, beginning: &str) -> bool {
        let Some(first) = self.parts.first() else { return false };
        let whole = self.parts.len() == 1;
        first.starts_with(beginning) || (!whole && !first.is_empty() && beginning.starts_with(first.as_str()))
    }

    /// A name that is one variable would match everything.
    fn is_telling(&self) -> bool {
        self.parts.iter().any(|part| part.trim().len() > 2)
    }
}

/// Every name in `test {name}`, `test "name"` and `test $name`; of the last also what the variable is set to.
fn names(source: &str) -> Vec<Name> {
    let mut names: Vec<Name> = arguments(source, "test ").filter_map(name_at).collect();
    let variables: BTreeSet<&str> = arguments(source, "test ").filter_map(variable_at).collect();
    for variable in variables {
        names.extend(arguments(source, &format!("set {variable} ")).filter_map(name_at));
    }
    names
}

/// What stands behind each use of a command.
fn arguments<'s>(source: &'s str, command: &str) -> impl Iterator<Item = &'s str> {
    let starts = source.match_indices(command).filter(|(at, _)| begins_command(source, *at));
    starts.map(|(at, word)| source[at + word.len()..].trim_start_matches(' '))
}

/// The name of the variable with which the text begins.
fn variable_at(text: &str) -> Option<&str> {
    let text = text.strip_prefix('$')?;
    let end = text.find(|next: char| !next.is_ascii_alphanumeric() && next != '_');
    Some(&text[..end.unwrap_or(text.len())]).filter(|name| !name.is_empty())
}

fn begins_command(source: &str, at: usize) -> bool {
    at == 0 || matches!(source.as_bytes()[at - 1], b' ' | b'\t' | b'\n' | b'{' | b';')
}

fn name_at(text: &str) -> Option<Name> {
    if let Some(quoted) = text.strip_prefix('"') {
        return Some(quoted_name(quoted));
    }
    if text.starts_with('$') {
        return Some(Name { parts: vec![String::new(), String::new()] });
    }
    let braced = text.strip_prefix('{')?;
    Some(Name { parts: vec![braced[..braced_len(braced)?].to_string()] })
}

fn braced_len(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Between double quotes a variable or a command in brackets stands for anything.
fn quoted_name(text: &str) -> Name {
    let mut parts = vec![String::new()];
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => parts.last_mut().into_iter().for_each(|part| part.extend(rest.next())),
            '$' | '[' => {
                skip_substitution(next, &mut rest);
                parts.push(String::new());
            }
            _ => parts.last_mut().into_iter().for_each(|part| part.push(next)),
        }
    }
    Name { parts }
}

fn skip_substitution(opening: char, rest: &mut std::str::Chars) {
    let text = rest.as_str();
    let is_name = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '_' | ':');
    let len = match (opening, text.chars().next()) {
        ('[', _) => bracket_len(text),
        (_, Some('{')) => text.find('}').map_or(text.len(), |at| at + 1),
        _ => text.find(|byte| !is_name(byte)).unwrap_or(text.len()),
    };
    *rest = text[len..].chars();
    if opening == '$' && rest.as_str().starts_with('(') {
        let text = rest.as_str();
        *rest = text[text.find(')').map_or(text.len(), |at| at + 1)..].chars();
    }
}

fn bracket_len(text: &str) -> usize {
    let mut depth = 1;
    for (at, next) in text.char_indices() {
        depth += i32::from(next == '[') - i32::from(next == ']');
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_list(list: &str, complaints: usize) {
        let found = check(&parse(list), &[SOURCE.to_string()]);
        assert_eq!(found.len(), complaints, "{list}: {found:?}");
    }

    #[test]
    fn entries_name_tests() {
        check_list("# head\n\nplain name  # lists come later\n", 0);
        check_list("braces {inside} name  # lists\n", 0);
        check_list("SCAN over 10 keys - hash  # lists\nquote \"in\" it # 3  # lists\n", 0);
        check_list("/^SCAN over  # lists\n/^big \\(9\\)  # lists", 0);
        check_list("/^SCAN over 10 keys  # lists\n", 0);
        check_list("plain  # lists\n", 1);
        check_list("plain name\n", 1);
        check_list("/^plain names  # lists\n", 1);
        check_list("SCAN over keys  # lists\n", 1);
        check_list("made by a procedure  # lists\nof a list  # lists\n", 0);
        check_list("made by  # lists\n", 1);
        check_list("made of two parts  # lists\n/^made of  # lists\nnot of parts  # lists\n", 0);
        check_list("made of two\n", 1);
        check_list("made of  # lists\nnone at all  # lists\n", 2);
        check_list("start: user default off  # lists\n", 0);
        check_list("start: user default on  # lists\nstart: user default off\n", 2);
    }

    #[test]
    fn the_skip_file_has_only_patterns() {
        assert_eq!(to_skip_file(&parse("# x\na b  # c\nstart: f  # g\n/^d  # e\n")), "a b\n/^d\n");
    }

    const SOURCE: &str = r#"
        test {plain name} { r ping }
        test {braces {inside} name} {}
        foreach n {1 2} { test "SCAN over $n keys - ${type}" {} }
        test "quote \"in\" it # 3" {}
        test "big (9) [lindex $x 0]" {}
        test $name {}
        test "$name" {}
        procedure {made by a procedure} 1
        foreach name {"of a list"} {}
        set title "made of $kind parts"
        test $title {}
        set title {not of parts}
        set other {none at $all}
        set lines {user {default off} user {other on}}
    "#;
}
