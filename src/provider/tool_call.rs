//! A request for a tool, while its pieces arrive.

use std::borrow::Cow;

use serde_json::Value;

use super::Chunk;

/// Collects one call. The arguments are JSON text in pieces, to be read when the last one is there.
#[derive(Debug, Default)]
pub(super) struct PartialCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl PartialCall {
    /// The complete call, or `None` if it has no name. No arguments at all are `{}`; what is no JSON object is
    /// kept as the text it is: whoever runs the tool says so to the model.
    pub(super) fn finish(self) -> Option<Chunk> {
        let input = match self.arguments.trim() {
            "" | "null" => Value::Object(serde_json::Map::new()),
            arguments => serde_json::from_str(arguments).ok().filter(Value::is_object).unwrap_or(self.arguments.into()),
        };
        // Some compatible servers name no call, yet the result must say which one it answers.
        let id = if self.id.is_empty() { made_up_id() } else { self.id };
        (!self.name.is_empty()).then_some(Chunk::ToolUse { id, name: self.name, input })
    }
}

/// Is it a call whose arguments are no object? At the end of an answer that was cut, half a call.
pub(super) fn is_broken(chunk: &Chunk) -> bool {
    matches!(chunk, Chunk::ToolUse { input, .. } if !input.is_object())
}

/// Arguments as they are sent back: an object whatever the model wrote, because servers refuse anything else.
pub(super) fn object(input: &Value) -> Cow<'_, Value> {
    if input.is_object() { Cow::Borrowed(input) } else { Cow::Owned(Value::Object(serde_json::Map::new())) }
}

/// An id that no other call of the conversation has.
fn made_up_id() -> String {
    let mut bytes = [0_u8; 8];
    // Without random numbers nothing else on the machine works either; equal ids are then the least of it.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("call_{:016x}", u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, arguments: &str, expected: Option<Value>) {
        let call = PartialCall { id: "7".into(), name: name.into(), arguments: arguments.into() };
        let expected = expected.map(|input| Chunk::ToolUse { id: "7".into(), name: name.into(), input });
        assert_eq!(call.finish(), expected, "{name:?} {arguments:?}");
    }

    #[test]
    fn arguments_are_an_object_nothing_or_a_text_that_is_neither() {
        use serde_json::json;
        check("book", r#"{"slot":"9am"}"#, Some(json!({"slot": "9am"})));
        check("book", "", Some(json!({})));
        check("book", "null", Some(json!({})));
        check("book", r#"{"slot":"9"#, Some(json!("{\"slot\":\"9")));
        check("book", "[1]", Some(json!("[1]")));
        check("", "{}", None);
    }

    #[test]
    fn calls_without_an_id_get_different_ones() {
        let id = || match (PartialCall { name: "book".into(), ..PartialCall::default() }).finish() {
            Some(Chunk::ToolUse { id, .. }) => id,
            other => panic!("{other:?}"),
        };
        assert_ne!(id(), id());
    }
}
