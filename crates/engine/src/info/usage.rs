//! Memory by who uses it: the figures behind INFO memory, MEMORY STATS and MEMORY DOCTOR, so that they agree.

use std::sync::atomic::Ordering;

use base::alloc::Stats;

use crate::consumers;
use crate::info::InfoInput;

/// All in bytes but `keys`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryUsage {
    /// What the program asked the allocator for, in size classes.
    pub used: usize,
    /// What the kernel has given the process.
    pub resident: usize,
    pub peak: usize,
    pub startup: usize,
    pub clients: usize,
    /// Directories and slots of the keyspace's tables.
    pub tables: usize,
    /// All that is not data, the tables aside.
    pub held: usize,
    /// Lua's heaps for scripts, and for functions.
    pub vm_eval: usize,
    pub vm_functions: usize,
    /// Texts of scripts, and of libraries.
    pub scripts: usize,
    pub functions: usize,
    pub keys: usize,
    pub allocator: Stats,
}

impl MemoryUsage {
    pub fn measure(input: &InfoInput<'_>, resident: usize) -> MemoryUsage {
        let (engine, keyspace, allocator) = (input.engine, &input.keyspace, input.allocator());
        let used = allocator.allocated;
        MemoryUsage {
            used,
            resident,
            peak: engine.used_memory_peak.fetch_max(used, Ordering::Relaxed).max(used),
            startup: engine.used_memory_startup.load(Ordering::Relaxed),
            clients: input.clients().bytes,
            tables: keyspace.iter().map(|totals| totals.table_bytes).sum(),
            held: consumers::held(input),
            vm_eval: engine.scripts.heap(),
            vm_functions: engine.functions.heap(),
            scripts: engine.scripts.memory(),
            functions: engine.functions.memory(),
            keys: keyspace.iter().map(|totals| totals.keys).sum(),
            allocator,
        }
    }

    /// What is not keys and values.
    pub fn overhead(&self) -> usize {
        self.held + self.tables
    }

    /// Lua's heaps.
    pub fn lua(&self) -> usize {
        self.vm_eval + self.vm_functions
    }

    pub fn dataset(&self) -> usize {
        self.used.saturating_sub(self.overhead())
    }

    /// Grown since the start.
    pub fn net(&self) -> usize {
        self.used.saturating_sub(self.startup)
    }

    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.net())
    }

    pub fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    pub fn bytes_per_key(&self) -> usize {
        self.net().checked_div(self.keys).unwrap_or(0)
    }

    /// Pages in use against what is allocated in them.
    pub fn allocator_fragmentation(&self) -> Excess {
        Excess::of(self.allocator.active, self.allocator.allocated)
    }

    /// Pages the allocator holds against those in use.
    pub fn allocator_resident(&self) -> Excess {
        Excess::of(self.allocator.resident, self.allocator.active)
    }

    /// The process against the allocator.
    pub fn process_overhead(&self) -> Excess {
        Excess::of(self.resident, self.allocator.resident)
    }

    /// The process against what was asked for.
    pub fn fragmentation(&self) -> Excess {
        Excess::of(self.resident, self.used)
    }
}

/// How much more one figure is than another.
#[derive(Clone, Copy, Debug)]
pub struct Excess {
    pub ratio: f64,
    pub bytes: i64,
}

impl Excess {
    fn of(larger: usize, smaller: usize) -> Excess {
        Excess { ratio: larger as f64 / smaller.max(1) as f64, bytes: larger as i64 - smaller as i64 }
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}
