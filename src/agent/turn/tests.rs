//! Turns with a scripted model.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde_json::json;

use super::*;
use crate::id::AgentId;
use crate::provider::{Answer, Chunk, Provider};

/// Gives one answer after the other and keeps what it was asked.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Vec<Chunk>>>,
    asked: Mutex<Vec<Request>>,
}

#[async_trait]
impl Provider for Scripted {
    async fn stream(&self, request: &Request) -> Result<Answer, Error> {
        self.asked.lock().unwrap().push(request.clone());
        let chunks = self.answers.lock().unwrap().pop_front().expect("no more requests than scripted");
        Ok(futures_util::stream::iter(chunks.into_iter().map(Ok)).boxed())
    }
}

/// Says this and asks for these tools.
fn answer(text: &str, calls: &[(&str, Value)]) -> Vec<Chunk> {
    let text = (!text.is_empty()).then(|| Chunk::Text(text.to_owned()));
    let call = |(n, (name, input)): (usize, &(&str, Value))| Chunk::ToolUse {
        id: format!("c{n}"),
        name: (*name).to_owned(),
        input: input.clone(),
    };
    let stop = Chunk::Stop(if calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse });
    text.into_iter().chain(calls.iter().enumerate().map(call)).chain([stop]).collect()
}

struct Done {
    result: Result<String, Failure>,
    shown: String,
    asked: Vec<Request>,
    notes: Vec<(u64, Option<String>)>,
}

async fn turn(sets: &[Toolset], answers: Vec<Vec<Chunk>>) -> Done {
    let provider = Arc::new(Scripted { answers: Mutex::new(answers.into()), asked: Mutex::default() });
    let name = AgentId::new("a").unwrap();
    let agent = Agent { name, soul: "Be kind.".into(), tools: sets.to_vec(), provider: provider.clone() };
    let mut context = Context::new([(1, "Has a dog.".to_owned())], [], Box::new(|_| None));
    let mut shown = String::new();
    let mut on_progress = |progress: Progress<'_>| match progress {
        Progress::Text(text) => shown.push_str(text),
        Progress::Reset => shown.push('!'),
        Progress::Attempted { .. } => {}
    };
    let request = Request { messages: vec![Message::text(Role::User, "Hi")], ..Request::default() };
    let result = run(&agent, request, &mut context, &Policy::default(), &mut on_progress).await;
    assert!(provider.answers.lock().unwrap().is_empty(), "fewer requests than scripted");
    let asked = std::mem::take(&mut *provider.asked.lock().unwrap());
    let notes = context.into_changes().notes.into_iter().map(|(number, _, text)| (number, text)).collect();
    Done { result, shown, asked, notes }
}

fn add(text: &str) -> (&'static str, Value) {
    ("memory_add", json!({ "text": text }))
}

fn results(request: &Request) -> Vec<(&str, bool)> {
    let contents = request.messages.iter().flat_map(|message| &message.content);
    let result = |content| match content {
        &Content::ToolResult { ref text, is_error, .. } => Some((text.as_str(), is_error)),
        Content::Text(_) | Content::ToolUse { .. } => None,
    };
    contents.filter_map(result).collect()
}

const BOTH: &[Toolset] = &[Toolset::Memory, Toolset::Files];

#[tokio::test(start_paused = true)]
async fn an_agent_without_tools_is_asked_once_and_sees_the_notes() {
    let done = turn(&[], vec![answer("Hello", &[])]).await;
    assert_eq!((done.result, done.shown.as_str()), (Ok("Hello".to_owned()), "Hello"));
    assert_eq!(done.asked[0].tools, []);
    assert!(done.asked[0].memory.ends_with(":\n1. Has a dog."), "{}", done.asked[0].memory);
}

#[tokio::test(start_paused = true)]
async fn all_calls_of_a_round_are_answered_in_one_message_and_the_words_of_all_rounds_are_the_answer() {
    let done = turn(BOTH, vec![answer("One moment. ", &[add("x"), add("y")]), answer("Noted.", &[])]).await;
    assert_eq!((done.result, done.shown.as_str()), (Ok("One moment.\n\nNoted.".to_owned()), "One moment. \n\nNoted."));
    assert_eq!(done.notes, [(2, Some("x".to_owned())), (3, Some("y".to_owned()))]);
    let [first, second] = &done.asked[..] else { panic!("{} requests", done.asked.len()) };
    assert_eq!((first.tools.len(), first.tool_choice), (8, ToolChoice::Auto));
    assert_eq!(second.memory, first.memory, "what is remembered at the beginning stays, so that caches hold");
    let [_, called, answered] = &second.messages[..] else { panic!("{:?}", second.messages) };
    assert_eq!((called.role, called.content.len()), (Role::Assistant, 3));
    let result = |id: &str, text: &str| Content::ToolResult { id: id.into(), text: text.into(), is_error: false };
    assert_eq!(answered.content, [result("c0", "noted as 2"), result("c1", "noted as 3")]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_told_to_the_model() {
    let calls = [
        ("shell", json!({})),
        ("memory_remove", json!({ "number": 9 })),
        ("memory_add", json!("{\"text\":")),
        ("file_read", json!({ "name": "../other/key/secret" })),
    ];
    let done = turn(BOTH, vec![answer("", &calls), answer("Sorry.", &[])]).await;
    assert_eq!(done.result, Ok("Sorry.".to_owned()));
    let told = results(&done.asked[1]);
    assert_eq!(
        told[..3],
        [("there is no such tool", true), ("there is no note 9", true), ("the arguments are not a JSON object", true)]
    );
    assert_eq!(told[3].0, crate::id::FileNameError::Elsewhere.to_string());
    assert_eq!(done.notes, []);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_does_not_come_to_an_end_must_answer() {
    let mut answers: Vec<_> = (0..MAX_ROUNDS).map(|n| answer("", &[add(&n.to_string())])).collect();
    answers.push(answer("Enough.", &[add("one more")]));
    let done = turn(BOTH, answers).await;
    assert_eq!(done.result, Ok("Enough.".to_owned()));
    assert_eq!(done.notes.len(), MAX_ROUNDS, "what it asks for where it must answer is not done");
    let last = done.asked.last().unwrap();
    assert_eq!((last.tool_choice, last.tools.len()), (ToolChoice::None, 8));
    assert_eq!(last.messages.last(), Some(&Message::text(Role::User, ANSWER_NOW)));
    assert!(done.asked[..MAX_ROUNDS].iter().all(|request| request.tool_choice == ToolChoice::Auto));

    let answers = (0..=MAX_ROUNDS).map(|_| answer("", &[add("x")])).collect();
    let reason = "the model asked for a tool where it had to answer".to_owned();
    assert_eq!(turn(BOTH, answers).await.result, Err(Failure::Park { reason }));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_silent_after_its_tools_is_asked_for_words_once() {
    let silent = || answer("", &[]);
    let done = turn(BOTH, vec![answer("", &[add("x")]), silent(), answer("Done.", &[])]).await;
    assert_eq!(done.result, Ok("Done.".to_owned()));
    assert_eq!(done.asked[2].tool_choice, ToolChoice::None);
    assert_eq!(done.asked[2].messages.last(), Some(&Message::text(Role::User, ANSWER_NOW)));

    let done = turn(BOTH, vec![answer("Noted.", &[add("x")]), silent()]).await;
    assert_eq!(done.result, Ok("Noted.".to_owned()), "it has answered before");

    let done = turn(BOTH, vec![answer("", &[add("x")]), silent(), silent(), silent(), silent()]).await;
    let reason = "the provider said nothing".to_owned();
    assert_eq!(done.result, Err(Failure::Later { after: None, reason }));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_breaks_off_takes_back_only_its_own_round() {
    let cut = vec![Chunk::Text("No".to_owned())];
    let done = turn(BOTH, vec![answer("One.", &[add("x")]), cut, answer("Two.", &[])]).await;
    assert_eq!((done.result, done.shown.as_str()), (Ok("One.\n\nTwo.".to_owned()), "One.\n\nNo!One.\n\nTwo."));
    assert_eq!(done.notes, [(2, Some("x".to_owned()))], "a tool is not used twice");
}

#[tokio::test(start_paused = true)]
async fn tools_that_were_not_offered_are_not_used() {
    let done = turn(&[], vec![answer("", &[add("x")])]).await;
    let reason = "the model asked for a tool where it had to answer".to_owned();
    assert_eq!((done.result, done.notes), (Err(Failure::Park { reason }), vec![]));
    let done = turn(&[Toolset::Files], vec![answer("", &[add("x")]), answer("So be it.", &[])]).await;
    assert_eq!((done.notes, results(&done.asked[1])), (vec![], vec![("there is no such tool", true)]));
}

#[tokio::test(start_paused = true)]
async fn a_turn_does_not_call_and_read_without_end() {
    let calls: Vec<_> = (0..MAX_CALLS + 5).map(|_| ("file_list", json!({}))).collect();
    let done = turn(BOTH, vec![answer("", &calls), answer("Ok.", &[])]).await;
    assert_eq!(results(&done.asked[1]).iter().filter(|(_, is_error)| *is_error).count(), 5);

    let write = ("file_write", json!({ "name": "a", "text": "x".repeat(60_000) }));
    let read = |n: usize| ("file_read", json!({ "name": "a", "offset": n * 8192 }));
    let calls: Vec<_> = [write].into_iter().chain((0..8).map(read)).collect();
    let done = turn(BOTH, vec![answer("", &calls), answer("Ok.", &[])]).await;
    let told: usize = results(&done.asked[1]).iter().map(|(text, _)| text.len()).sum();
    assert!(told < MAX_RESULT_BYTES + 9 * 1024, "{told}");
}
