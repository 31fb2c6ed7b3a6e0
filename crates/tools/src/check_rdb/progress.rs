//! A bar for a person who waits: how much of a large file is read. It passes on what it reads, and draws only
//! on a terminal.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

/// A file of which somebody wants to know how much is read.
pub struct Watched<R> {
    input: R,
    bar: Option<Bar>,
}

impl<R> Watched<R> {
    pub fn new(input: R, bar: Option<Bar>) -> Self {
        Watched { input, bar }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(out)?;
        if let Some(bar) = &mut self.bar {
            bar.advance(len as u64);
        }
        Ok(len)
    }
}

impl<R: Seek> Seek for Watched<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let offset = self.input.seek(position)?;
        if let Some(bar) = &mut self.bar {
            bar.read = offset;
        }
        Ok(offset)
    }
}

pub struct Bar {
    size: u64,
    read: u64,
    started: Instant,
    drawn: Instant,
}

impl Bar {
    /// None for a file that is read at once.
    pub fn for_size(size: u64) -> Option<Bar> {
        let now = Instant::now();
        (size >= LARGE).then_some(Bar { size, read: 0, started: now, drawn: now })
    }

    fn advance(&mut self, len: u64) {
        self.read += len;
        if self.drawn.elapsed() >= REDRAW {
            self.drawn = Instant::now();
            let text = draw(self.read, self.size, self.started.elapsed());
            // Nobody is there to see it if that fails.
            write!(io::stderr(), "\r{text}").ok();
        }
    }
}

impl Drop for Bar {
    /// Leaves an empty line for what comes next.
    fn drop(&mut self) {
        write!(io::stderr(), "\r{:LINE_LEN$}\r", "").ok();
    }
}

fn draw(read: u64, size: u64, elapsed: Duration) -> String {
    let percent = (read.saturating_mul(100) / size.max(1)).min(100);
    let filled = (percent as usize * BAR_LEN) / 100;
    let rate = read as f64 / elapsed.as_secs_f64().max(0.001) / 1e6;
    let text = format!(
        "[{:=<filled$}{:rest$}] {percent:3}% {:.1} of {:.1} MB, {rate:.0} MB/s",
        "",
        "",
        read as f64 / 1e6,
        size as f64 / 1e6,
        rest = BAR_LEN - filled,
    );
    format!("{text:LINE_LEN$}")
}

/// Files from here up take long enough for somebody to wonder.
const LARGE: u64 = 64 << 20;
const REDRAW: Duration = Duration::from_millis(100);
const BAR_LEN: usize = 30;
const LINE_LEN: usize = 78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        let check = |read, expected: &str| {
            assert_eq!(draw(read, 200_000_000, Duration::from_secs(2)).trim_end(), expected);
        };
        check(0, "[                              ]   0% 0.0 of 200.0 MB, 0 MB/s");
        check(100_000_000, "[===============               ]  50% 100.0 of 200.0 MB, 50 MB/s");
        check(200_000_000, "[==============================] 100% 200.0 of 200.0 MB, 100 MB/s");
        check(400_000_000, "[==============================] 100% 400.0 of 200.0 MB, 200 MB/s");
    }
}
