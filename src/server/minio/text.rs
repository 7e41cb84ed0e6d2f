//! Prometheus's text format, version 0.0.4 ("Exposition formats", Prometheus documentation).
//!
//! Written here because the libraries for it either add `_total` to every counter's name, which MinIO's names do not all have, or keep
//! registries of live objects, where most of our numbers are only found when they are asked for.

use std::fmt::{Display, Write as _};

/// What media type it is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics. What a page has samples of, it has one `# TYPE` of.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    /// Label and value that every sample has.
    server: String,
}

/// A number that may go down, or not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// A metric of which samples are being written.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Page {
    pub(super) fn new(server: &str) -> Self {
        Self { text: String::with_capacity(16 << 10), server: escaped(server) }
    }

    /// Begins a metric. `help` is one line.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: self, name }
    }

    /// A metric with one sample.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// A metric with one sample that only grows.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let (text, server) = (&mut self.page.text, &self.page.server);
        let _ = write!(text, "{}{{", self.name);
        for (label, value) in labels {
            let _ = write!(text, "{label}=\"{}\",", escaped(value));
        }
        let _ = writeln!(text, "server=\"{server}\"}} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::new("127.0.0.1:9000");
        page.gauge("up", "Whether it is.", 1);
        let mut family = page.family("bytes_total", Kind::Counter, "Bytes.");
        family.sample(&[("drive", "a\"b\\c\nd")], 0.5);
        family.sample(&[("drive", "e"), ("x", "y")], u64::MAX);
        let expected = "# HELP up Whether it is.\n# TYPE up gauge\nup{server=\"127.0.0.1:9000\"} 1\n\
            # HELP bytes_total Bytes.\n# TYPE bytes_total counter\n\
            bytes_total{drive=\"a\\\"b\\\\c\\nd\",server=\"127.0.0.1:9000\"} 0.5\n\
            bytes_total{drive=\"e\",x=\"y\",server=\"127.0.0.1:9000\"} 18446744073709551615\n";
        assert_eq!(page.finish(), expected);
    }
}
