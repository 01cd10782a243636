//! Figures in a form for people; pure.

use std::time::Duration;

/// `12,345`
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 lead`, `2 leads`
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `312 kB`, in thousands.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// `3.2 s`; below a tenth of a second in milliseconds.
pub fn seconds(seconds: f64) -> String {
    if seconds > 0.0 && seconds < 0.095 {
        format!("{:.0} ms", (seconds * 1e3).max(1.0))
    } else {
        format!("{seconds:.1} s")
    }
}

pub fn duration(duration: Duration) -> String {
    seconds(duration.as_secs_f64())
}

/// `number` in `duration`, as a rate per second.
pub fn rate(number: u64, duration: Duration) -> String {
    count((number as f64 / duration.as_secs_f64().max(0.001)).round() as u64)
}

/// A curve in one line of text, scaled to the largest value.
pub fn curve(values: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = values.iter().copied().max().unwrap_or(0).max(1);
    // Below 8 for every value up to `top`, which is not 0.
    let height = |value: &u64| HEIGHTS[(*value as u128 * 7).div_ceil(top as u128) as usize];
    values.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_read_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|n| counted(n, "lead")), ["1 lead", "2 leads"]);
        assert_eq!([12, 312_400, 2_450_000].map(bytes), ["12 B", "312 kB", "2.5 MB"]);
        assert_eq!([0.0, 0.0004, 0.09, 0.1, 3.24].map(seconds), ["0.0 s", "1 ms", "90 ms", "0.1 s", "3.2 s"]);
        assert_eq!(rate(100, Duration::from_millis(500)), "200");
    }

    #[test]
    fn a_curve_reaches_the_top_at_its_maximum_and_the_bottom_at_zero_only() {
        assert_eq!(curve(&[0, 1, 50, 100, 0]), "▁▂▅█▁");
        assert_eq!(curve(&[0, 0]), "▁▁");
        assert_eq!(curve(&[u64::MAX]), "█");
    }
}
