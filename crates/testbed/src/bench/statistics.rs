//! Many measurements of one thing, summed up.

use serde::Serialize;

/// Where a list of measurements lies. Medians and percentiles, because the disturbances of a busy machine are few and large.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// A tenth of the values are below.
    pub p10: f64,
    /// A tenth of the values are above.
    pub p90: f64,
    /// The largest value.
    pub largest: f64,
    /// How many values there were.
    pub count: usize,
}

impl Spread {
    /// The spread of some values; `None` where there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let largest = *values.last()?;
        // The nearest rank: always a value that was measured.
        let at = |percent: usize| values[(values.len() - 1) * percent / 100];
        Some(Self { median: at(50), p10: at(10), p90: at(90), largest, count: values.len() })
    }

    /// The spread of the ratios of two lists of measurements taken in turns: a round in which the machine was slow slows both.
    #[must_use]
    pub fn of_ratios(values: impl IntoIterator<Item = f64>, peers: impl IntoIterator<Item = f64>) -> Option<Self> {
        Self::of(values.into_iter().zip(peers).filter(|&(_, peer)| peer > 0.0).map(|(value, peer)| value / peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let spread = Spread::of((1..=11).rev().map(f64::from)).unwrap();
        assert_eq!((spread.p10, spread.median, spread.p90, spread.largest, spread.count), (2.0, 6.0, 10.0, 11.0, 11));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_pair_the_rounds() {
        let spread = Spread::of_ratios([2.0, 40.0, 6.0], [1.0, 20.0, 3.0]).unwrap();
        assert_eq!((spread.p10, spread.p90), (2.0, 2.0));
        assert_eq!(Spread::of_ratios([1.0], [0.0]), None);
    }
}
