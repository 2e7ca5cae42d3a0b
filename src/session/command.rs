//! What a peer orders instead of saying something. Pure.

use crate::message::{ChatKind, Inbound};

/// An order. It is obeyed in the lane, in its turn, and the model never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'t> {
    /// `/new` or `/reset`: what was said so far is put away.
    New {
        /// What is said first in the new conversation; `None`: nothing yet.
        first: Option<&'t str>,
    },
}

impl<'t> Command<'t> {
    /// The order in a message, if it is one. In a group it may stand behind a mention.
    #[must_use]
    pub fn of(inbound: &'t Inbound) -> Option<Self> {
        let text = inbound.text.trim();
        let is_called = inbound.identity.parent == ChatKind::Group && inbound.mentions_bot;
        let text = if is_called { without_mention(text) } else { text };
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if !["/new", "/reset"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
            return None;
        }
        let rest = rest.trim();
        let says_something = !rest.is_empty() || !inbound.attachments.is_empty();
        Some(Self::New { first: says_something.then_some(rest) })
    }
}

/// Without `@name` or `<@id>` in front, and the `:` or `,` that people put behind it.
fn without_mention(text: &str) -> &str {
    let mention = text.split(char::is_whitespace).next().unwrap_or_default();
    let is_mention = mention.starts_with('@') || mention.starts_with("<@");
    text.strip_prefix(mention).filter(|_| is_mention).unwrap_or(text).trim_start_matches([':', ',']).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Attachment;
    use crate::testing::inbound;

    fn check(text: &str, expected: Option<Option<&str>>) {
        let message = inbound("hook", "u1", text);
        assert_eq!(Command::of(&message), expected.map(|first| Command::New { first }), "{text:?}");
    }

    #[test]
    fn the_words_alone_and_with_a_first_message() {
        check("/new", Some(None));
        check(" /NEW \n", Some(None));
        check("/Reset", Some(None));
        check("/new  what do you cost? ", Some(Some("what do you cost?")));
        check("/reset\nhello\nthere", Some(Some("hello\nthere")));
    }

    #[test]
    fn other_words_are_said_to_the_agent() {
        for text in ["/newer", "/new!", "new", "//new", "please /new", "/news today", "/", "", "@bot /new"] {
            check(text, None);
        }
    }

    #[test]
    fn in_a_group_it_may_stand_behind_a_mention() {
        let check = |text: &str, mentions_bot, expected: bool| {
            let mut message = inbound("hook", "u1", text);
            (message.identity.kind, message.identity.parent) = (ChatKind::Group, ChatKind::Group);
            message.mentions_bot = mentions_bot;
            assert_eq!(Command::of(&message).is_some(), expected, "{text:?}");
        };
        check("@desk /new", true, true);
        check("<@U123>: /new", true, true);
        check("/new", true, true);
        check("@anna /new", false, false);
        check("hello @desk /new", true, false);
    }

    #[test]
    fn a_file_that_comes_with_it_is_the_first_message() {
        let mut message = inbound("hook", "u1", "/new");
        message.attachments.push(Attachment { url: "https://x".into(), mime: None, name: None });
        assert_eq!(Command::of(&message), Some(Command::New { first: Some("") }));
    }
}
