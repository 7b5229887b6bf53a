//! The text of `/metrics`, as Prometheus reads it. Labels come from fixed lists, so a page has a bounded
//! number of lines.

use std::fmt::Write;

use super::histogram::Histogram;

/// See the module.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// Of something that is now so.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    /// Of something that only grows.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "counter", help);
        self.sample(name, "", value);
    }

    /// The same, of each of several.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.several(name, "gauge", help, label, values);
    }

    /// The same, of each of several.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.several(name, "counter", help, label, values);
    }

    /// How long something took.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (end, count) in histogram.cumulative() {
            self.sample(&bucket, &format!("{{le=\"{end}\"}}"), count as f64);
        }
        let count = histogram.count() as f64;
        self.sample(&bucket, "{le=\"+Inf\"}", count);
        self.sample(&format!("{name}_sum"), "", histogram.sum_s());
        self.sample(&format!("{name}_count"), "", count);
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.0
    }

    fn several<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.family(name, kind, help);
        for (of, value) in values {
            self.sample(name, &format!("{{{label}=\"{of}\"}}"), value);
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
