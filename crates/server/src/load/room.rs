//! Room for what is loaded. A dump may be larger than `maxmemory`: then keys give way as the policy says, or
//! the load ends, as it is configured. It never judges how much is in use.

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

    /// Makes room after something was loaded, for as long as it takes. The error says that there is none.
    pub fn make_room(&mut self, engine: &Engine, config: &Config, now: UnixMs) -> Result<(), String> {
        self.evictor.meter.report(&engine.memory);
        while self.beyond != BeyondMemory::Load && engine.memory.is_over() {
            let room = match self.beyond {
                BeyondMemory::Evict => self.evictor.make_room(engine, config, now, &mut self.rng),
                _ => Room::Nothing,
            };
            match room {
                Room::Enough => break,
                Room::Later => {}
                Room::Nothing => return Err(refusal(config)),
            }
        }
        Ok(())
    }
}

fn refusal(config: &Config) -> String {
    format!(
        "The data takes more memory than maxmemory allows ({} bytes){}",
        config.memory_limit(),
        match config.load_beyond_maxmemory {
            BeyondMemory::Evict => ", and maxmemory-policy lets no key go",
            _ => "",
        }
    )
}
