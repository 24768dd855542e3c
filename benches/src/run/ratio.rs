//! How much more one is than another, and how sure that is: Welch's t-test on logarithms.
//!
//! Knows nothing of reports.

/// The 97.5th percentile of Student's t for 1 to 10 degrees of freedom; beyond that, the last.
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// How much more one is than another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The geometric mean of one by that of the other.
    pub mean: f64,
    /// How sure that is.
    pub range: Range,
}

/// Where a ratio lies in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Between these.
    Of(f64, f64),
    /// Not known: one of both has one run only.
    OneRun,
    /// Not known: the runs of each are alike to the last digit, as those of a coarse clock.
    AllAlike,
}

impl Ratio {
    /// Compares values of runs, if all of them are above 0.
    pub fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        let (one, other) = (Logs::of(a)?, Logs::of(b)?);
        let difference = other.mean - one.mean;
        let range = if a.len() < 2 || b.len() < 2 {
            Range::OneRun
        } else if is_alike(a) && is_alike(b) {
            Range::AllAlike
        } else {
            let (va, vb) = (one.variance / one.count, other.variance / other.count);
            // Welch and Satterthwaite's degrees of freedom.
            let sum = va + vb;
            let freedom = sum * sum / (va * va / (one.count - 1.0) + vb * vb / (other.count - 1.0));
            let nth = (freedom.floor() as usize).clamp(1, STUDENT.len());
            let half = STUDENT[nth - 1] * sum.sqrt();
            Range::Of((difference - half).exp(), (difference + half).exp())
        };
        Some(Self { mean: difference.exp(), range })
    }

    /// Tells whether it is sure that there is more, or less.
    pub fn differs(&self) -> bool {
        matches!(self.range, Range::Of(low, high) if low > 1.0 || high < 1.0)
    }
}

/// Tells whether all values are the same. Asked of the values: their logarithms are rounded, so that
/// those of equal ones have a variance.
fn is_alike(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// The logarithms of some values.
struct Logs {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Logs {
    fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| *value <= 0.0) {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|value| value.ln()).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value.ln() - mean).powi(2)).sum();
        Some(Self { count, mean, variance: squares / (count - 1.0).max(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_much_differs_and_noise_does_not() {
        let twice = Ratio::of(&[10.0, 11.0, 9.0], &[20.0, 22.0, 18.0]).unwrap();
        assert!((1.99..2.01).contains(&twice.mean) && twice.differs(), "{twice:?}");
        let noise = Ratio::of(&[10.0, 14.0, 8.0], &[11.0, 9.0, 13.0]).unwrap();
        assert!(!noise.differs(), "{noise:?}");
        let Range::Of(low, high) = noise.range else { panic!("{noise:?}") };
        assert!(low < noise.mean && noise.mean < high);
    }

    #[test]
    fn one_run_says_nothing_about_others() {
        let one = Ratio::of(&[10.0], &[30.0, 30.0]).unwrap();
        assert!((2.99..3.01).contains(&one.mean) && one.range == Range::OneRun && !one.differs());
        assert_eq!(Ratio::of(&[0.0], &[1.0]), None);
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }

    /// Of these the mean of three equal logarithms is not that logarithm: they seem to vary.
    #[test]
    fn runs_that_are_all_alike_do_not_show_how_far_they_vary() {
        let rounded: Vec<f64> = (1..200)
            .map(|tenths| f64::from(tenths) / 10.0)
            .filter(|value| Logs::of(&[*value; 3]).unwrap().variance > 0.0)
            .collect();
        assert!(!rounded.is_empty());
        for value in rounded.into_iter().chain([10.0]) {
            let alike = Ratio::of(&[value; 3], &[value + 0.1; 3]).unwrap();
            assert!(alike.range == Range::AllAlike && !alike.differs(), "{value}: {alike:?}");
        }
        // Of one of them it shows.
        let range = Ratio::of(&[10.0, 10.0], &[20.0, 20.1]).unwrap().range;
        assert!(matches!(range, Range::Of(..)), "{range:?}");
    }

    /// Worked out by hand: logs 0, 1, 2 against 1, 2, 3 differ by 1, each with variance 1; Welch
    /// has 4 degrees of freedom, so half of the range is 2.776 times the root of 2/3.
    #[test]
    fn the_range_is_that_of_welch_s_test() {
        let e = |powers: [f64; 3]| powers.map(f64::exp);
        let ratio = Ratio::of(&e([0.0, 1.0, 2.0]), &e([1.0, 2.0, 3.0])).unwrap();
        let half = 2.776 * (2.0f64 / 3.0).sqrt();
        let Range::Of(low, high) = ratio.range else { panic!("{ratio:?}") };
        assert!((low.ln() - (1.0 - half)).abs() < 1e-9 && (high.ln() - (1.0 + half)).abs() < 1e-9);
    }
}
