//! The demo worker: shows that everything around a model works, without a model.
//!
//! It knows nothing but the request. That makes it a plain proof of what a conversation holds: asked
//! what it remembers, it quotes the peer's messages of this conversation and can quote no other.

use async_trait::async_trait;
use futures_util::StreamExt as _;

use super::{Answer, Chunk, Content, Error, Message, Provider, Request, Role, StopReason, shortened};

/// Most messages that are quoted.
const MAX_QUOTES: usize = 20;
/// Longest quotation, in characters.
const MAX_QUOTE_CHARS: usize = 200;
/// Longest repetition of what was just said, in characters.
const MAX_HEARD_CHARS: usize = 100;

/// Questions after the conversation's past, as [`words`] writes them.
const QUESTIONS: &[(&str, Language)] = &[
    ("do you remember", Language::English),
    ("what you remember", Language::English),
    ("what did i tell you", Language::English),
    ("what did i say", Language::English),
    ("what is my", Language::English),
    ("what was my", Language::English),
    ("can you remember", Language::English),
    ("you remember about me", Language::English),
    ("what do you know about me", Language::English),
    ("erinnerst du dich", Language::German),
    ("erinnern sie sich", Language::German),
    ("weißt du noch", Language::German),
    ("weisst du noch", Language::German),
    ("wissen sie noch", Language::German),
];

/// Answers without a model, and always the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demo;

#[async_trait]
impl Provider for Demo {
    async fn stream(&self, request: &Request) -> Result<Answer, Error> {
        let answer = answer(&request.messages);
        let words: Vec<Chunk> = answer.split_inclusive(' ').map(|word| Chunk::Text(word.to_owned())).collect();
        let chunks = words.into_iter().chain([Chunk::Stop(StopReason::EndTurn)]);
        // Others get their turn between two words, as they do while a real model thinks.
        let chunks = futures_util::stream::iter(chunks).then(|chunk| async move {
            tokio::task::yield_now().await;
            Ok(chunk)
        });
        Ok(chunks.boxed())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    English,
    German,
}

fn answer(messages: &[Message]) -> String {
    let n_earlier = messages.iter().rposition(|message| message.role == Role::Assistant).map_or(0, |last| last + 1);
    let (earlier, turn) = messages.split_at(n_earlier);
    let question = peer_texts(turn).find_map(asks_for_memories);
    let Some(language) = question else {
        let heard = peer_texts(turn).last().map(|text| shortened(text.trim(), MAX_HEARD_CHARS)).unwrap_or_default();
        return format!("I am the demo worker: no model is configured yet. You wrote: \"{heard}\"");
    };
    let others = peer_texts(turn).filter(|text| asks_for_memories(text).is_none());
    let mut quotes: Vec<String> = peer_texts(earlier).chain(others).map(quote).collect();
    quotes.drain(..quotes.len().saturating_sub(MAX_QUOTES));
    let (introduction, nothing) = match language {
        Language::English => {
            ("I am the demo worker, no model is configured. From this conversation I remember", "nothing yet.")
        }
        Language::German => {
            ("Ich bin die Demo, es ist kein Modell eingerichtet. Aus diesem Gespräch weiß ich", "noch nichts.")
        }
    };
    if quotes.is_empty() {
        format!("{introduction} {nothing}")
    } else {
        format!("{introduction}:\n{}", quotes.join("\n"))
    }
}

/// What the peer wrote, oldest first.
fn peer_texts(messages: &[Message]) -> impl Iterator<Item = &str> {
    let contents = messages.iter().filter(|message| message.role == Role::User).flat_map(|message| &message.content);
    contents.filter_map(|content| match content {
        Content::Text(text) if !text.trim().is_empty() => Some(text.as_str()),
        Content::Text(_) | Content::ToolUse { .. } | Content::ToolResult { .. } => None,
    })
}

fn quote(text: &str) -> String {
    format!("– \"{}\"", shortened(text.trim(), MAX_QUOTE_CHARS))
}

fn asks_for_memories(text: &str) -> Option<Language> {
    let words = words(text);
    QUESTIONS.iter().find(|(question, _)| words.contains(&format!(" {question} "))).map(|(_, language)| *language)
}

/// The words in lower case, each between two spaces.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!(" {} ", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Message {
        Message::text(Role::User, text)
    }

    fn check(messages: &[Message], expected: &str) {
        assert_eq!(answer(messages), expected);
    }

    const ENGLISH: &str = "I am the demo worker, no model is configured. From this conversation I remember";

    #[test]
    fn ordinary_words_are_repeated_in_one_sentence() {
        let said = |heard: &str| format!("I am the demo worker: no model is configured yet. You wrote: \"{heard}\"");
        check(&[user("Hello")], &said("Hello"));
        check(
            &[user("Hello"), Message::text(Role::Assistant, "Hi"), user(" I remember you ")],
            &said("I remember you"),
        );
        check(&[user(&"ä".repeat(300))], &said(&format!("{}…", "ä".repeat(99))));
        check(&[], &said(""));
    }

    #[test]
    fn the_question_is_understood_in_many_forms() {
        let check = |text: &str, expected: Option<Language>| assert_eq!(asks_for_memories(text), expected, "{text}");
        for text in [
            "what do you remember?",
            "What do you remember",
            "WHAT  DO YOU\nREMEMBER?!",
            "what do you remember about me",
            "Do you remember my name?",
            "My name is Ada. So: what do you remember?",
        ] {
            check(text, Some(Language::English));
        }
        for text in ["Woran erinnerst du dich?", "was weißt du noch", "Was weisst du noch?", "Was wissen Sie noch?"] {
            check(text, Some(Language::German));
        }
        for text in ["", "remember the milk", "do you remembering", "I remember"] {
            check(text, None);
        }
    }

    #[test]
    fn memories_are_the_peers_own_messages_without_the_question() {
        let messages = [
            user("My name is Ada."),
            Message::text(Role::Assistant, "Hello Ada."),
            user("I like mornings."),
            user("what do you remember?"),
            user("And hurry."),
        ];
        check(&messages, &format!("{ENGLISH}:\n– \"My name is Ada.\"\n– \"I like mornings.\"\n– \"And hurry.\""));
    }

    #[test]
    fn without_memories_it_says_so_in_the_language_of_the_question() {
        check(&[user("what do you remember?")], &format!("{ENGLISH} nothing yet."));
        let german = "Ich bin die Demo, es ist kein Modell eingerichtet. Aus diesem Gespräch weiß ich noch nichts.";
        check(&[user("Woran erinnerst du dich?")], german);
    }

    #[test]
    fn the_newest_memories_are_shortened_and_limited() {
        let mut messages: Vec<_> = (0..30).map(|n| user(&format!("{n} {}", "ö".repeat(300)))).collect();
        messages.push(user("what do you remember?"));
        let answer = answer(&messages);
        let quotes: Vec<_> = answer.lines().skip(1).collect();
        assert_eq!(quotes.len(), MAX_QUOTES);
        assert!(quotes[0].starts_with("– \"10 ö") && quotes[19].starts_with("– \"29 ö"), "{answer}");
        assert!(quotes.iter().all(|quote| quote.chars().count() == MAX_QUOTE_CHARS + "– \"\"".chars().count()));
    }

    #[tokio::test]
    async fn words_are_streamed_one_by_one() {
        let request = Request { messages: vec![user("Hi")], ..Request::default() };
        let chunks: Vec<_> = Demo.stream(&request).await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!(chunks.first(), Some(&Chunk::Text("I ".into())));
        assert_eq!(chunks.last(), Some(&Chunk::Stop(StopReason::EndTurn)));
        assert!(chunks.len() > 10);
    }
}
