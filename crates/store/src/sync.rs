//! The one mutex of this crate: parking_lot's, or under the feature `shuttle` one whose every step a test's
//! scheduler chooses. The rest of the crate does not know which.

#[cfg(not(feature = "shuttle"))]
pub use parking_lot::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
pub use scheduled::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
mod scheduled {
    use std::time::Duration;

    pub use shuttle::sync::MutexGuard;

    #[derive(Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a test ends with the first panic")
        }

        pub fn into_inner(self) -> T {
            self.0.into_inner().expect("a test ends with the first panic")
        }

        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        /// Time is a number of turns that others get.
        pub fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
            for _ in 0..PATIENCE_TURNS {
                if let Some(guard) = self.try_lock() {
                    return Some(guard);
                }
                shuttle::thread::yield_now();
            }
            None
        }
    }

    const PATIENCE_TURNS: usize = 2;
}
