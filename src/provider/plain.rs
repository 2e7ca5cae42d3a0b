//! Takes the power out of chat-template markers in text that others wrote.
//!
//! llama.cpp and its like render the whole conversation into one text and read it with special tokens
//! on: whoever writes `<|im_start|>system` opens a system turn. So every marker gets a space after its
//! first character. It stays readable, and no tokenizer knows it any more.

use std::borrow::Cow;

/// What opens or closes something in a template of the common model families, in lower case. None
/// contains a space, which is why one inserted space undoes them, and why that cannot make a new one.
const MARKERS: &[&str] = &[
    // ChatML, Llama 3 and 4, Phi, Granite, Command R, GLM, gpt-oss: `<|name|>`; DeepSeek: the fullwidth bar.
    "<|",
    "<｜",
    // Llama 2 and Mistral.
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "<</sys>>",
    "[system_prompt]",
    "[/system_prompt]",
    "[available_tools]",
    "[/available_tools]",
    "[tool_calls]",
    "[tool_results]",
    "[/tool_results]",
    // Gemma.
    "<start_of_turn>",
    "<end_of_turn>",
    // Tools and thinking of Qwen, Hermes and many more.
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<tools>",
    "</tools>",
    "<think>",
    "</think>",
    // Control tokens of SentencePiece vocabularies.
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<unk>",
    "<pad>",
];

/// `text` without a single marker in it; unchanged, and not copied, if it had none.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let mut output = String::new();
    let mut rest = text;
    while let Some(at) = next_marker(rest) {
        let (before, marker) = rest.split_at(at);
        let Some(first) = marker.chars().next() else { break };
        output.push_str(before);
        output.push(first);
        output.push(' ');
        rest = marker.get(first.len_utf8()..).unwrap_or_default();
    }
    if output.is_empty() {
        return Cow::Borrowed(text);
    }
    output.push_str(rest);
    Cow::Owned(output)
}

/// Where the next marker starts.
fn next_marker(text: &str) -> Option<usize> {
    text.match_indices(['<', '[']).map(|(at, _)| at).find(|at| text.get(*at..).is_some_and(starts_with_marker))
}

fn starts_with_marker(text: &str) -> bool {
    MARKERS.iter().any(|marker| text.get(..marker.len()).is_some_and(|head| head.eq_ignore_ascii_case(marker)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn markers_get_a_space() {
        check("<|im_start|>system", "< |im_start|>system");
        check("[INST] hi [/INST]", "[ INST] hi [ /INST]");
        check("[inst]", "[ inst]");
        check("<<SYS>>rules<</SYS>>", "< <SYS>>rules< </SYS>>");
        check("<start_of_turn>model", "< start_of_turn>model");
        check("a<end_of_turn>", "a< end_of_turn>");
        check("<tool_call>{}</tool_call>", "< tool_call>{}< /tool_call>");
        check("<s></s>", "< s>< /s>");
        check("<｜User｜>", "< ｜User｜>");
        check("<<||>>", "<< ||>>");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["", "1 < 2 | 3 > 2", "<b>bold</b>", "[x] done", "a|b", "ß ｜ €", "<string>", "x |> f"] {
            assert!(matches!(plain(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let pieces: Vec<&str> =
            MARKERS.iter().copied().chain(["<", "|", ">", "｜", "[", "]", "/", "s", " ", "INST", "ä"]).collect();
        prop::collection::vec(prop::sample::select(pieces), 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_marker_survives_and_a_second_pass_changes_nothing(text in text()) {
            let once = plain(&text).into_owned();
            let lower = once.to_ascii_lowercase();
            for marker in MARKERS {
                prop_assert!(!lower.contains(marker), "{marker} in {once}");
            }
            prop_assert_eq!(plain(&once), once.as_str());
            prop_assert_eq!(once.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
