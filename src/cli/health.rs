//! `health`: is the system as it should be? Exit 0 when it is, 75 when it is not.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::output::{self, line};
use super::{Context, Exit, Failure, client};
use crate::health::{self, Channels, Check, Remembered};

/// Where the appliance has its partitions.
const BOOT: &str = "/boot";
const DATA: &str = "/var";
/// Longest answer of the gateway.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// What is well must stay so for as long: a program may end a moment after it began.
const STAYS: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Look again for so long while something is wrong; a slow board gets up to eight times as long
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Note how the channels are
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
    /// See that the channels that worked when FILE was noted work now; without the file nothing is compared
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// What one look found.
struct Look {
    checks: Vec<Check>,
    channels: Channels,
    uptime_ms: u64,
}

impl Look {
    fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

pub(super) fn run(context: &Context, wanted: &Health) -> Result<(), Failure> {
    let before = match &wanted.compare {
        Some(path) => Remembered::read(path)
            .map_err(|error| Exit::TryAgain.say(format!("cannot read {}: {error}", path.display())))?,
        None => None,
    };
    let look = match wanted.wait {
        None => look(context, before.as_ref(), true)?,
        Some(seconds) => {
            let longest = Duration::from_secs(seconds).saturating_mul(health::slowness());
            wait(context, before.as_ref(), longest)?
        }
    };
    if let Some(path) = &wanted.remember {
        let noted = Remembered { channels: look.channels.clone() }.write(path);
        noted.map_err(|error| Exit::TryAgain.say(format!("cannot write {}: {error}", path.display())))?;
    }
    said(context, &look)
}

/// Looks until all is well and stays so, or the time is over.
fn wait(context: &Context, before: Option<&Remembered>, longest: Duration) -> Result<Look, Failure> {
    let began = Instant::now();
    let runtime = client::runtime()?;
    let pause = |time: Duration| runtime.block_on(async move { tokio::time::sleep(time).await });
    let mut message = None;
    loop {
        // One message is enough, and costs the disk something.
        let mut look = look(context, before, message.is_none())?;
        match look.checks.iter().find(|check| check.id == "message" && check.ok) {
            Some(check) => message = Some(check.clone()),
            None => look.checks.extend(message.clone()),
        }
        if look.is_good() {
            pause(STAYS);
            let again = self::look(context, before, false)?;
            if again.is_good() && again.uptime_ms > look.uptime_ms {
                return Ok(look);
            }
            // Another process, or not well any more: from the beginning.
            message = None;
            look.checks.push(Check::bad("stays", "it was well for a moment only"));
        }
        if began.elapsed() >= longest {
            return Ok(look);
        }
        pause(PAUSE);
    }
}

fn look(context: &Context, before: Option<&Remembered>, with_message: bool) -> Result<Look, Failure> {
    let body = json!({ "message": with_message });
    let asked = client::ask_with_within(context, TIMEOUT, Method::POST, "/api/v1/health", &body);
    let (mut look, answered) = match asked.and_then(client::Answer::success) {
        Ok(found) => (read(&found), true),
        // Not there, not yet, or not well: that is what is looked for.
        Err(failure) => {
            let checks = vec![Check::bad("gateway", format!("{:#}", failure.error))];
            (Look { checks, channels: Channels::new(), uptime_ms: 0 }, false)
        }
    };
    if let Some(before) = before.filter(|_| answered) {
        let compared = before.compare(&look.channels);
        look.checks.push(compared);
    }
    if context.environment.get("FRONTDESK_APPLIANCE").is_some_and(|name| !name.is_empty()) {
        look.checks.extend(health::appliance(BOOT.as_ref(), DATA.as_ref()));
    }
    Ok(look)
}

fn read(found: &Value) -> Look {
    let list = |name: &str| found.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is = |value: &Value, name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
    let check = |value: &Value| Check { id: text(value, "id"), ok: is(value, "ok"), what: text(value, "what") };
    let mut checks: Vec<Check> = list("checks").iter().map(check).collect();
    if checks.is_empty() {
        checks.push(Check::bad("gateway", "the gateway answered something else"));
    }
    let channels = list("channels").iter().map(|value| (text(value, "id"), is(value, "works"))).collect();
    Look { checks, channels, uptime_ms: found.get("uptime_ms").and_then(Value::as_u64).unwrap_or(0) }
}

fn said(context: &Context, look: &Look) -> Result<(), Failure> {
    let healthy = look.is_good();
    let found = json!({ "healthy": healthy, "checks": look.checks, "channels": look.channels });
    if !context.json {
        for check in &look.checks {
            line(&format!("{}: {}", if check.ok { "ok" } else { "WRONG" }, output::printable(&check.what)));
        }
    }
    if healthy {
        match context.json {
            true => output::json(&found),
            false => line("healthy"),
        }
        return Ok(());
    }
    let n_wrong = look.checks.iter().filter(|check| !check.ok).count();
    let sentence = format!("not healthy: {n_wrong} of {} checks failed", look.checks.len());
    Err(Failure { json: Some(found), ..Exit::TryAgain.say(sentence) })
}
