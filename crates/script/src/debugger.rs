//! The debugger of scripts: it stops at their lines, and shows and does there what its client asks for. It
//! must never keep a value of its own where Lua may raise an error: what it needs lives in the machine.

mod show;

use std::ffi::{CStr, c_int};

use base::num::parse_i64;
use mlua_sys as ffi;
use resp::request::{Limits, Parser, Progress, Span};

use crate::lua::{HookEvery, Lua, REGISTRY, State, TABLE};
use crate::machine::{HOOK_INSTRUCTIONS, end_if_told, hook as plain_hook, is_bytecode, of_running};
use crate::to_lua::push_field;
use crate::{Host, api};

/// What a machine knows of the script that it debugs.
pub(crate) struct Debugger {
    source: Box<[u8]>,
    /// It stops at the next line, and shows the commands of this one.
    steps: bool,
    /// `redis.breakpoint` was called.
    stop_asked: bool,
    breakpoints: Vec<c_int>,
    line: c_int,
    said: Said,
    /// What the client has sent; the command that runs ends at `taken`.
    input: Vec<u8>,
    taken: usize,
    parser: Parser,
    spans: Vec<Span>,
    /// A line in the making.
    text: Vec<u8>,
    frames: Vec<show::Frame>,
    /// Since when the script runs without a stop, in seconds.
    resumed_s: f64,
    /// The client has gone: the script runs to its end.
    is_left: bool,
}

/// What the client is shown next.
struct Said {
    lines: Vec<u8>,
    count: usize,
    /// Bytes of a value or a reply that are shown; 0: all.
    max_len: usize,
    hint_given: bool,
}

/// What came of the wait for a command.
enum Heard {
    Command,
    Left,
    Refused(&'static str),
}

type Action = fn(Lua);

/// What a command asks for.
enum Order {
    Step,
    Continue,
    Do(Action),
}

/// Commands after which the next is waited for: the short name, the long one, and what it does.
const COMMANDS: &[(&[u8], &[u8], Action)] = &[
    (b"h", b"help", help),
    (b"t", b"trace", trace),
    (b"m", b"maxlen", set_max_len),
    (b"b", b"break", set_breakpoints),
    (b"e", b"eval", evaluate),
    (b"a", b"abort", abort),
    (b"r", b"redis", run_command),
    (b"r", b"server", run_command),
    (b"p", b"print", print),
    (b"l", b"list", list),
    (b"w", b"whole", list_whole),
];

impl Said {
    fn line(&mut self, text: &[u8]) {
        let room = SAID_MAX.saturating_sub(self.lines.len());
        if room > 0 {
            self.add(&text[..text.len().min(room)]);
        }
    }

    fn add(&mut self, text: &[u8]) {
        self.count += 1;
        self.lines.push(b'+');
        let is_end = |byte| byte == b'\r' || byte == b'\n';
        self.lines.extend(text.iter().map(|&byte| if is_end(byte) { b' ' } else { byte }));
        self.lines.extend_from_slice(b"\r\n");
    }

    /// A line that is cut where it becomes too long.
    fn short_line(&mut self, text: &mut Vec<u8>) {
        let is_cut = self.max_len != 0 && text.len() > self.max_len;
        if is_cut {
            text.truncate(self.max_len);
            text.extend_from_slice(b" ...");
        }
        self.line(text);
        if is_cut && !std::mem::replace(&mut self.hint_given, true) {
            self.line(b"<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.");
        }
    }

    /// Where what is shown of a value may end.
    fn room(&self) -> usize {
        if self.max_len == 0 { SAID_MAX } else { self.max_len }
    }

    fn send(&mut self, host: &mut dyn Host) {
        let mut reply = format!("*{}\r\n", self.count).into_bytes();
        reply.append(&mut self.lines);
        self.count = 0;
        host.say(&reply);
    }
}

impl Debugger {
    /// Stops at the first line of a script with this text.
    pub(crate) fn new(source: &[u8]) -> Debugger {
        let end = source.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        Debugger {
            source: source[..end].into(),
            steps: true,
            stop_asked: false,
            breakpoints: Vec::new(),
            line: 0,
            said: Said { lines: Vec::new(), count: 0, max_len: MAX_LEN, hint_given: false },
            input: Vec::new(),
            taken: 0,
            parser: Parser::default(),
            spans: Vec::new(),
            text: Vec::new(),
            frames: Vec::new(),
            resumed_s: 0.0,
            is_left: false,
        }
    }

    /// The script has ended: what has not been shown yet, and that it was the last.
    pub(crate) fn end(&mut self, host: &mut dyn Host) {
        // Whatever was too much to be said, this is not.
        self.said.add(b"<endsession>");
        self.said.send(host);
    }

    /// `redis.breakpoint`.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stop_asked = true;
    }

    /// A command of the script is about to run.
    pub(crate) fn note_call(&mut self, input: &[u8], spans: &[Span]) {
        if !self.steps {
            return;
        }
        self.text.clear();
        self.text.extend_from_slice(b"<redis>");
        for span in spans.iter().take(WORDS_SHOWN) {
            self.text.push(b' ');
            show::cut(span.of(input), &mut self.text, SAID_MAX);
        }
        if spans.len() > WORDS_SHOWN {
            let more = format!(" ... ({} more)", spans.len() - WORDS_SHOWN);
            self.text.extend_from_slice(more.as_bytes());
        }
        self.said.line(&self.text);
    }

    /// What a command of the script has replied.
    pub(crate) fn note_reply(&mut self, reply: &[u8]) {
        if !self.steps {
            return;
        }
        self.text.clear();
        if let [b'-', line @ ..] = reply {
            self.text.extend_from_slice(b"<error> ");
            show::cut(line.trim_ascii_end(), &mut self.text, SAID_MAX);
            return self.said.line(&self.text);
        }
        self.text.extend_from_slice(b"<reply> ");
        let len_max = self.text.len() + self.said.room();
        show::reply(reply, &mut self.text, len_max);
        self.said.short_line(&mut self.text);
    }

    fn word(&self, index: usize) -> &[u8] {
        self.spans.get(index).map_or(b"", |span| span.of(&self.input))
    }

    fn number(&self, index: usize) -> Option<i64> {
        parse_i64(self.word(index))
    }

    fn order(&self) -> Order {
        let is = |name: &[u8]| self.word(0).eq_ignore_ascii_case(name);
        match COMMANDS.iter().find(|(short, long, _)| is(short) || is(long)) {
            _ if [&b"s"[..], b"step", b"n", b"next"].into_iter().any(is) => Order::Step,
            _ if is(b"c") || is(b"continue") => Order::Continue,
            Some((_, _, action)) => Order::Do(*action),
            None => Order::Do(refuse),
        }
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.source.split(|&byte| byte == b'\n')
    }

    fn say_source_line(&mut self, line: c_int) {
        let text = self.lines().nth(line as usize - 1).unwrap_or(b"<out of range source code line>");
        let (at, is_breakpoint) = (self.line == line, self.breakpoints.contains(&line));
        let mark = match (at, is_breakpoint) {
            (true, true) => "->#",
            (true, false) => "-> ",
            (false, true) => "  #",
            (false, false) => "   ",
        };
        let shown = [format!("{mark}{line:<3} ").as_bytes(), text].concat();
        self.said.line(&shown);
    }

    /// The lines that are at most so far from one.
    fn say_lines(&mut self, around: i64, context: i64) {
        let count = self.lines().count() as i64;
        let (from, to) = (around.saturating_sub(context).max(1), around.saturating_add(context).min(count));
        (from..=to).for_each(|line| self.say_source_line(line as c_int));
    }

    /// Why the script stops here, if it does. `at_line`: it has come to a line; else it has run for long
    /// within one.
    fn reason(&mut self, at_line: bool, now_s: f64) -> Option<&'static str> {
        let stop_asked = at_line && std::mem::take(&mut self.stop_asked);
        match at_line {
            _ if self.is_left => None,
            true if stop_asked => Some("redis.breakpoint() called"),
            true if self.breakpoints.contains(&self.line) => Some("break point"),
            true if self.steps => Some("step over"),
            true => None,
            false => (now_s - self.resumed_s > PATIENCE_S).then_some("timeout reached, infinite loop?"),
        }
    }

    /// Waits for the next command.
    fn hear(&mut self, host: &mut dyn Host) -> Heard {
        self.spans.clear();
        loop {
            self.input.drain(..std::mem::take(&mut self.taken));
            match self.parser.parse(&self.input, 0, &LIMITS, &mut self.spans) {
                Err(_) | Ok(Progress::Done { inline: true, .. }) => {
                    return Heard::Refused("ERR protocol error");
                }
                Ok(Progress::Done { end, .. }) => {
                    self.taken = end;
                    if !self.spans.is_empty() {
                        return Heard::Command;
                    }
                }
                Ok(_) if self.input.len() > INPUT_MAX => {
                    return Heard::Refused("ERR max client buffer reached");
                }
                Ok(_) if !host.hear(&mut self.input) => return Heard::Left,
                Ok(_) => {}
            }
        }
    }
}

/// The debugger of the machine that runs.
fn of<'a>(lua: Lua) -> &'a mut Debugger {
    of_running(lua).debugger.as_deref_mut().expect("only a debugged script has the hook that leads here")
}

/// Runs at every line, and now and then within one.
pub(crate) unsafe extern "C-unwind" fn hook(state: State, event: *mut ffi::lua_Debug) {
    let lua = Lua(state);
    // SAFETY: Lua passes what it tells of the event.
    let at_line = unsafe { (*event).event } == ffi::LUA_HOOKLINE;
    if !at_line {
        end_if_told(lua);
    }
    let Some(place) = lua.caller(0).filter(|place| place.source.to_bytes() == SCRIPT_SOURCE) else { return };
    let debugger = of(lua);
    debugger.line = place.line;
    let now_s = now_s(lua);
    let Some(reason) = debugger.reason(at_line, now_s) else { return };
    debugger.steps = false;
    let line = debugger.line;
    debugger.said.line(format!("* Stopped at {line}, stop reason = {reason}").as_bytes());
    debugger.say_source_line(line);
    send(lua);
    serve(lua);
    end_if_told(lua);
}

/// Does what the client asks for, until it lets the script go on.
fn serve(lua: Lua) {
    loop {
        match converse(lua) {
            Heard::Command => {}
            Heard::Left => return of(lua).is_left = true,
            Heard::Refused(text) => raise(lua, text),
        }
        match of(lua).order() {
            Order::Do(action) => {
                action(lua);
                send(lua);
                continue;
            }
            Order::Step => of(lua).steps = true,
            Order::Continue => {}
        }
        return of(lua).resumed_s = now_s(lua);
    }
}

fn now_s(lua: Lua) -> f64 {
    of_running(lua).host().map_or(0.0, |host| host.clock_s())
}

fn raise(lua: Lua, text: &str) -> ! {
    push_field(lua, "err", text.as_bytes());
    lua.raise()
}

fn send(lua: Lua) {
    with_host(lua, |debugger, host| debugger.said.send(host));
}

fn converse(lua: Lua) -> Heard {
    with_host(lua, Debugger::hear).unwrap_or(Heard::Left)
}

/// Lua is not called meanwhile.
fn with_host<T>(lua: Lua, act: impl FnOnce(&mut Debugger, &mut dyn Host) -> T) -> Option<T> {
    let machine = of_running(lua);
    let mut debugger = machine.debugger.take();
    let done = debugger.as_deref_mut().zip(machine.host()).map(|(debugger, host)| act(debugger, host));
    machine.debugger = debugger;
    done
}

fn refuse(lua: Lua) {
    of(lua).said.line(b"<error> Unknown Redis Lua debugger command or wrong number of arguments.");
}

fn help(lua: Lua) {
    HELP.iter().for_each(|line| of(lua).said.line(line.as_bytes()));
}

fn abort(lua: Lua) {
    raise(lua, "ERR script aborted for user request")
}

/// The calls that led here.
fn trace(lua: Lua) {
    for level in 0..LEVELS_SHOWN {
        let Some(place) = lua.caller(level) else { return };
        if place.source.to_bytes() != SCRIPT_SOURCE {
            continue;
        }
        let name = lua.function_name(level).map_or(&b"top level"[..], |name| name.to_bytes());
        let said = [if level == 0 { &b"In "[..] } else { b"From " }, name, b":"].concat();
        of(lua).said.line(&said);
        of(lua).say_source_line(place.line);
    }
}

fn set_max_len(lua: Lua) {
    let debugger = of(lua);
    if debugger.spans.len() == 2 {
        debugger.said.hint_given = true;
        let wanted = debugger.number(1).unwrap_or(0).clamp(0, SAID_MAX as i64) as usize;
        debugger.said.max_len = if wanted == 0 { 0 } else { wanted.max(MAX_LEN_LEAST) };
    }
    let text = match debugger.said.max_len {
        0 => "<value> replies are unlimited.".to_owned(),
        len => format!("<value> replies are truncated at {len} bytes."),
    };
    debugger.said.line(text.as_bytes());
}

fn set_breakpoints(lua: Lua) {
    let debugger = of(lua);
    for index in 1..debugger.spans.len() {
        set_breakpoint(debugger, index);
    }
    if debugger.spans.len() > 1 {
        return;
    }
    if debugger.breakpoints.is_empty() {
        return debugger.said.line(b"No breakpoints set. Use 'b <line>' to add one.");
    }
    debugger.said.line(format!("{} breakpoints set:", debugger.breakpoints.len()).as_bytes());
    for index in 0..debugger.breakpoints.len() {
        debugger.say_source_line(debugger.breakpoints[index]);
    }
}

fn set_breakpoint(debugger: &mut Debugger, index: usize) {
    let Some(number) = debugger.number(index) else {
        let text = [b"Invalid argument:'", debugger.word(index), b"'"].concat();
        return debugger.said.line(&text);
    };
    if number == 0 {
        debugger.breakpoints.clear();
        return debugger.said.line(b"All breakpoints removed.");
    }
    let known = debugger.breakpoints.iter().position(|&line| i64::from(line) == number.saturating_abs());
    if number < 0 {
        let text: &[u8] = match known {
            Some(_) => b"Breakpoint removed.",
            None => b"No breakpoint in the specified line.",
        };
        known.map(|at| debugger.breakpoints.remove(at));
        return debugger.said.line(text);
    }
    if number > debugger.lines().count() as i64 {
        return debugger.said.line(b"Wrong line number.");
    }
    if known.is_none() && debugger.breakpoints.len() == BREAKPOINTS {
        return debugger.said.line(b"Too many breakpoints set.");
    }
    if known.is_none() {
        debugger.breakpoints.push(number as c_int);
    }
    debugger.say_lines(number, 1);
}

fn list(lua: Lua) {
    let debugger = of(lua);
    let around = debugger.number(1).filter(|&line| line > 0).unwrap_or(i64::from(debugger.line));
    let context = debugger.number(2).unwrap_or(LINES_AROUND);
    debugger.say_lines(around, context);
}

fn list_whole(lua: Lua) {
    of(lua).say_lines(1, i64::MAX);
}

/// Shows a variable, or all that are local here.
fn print(lua: Lua) {
    if !lua.has_room(STACK_ROOM) {
        return of(lua).said.line(b"<error> There is no room on Lua's stack.");
    }
    match of(lua).spans.len() {
        2 => print_named(lua),
        _ => print_all(lua),
    }
}

fn print_named(lua: Lua) {
    for level in 0..LEVELS_SHOWN {
        let mut index = 1;
        while let Some(name) = lua.push_local(level, index) {
            if name.to_bytes() == of(lua).word(1) {
                return say_value(lua, b"<value> ");
            }
            lua.pop(1);
            index += 1;
        }
    }
    let name = match of(lua).word(1) {
        b"KEYS" => "KEYS",
        b"ARGV" => "ARGV",
        _ => return of(lua).said.line(b"No such variable."),
    };
    lua.raw_get_at(REGISTRY, of_running(lua).globals);
    lua.raw_get_field(lua.top(), name);
    say_value(lua, b"<value> ");
    lua.pop(1);
}

fn print_all(lua: Lua) {
    let (mut index, mut shown) = (1, false);
    while let Some(name) = lua.push_local(0, index) {
        index += 1;
        if name.to_bytes().starts_with(b"(") {
            lua.pop(1);
            continue;
        }
        shown = true;
        let debugger = of(lua);
        debugger.text.clear();
        debugger.text.extend_from_slice(b"<value> ");
        debugger.text.extend_from_slice(name.to_bytes());
        debugger.text.extend_from_slice(b" = ");
        finish_value(lua);
    }
    if !shown {
        of(lua).said.line(b"No local variables in the current context.");
    }
}

/// Shows the value on top, which it takes.
fn say_value(lua: Lua, prefix: &[u8]) {
    let debugger = of(lua);
    debugger.text.clear();
    debugger.text.extend_from_slice(prefix);
    finish_value(lua);
}

/// The same, behind what the line has already.
fn finish_value(lua: Lua) {
    let Debugger { text, frames, said, .. } = of(lua);
    let len_max = text.len() + said.room();
    show::value(lua, text, frames, len_max);
    said.short_line(text);
    lua.pop(1);
}

/// `redis.debug`: shows its arguments, which are all that is on the stack.
pub(crate) fn show_arguments(lua: Lua) {
    let count = lua.top();
    let Some(debugger) = of_running(lua).debugger.as_deref_mut().filter(|_| lua.has_room(STACK_ROOM)) else {
        return;
    };
    debugger.text.clear();
    debugger.text.extend_from_slice(format!("<debug> line {}: ", debugger.line).as_bytes());
    for index in 1..=count {
        let Debugger { text, frames, .. } = of(lua);
        if index > 1 {
            text.extend_from_slice(b", ");
        }
        lua.push_value(index);
        show::value(lua, text, frames, SAID_MAX);
        lua.pop(1);
    }
    let Debugger { text, said, .. } = of(lua);
    said.line(text);
}

/// Runs a command as the script would.
fn run_command(lua: Lua) {
    let count = of(lua).spans.len();
    if count < 2 {
        return refuse(lua);
    }
    if !lua.has_room(count as c_int + STACK_ROOM) {
        return of(lua).said.line(b"<error> max lua stack reached");
    }
    api::push_pcall(lua);
    for index in 1..count {
        lua.push_bytes(of(lua).word(index));
    }
    of(lua).steps = true;
    lua.protected_call(count as c_int - 1, 1, 0);
    of(lua).steps = false;
    lua.pop(1);
}

/// Runs some code in a thread of its own: there it can be ended, as within a hook no hook is called.
fn evaluate(lua: Lua) {
    if !lua.has_room(STACK_ROOM) {
        return of(lua).said.line(b"<error> There is no room on Lua's stack.");
    }
    let debugger = of(lua);
    debugger.text.clear();
    debugger.text.extend_from_slice(RETURN);
    for index in 1..debugger.spans.len() {
        if index > 1 {
            debugger.text.push(b' ');
        }
        debugger.text.extend_from_slice(debugger.spans[index].of(&debugger.input));
    }
    let thread = lua.push_thread();
    thread.set_hook(Some(plain_hook), HookEvery::Instructions(HOOK_INSTRUCTIONS));
    lua.push_native(evaluate_text, 0);
    lua.push_bytes(&of(lua).text);
    lua.give(thread, 2);
    let succeeded = thread.resume(1);
    thread.give(lua, 1);
    if !succeeded && lua.kind(-1) == TABLE {
        lua.raw_get_field(lua.top(), "err");
        lua.remove(-2);
    }
    if succeeded {
        say_value(lua, b"<retval> ");
    } else {
        let debugger = of(lua);
        debugger.text.clear();
        debugger.text.extend_from_slice(b"<error> ");
        show::cut(lua.bytes(-1).unwrap_or(b"(null)"), &mut debugger.text, SAID_MAX);
        debugger.said.line(&debugger.text);
        lua.pop(1);
    }
    lua.pop(1);
}

/// Takes `return` and some code: an expression, or statements.
unsafe extern "C-unwind" fn evaluate_text(state: State) -> c_int {
    let lua = Lua(state);
    let expression = lua.bytes(1).unwrap_or_default();
    if lua.compile(expression, EVALUATED).is_err() {
        lua.pop(1);
        let statements = &expression[RETURN.len()..];
        if is_bytecode(statements) || lua.compile(statements, EVALUATED).is_err() {
            lua.raise()
        }
    }
    lua.call(0, 1);
    1
}

const RETURN: &[u8] = b"return ";
const EVALUATED: &CStr = c"@ldb_eval";
const SCRIPT_SOURCE: &[u8] = b"@user_script";
/// Bytes of a value that are shown, unless the client wants more or less, and the least it may want.
const MAX_LEN: usize = 256;
const MAX_LEN_LEAST: usize = 60;
/// Bytes that wait to be shown: what is said beyond them is dropped.
const SAID_MAX: usize = 4 << 20;
const INPUT_MAX: usize = 1 << 20;
const BREAKPOINTS: usize = 64;
const WORDS_SHOWN: usize = 10;
const LINES_AROUND: i64 = 5;
/// Calls within each other that are looked at.
const LEVELS_SHOWN: c_int = 200;
/// Places on Lua's stack that a command needs, with tables shown in each other.
const STACK_ROOM: c_int = 64;
/// A script that has not stopped for so long is stopped where it is.
const PATIENCE_S: f64 = 5.0;
const LIMITS: Limits =
    Limits { bulk_len_max: 1024, multibulk_max: 1024, inline_max: 4096, authenticated: true };

const HELP: &[&str] = &[
    "Commands, each by its first letter too:",
    "help                  Shows this.",
    "step, next            Runs the current line and stops again.",
    "continue              Runs on to the next breakpoint.",
    "list [line] [count]   Shows the lines around the current or another one.",
    "whole                 Shows all lines.",
    "print                 Shows the local variables.",
    "print <name>          Shows a variable, or KEYS or ARGV.",
    "break                 Shows the breakpoints.",
    "break <line>          Sets one; -<line> removes it, 0 removes all.",
    "trace                 Shows the calls that led here.",
    "eval <code>           Runs some Lua code, which does not see local variables.",
    "redis <command>       Runs a command.",
    "maxlen [bytes]        Cuts values and replies there; 0 is never.",
    "abort                 Ends the script. What it has changed stays.",
    "",
    "In scripts:",
    "redis.debug(...)      Shows values at the next stop.",
    "redis.breakpoint()    Stops at the next line.",
];
