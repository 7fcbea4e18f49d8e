//! How often a measurement is repeated.

use std::time::{Duration, Instant};

/// Bounds of a measurement: rounds go on until the time is up, but never fewer than `least` nor more than `most`.
///
/// In each round every candidate is measured once, so that whatever else the machine does meets all of
/// them alike.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The fewest rounds.
    pub least: u32,
    /// The most rounds.
    pub most: u32,
    /// After this long no further round begins.
    pub time: Duration,
}

impl Effort {
    /// Runs rounds, each with its number.
    ///
    /// # Errors
    /// The first error of a round.
    pub fn rounds<E>(&self, mut round: impl FnMut(u32) -> Result<(), E>) -> Result<u32, E> {
        let start = Instant::now();
        let mut done = 0;
        while done < self.least || (done < self.most && start.elapsed() < self.time) {
            round(done)?;
            done += 1;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_stay_within_their_bounds() {
        let effort = |least, most, time| Effort { least, most, time };
        let run = |effort: Effort| effort.rounds(|_| Ok::<_, ()>(()));
        assert_eq!(run(effort(3, 9, Duration::ZERO)), Ok(3));
        assert_eq!(run(effort(3, 9, Duration::MAX)), Ok(9));
        assert_eq!(effort(3, 9, Duration::MAX).rounds(|_| Err("no")), Err("no"));
    }
}
