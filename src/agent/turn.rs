//! One turn: a prompt goes to the provider, an answer comes back or a decision what to do instead.

use std::time::Duration;

use super::config::Agent;
use crate::provider::retry::{self, Policy};
use crate::provider::{Content, ErrorKind, Request, StopReason};

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

/// Asks the agent's provider. Returns the words to send.
///
/// # Errors
/// [`Failure`] says what the caller should do; nothing was sent or kept.
pub async fn run(
    agent: &Agent,
    request: &Request,
    policy: &Policy,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<String, Failure> {
    let completion = retry::complete(agent.provider.as_ref(), request, policy, on_progress).await;
    let completion = completion.map_err(|error| match error.kind {
        ErrorKind::Transient { after } => Failure::Later { after, reason: error.message },
        // The operator may mend it while the message waits.
        ErrorKind::Misconfigured => Failure::Later { after: None, reason: error.message },
        ErrorKind::Permanent => Failure::Park { reason: error.message },
        ErrorKind::TooLong => Failure::TooLong { reason: error.message },
    })?;
    let words: Vec<&str> = completion.content.iter().filter_map(words).collect();
    let text = words.concat().trim().to_owned();
    if text.is_empty() {
        let reason = match completion.stop {
            StopReason::ToolUse => "the model asked for a tool and none was offered",
            StopReason::Refusal => "the model or its filter declined to answer",
            StopReason::EndTurn | StopReason::MaxTokens => "the model said nothing",
        };
        return Err(Failure::Park { reason: reason.to_owned() });
    }
    Ok(text)
}

fn words(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::ToolUse { .. } | Content::ToolResult { .. } => None,
    }
}
