//! Texts of JSON as Lua values.

use std::ffi::c_int;

use super::number;
use crate::lua::{Lua, State};
use crate::machine::{Shared, shared};

/// A table that is being read.
#[derive(Clone, Copy)]
pub(crate) enum Open {
    /// On the stack: the table; so many elements are in it.
    Array(c_int),
    /// On the stack: the table, the key of the value that comes.
    Object,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Its characters are in the machine's text.
    Text,
    Number(f64),
    Bool(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// As error texts call it.
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Bool(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(reason) => reason,
        }
    }
}

struct Reader<'a> {
    lua: Lua,
    text: &'a [u8],
    at: usize,
    /// Where the last token began.
    token_at: usize,
}

pub(super) unsafe extern "C-unwind" fn decode(state: State) -> c_int {
    let lua = Lua(state);
    if lua.top() != 1 {
        lua.fail_argument(1, c"expected 1 argument");
    }
    let text = lua.check_bytes(1);
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        lua.fail(c"JSON parser does not support UTF-16 or UTF-32");
    }
    let own = *super::settings(lua);
    let machine = shared(lua);
    machine.json_in_use = own;
    machine.json_open.clear();
    let mut reader = Reader { lua, text, at: 0, token_at: 0 };
    let first = reader.next(machine);
    reader.push_document(machine, first);
    let last = reader.next(machine);
    if last != Token::End {
        reader.fail(machine, "the end", last);
    }
    1
}

impl Reader<'_> {
    /// Pushes the value that begins with `token`, with all in it.
    fn push_document(&mut self, machine: &mut Shared, mut token: Token) {
        loop {
            if let Some(first) = self.push_value(machine, token) {
                token = first;
                continue;
            }
            // The value on top is whole: into its table, which may be whole then.
            loop {
                let Some(open) = machine.json_open.last_mut() else { return };
                let (close, expected) = match open {
                    Open::Array(count) => {
                        *count += 1;
                        self.lua.raw_set_at(-2, *count);
                        (Token::ArrayEnd, "comma or array end")
                    }
                    Open::Object => {
                        self.lua.raw_set(-3);
                        (Token::ObjectEnd, "comma or object end")
                    }
                };
                let open = *open;
                let next = self.next(machine);
                if next == close {
                    machine.json_open.pop();
                    continue;
                }
                if next != Token::Comma {
                    self.fail(machine, expected, next);
                }
                token = self.next(machine);
                if matches!(open, Open::Object) {
                    token = self.push_key(machine, token);
                }
                break;
            }
        }
    }

    /// Pushes a leaf or an empty table; or opens a table and returns the token its first value begins with.
    fn push_value(&mut self, machine: &mut Shared, token: Token) -> Option<Token> {
        let lua = self.lua;
        match token {
            Token::Text => lua.push_bytes(&machine.text),
            Token::Number(value) => lua.push_number(value),
            Token::Bool(value) => lua.push_bool(value),
            // A field that is nil would not be there.
            Token::Null => lua.push_pointer(std::ptr::null_mut()),
            Token::ObjectBegin => {
                self.open_table(machine);
                let next = self.next(machine);
                if next == Token::ObjectEnd {
                    return None;
                }
                machine.json_open.push(Open::Object);
                return Some(self.push_key(machine, next));
            }
            Token::ArrayBegin => {
                self.open_table(machine);
                let next = self.next(machine);
                if next == Token::ArrayEnd {
                    return None;
                }
                machine.json_open.push(Open::Array(0));
                return Some(next);
            }
            _ => self.fail(machine, "value", token),
        }
        None
    }

    fn open_table(&self, machine: &mut Shared) {
        let depth = machine.json_open.len() as i64 + 1;
        if depth > machine.json_in_use.decode_depth || !self.lua.has_room(6) {
            let at = self.at;
            machine.fail(
                self.lua,
                format_args!("Found too many nested data structures ({depth}) at character {at}"),
            );
        }
        self.lua.new_table(0, 0);
    }

    /// Pushes an object's key; returns the token its value begins with.
    fn push_key(&mut self, machine: &mut Shared, token: Token) -> Token {
        if token != Token::Text {
            self.fail(machine, "object key string", token);
        }
        self.lua.push_bytes(&machine.text);
        let colon = self.next(machine);
        if colon != Token::Colon {
            self.fail(machine, "colon", colon);
        }
        self.next(machine)
    }

    fn fail(&self, machine: &mut Shared, expected: &str, found: Token) -> ! {
        let (found, at) = (found.name(), self.token_at + 1);
        machine.fail(self.lua, format_args!("Expected {expected} but found {found} at character {at}"))
    }

    /// The character at a place so far ahead; zero past the end.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next(&mut self, machine: &mut Shared) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let single = match self.peek(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            b'"' => return self.text_token(machine),
            _ => return self.word(&machine.json_in_use),
        };
        self.at += 1;
        single
    }

    fn word(&mut self, settings: &super::Settings) -> Token {
        let rest = &self.text[self.at..];
        let words: [(&[u8], Token); 3] =
            [(b"true", Token::Bool(true)), (b"false", Token::Bool(false)), (b"null", Token::Null)];
        if let Some((word, token)) = words.iter().find(|(word, _)| rest.starts_with(word)) {
            self.at += word.len();
            return *token;
        }
        let is_number = matches!(rest[0], b'-' | b'0'..=b'9');
        let is_odd = is_odd_number(rest);
        if is_number && is_odd && !settings.decode_invalid {
            return Token::Error("invalid number");
        }
        if !(is_number || is_odd && settings.decode_invalid) {
            return Token::Error("invalid token");
        }
        match number::read(rest) {
            Some((value, len)) => {
                self.at += len;
                Token::Number(value)
            }
            None => Token::Error("invalid number"),
        }
    }

    /// Reads a text into the machine's.
    fn text_token(&mut self, machine: &mut Shared) -> Token {
        let out = &mut machine.text;
        out.clear();
        self.at += 1;
        loop {
            let rest = &self.text[self.at.min(self.text.len())..];
            let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0)).count();
            out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek(0) {
                b'"' => break,
                b'\\' => {}
                _ => return self.error("unexpected end of string"),
            }
            let escaped = match self.peek(1) {
                code @ (b'"' | b'\\' | b'/') => code,
                b'b' => 8,
                b't' => 9,
                b'n' => 10,
                b'f' => 12,
                b'r' => 13,
                b'u' => match self.unicode() {
                    Some((character, len)) => {
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        self.at += len;
                        continue;
                    }
                    None => return self.error("invalid unicode escape code"),
                },
                _ => return self.error("invalid escape code"),
            };
            out.push(escaped);
            self.at += 2;
        }
        self.at += 1;
        Token::Text
    }

    fn error(&mut self, reason: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(reason)
    }

    /// The character of `\uXXXX`, or of two that are a pair; how long it is.
    fn unicode(&self) -> Option<(char, usize)> {
        let unit = self.hexadecimal(2)?;
        if unit & 0xf800 != 0xd800 {
            return Some((char::from_u32(unit)?, 6));
        }
        if unit & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
            return None;
        }
        let low = self.hexadecimal(8)?;
        if low & 0xfc00 != 0xdc00 {
            return None;
        }
        let character = ((unit & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000;
        Some((char::from_u32(character)?, 12))
    }

    fn hexadecimal(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4).try_fold(0, |number, at| Some(number << 4 | (self.peek(at) as char).to_digit(16)?))
    }
}

/// What C reads as a number and JSON does not have.
fn is_odd_number(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', next, ..] => next | 32 == b'x' || next.is_ascii_digit(),
        [b'0'..=b'9', ..] => false,
        _ => text.len() >= 3 && [b"inf", b"nan"].iter().any(|word| text[..3].eq_ignore_ascii_case(&word[..])),
    }
}
