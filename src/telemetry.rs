//! Logs, to standard error: text for people, JSON for machines.

use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Text on a terminal, JSON elsewhere.
    pub fn suited() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is no log format; there are text and json")),
        }
    }
}

/// Logs that may not be turned on: `s3s` writes signatures, keys and whole documents into its own.
const NEVER: [&str; 1] = ["s3s=off"];

/// The filter for `directives` (as in `RUST_LOG`; default `info`), without what may never be logged.
///
/// # Errors
/// The directives cannot be read.
pub fn filter(directives: Option<&str>) -> Result<EnvFilter, ParseError> {
    let mut filter = EnvFilter::try_new(unguarded(directives.unwrap_or("info")))?;
    for directive in NEVER {
        filter = filter.add_directive(directive.parse()?);
    }
    Ok(filter)
}

/// The directives without those about `s3s`, which would be more particular than the one that silences it.
fn unguarded(directives: &str) -> String {
    let about_s3s = |directive: &&str| directive.trim().starts_with("s3s");
    directives.split(',').filter(|directive| !about_s3s(directive)).collect::<Vec<_>>().join(",")
}

/// Starts logging for the whole process.
///
/// # Errors
/// The directives cannot be read, or logging has been started before.
pub fn start(format: LogFormat, directives: Option<&str>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(directives)?).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn s3s_stays_silent_whatever_is_asked_for() {
        for directives in [None, Some("trace"), Some("s3s=trace"), Some("info, s3s::ops=debug,hyper=warn"), Some("")] {
            let filter = filter(directives).unwrap().to_string();
            assert!(filter.contains("s3s=off"), "{filter}");
            assert!(!filter.contains("s3s::") && !filter.contains("s3s=t"), "{filter}");
        }
        assert!(filter(Some("no=such=thing")).is_err());
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
