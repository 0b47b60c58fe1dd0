//! Three tests without assumptions about distributions: does a series rise (Mann-Kendall), how fast (Theil-Sen), and did
//! it take more steps up than down (sign test).

/// What Mann-Kendall says of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kendall {
    /// How many pairs rise less how many fall.
    pub(super) s: i64,
    /// Standard deviation of that in a series without a trend, ties counted.
    pub(super) sd: f64,
    /// How likely so much of a rise is in such a series.
    pub(super) p: f64,
}

/// Mann-Kendall's test for a rise, one-sided, with the variance for ties and the correction for continuity (Kendall,
/// Rank Correlation Methods, chapter 4).
pub(super) fn mann_kendall(values: &[f64]) -> Kendall {
    let mut s = 0;
    for (at, value) in values.iter().enumerate() {
        for later in &values[at + 1..] {
            s += i64::from(later > value) - i64::from(later < value);
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|one, other| one == other).map(|tied| spread(tied.len())).sum();
    let sd = ((spread(values.len()) - ties) / 18.0).max(0.0).sqrt();
    let p = match s {
        ..=0 => 1.0,
        _ if sd == 0.0 => 1.0,
        _ => upper_tail((s - 1) as f64 / sd),
    };
    Kendall { s, sd, p }
}

/// 18 times the variance of S for so many values in any order.
fn spread(count: usize) -> f64 {
    let n = count as f64;
    n * (n - 1.0) * (2.0 * n + 5.0)
}

/// How likely a standard normal value is to be above `z`, which is not negative.
fn upper_tail(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z < 3.0 {
        // The series of Marsaglia: z + z^3/3 + z^5/(3·5) + …
        let (mut sum, mut term, mut odd) = (z, z, 1.0);
        while term > 1e-16 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return (0.5 - density * sum).max(0.0);
    }
    // The continued fraction of Laplace, from its end.
    let rest = (1..=40).rev().fold(z, |rest, step| z + f64::from(step) / rest);
    density / rest
}

/// A slope, and between which two it probably is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Least, per hour.
    pub least: f64,
    /// The median, per hour.
    pub likely: f64,
    /// Most, per hour.
    pub most: f64,
}

/// The median slope between any two of the points (hours, value), and Sen's interval for it at 90 %, which
/// Mann-Kendall's deviation gives (Hollander and Wolfe, Nonparametric Statistical Methods, 9.3).
pub(super) fn theil_sen(points: &[(f64, f64)], kendall: &Kendall) -> Rate {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (at, (hour, value)) in points.iter().enumerate() {
        let of = |(later, other): &(f64, f64)| (other - value) / (later - hour);
        slopes.extend(points[at + 1..].iter().map(of).filter(|slope| slope.is_finite()));
    }
    if slopes.is_empty() {
        return Rate::default();
    }
    slopes.sort_by(f64::total_cmp);
    let aside = (1.645 * kendall.sd / 2.0) as usize;
    let middle = slopes.len() / 2;
    let likely = match slopes.len() % 2 {
        0 => f64::midpoint(slopes[middle - 1], slopes[middle]),
        _ => slopes[middle],
    };
    Rate {
        least: slopes[middle.saturating_sub(aside)],
        likely,
        most: slopes[(middle + aside).min(slopes.len() - 1)],
    }
}

/// More steps than these are counted by the normal distribution.
const EXACT_STEPS_MAX: u32 = 500;

/// How likely at least so many steps up are among so many steps, were up and down equally likely.
pub(super) fn sign_test(up: u32, down: u32) -> f64 {
    let steps = up.saturating_add(down);
    if steps > EXACT_STEPS_MAX {
        let half = f64::midpoint(up.into(), down.into());
        let above = f64::from(up) - half - 0.5;
        return if above <= 0.0 { 1.0 } else { upper_tail(above / (half / 2.0).sqrt()) };
    }
    let mut ways = 1.0;
    let mut sum = 0.0;
    for at in 0..=steps {
        if at >= up {
            sum += ways;
        }
        ways = ways * f64::from(steps - at) / f64::from(at + 1);
    }
    sum / 2.0_f64.powi(i32::try_from(steps).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() <= other.abs() * 1e-3
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.158_655),
            (1.96, 0.024_998),
            (2.999, 0.001_354),
            (3.0, 0.001_35),
            (5.0, 2.8665e-7),
        ] {
            assert!(near(upper_tail(z), p), "{z}: {}", upper_tail(z));
        }
    }

    #[test]
    fn kendall_counts_pairs_and_ties() {
        let rising = mann_kendall(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(rising.s, 28);
        assert!(near(rising.sd * rising.sd, 65.333) && near(rising.p, 0.000_418_3), "{rising:?}");
        assert_eq!(mann_kendall(&[8.0, 7.0, 6.0, 5.0]).p, 1.0);
        let equal = mann_kendall(&[3.0; 20]);
        assert_eq!((equal.s, equal.sd, equal.p), (0, 0.0, 1.0));
        // Worked by hand: 3 of 6 pairs rise, 1 falls, one pair of equals: (4·3·13 - 2·1·9) / 18.
        let tied = mann_kendall(&[1.0, 3.0, 2.0, 3.0]);
        assert_eq!(tied.s, 3);
        assert!(near(tied.sd * tied.sd, 138.0 / 18.0));
        assert_eq!(mann_kendall(&[]).p, 1.0);
    }

    #[test]
    fn the_median_slope_does_not_mind_what_stands_out() {
        let mut points: Vec<_> = (0..21).map(|hour| (f64::from(hour), 2.0 * f64::from(hour))).collect();
        points[7].1 = 900.0;
        let values: Vec<_> = points.iter().map(|point| point.1).collect();
        let rate = theil_sen(&points, &mann_kendall(&values));
        assert!(near(rate.likely, 2.0) && rate.least <= 2.0 && rate.most >= 2.0, "{rate:?}");
        assert_eq!(theil_sen(&[], &mann_kendall(&[])), Rate::default());
        assert_eq!(theil_sen(&[(1.0, 1.0)], &mann_kendall(&[1.0])), Rate::default());
    }

    #[test]
    fn steps_are_a_coins() {
        assert_eq!(sign_test(0, 0), 1.0);
        assert!(near(sign_test(7, 0), 1.0 / 128.0));
        assert!(near(sign_test(3, 1), 5.0 / 16.0));
        assert!(near(sign_test(24, 23), 0.5));
        let (exact, normal) = (sign_test(270, 230), sign_test(271, 230));
        assert!((exact / normal - 1.0).abs() < 0.15, "{exact} {normal}");
        assert_eq!(sign_test(u32::MAX, u32::MAX), 1.0);
        assert!(sign_test(u32::MAX, 0) < 1e-9);
    }
}
