//! What comes back.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::refusal::Refusal;
use super::super::tool_call::{PartialCall, is_broken};
use super::super::transport::{Decode, Failure};
use super::super::{Chunk, StopReason, Usage, sse};

/// Follows one stream: `message_start`, for each block `content_block_start`, `…_delta`, `…_stop`, then
/// `message_delta` and `message_stop`. `ping` and whatever else the vendor thinks of may come in between.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    calls: BTreeMap<u64, PartialCall>,
    has_calls: bool,
    /// Calls that make no sense: kept back until the reason to stop says whether the token limit is the cause.
    broken: Vec<Option<Chunk>>,
    usage: WireUsage,
    stop: Option<StopReason>,
}

/// The `data:` of an event. Its `type` equals the event's name, which some compatible servers leave out.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire {
    MessageStart {
        message: StartedMessage,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Option<WireUsage>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct StartedMessage {
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
    },
    /// Thinking, server tools: not for us.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    /// Thinking, signatures, citations.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

/// Counts are cumulative; one that is absent stays as it was.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct WireUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        let wire: Wire = serde_json::from_str(&event.data)
            .map_err(|_json| Failure::Malformed("an event is not what it should be"))?;
        match wire {
            Wire::MessageStart { message } => {
                self.usage.update(message.usage);
                chunks.push(Chunk::Usage(self.usage.into()));
            }
            Wire::ContentBlockStart { content_block: Block::Text { text }, .. }
            | Wire::ContentBlockDelta { delta: Delta::Text { text }, .. } => {
                chunks.extend((!text.is_empty()).then_some(Chunk::Text(text)));
            }
            Wire::ContentBlockStart { index, content_block: Block::ToolUse { id, name } } => {
                self.calls.insert(index, PartialCall { id, name, arguments: String::new() });
            }
            Wire::ContentBlockDelta { index, delta: Delta::InputJson { partial_json } } => {
                if let Some(call) = self.calls.get_mut(&index) {
                    call.arguments.push_str(&partial_json);
                }
            }
            Wire::ContentBlockStop { index } => {
                if let Some(call) = self.calls.remove(&index) {
                    self.has_calls = true;
                    match call.finish() {
                        Some(call) if !is_broken(&call) => chunks.push(call),
                        broken => self.broken.push(broken),
                    }
                }
            }
            Wire::MessageDelta { delta, usage } => {
                self.usage.update(usage);
                self.stop = delta.stop_reason.as_deref().map(stop_reason).or(self.stop);
            }
            Wire::MessageStop => self.finish(chunks)?,
            Wire::Error { error } => return Err(Failure::Refused(Refusal::new(&error))),
            Wire::Other
            | Wire::ContentBlockStart { content_block: Block::Other, .. }
            | Wire::ContentBlockDelta { delta: Delta::Other, .. } => {}
        }
        Ok(())
    }
}

impl Decoder {
    fn finish(&mut self, chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        let stop = self.stop.unwrap_or(if self.has_calls { StopReason::ToolUse } else { StopReason::EndTurn });
        let broken = std::mem::take(&mut self.broken);
        if stop != StopReason::MaxTokens {
            let broken: Option<Vec<Chunk>> = broken.into_iter().collect();
            chunks.extend(broken.ok_or(Failure::Malformed("a call names no tool"))?);
        }
        chunks.push(Chunk::Usage(self.usage.into()));
        chunks.push(Chunk::Stop(stop));
        Ok(())
    }
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        // What was said until the window was full is as good as what was said until the limit.
        "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
        "tool_use" => StopReason::ToolUse,
        "refusal" => StopReason::Refusal,
        // `end_turn`, `stop_sequence`, and `pause_turn`, which only the vendor's own tools cause: we offer none.
        _ => StopReason::EndTurn,
    }
}

impl WireUsage {
    fn update(&mut self, news: Option<Self>) {
        let news = news.unwrap_or_default();
        self.input_tokens = news.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens = news.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = news.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = news.output_tokens.or(self.output_tokens);
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let cached_tokens = usage.cache_read_input_tokens.unwrap_or(0);
        // `input_tokens` is only what no cache was read or written for.
        let counts = [usage.input_tokens.unwrap_or(0), usage.cache_creation_input_tokens.unwrap_or(0), cached_tokens];
        Self {
            input_tokens: counts.into_iter().fold(0, u64::saturating_add),
            cached_tokens,
            output_tokens: usage.output_tokens.unwrap_or(0),
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
        let result = events
            .iter()
            .try_for_each(|data| {
                decoder.event(&sse::Event { name: String::new(), data: data.to_string() }, &mut chunks)
            })
            .map(|()| chunks.as_slice());
        assert_eq!(result, expected);
    }

    fn finish(reason: &str) -> [Value; 2] {
        [json!({"type": "message_delta", "delta": {"stop_reason": reason}}), json!({"type": "message_stop"})]
    }

    const FREE: Chunk = Chunk::Usage(Usage { input_tokens: 0, cached_tokens: 0, output_tokens: 0 });

    #[test]
    fn reasons_to_stop() {
        let check = |reason: &str, expected| check(&finish(reason), Ok(&[FREE, Chunk::Stop(expected)]));
        check("end_turn", StopReason::EndTurn);
        check("stop_sequence", StopReason::EndTurn);
        check("max_tokens", StopReason::MaxTokens);
        check("model_context_window_exceeded", StopReason::MaxTokens);
        check("tool_use", StopReason::ToolUse);
        check("refusal", StopReason::Refusal);
        check("something_new", StopReason::EndTurn);
    }

    #[test]
    fn all_input_counts_are_added_and_later_counts_replace_earlier_ones() {
        let start = json!({"input_tokens": 5, "cache_creation_input_tokens": 70, "cache_read_input_tokens": 600, "output_tokens": 1});
        check(
            &[
                json!({"type": "message_start", "message": {"usage": start}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}}),
                json!({"type": "message_stop"}),
            ],
            Ok(&[
                Chunk::Usage(Usage { input_tokens: 675, cached_tokens: 600, output_tokens: 1 }),
                Chunk::Usage(Usage { input_tokens: 675, cached_tokens: 600, output_tokens: 15 }),
                Chunk::Stop(StopReason::EndTurn),
            ]),
        );
    }

    fn call_in_pieces(pieces: &[&str], reason: &str) -> Vec<Value> {
        let block = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
        let mut events = vec![json!({"type": "content_block_start", "index": 1, "content_block": block})];
        events.extend(pieces.iter().map(|piece| {
            let delta = json!({"type": "input_json_delta", "partial_json": piece});
            json!({"type": "content_block_delta", "index": 1, "delta": delta})
        }));
        events.push(json!({"type": "content_block_stop", "index": 1}));
        events.extend(finish(reason));
        events
    }

    #[test]
    fn a_call_is_complete_with_its_block() {
        let call = |input| Chunk::ToolUse { id: "a".into(), name: "f".into(), input };
        let stop = Chunk::Stop(StopReason::ToolUse);
        check(&call_in_pieces(&["", "{\"x\"", ": 1}"], "tool_use"), Ok(&[call(json!({"x": 1})), FREE, stop.clone()]));
        check(&call_in_pieces(&[""], "tool_use"), Ok(&[call(json!({})), FREE, stop.clone()]));
        check(&call_in_pieces(&[], "tool_use"), Ok(&[call(json!({})), FREE, stop]));
    }

    #[test]
    fn half_a_call_is_kept_as_it_is_unless_the_limit_cut_it() {
        check(&call_in_pieces(&["{\"x\""], "max_tokens"), Ok(&[FREE, Chunk::Stop(StopReason::MaxTokens)]));
        let kept = Chunk::ToolUse { id: "a".into(), name: "f".into(), input: json!("{\"x\"") };
        check(&call_in_pieces(&["{\"x\""], "tool_use"), Ok(&[kept, FREE, Chunk::Stop(StopReason::ToolUse)]));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let thinking = json!({"type": "thinking_delta", "thinking": "hm"});
        check(
            &[
                json!({"type": "ping"}),
                json!({"type": "something_new", "x": 1}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": thinking}),
                json!({"type": "content_block_stop", "index": 0}),
            ],
            Ok(&[]),
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        // Words of the dialect in random places, so that more than the first field is reached.
        let key = prop::sample::select(vec![
            "type",
            "message",
            "usage",
            "index",
            "content_block",
            "delta",
            "text",
            "partial_json",
            "stop_reason",
            "error",
        ]);
        let word = prop::sample::select(vec![
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
            "error",
            "tool_use",
            "text",
            "text_delta",
            "x",
        ])
        .prop_map(Value::from);
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
