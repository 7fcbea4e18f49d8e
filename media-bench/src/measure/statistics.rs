//! Samples and what is said about them.

use serde::{Deserialize, Serialize};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds of CPU time of the whole process.
    CpuNs,
    /// Nanoseconds on the clock.
    WallNs,
}

/// The median of some samples with their spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Half of the samples are smaller.
    pub median: f64,
    /// A quarter of the samples are smaller.
    pub low: f64,
    /// A quarter of the samples are larger.
    pub high: f64,
    /// How many samples there were.
    pub samples: usize,
    /// What is counted.
    pub unit: Unit,
}

/// Samples of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes a sample.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// Median and quartiles; `None` without samples.
    #[must_use]
    pub fn figure(&self, unit: Unit) -> Option<Figure> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            // Between two samples, their mean in proportion.
            let place = sorted.len().checked_sub(1)? * quarter;
            let (index, part) = (place / 4, f64::from(u8::try_from(place % 4).ok()?) / 4.0);
            let (below, above) = (*sorted.get(index)?, sorted.get(index + 1).or(sorted.last())?);
            Some(below + (above - below) * part)
        };
        let (low, median, high) = (at(1)?, at(2)?, at(3)?);
        Some(Figure { median, low, high, samples: sorted.len(), unit })
    }

    /// The smallest sample.
    #[must_use]
    pub fn least(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    /// The samples in the order in which they were taken.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_few_samples() {
        let figure = |samples: &[f64]| {
            let figure = samples.iter().copied().collect::<Samples>().figure(Unit::CpuNs)?;
            Some((figure.low, figure.median, figure.high))
        };
        assert_eq!(figure(&[]), None);
        assert_eq!(figure(&[7.0]), Some((7.0, 7.0, 7.0)));
        assert_eq!(figure(&[3.0, 1.0]), Some((1.5, 2.0, 2.5)));
        assert_eq!(figure(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some((2.0, 3.0, 4.0)));
    }
}
