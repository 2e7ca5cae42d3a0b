//! One turn: a prompt goes to the provider, which may ask for tools; an answer comes back, or a decision what
//! to do instead.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::config::Agent;
use super::context::Context;
use super::tools::{self, Toolset};
use crate::provider::retry::{self, Completion, Policy};
use crate::provider::{Content, Error, ErrorKind, Message, Request, Role, StopReason, ToolChoice};

pub use crate::provider::retry::Progress;

/// What a peer is told, once, when an answer takes longer or cannot be given. True whatever happens next.
pub const NOTICE: &str = "Sorry, I can't answer right now. Your message is saved.";

/// What a peer is told, once, when the model is silent for long.
pub const PATIENCE: &str = "This takes longer than usual. Your message is saved, and the answer will follow.";

/// What a peer is told, once, before the first answer after their last conversation was archived for its age.
pub const NEWS: &str = "It has been a while, so this is a new conversation.";

/// What a peer is told who asked for a new conversation.
pub const BEGUN: &str = "This is a new conversation.";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Try the same turn again, not before this long.
    Later {
        /// What the provider asked for.
        after: Option<Duration>,
        /// For the operator.
        reason: String,
    },
    /// Trying again would end the same way.
    Park {
        /// For the operator.
        reason: String,
    },
    /// The conversation does not fit the model; try with less history.
    TooLong {
        /// For the operator.
        reason: String,
    },
}

/// Rounds of tools in a turn. Then the model must answer.
const MAX_ROUNDS: usize = 8;
/// Calls of tools in a turn.
const MAX_CALLS: usize = 40;
/// What all tools of a turn may say together, in bytes.
const MAX_RESULT_BYTES: usize = 32 * 1024;

/// Said in the peer's place when the model has used tools and then says nothing, or does not come to an end.
const ANSWER_NOW: &str = "[Answer now, in words and without tools.]";

/// Asks the agent's provider, and does in `context` what the model asks for. Returns the words to send: all
/// that the model said, before and after it used tools. `policy` bounds the whole turn.
///
/// # Errors
/// [`Failure`] says what the caller should do; nothing was sent or kept, and `context` is to be dropped.
pub async fn run(
    agent: &Agent,
    mut request: Request,
    context: &mut Context<'_>,
    policy: &Policy,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<String, Failure> {
    request.memory = context.describe(agent.tools.contains(&Toolset::Files));
    request.tools = tools::offered(&agent.tools);
    let deadline = Instant::now() + policy.total;
    let mut work = Work { sets: &agent.tools, context, n_calls: 0, n_bytes: 0 };
    let mut said = String::new();
    for n_round in 0.. {
        if n_round == MAX_ROUNDS {
            demand_answer(&mut request);
        }
        let policy = Policy { total: deadline.saturating_duration_since(Instant::now()), ..policy.clone() };
        let mut show = following(&said, on_progress);
        let completion = retry::complete(agent.provider.as_ref(), &request, &policy, &mut show).await;
        drop(show);
        let Completion { content, stop, .. } = completion.map_err(|error| {
            if !said.is_empty() {
                on_progress(Progress::Reset);
            }
            failure(error)
        })?;
        push_paragraph(&mut said, &words(&content));
        let must_answer =
            request.tool_choice == ToolChoice::None || request.tools.is_empty() || stop == StopReason::Refusal;
        let results = if must_answer { Vec::new() } else { work.results(&content) };
        if !results.is_empty() {
            request.messages.push(Message { role: Role::Assistant, content });
            request.messages.push(Message { role: Role::User, content: results });
        } else if !said.is_empty() {
            return Ok(said);
        } else if n_round > 0 && !must_answer && stop == StopReason::EndTurn {
            demand_answer(&mut request);
        } else {
            return Err(Failure::Park { reason: silence(stop).to_owned() });
        }
    }
    Err(Failure::Park { reason: silence(StopReason::ToolUse).to_owned() })
}

fn failure(error: Error) -> Failure {
    match error.kind {
        ErrorKind::Transient { after } => Failure::Later { after, reason: error.message },
        // The operator may mend it while the message waits.
        ErrorKind::Misconfigured => Failure::Later { after: None, reason: error.message },
        ErrorKind::Permanent => Failure::Park { reason: error.message },
        ErrorKind::TooLong => Failure::TooLong { reason: error.message },
    }
}

fn silence(stop: StopReason) -> &'static str {
    match stop {
        StopReason::ToolUse => "the model asked for a tool where it had to answer",
        StopReason::Refusal => "the model or its filter declined to answer",
        StopReason::EndTurn | StopReason::MaxTokens => "the model said nothing",
    }
}

fn demand_answer(request: &mut Request) {
    request.tool_choice = ToolChoice::None;
    request.messages.push(Message::text(Role::User, ANSWER_NOW));
}

/// Progress of a round, behind what was said in those before it.
fn following<'p>(
    said: &'p str,
    on_progress: &'p mut (dyn FnMut(Progress<'_>) + Send),
) -> impl FnMut(Progress<'_>) + Send + 'p {
    let mut is_first = !said.is_empty();
    move |progress| match progress {
        Progress::Attempted { .. } => on_progress(progress),
        Progress::Text(text) => {
            if std::mem::take(&mut is_first) {
                on_progress(Progress::Text("\n\n"));
            }
            on_progress(Progress::Text(text));
        }
        Progress::Reset => {
            on_progress(Progress::Reset);
            is_first = !said.is_empty();
            if is_first {
                on_progress(Progress::Text(said));
            }
        }
    }
}

fn push_paragraph(said: &mut String, words: &str) {
    let words = words.trim();
    if !said.is_empty() && !words.is_empty() {
        said.push_str("\n\n");
    }
    said.push_str(words);
}

fn words(content: &[Content]) -> String {
    let words = content.iter().filter_map(|content| match content {
        Content::Text(text) => Some(text.as_str()),
        Content::ToolUse { .. } | Content::ToolResult { .. } => None,
    });
    words.collect()
}

/// What tools may still do in this turn.
struct Work<'w, 'c> {
    sets: &'w [Toolset],
    context: &'w mut Context<'c>,
    n_calls: usize,
    n_bytes: usize,
}

impl Work<'_, '_> {
    /// Does everything that was asked for, in its order; one result for each call.
    fn results(&mut self, content: &[Content]) -> Vec<Content> {
        let calls = content.iter().filter_map(|content| match content {
            Content::ToolUse { id, name, input } => Some((id, name, input)),
            Content::Text(_) | Content::ToolResult { .. } => None,
        });
        let result = |(id, name, input): (&String, &String, &Value)| {
            let result = self.result(name, input);
            let is_error = result.is_err();
            Content::ToolResult { id: id.clone(), text: result.unwrap_or_else(|error| error), is_error }
        };
        calls.map(result).collect()
    }

    fn result(&mut self, name: &str, input: &Value) -> Result<String, String> {
        self.n_calls += 1;
        if self.n_calls > MAX_CALLS || self.n_bytes > MAX_RESULT_BYTES {
            return Err("that is too much for one answer: answer with what you have".to_owned());
        }
        let result = tools::call(self.context, self.sets, name, input);
        self.n_bytes += result.as_ref().unwrap_or_else(|error| error).len();
        result
    }
}

#[cfg(test)]
mod tests;
