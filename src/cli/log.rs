//! Where the log goes and how much of it.

use std::io::IsTerminal as _;
use std::str::FromStr as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Context, Exit, Failure};

/// Names of the environment variable that sets the filter; the first that is set counts.
const VARIABLES: [&str; 2] = ["FRONTDESK_LOG", "OPENCLAW_LOG"];

/// Writes the log to standard error. A bare level such as `debug` is about this program and not about its
/// libraries; `target=level,…` says exactly what is wanted.
pub(super) fn start(context: &Context) -> Result<(), Failure> {
    let found = VARIABLES.iter().find_map(|name| Some((name, context.environment.get(*name)?)));
    let filter = match found {
        None => own(LevelFilter::INFO),
        Some((name, text)) => parse(text).ok_or_else(|| {
            Exit::Usage.say(format!(
                "{name}={text:?} is no log filter; write a level (error, warn, info, debug, trace) or target=level"
            ))
        })?,
    };
    // Under systemd the journal has the time of every line already.
    let is_journal = context.environment.contains_key("JOURNAL_STREAM") && !std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started =
        if is_journal { registry.with(layer.without_time()).try_init() } else { registry.with(layer).try_init() };
    started.map_err(|error| Exit::Internal.because(error))
}

fn own(level: LevelFilter) -> Targets {
    Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("frontdesk", level)
}

fn parse(text: &str) -> Option<Targets> {
    match LevelFilter::from_str(text.trim()) {
        Ok(level) => Some(own(level)),
        Err(_) => Targets::from_str(text).ok().filter(|_| text.contains('=')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, target: &str, expected: bool) {
        let filter = parse(text).unwrap();
        assert_eq!(filter.would_enable(target, &tracing::Level::DEBUG), expected, "{text} for {target}");
    }

    #[test]
    fn a_bare_level_is_about_this_program() {
        check("debug", "frontdesk::gateway", true);
        check("debug", "hyper", false);
        check("info", "frontdesk", false);
        check("hyper=debug", "hyper", true);
        check("off", "frontdesk", false);
    }

    #[test]
    fn nonsense_is_no_filter() {
        assert!(parse("loud").is_none());
    }
}
