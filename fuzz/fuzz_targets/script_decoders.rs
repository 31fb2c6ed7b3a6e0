//! What scripts decode of foreign bytes: cjson, cmsgpack and struct neither crash nor need more than the
//! machine may have, and what they decoded they encode again.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use resp::Reply;
use resp::reply::Protocol;
use script::{Function, Host, Machine, Passing, Pool, Run, Words};

/// A server without commands.
struct Nothing {
    looks: u32,
}

impl Host for Nothing {
    fn call(&mut self, _: Words<'_>, reply: &mut Reply) -> bool {
        reply.error("ERR there is no server");
        false
    }

    fn knows(&mut self, _: Words<'_>) -> bool {
        true
    }

    fn set_logged(&mut self, _: bool) {}

    fn log(&mut self, _: u8, _: &[u8]) {}

    fn count_error(&mut self, _: &[u8], _: bool) {}

    fn must_end(&mut self) -> Option<&'static str> {
        self.looks += 1;
        (self.looks > LOOKS).then_some("ERR it takes too long")
    }

    fn clock_s(&mut self) -> f64 {
        0.0
    }

    fn say(&mut self, _: &[u8]) {}

    fn hear(&mut self, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// Of a hundred thousand instructions each.
const LOOKS: u32 = 100;
const MEMORY: usize = 32 << 20;

const SCRIPTS: [&str; 4] = [
    "return cjson.encode(cjson.decode(ARGV[1]))",
    "local values = {cmsgpack.unpack(ARGV[1])}
     return cmsgpack.pack(unpack(values))",
    "local offset = 0
     repeat offset = cmsgpack.unpack_one(ARGV[1], offset) until offset == -1
     return cmsgpack.unpack_limit(ARGV[1], 3, 0)",
    "local at = ARGV[1]:find('|', 1, true) or 1
     local form, bytes = ARGV[1]:sub(1, at - 1), ARGV[1]:sub(at + 1)
     local size = pcall(struct.size, form)
     local values = {struct.unpack(form, bytes)}
     table.remove(values)
     return struct.pack(form, unpack(values))",
];

thread_local! {
    static MACHINE: RefCell<Option<(Machine, Vec<Function>)>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, input)) = data.split_first() else { return };
    MACHINE.with_borrow_mut(|machine| {
        let (machine, functions) = machine.get_or_insert_with(set_up);
        let function = functions[usize::from(first) % functions.len()];
        let word = |_: usize| input;
        let run = Run {
            function,
            passing: Passing::Globals,
            name: b"f",
            keys: 0,
            words: 1,
            word: &word,
            debugged: None,
        };
        let mut reply = Reply::new(Protocol::Resp3);
        let _ = machine.run(&mut Nothing { looks: 0 }, &run, &mut reply);
        assert!(machine.used() <= MEMORY, "{}", machine.used());
    });
});

fn set_up() -> (Machine, Vec<Function>) {
    let mut machine = Machine::new(&Arc::new(Pool::new(1, MEMORY)), 0, 7).expect("there is memory for it");
    let compile = |source: &&str| machine.compile(source.as_bytes(), c"@fuzz").expect("it is Lua");
    let functions = SCRIPTS.iter().map(compile).collect();
    (machine, functions)
}
