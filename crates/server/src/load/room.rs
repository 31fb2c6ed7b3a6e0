//! Room for what is loaded. A dump may be larger than `maxmemory`: then keys give way as far as the policy
//! lets them, or the load ends, as it is configured. It never judges how much is in use.

use base::random::Rng;
use base::time::UnixMs;
use engine::Engine;
use engine::config::{BeyondMemory, Config};
use engine::evict::{Evictor, Room};

/// What one thread needs to make room.
pub(super) struct RoomMaker {
    beyond: BeyondMemory,
    evictor: Evictor,
    rng: Rng,
}

impl RoomMaker {
    pub fn new(engine: &Engine, beyond: BeyondMemory) -> RoomMaker {
        let (mut evictor, rng) = (Evictor::default(), Rng::from_seed(engine.host.random()));
        // What this thread has from here on counts.
        evictor.meter.report(&engine.memory);
        RoomMaker { beyond, evictor, rng }
    }

    /// Makes room after something was loaded, for as long as it takes. Where no key may go the load goes on:
    /// what a server has saved it must be able to load. The error says that a dump of this length is refused.
    pub fn make_room(&mut self, engine: &Engine, config: &Config, now: UnixMs) -> Result<(), String> {
        self.evictor.meter.report(&engine.memory);
        while engine.memory.is_over() {
            match self.beyond {
                BeyondMemory::Load => break,
                BeyondMemory::Refuse => return Err(beyond_memory(config)),
                BeyondMemory::Evict => match self.evictor.make_room(engine, config, now, &mut self.rng) {
                    Room::Enough | Room::Nothing => break,
                    Room::Later => {}
                },
            }
        }
        Ok(())
    }
}

/// More was loaded than there is room for.
pub(super) fn beyond_memory(config: &Config) -> String {
    format!("The data takes more memory than maxmemory allows ({} bytes)", config.memory_limit())
}
