//! A guard before Lua's pattern matching, which goes one call deeper for each item of a pattern that can
//! match in more than one way. It bounds the depth only: how long a pattern tries, and SCRIPT KILL waits for
//! it meanwhile, is as with Redis.

use std::ffi::c_int;

use crate::lua::{Lua, STRING, State};
use crate::sandbox::REPLACED_FUNCTION;

/// One of `string`'s functions whose second argument is a pattern.
pub(crate) unsafe extern "C-unwind" fn guarded_pattern(state: State) -> c_int {
    let lua = Lua(state);
    if lua.kind(2) == STRING && lua.len(2) > ITEMS_MAX && is_deep(lua.bytes(2).unwrap_or_default()) {
        lua.fail(c"pattern too complex");
    }
    let function = lua.native(REPLACED_FUNCTION).expect("the replaced functions are native");
    // SAFETY: it finds its arguments as Lua would pass them.
    unsafe { function(state) }
}

fn is_deep(pattern: &[u8]) -> bool {
    pattern.iter().filter(|byte| b"?*+-()".contains(byte)).count() > ITEMS_MAX
}

/// Calls inside one another that a worker's stack has room for, with much to spare.
const ITEMS_MAX: usize = 4096;
