//! Where the log goes and how much of it.
//!
//! Its last lines stay in memory (see [`crate::log`]). Besides, each goes to the journal of systemd with its fields, when the
//! standard error of this process is the journal, and to standard error otherwise.

use std::io::Write as _;
use std::str::FromStr as _;

use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Context, Exit, Failure};
use crate::log::{Keep, Line, Masked};

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
    let registry = tracing_subscriber::registry().with(filter);
    let journal = if connected_to_journal() { JournalLog::new().ok() } else { None };
    let started = match journal {
        Some(journal) => {
            let journal = journal.with_syslog_identifier("frontdesk".to_owned());
            registry.with(Keep::and(move |line| tell(&journal, line))).try_init()
        }
        None => {
            let shown = tracing_subscriber::fmt::layer().with_writer(|| Masked(std::io::stderr())).with_ansi(false);
            registry.with(Keep::alone()).with(shown).try_init()
        }
    };
    started.map_err(|error| Exit::Internal.because(error))
}

/// Hands a line to the journal. Its logger is one for the facade `log`, so the line becomes a record of that. The journal has
/// the time of it.
fn tell(journal: &JournalLog, line: &Line) {
    let level = match line.level {
        tracing::Level::ERROR => ::log::Level::Error,
        tracing::Level::WARN => ::log::Level::Warn,
        tracing::Level::INFO => ::log::Level::Info,
        tracing::Level::DEBUG => ::log::Level::Debug,
        tracing::Level::TRACE => ::log::Level::Trace,
    };
    let fields: Vec<(&str, &str)> = line.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let args = format_args!("{}", line.message);
    // A record lives no longer than its text.
    let sent = journal.journal_send(
        &::log::Record::builder().level(level).target(&line.target).key_values(&fields).args(args).build(),
    );
    if sent.is_err() {
        // The journal is being started anew, or its queue is full. Standard error leads to it as well, later.
        drop(writeln!(std::io::stderr(), "{line}"));
    }
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
