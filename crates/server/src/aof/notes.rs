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

/// The state while it is locked.
pub(super) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl Locked<'_> {
    pub fn of(state: &Mutex<State>) -> Locked<'_> {
        Locked(Some(state.lock()))
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
        lines.iter().for_each(|(level, text)| LOG.line(*level, text));
    }
}
