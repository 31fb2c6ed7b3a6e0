//! The score by which the kernel chooses whom to end when memory runs out: changed as it is configured, and
//! put back when that is switched off. It never decides what the score should be.

use std::fs;
use std::io;

use base::num::parse_i64;
use engine::config::{Config, OomScoreAdj};
use parking_lot::Mutex;

use crate::log::{LOG, reason};

/// What the server has made of its score.
#[derive(Default)]
pub struct OomScore {
    /// The score before the server changed it; nothing while it does not.
    before: Mutex<Option<i64>>,
}

impl OomScore {
    /// Puts the configuration into effect, or says in the log why it cannot.
    pub fn apply(&self, config: &Config) -> io::Result<()> {
        let applied = self.change(config);
        if let Err(error) = &applied {
            LOG.warning(&format!("Cannot change the score in {PATH}: {}", reason(error)));
        }
        applied
    }

    fn change(&self, config: &Config) -> io::Result<()> {
        let mut before = self.before.lock();
        if config.oom_score_adj == OomScoreAdj::No {
            return before.take().map_or(Ok(()), write);
        }
        let first = match *before {
            Some(score) => score,
            None => *before.insert(read()?),
        };
        write(score(config, first))
    }
}

fn score(config: &Config, before: i64) -> i64 {
    let own = config.oom_score_adj_values.first().and_then(|value| parse_i64(value));
    let own = own.expect("the directive takes three numbers");
    let score = if config.oom_score_adj == OomScoreAdj::Relative { before + own } else { own };
    score.clamp(-SCORE_MOST, SCORE_MOST)
}

fn read() -> io::Result<i64> {
    let text = fs::read_to_string(PATH)?;
    text.trim().parse().map_err(|_| io::Error::other("the kernel gave no number"))
}

fn write(score: i64) -> io::Result<()> {
    fs::write(PATH, score.to_string())
}

const PATH: &str = "/proc/self/oom_score_adj";

/// The kernel takes no more.
const SCORE_MOST: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_the_configuration() {
        let check = |oom_score_adj, own: &str, before, expected| {
            let oom_score_adj_values = [own, "1", "2"].map(|value| value.as_bytes().to_vec()).to_vec();
            let config = Config { oom_score_adj, oom_score_adj_values, ..Config::default() };
            assert_eq!(score(&config, before), expected, "{own} {before}");
        };
        check(OomScoreAdj::Relative, "9", 22, 31);
        check(OomScoreAdj::Relative, "2000", 22, 1000);
        check(OomScoreAdj::Absolute, "9", 22, 9);
        check(OomScoreAdj::Absolute, "-1500", 22, -1000);
    }
}
