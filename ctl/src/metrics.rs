//! Metrics as text, in the Prometheus exposition format 0.0.4 (prometheus.io,
//! "Exposition formats"): what `GET /v1/metrics` of the admin socket answers.
//!
//! ```text
//! # HELP forebay_requests_total Requests answered.
//! # TYPE forebay_requests_total counter
//! forebay_requests_total{core="0",status="200"} 17
//! ```
//!
//! The runtime collects numbers per core without locks; this file only writes
//! them down, on the admin thread. All samples of a family come together, as the
//! format demands.

use std::fmt::Write as _;

/// The media type of [`Metrics::finish`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels of one sample: name and value. Values may hold any text.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// One histogram's numbers.
#[derive(Clone, Debug, Default)]
pub struct Histogram<'a> {
    /// Upper bounds, ascending, and how many observations are at or below each:
    /// cumulative. `+Inf` is added from `count`.
    pub buckets: &'a [(f64, u64)],
    /// Sum of all observations, in the family's unit.
    pub sum: f64,
    /// Number of all observations; at least the last bucket's.
    pub count: u64,
}

/// Writes families one after the other.
#[derive(Debug, Default)]
pub struct Metrics {
    text: String,
}

/// One family; its samples are added to it.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Metrics {
    /// A counter: only rises. The name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name}: counters end in _total");
        self.family(name, help, "counter")
    }

    /// A gauge: goes up and down. The name ends in its unit.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// A histogram. The name ends in its unit, `_seconds` or `_bytes`.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "histogram")
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        debug_assert!(is_name(name), "{name} is no metric name");
        debug_assert!(!self.text.contains(&format!("# TYPE {name} ")), "{name} comes twice");
        // HELP escapes backslash and newline, but not quotes.
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.text, name }
    }

    /// The whole text. Ends in a newline, as the format demands.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// A whole number.
    pub fn count(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        self.sample("", labels, None, &value.to_string())
    }

    /// A number.
    pub fn value(&mut self, labels: Labels<'_>, value: f64) -> &mut Self {
        self.sample("", labels, None, &number(value))
    }

    /// A histogram's buckets, sum and count.
    pub fn observe(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) -> &mut Self {
        debug_assert!(histogram.buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{}", self.name);
        for &(bound, count) in histogram.buckets {
            self.sample("_bucket", labels, Some(&number(bound)), &count.to_string());
        }
        self.sample("_bucket", labels, Some("+Inf"), &histogram.count.to_string());
        self.sample("_sum", labels, None, &number(histogram.sum));
        self.sample("_count", labels, None, &histogram.count.to_string())
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: &str) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let mut mark = '{';
        for (name, label) in labels.iter().copied().chain(le.map(|bound| ("le", bound))) {
            debug_assert!(is_name(name) && !name.contains(':'), "{name} is no label name");
            let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{mark}{name}=\"{label}\"");
            mark = ',';
        }
        let close = if mark == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{close} {value}");
        self
    }
}

/// As Go's strconv parses it: `NaN`, `+Inf`, `-Inf`, or digits.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b':';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_format() {
        let mut metrics = Metrics::default();
        metrics
            .counter("forebay_requests_total", "Requests answered.")
            .count(&[("core", "0"), ("status", "200")], 17)
            .count(&[("core", "1"), ("status", "200")], u64::MAX);
        metrics
            .gauge("forebay_tasks", "Tasks \\ alive\nnow.")
            .value(&[], 1.5)
            .value(&[("x", "a\"b\\c\nd")], f64::NAN);
        metrics
            .histogram("forebay_request_seconds", "Time.")
            .observe(&[("core", "0")], &Histogram { buckets: &[(0.001, 3), (0.1, 4)], sum: 0.5, count: 5 });
        assert_eq!(
            metrics.finish(),
            r#"# HELP forebay_requests_total Requests answered.
# TYPE forebay_requests_total counter
forebay_requests_total{core="0",status="200"} 17
forebay_requests_total{core="1",status="200"} 18446744073709551615
# HELP forebay_tasks Tasks \\ alive\nnow.
# TYPE forebay_tasks gauge
forebay_tasks 1.5
forebay_tasks{x="a\"b\\c\nd"} NaN
# HELP forebay_request_seconds Time.
# TYPE forebay_request_seconds histogram
forebay_request_seconds_bucket{core="0",le="0.001"} 3
forebay_request_seconds_bucket{core="0",le="0.1"} 4
forebay_request_seconds_bucket{core="0",le="+Inf"} 5
forebay_request_seconds_sum{core="0"} 0.5
forebay_request_seconds_count{core="0"} 5
"#
        );
    }

    #[test]
    fn numbers() {
        for (value, text) in
            [(0.0, "0"), (-1.25, "-1.25"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    #[should_panic(expected = "comes twice")]
    fn a_family_comes_once() {
        let mut metrics = Metrics::default();
        metrics.gauge("a", "x");
        metrics.gauge("a", "x");
    }
}
