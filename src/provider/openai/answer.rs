//! What comes back.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::refusal::Refusal;
use super::super::tool_call::{PartialCall, is_broken};
use super::super::transport::{Decode, Failure};
use super::super::{Chunk, StopReason, Usage, sse};

/// Follows one stream. Calls and the end are reported with `[DONE]`, because the usage comes after the reason to stop.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    calls: BTreeMap<u64, PartialCall>,
    stop: Option<StopReason>,
}

/// One `chat.completion.chunk`, or an error in its place.
#[derive(Debug, Deserialize)]
struct Wire {
    error: Option<Value>,
    /// Empty in the chunk that carries the usage.
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<String>,
    /// The words with which a model declines, where the vendor keeps them apart.
    refusal: Option<String>,
    tool_calls: Option<Vec<Fragment>>,
}

/// A piece of a call. Id and name come in the first piece only.
#[derive(Debug, Deserialize)]
struct Fragment {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        if event.data.trim() == "[DONE]" {
            return self.end(chunks);
        }
        let wire: Wire = serde_json::from_str(&event.data)
            .map_err(|_json| Failure::Malformed("an event is not what it should be"))?;
        if let Some(error) = wire.error {
            return Err(Failure::Refused(Refusal::new(&error)));
        }
        // We ask for one choice and get one, or none beside the usage.
        for choice in wire.choices.into_iter().flatten().take(1) {
            if let Some(delta) = choice.delta {
                self.delta(delta, chunks);
            }
            if let Some(reason) = choice.finish_reason {
                self.stop = Some(stop_reason(&reason));
            }
        }
        chunks.extend(wire.usage.map(|usage| Chunk::Usage(usage.into())));
        Ok(())
    }

    /// Some servers close without `[DONE]`; a reason to stop is proof enough that nothing is missing.
    fn end(&mut self, chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        let Some(mut stop) = self.stop.take() else { return Ok(()) };
        let calls = std::mem::take(&mut self.calls);
        let has_calls = !calls.is_empty();
        for call in calls.into_values() {
            // The limit may have cut one in two: the caller sees why, and has no use for half a call.
            let was_cut = stop == StopReason::MaxTokens;
            match call.finish() {
                Some(chunk) if was_cut && is_broken(&chunk) => {}
                Some(chunk) => chunks.push(chunk),
                None if was_cut => {}
                None => return Err(Failure::Malformed("a call names no tool")),
            }
        }
        // Not every server changes the reason when there are calls, and some claim calls without any.
        stop = match (stop, has_calls) {
            (StopReason::EndTurn, true) => StopReason::ToolUse,
            (StopReason::ToolUse, false) => StopReason::EndTurn,
            (stop, _) => stop,
        };
        chunks.push(Chunk::Stop(stop));
        Ok(())
    }
}

impl Decoder {
    fn delta(&mut self, delta: Delta, chunks: &mut Vec<Chunk>) {
        let texts = [delta.content, delta.refusal].into_iter().flatten().filter(|text| !text.is_empty());
        chunks.extend(texts.map(Chunk::Text));
        for fragment in delta.tool_calls.into_iter().flatten() {
            let call = self.calls.entry(self.index_of(&fragment)).or_default();
            if let Some(id) = fragment.id.filter(|id| !id.is_empty()) {
                call.id = id;
            }
            let Some(function) = fragment.function else { continue };
            if let Some(name) = function.name.filter(|name| !name.is_empty()) {
                call.name = name;
            }
            call.arguments.push_str(&function.arguments.unwrap_or_default());
        }
    }

    /// A piece without an index begins a call if it names a function, else it goes on with the last one.
    fn index_of(&self, fragment: &Fragment) -> u64 {
        let last = self.calls.last_key_value().map(|(index, _)| *index);
        let has_name = fragment.function.as_ref().is_some_and(|function| function.name.is_some());
        fragment.index.unwrap_or(match last {
            None => 0,
            Some(last) if has_name => last.saturating_add(1),
            Some(last) => last,
        })
    }
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "length" => StopReason::MaxTokens,
        "tool_calls" => StopReason::ToolUse,
        "content_filter" => StopReason::Refusal,
        // `stop`, and words that compatible servers made up.
        _ => StopReason::EndTurn,
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            // Cached tokens are part of the prompt's here.
            input_tokens: usage.prompt_tokens.unwrap_or(0),
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            output_tokens: usage.completion_tokens.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::json_of;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(events: &[Value], expected: Result<&[Chunk], Failure>) {
        let (mut decoder, mut chunks) = (Decoder::default(), Vec::new());
        let event = |data: &Value| sse::Event { name: String::new(), data: data.to_string() };
        let result = events
            .iter()
            .try_for_each(|data| decoder.event(&event(data), &mut chunks))
            .and_then(|()| decoder.end(&mut chunks))
            .map(|()| chunks.as_slice());
        assert_eq!(result, expected);
    }

    fn finish(reason: &str) -> Value {
        json!({"choices": [{"delta": {}, "finish_reason": reason}]})
    }

    fn fragment(fragment: Value) -> Value {
        json!({"choices": [{"delta": {"tool_calls": [fragment]}, "finish_reason": null}]})
    }

    fn call(id: &str, name: &str, input: Value) -> Chunk {
        Chunk::ToolUse { id: id.into(), name: name.into(), input }
    }

    #[test]
    fn reasons_to_stop() {
        check(&[finish("stop")], Ok(&[Chunk::Stop(StopReason::EndTurn)]));
        check(&[finish("length")], Ok(&[Chunk::Stop(StopReason::MaxTokens)]));
        check(&[finish("content_filter")], Ok(&[Chunk::Stop(StopReason::Refusal)]));
        check(&[finish("eos")], Ok(&[Chunk::Stop(StopReason::EndTurn)]));
        check(&[finish("tool_calls")], Ok(&[Chunk::Stop(StopReason::EndTurn)]));
    }

    #[test]
    fn a_stream_without_a_reason_does_not_stop() {
        check(&[json!({"choices": [{"delta": {"content": "a"}}]})], Ok(&[Chunk::Text("a".into())]));
    }

    #[test]
    fn calls_are_put_together_by_index() {
        check(
            &[
                fragment(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"x\":"}})),
                fragment(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}})),
                fragment(json!({"index": 1, "function": {"arguments": "1}"}})),
                finish("stop"),
            ],
            Ok(&[call("a", "f", json!({})), call("b", "g", json!({"x": 1})), Chunk::Stop(StopReason::ToolUse)]),
        );
    }

    #[test]
    fn calls_without_an_index_follow_one_another() {
        check(
            &[
                fragment(json!({"id": "a", "function": {"name": "f", "arguments": "{"}})),
                fragment(json!({"function": {"arguments": "}"}})),
                fragment(json!({"id": "b", "function": {"name": "f", "arguments": "{}"}})),
                finish("tool_calls"),
            ],
            Ok(&[call("a", "f", json!({})), call("b", "f", json!({})), Chunk::Stop(StopReason::ToolUse)]),
        );
    }

    #[test]
    fn half_a_call_is_kept_as_it_is_unless_the_limit_cut_it() {
        let half = fragment(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}}));
        check(&[half.clone(), finish("length")], Ok(&[Chunk::Stop(StopReason::MaxTokens)]));
        let kept = call("a", "f", json!("{\"x\""));
        check(&[half, finish("tool_calls")], Ok(&[kept, Chunk::Stop(StopReason::ToolUse)]));
        let nameless = fragment(json!({"index": 0, "id": "a", "function": {"arguments": "{}"}}));
        check(&[nameless.clone(), finish("length")], Ok(&[Chunk::Stop(StopReason::MaxTokens)]));
        check(&[nameless, finish("tool_calls")], Err(Failure::Malformed("a call names no tool")));
    }

    #[test]
    fn unknown_and_null_fields_do_no_harm() {
        check(
            &[
                json!({"choices": [{"delta": {"role": "assistant", "content": null, "reasoning_content": "hm"}}], "usage": null}),
                json!({"choices": null, "obfuscation": "xyz"}),
                json!({"choices": [{"delta": {"content": null, "refusal": "No."}}]}),
                finish("stop"),
            ],
            Ok(&[Chunk::Text("No.".into()), Chunk::Stop(StopReason::EndTurn)]),
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        // Words of the dialect in random places, so that more than the first field is reached.
        let key = prop::sample::select(vec![
            "choices",
            "delta",
            "content",
            "tool_calls",
            "index",
            "function",
            "arguments",
            "finish_reason",
            "usage",
            "error",
        ]);
        let word = prop::sample::select(vec!["stop", "tool_calls", "{", "x"]).prop_map(Value::from);
        json_of(key, word)
    }

    proptest! {
        #[test]
        fn nothing_a_server_sends_breaks_the_decoder(events in prop::collection::vec(any_json(), 0..6)) {
            let (mut decoder, mut chunks) = (Decoder::default(), Vec::new());
            for data in &events {
                let _ = decoder.event(&sse::Event { name: String::new(), data: data.to_string() }, &mut chunks);
            }
            let _ = decoder.end(&mut chunks);
            let n_stops = chunks.iter().filter(|chunk| matches!(chunk, Chunk::Stop(_))).count();
            prop_assert!(n_stops <= events.len() + 1);
        }
    }
}
