//! Patterns of KEYS, SCAN, PSUBSCRIBE, CONFIG GET and ACL, with every oddity of Redis' matcher. It must never
//! recurse nor take more than pattern times text steps.

/// Whether letters of either case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Insensitive,
}

/// Whether the whole of `text` matches `pattern`: `*` any bytes, `?` one byte, `[a-z]` and `[^a-z]` one of or
/// none of, `\x` the byte x. A bracket that does not close ends with the pattern; an empty text matches
/// nothing but the empty pattern, not even `*`.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    // Only the last star met ever needs another try: what came before it is matched at the earliest place
    // already.
    let mut last_star: Option<(usize, usize)> = None;
    let (mut at, mut position) = (0, 0);
    while position < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += pattern[at..].iter().take_while(|byte| **byte == b'*').count();
            if at == pattern.len() {
                return true;
            }
            last_star = Some((at, position));
        } else if let Some(next) = match_one(pattern, at, text[position], case) {
            at = next;
            position += 1;
        } else {
            let Some((behind_star, tried)) = last_star else { return false };
            let Some(skipped) = next_start(pattern, behind_star, &text[tried + 1..], case) else {
                return false;
            };
            (at, position) = (behind_star, tried + 1 + skipped);
            last_star = Some((at, position));
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of `text` cannot begin a match of the pattern at `at`; `None` if none of them can.
fn next_start(pattern: &[u8], at: usize, text: &[u8], case: Case) -> Option<usize> {
    match pattern[at] {
        b'?' | b'[' | b'\\' => Some(0),
        _ if case == Case::Insensitive => Some(0),
        literal => memchr::memchr(literal, text),
    }
}

/// Matches one byte against what stands at `at` (no star): the pattern's next position, or `None`.
#[inline]
fn match_one(pattern: &[u8], at: usize, byte: u8, case: Case) -> Option<usize> {
    let literal = match *pattern.get(at)? {
        b'?' => return Some(at + 1),
        b'[' => return match_class(pattern, at + 1, byte, case),
        b'\\' if at + 1 < pattern.len() => at + 1,
        _ => at,
    };
    same(pattern[literal], byte, case).then_some(literal + 1)
}

/// Matches one byte against the class whose inside begins at `at`.
fn match_class(pattern: &[u8], mut at: usize, byte: u8, case: Case) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    let next = loop {
        at += match &pattern[at..] {
            [] => break at,
            [b'\\', escaped, ..] => {
                // Redis compares an escaped byte as it is, whatever the case.
                found |= *escaped == byte;
                2
            }
            [b']', ..] => break at + 1,
            [start, b'-', end, ..] => {
                found |= in_range(*start, *end, byte, case);
                3
            }
            [literal, ..] => {
                found |= same(*literal, byte, case);
                1
            }
        };
    };
    (found != negated).then_some(next)
}

/// Bounds may stand in either order. They compare as signed bytes, and are put in order before they lose
/// their case: both as in Redis.
fn in_range(start: u8, end: u8, byte: u8, case: Case) -> bool {
    let (low, high) = ((start as i8).min(end as i8), (start as i8).max(end as i8));
    let fold = |byte: i8| fold(byte as u8, case) as i8;
    (fold(low)..=fold(high)).contains(&fold(byte as i8))
}

#[inline]
fn same(a: u8, b: u8, case: Case) -> bool {
    a == b || fold(a, case) == fold(b, case)
}

#[inline]
fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: a star takes any number of bytes, all else takes one.
    fn naive(pattern: &[u8], text: &[u8], case: Case) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), None) => naive(&pattern[1..], text, case),
            (_, None) | (None, _) => false,
            (Some(b'*'), _) => naive(&pattern[1..], text, case) || naive(pattern, &text[1..], case),
            (_, Some(byte)) => match_one(pattern, 0, *byte, case)
                .is_some_and(|next| naive(&pattern[next..], &text[1..], case)),
        }
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let found = matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive);
            assert_eq!(found, expected, "{pattern:?} {text:?}");
        };
        for pattern in
            ["hello", "h?llo", "h*o", "*", "**", "h**", "*o", "*l*l*", "h[ae]llo", "h[^a]llo", "h[a-f]llo"]
        {
            check(pattern, "hello", true);
        }
        for pattern in ["", "hell", "hello?", "?", "H*", "h[^e]llo", "h[f-z]llo", "*x*", "*ll", "h\\*o"] {
            check(pattern, "hello", false);
        }
        check("", "", true);
        check("*", "", false);
        check("a*", "a", true);
        check("a*?", "a", false);
        check("\\*", "*", true);
        check("a\\", "a\\", true);
        check("[\\]]", "]", true);
        check("[]", "]", false);
        check("[^]", "]", true);
        check("[", "[", false);
        check("[^", "x", true);
        check("[ab", "b", true);
        check("[ab", "bc", false);
        check("[z-a]", "m", true);
        check("[a-]", "^", true);
        check("[a-]", "-", false);
        check("[-a]", "-", true);
        check("[\\", "\\", true);
        check("[a-z]*[0-9]", "x--9--8", true);
    }

    #[test]
    fn cases() {
        let check = |pattern: &[u8], text: &[u8], expected: bool| {
            assert_eq!(matches(pattern, text, Case::Insensitive), expected, "{pattern:?} {text:?}");
        };
        check(b"MaX*", b"mAxmemory", true);
        check(b"[A-C]", b"b", true);
        check(b"[Z-a]", b"z", false);
        check(b"[\\A]", b"a", false);
        check(b"\\A", b"a", true);
        check(b"*E*Y", b"kEy", true);
        assert!(matches(b"[a-\xff]", b"0", Case::Sensitive), "bytes over 127 are negative");
    }

    #[test]
    fn hostile_patterns_stay_linear_in_each() {
        let text = vec![b'a'; 64 * 1024];
        let pattern = [b"a*".repeat(1000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text, Case::Sensitive));
        assert!(!matches(&pattern, &text, Case::Insensitive));
        let pattern = [b"*".repeat(64 * 1024), b"a".to_vec()].concat();
        assert!(matches(&pattern, &text, Case::Sensitive));
        assert!(!matches(&b"[".repeat(64 * 1024), &text, Case::Sensitive));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_the_definition(
            pattern in "[abA*?\\[\\]^\\\\-]{0,12}",
            text in "[abAB\\]^\\\\-]{1,10}",
            insensitive: bool,
        ) {
            let case = if insensitive { Case::Insensitive } else { Case::Sensitive };
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text, case), naive(pattern, text, case));
        }

        #[test]
        fn no_bytes_panic(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text, Case::Insensitive);
        }
    }
}
