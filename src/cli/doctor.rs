//! `doctor`: exit 0 when nothing is wrong or there are only hints, 78 when the configuration cannot be used,
//! 75 for anything else.

use http::Method;
use serde_json::Value;

use super::output::{self, field, line};
use super::{Context, Exit, Failure, client, keys};
use crate::admin::findings_json;
use crate::clock::{Clock as _, SystemClock};
use crate::doctor::{self, CONFIG};

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let found = match client::try_ask(context, Method::GET, "/api/v1/doctor")? {
        Some(answer) => answer.success()?,
        None => {
            let found =
                doctor::examine(&context.home, &context.variables(), None, &keys::sources(context), SystemClock.now());
            findings_json(&found, false)
        }
    };
    let findings = found.get("findings").and_then(Value::as_array).cloned().unwrap_or_default();
    let is = |name: &str, value: &str| findings.iter().any(|finding| field(finding, name) == value);
    let is_wrong = is("severity", "error") || is("severity", "warning");
    let exit = if is("id", CONFIG) { Exit::Config } else { Exit::TryAgain };
    if !context.json {
        for finding in &findings {
            line(&format!("{}: {} [{}]", field(finding, "severity"), field(finding, "what"), field(finding, "id")));
            line(&format!("    fix: {}", field(finding, "fix")));
        }
    }
    match (is_wrong, context.json) {
        (true, _) => Err(Failure {
            json: Some(found),
            ..exit.say("something is wrong; the fixes are printed above, worst first")
        }),
        (false, true) => {
            output::json(&found);
            Ok(())
        }
        (false, false) => {
            line("nothing is wrong");
            Ok(())
        }
    }
}
