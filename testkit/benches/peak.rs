//! The most memory that a save takes while every key is overwritten at full speed: that of the whole
//! process tree with its page cache, as its control group counts it. Once with the disk as it is, once with
//! a slow one.
//!
//! `cargo bench -p testkit --bench peak [SERVER [KEYS]]`. Needs control groups, so usually root.

use std::path::Path;
use std::time::{Duration, Instant};

use base::random::Rng;
use testkit::client::Client;
use testkit::group::Group;
use testkit::server::{Server, onefold, redis};

const KEYS: u64 = 3_000_000;
const VALUE_LEN: usize = 400;
const PIPELINE: u64 = 100;
const SLOW: u64 = 20 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let program = arguments.next().map_or_else(onefold, Into::into);
    let keys = arguments.next().map_or(KEYS, |text| text.parse().expect("KEYS is a number"));
    println!("{keys} keys of {VALUE_LEN} B; the bound is {} kB more", ((32 << 20) + keys / 5) / 1024);
    for program in [Some(program), redis()].into_iter().flatten() {
        for rate in [None, Some(SLOW)] {
            measure(&program, keys, rate);
        }
    }
}

/// One server, filled and overwritten before, so that its allocator has what it needs without a save.
fn measure(program: &Path, keys: u64, rate: Option<u64>) {
    let Some(group) = Group::create() else {
        println!("no control group can be made here");
        return;
    };
    let server = Server::start_after(program, &["--save", "", "--rdbcompression", "no"], &group.enter());
    let (mut client, mut control) = (server.client(), server.client());
    (0..keys).step_by(PIPELINE as usize).for_each(|first| write(&mut client, first..first + PIPELINE));
    let mut rng = Rng::from_seed(1);
    let mut overwrite = |client: &mut Client| {
        write(client, (0..PIPELINE).map(|_| rng.below(keys)));
        PIPELINE
    };
    let mut written = 0;
    while written < keys {
        written += overwrite(&mut client);
    }
    let slow = rate.is_some_and(|rate| group.limit_writes(server.dir(), rate));
    let before = group.usage().expect("the group is there");
    client.set_timeout(Some(PATIENCE));
    control.set_timeout(Some(PATIENCE));
    let ((took, written), peak) = group.peak_during(|| {
        let (began, mut written) = (Instant::now(), 0);
        control.run("BGSAVE");
        while written < keys || is_saving(&mut control) {
            written += overwrite(&mut client);
        }
        (began.elapsed(), written)
    });
    let disk = match (rate, slow) {
        (None, _) => "as it is",
        (_, true) => "at 20 MB/s",
        (_, false) => "as it is: it cannot be made slow",
    };
    let size = std::fs::metadata(server.dir().join("dump.rdb")).map_or(0, |metadata| metadata.len());
    println!(
        "{}, disk {disk}: {} kB before, {} kB more at most; {written} writes in {:.1} s, a dump of {} kB",
        program.display(),
        before / 1024,
        peak.saturating_sub(before) / 1024,
        took.as_secs_f64(),
        size / 1024
    );
}

fn write(client: &mut Client, keys: impl Iterator<Item = u64>) {
    let value = vec![b'x'; VALUE_LEN];
    let set = |key: u64| vec![b"SET".to_vec(), format!("key:{key:012}").into_bytes(), value.clone()];
    client.pipeline(&keys.map(set).collect::<Vec<_>>());
}

fn is_saving(client: &mut Client) -> bool {
    client.run("INFO persistence").as_text().unwrap_or_default().contains("rdb_bgsave_in_progress:1")
}

const PATIENCE: Duration = Duration::from_secs(600);
