//! The state of the append-only file, locked, and what is to be said of it in the server's log: that is
//! written when the state is unlocked, because a log file on a slow disk must hold up nobody else.

use std::ops::{Deref, DerefMut};

use engine::host::Level;
use parking_lot::{Mutex, MutexGuard};

use super::State;
use crate::log::LOG;

/// Lines for the server's log.
#[derive(Default)]
pub(super) struct Notes(Vec<(Level, String)>);

impl Notes {
    pub fn notice(&mut self, text: String) {
        self.0.push((Level::Notice, text));
    }

    pub fn warning(&mut self, text: String) {
        self.0.push((Level::Warning, text));
    }
}

/// The state while it is locked, and who says what is to be said.
pub(super) struct Locked<'a>(Option<MutexGuard<'a, State>>, fn(Level, &str));

impl Locked<'_> {
    pub fn of(state: &Mutex<State>) -> Locked<'_> {
        Locked(Some(state.lock()), |level, text| LOG.line(level, text))
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("only dropping takes it")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.0.take() else { return };
        let Notes(lines) = std::mem::take(&mut state.notes);
        drop(state);
        lines.iter().for_each(|(level, text)| (self.1)(*level, text));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    thread_local! {
        static STATE: Cell<Option<&'static Mutex<State>>> = const { Cell::new(None) };
        static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Stands for a log whose file hangs: everybody else wants the state now.
    fn say(level: Level, text: &str) {
        let state = STATE.get().expect("the test has set it");
        let unlocked = state.try_lock().expect("it is unlocked by now");
        assert!(unlocked.notes.0.is_empty(), "what is said is not kept");
        SAID.with_borrow_mut(|said| said.push(format!("{level:?} {text}")));
    }

    #[test]
    fn what_is_noted_is_said_once_and_in_order_after_the_lock() {
        let state: &'static Mutex<State> = Box::leak(Box::default());
        STATE.set(Some(state));
        let lock = || Locked(Some(state.lock()), say);
        let mut first = lock();
        first.notes.notice("one".into());
        first.notes.warning("two".into());
        assert!(SAID.with_borrow(Vec::is_empty), "it is said while the state is locked");
        drop(first);
        drop(lock());
        lock().notes.notice("three".into());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut last = lock();
            last.notes.warning("four".into());
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(SAID.take(), ["Notice one", "Warning two", "Notice three", "Warning four"]);
    }
}
