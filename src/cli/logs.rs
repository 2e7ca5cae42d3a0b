//! `logs`.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::client::End;
use super::output::{self, field, line};
use super::{Context, Exit, Failure, client};

/// Show the last lines of the running gateway's log
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// This bad or worse
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Only lines with all of these words, in upper or lower case
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// The newest, so many at most
    #[arg(long, value_name = "N", default_value_t = 200)]
    lines: usize,
    /// Go on with those that come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

pub(super) fn run(context: &Context, command: &Logs) -> Result<(), Failure> {
    let level = command.level.map(|level| match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    });
    let (words, n_lines) = (command.words.join(" "), command.lines.to_string());
    let query = client::query(&[
        ("level", level),
        ("words", Some(&*words).filter(|words| !words.is_empty())),
        ("lines", Some(&n_lines)),
        ("follow", command.follow.then_some("true")),
    ]);
    let mut rest = Vec::new();
    let end = client::stream(context, &format!("/api/v1/logs{query}"), |piece| {
        rest.extend_from_slice(piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let text: Vec<u8> = rest.drain(..=end).collect();
            if let Ok(shown) = serde_json::from_slice::<Value>(&text) {
                print(context, &shown);
            }
        }
        Ok(output::is_heard())
    })?;
    if command.follow && end == End::Whole {
        return Err(Exit::TryAgain.say("the gateway stopped"));
    }
    Ok(())
}

fn print(context: &Context, shown: &Value) {
    if context.json {
        output::json_line(shown);
        return;
    }
    let fields = shown.get("fields").and_then(Value::as_object);
    let fields = fields.into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let fields: String = fields.map(|(name, value)| format!(" {name}={}", output::printable(value))).collect();
    let [at, level, target, message] = ["at", "level", "target", "message"].map(|name| field(shown, name));
    line(&format!("{at} {level:>5} {target}: {message}{fields}"));
}
