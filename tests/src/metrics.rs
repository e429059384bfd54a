//! The Prometheus text format, as far as a test reads it.

use std::collections::BTreeMap;

/// One scrape: each series (`name{labels}`, as written) with its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    pub text: String,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self { text: text.to_owned(), series: series.collect() }
    }

    /// Names of all series.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The sum over a metric's series that carry all these labels (`target="a"`).
    /// A metric without any such series is an error of the test or of the hub: it must exist at 0.
    #[track_caller]
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let values = self.series.iter().filter(|(series, _)| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            name == metric && labels.iter().all(|label| rest.contains(label))
        });
        let values: Vec<f64> = values.map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "no series of `{metric}` with {labels:?} is exported");
        values.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_over_one_metric_and_its_labels() {
        let text = "# HELP a b\na{s=\"x\",q=\"0\"} 1\na{s=\"x\",q=\"1\"} 2\na{s=\"y\"} 4\nab 8\n";
        let scrape = Scrape::parse(text);
        assert_eq!(scrape.sum("a", &[]), 7.0);
        assert_eq!(scrape.sum("a", &["s=\"x\""]), 3.0);
        assert_eq!(scrape.series().count(), 4);
    }
}
