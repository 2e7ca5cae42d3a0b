//! A whole answer out of as many attempts as are worth making.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Answer, Chunk, Content, Error, ErrorKind, Provider, Request, StopReason, Usage};

/// How long and how often to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Attempts after the first.
    pub n_retries: u32,
    /// Wait before the first of them; it doubles every time.
    pub first_wait: Duration,
    /// Longest wait of our own choice.
    pub longest_wait: Duration,
    /// Longest wait at the provider's request. If it asks for more, its error is final.
    pub patience: Duration,
    /// Longest silence between two chunks, and before the first. Providers watch the wire themselves; this
    /// one ends what keeps the wire busy and says nothing.
    pub idle: Duration,
    /// Longest time for everything, waits included.
    pub total: Duration,
}

impl Default for Policy {
    /// What the vendors' own libraries do: two retries, 0.5 s doubling to 8 s. The long silences are for
    /// small machines, which read a long prompt for minutes before they say the first word.
    fn default() -> Self {
        Self {
            n_retries: 2,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(8),
            patience: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            total: Duration::from_secs(900),
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What the model said and asked for, in its order. Empty only if it declined without a word, or had
    /// nothing to add to what its tools did.
    pub content: Vec<Content>,
    /// Why it stopped.
    pub stop: StopReason,
    /// What it cost, failed attempts included as far as they told.
    pub usage: Usage,
}

/// News of an answer that is still being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'p> {
    /// More words.
    Text(&'p str),
    /// Forget the words so far: the attempt failed.
    Reset,
    /// An attempt is over.
    Attempted {
        /// What it cost, as far as the provider told.
        usage: Usage,
        /// Is there no answer of it?
        failed: bool,
    },
}

/// Asks `provider` until it has answered, its error is final, or `policy` has had enough.
///
/// A stream that ends without [`Chunk::Stop`] and an answer that says nothing are failed attempts; after the
/// results of tools it may say nothing.
/// Dropping the future ends everything, the connection too.
///
/// # Errors
/// That of the last attempt.
pub async fn complete(
    provider: &dyn Provider,
    request: &Request,
    policy: &Policy,
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Completion, Error> {
    let deadline = Instant::now() + policy.total;
    let mut spent = Usage::default();
    let mut wait = policy.first_wait;
    let mut n_retries_left = policy.n_retries;
    loop {
        let mut attempt = Attempt { idle: policy.idle, deadline, content: Vec::new(), usage: Usage::default() };
        let result = attempt.run(provider, request, on_progress).await;
        spent = spent.plus(attempt.usage);
        on_progress(Progress::Attempted { usage: attempt.usage, failed: result.is_err() });
        let error = match result {
            Ok(stop) => return Ok(Completion { content: attempt.content, stop, usage: spent }),
            Err(error) => error,
        };
        if attempt.content.iter().any(|content| matches!(content, Content::Text(_))) {
            on_progress(Progress::Reset);
        }
        let ErrorKind::Transient { after } = error.kind else { return Err(error) };
        let pause = with_jitter(wait).max(after.unwrap_or_default());
        let is_too_long = after.is_some_and(|after| after > policy.patience) || Instant::now() + pause >= deadline;
        if n_retries_left == 0 || is_too_long {
            return Err(error);
        }
        // Names the provider and what it said; neither key nor conversation.
        tracing::info!(error = %error, wait_ms = pause.as_millis(), "the provider failed, trying again");
        tokio::time::sleep(pause).await;
        n_retries_left -= 1;
        wait = (wait * 2).min(policy.longest_wait);
    }
}

/// One attempt and what came of it so far.
struct Attempt {
    idle: Duration,
    deadline: Instant,
    content: Vec<Content>,
    usage: Usage,
}

impl Attempt {
    async fn run(
        &mut self,
        provider: &dyn Provider,
        request: &Request,
        on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<StopReason, Error> {
        let last = request.messages.last().and_then(|message| message.content.last());
        let follows_tools = matches!(last, Some(Content::ToolResult { .. }));
        let mut answer: Answer = self.within(provider.stream(request)).await??;
        loop {
            match self.within(answer.next()).await?.transpose()? {
                Some(Chunk::Text(text)) => {
                    on_progress(Progress::Text(&text));
                    self.push_text(text);
                }
                Some(Chunk::ToolUse { id, name, input }) => self.content.push(Content::ToolUse { id, name, input }),
                Some(Chunk::Usage(usage)) => self.usage = usage,
                Some(Chunk::Stop(stop)) => return self.judge(stop, follows_tools),
                None => return Err(transient("the provider's answer was cut off")),
            }
        }
    }

    /// Waits for `future`, but neither longer than a silence may be nor beyond the end of it all.
    async fn within<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        let idle_end = Instant::now() + self.idle;
        tokio::time::timeout_at(idle_end.min(self.deadline), future).await.map_err(|_elapsed| {
            if idle_end < self.deadline {
                transient("the provider's answer did not go on")
            } else {
                transient("the provider's answer took too long")
            }
        })
    }

    fn push_text(&mut self, text: String) {
        match self.content.last_mut() {
            Some(Content::Text(last)) => last.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.content.push(Content::Text(text)),
        }
    }

    fn judge(&self, stop: StopReason, follows_tools: bool) -> Result<StopReason, Error> {
        let is_something = |content: &Content| !matches!(content, Content::Text(text) if text.trim().is_empty());
        match stop {
            _ if self.content.iter().any(is_something) => Ok(stop),
            StopReason::Refusal => Ok(stop),
            StopReason::EndTurn if follows_tools => Ok(stop),
            // It thought until the limit. So it would the next time.
            StopReason::MaxTokens => Err(Error {
                kind: ErrorKind::Permanent,
                message: "the provider said nothing before it reached the token limit: raise max_tokens".into(),
            }),
            StopReason::EndTurn | StopReason::ToolUse => Err(transient("the provider said nothing")),
        }
    }
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }
}

fn transient(message: &str) -> Error {
    Error { kind: ErrorKind::Transient { after: None }, message: message.into() }
}

/// Up to a quarter less, so that many gateways that failed together do not come back together.
fn with_jitter(wait: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without random numbers the wait is merely not spread.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    wait - wait * u32::from(byte[0]) / 1024
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// What one attempt does.
    #[derive(Debug, Clone)]
    enum Act {
        Refuse(ErrorKind),
        Say(Vec<Result<Chunk, Error>>),
        /// Says this much and then nothing, without end.
        Hang(Vec<Chunk>),
        /// Says a word a minute, for ever.
        Drone,
    }

    #[derive(Debug)]
    struct Scripted(Mutex<VecDeque<Act>>);

    #[async_trait]
    impl Provider for Scripted {
        async fn stream(&self, _request: &Request) -> Result<Answer, Error> {
            use futures_util::stream::{iter, pending, unfold};
            match self.0.lock().unwrap().pop_front().expect("no more attempts than scripted") {
                Act::Refuse(kind) => Err(Error { kind, message: "refused".into() }),
                Act::Say(chunks) => Ok(iter(chunks).boxed()),
                Act::Hang(chunks) => Ok(iter(chunks.into_iter().map(Ok)).chain(pending()).boxed()),
                Act::Drone => Ok(unfold((), |()| async {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    Some((Ok(text("la ")), ()))
                })
                .boxed()),
            }
        }
    }

    fn text(text: &str) -> Chunk {
        Chunk::Text(text.into())
    }

    fn say(chunks: &[Chunk]) -> Act {
        Act::Say(chunks.iter().cloned().map(Ok).collect())
    }

    fn hello() -> Act {
        say(&[text("Hel"), text("lo"), Chunk::Stop(StopReason::EndTurn)])
    }

    const AT_ONCE: ErrorKind = ErrorKind::Transient { after: None };

    /// Progress as text, and the result; time is virtual.
    async fn run(acts: Vec<Act>) -> (String, Result<Completion, Error>, Duration) {
        let start = Instant::now();
        let provider = Scripted(Mutex::new(acts.into()));
        let mut progress = String::new();
        let mut on_progress = |news: Progress<'_>| match news {
            Progress::Text(text) => progress.push_str(text),
            Progress::Reset => progress.push('!'),
            Progress::Attempted { .. } => {}
        };
        let result = complete(&provider, &Request::default(), &Policy::default(), &mut on_progress).await;
        assert!(provider.0.lock().unwrap().is_empty(), "fewer attempts than scripted");
        (progress, result, start.elapsed())
    }

    async fn check(acts: Vec<Act>, progress: &str, expected: Result<&str, &str>) {
        let (seen, result, _) = run(acts).await;
        let result = result.map(|completion| match completion.content.as_slice() {
            [Content::Text(text)] => text.clone(),
            other => panic!("{other:?}"),
        });
        let result = result.map_err(|error| error.message);
        assert_eq!((seen.as_str(), result.as_deref().map_err(String::as_str)), (progress, expected));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_at_once_is_taken() {
        check(vec![hello()], "Hello", Ok("Hello")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_attempt_is_forgotten_and_followed_by_another() {
        check(vec![Act::Refuse(AT_ONCE), hello()], "Hello", Ok("Hello")).await;
        check(vec![say(&[text("Good")]), hello()], "Good!Hello", Ok("Hello")).await;
        let broken = Act::Say(vec![Ok(text("Go")), Err(transient("gone"))]);
        check(vec![broken, Act::Refuse(AT_ONCE), hello()], "Go!Hello", Ok("Hello")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_third_failure_is_final() {
        let cut = || say(&[text("a")]);
        check(vec![cut(), cut(), cut()], "a!a!a!", Err("the provider's answer was cut off")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn errors_that_would_come_again_are_final_at_once() {
        check(vec![Act::Refuse(ErrorKind::Permanent)], "", Err("refused")).await;
        check(vec![Act::Refuse(ErrorKind::TooLong)], "", Err("refused")).await;
        check(
            vec![say(&[Chunk::Stop(StopReason::MaxTokens)])],
            "",
            Err("the provider said nothing before it reached the token limit: raise max_tokens"),
        )
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_words_is_a_failed_attempt() {
        let silence = || say(&[text(" \n"), Chunk::Stop(StopReason::EndTurn)]);
        check(vec![silence(), silence(), silence()], " \n! \n! \n!", Err("the provider said nothing")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn declining_without_a_word_is_an_answer() {
        let (_, result, _) = run(vec![say(&[Chunk::Stop(StopReason::Refusal)])]).await;
        assert_eq!(result.map(|completion| (completion.content, completion.stop)), Ok((vec![], StopReason::Refusal)));
    }

    #[tokio::test(start_paused = true)]
    async fn words_and_calls_keep_their_order() {
        let input = serde_json::json!({});
        let call = Chunk::ToolUse { id: "1".into(), name: "f".into(), input: input.clone() };
        let (_, result, _) = run(vec![say(&[text("a"), text("b"), call, Chunk::Stop(StopReason::ToolUse)])]).await;
        let call = Content::ToolUse { id: "1".into(), name: "f".into(), input };
        assert_eq!(result.map(|completion| completion.content), Ok(vec![Content::Text("ab".into()), call]));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_attempts_are_paid_for_too() {
        let usage = |input_tokens, output_tokens| Chunk::Usage(Usage { input_tokens, cached_tokens: 0, output_tokens });
        let cut = say(&[usage(10, 0), usage(10, 3)]);
        let (_, result, _) = run(vec![cut, say(&[text("a"), usage(10, 5), Chunk::Stop(StopReason::EndTurn)])]).await;
        let expected = Usage { input_tokens: 20, cached_tokens: 0, output_tokens: 8 };
        assert_eq!(result.map(|completion| completion.usage), Ok(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_failed_attempt() {
        let hang = || Act::Hang(vec![text("a")]);
        check(vec![hang(), hello()], "a!Hello", Ok("Hello")).await;
        check(vec![hang(), Act::Refuse(ErrorKind::Permanent)], "a!", Err("refused")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn everything_together_ends_in_time() {
        for acts in [vec![Act::Drone], vec![Act::Hang(vec![]), Act::Hang(vec![]), Act::Hang(vec![])]] {
            let (_, result, elapsed) = run(acts).await;
            assert_eq!(result.map_err(|error| error.message), Err("the provider's answer took too long".into()));
            assert_eq!(elapsed.as_secs(), Policy::default().total.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_with_some_jitter_and_never_undercut_the_provider() {
        let check = async |after: [Option<u64>; 2], at_least: f64, at_most: f64| {
            let refuse =
                |after: Option<u64>| Act::Refuse(ErrorKind::Transient { after: after.map(Duration::from_secs) });
            let (_, result, elapsed) = run(vec![refuse(after[0]), refuse(after[1]), hello()]).await;
            assert!(result.is_ok());
            // Timers tick in milliseconds.
            let elapsed = elapsed.as_secs_f64();
            assert!((at_least..=at_most + 0.01).contains(&elapsed), "{after:?}: {elapsed}");
        };
        check([None, None], 1.125, 1.5).await;
        check([Some(0), Some(7)], 7.375, 7.5).await;
        check([Some(60), Some(60)], 120.0, 120.0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_asks_for_too_long_a_wait_is_left_alone() {
        let after = Some(Duration::from_secs(61));
        check(vec![Act::Refuse(ErrorKind::Transient { after })], "", Err("refused")).await;
    }
}
