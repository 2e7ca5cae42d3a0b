//! The conversation in the shape that every dialect can say: turns that alternate, the peer first.

use super::{Content, Message, Role};

/// Stands in for what was said before a conversation that opens with the assistant's own words:
/// some APIs and most templates of local models want the user to speak first.
const EARLIER: &str = "[Earlier messages are not shown.]";

/// All that one side said before the other spoke. Never empty.
#[derive(Debug, PartialEq)]
pub(super) struct Turn<'r> {
    pub(super) role: Role,
    pub(super) parts: Vec<Part<'r>>,
}

/// A borrowed [`Content`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part<'r> {
    Text(&'r str),
    ToolUse { id: &'r str, name: &'r str, input: &'r serde_json::Value },
    ToolResult { id: &'r str, text: &'r str, is_error: bool },
}

impl<'r> Turn<'r> {
    /// The words of the turn, one paragraph for each part.
    pub(super) fn text(&self) -> String {
        let texts: Vec<&str> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(*text),
                Part::ToolUse { .. } | Part::ToolResult { .. } => None,
            })
            .collect();
        texts.join("\n\n")
    }
}

/// Merges neighbours of one role, drops blank texts (Anthropic refuses them) and puts the results of
/// tools first, where both vendors want them.
pub(super) fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages {
        let parts: Vec<Part<'_>> = message.content.iter().filter_map(part).collect();
        match turns.last_mut() {
            _ if parts.is_empty() => {}
            Some(last) if last.role == message.role => last.parts.extend(parts),
            _ => turns.push(Turn { role: message.role, parts }),
        }
    }
    for turn in &mut turns {
        if turn.role == Role::User {
            turn.parts.sort_by_key(|part| !matches!(part, Part::ToolResult { .. }));
        }
    }
    if turns.first().is_none_or(|turn| turn.role == Role::Assistant) {
        turns.insert(0, Turn { role: Role::User, parts: vec![Part::Text(EARLIER)] });
    }
    turns
}

fn part(content: &Content) -> Option<Part<'_>> {
    match content {
        Content::Text(text) if text.trim().is_empty() => None,
        Content::Text(text) => Some(Part::Text(text)),
        Content::ToolUse { id, name, input } => Some(Part::ToolUse { id, name, input }),
        Content::ToolResult { id, text, is_error } => Some(Part::ToolResult { id, text, is_error: *is_error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[Message], expected: &[(Role, Vec<Part<'_>>)]) {
        let turns: Vec<_> = turns(messages).into_iter().map(|turn| (turn.role, turn.parts)).collect();
        assert_eq!(turns, expected);
    }

    #[test]
    fn neighbours_of_one_role_become_one_turn() {
        check(
            &[Message::text(Role::User, "a"), Message::text(Role::User, "b"), Message::text(Role::Assistant, "c")],
            &[(Role::User, vec![Part::Text("a"), Part::Text("b")]), (Role::Assistant, vec![Part::Text("c")])],
        );
    }

    #[test]
    fn a_blank_message_vanishes_and_its_neighbours_meet() {
        check(
            &[Message::text(Role::User, "a"), Message::text(Role::Assistant, " \n"), Message::text(Role::User, "b")],
            &[(Role::User, vec![Part::Text("a"), Part::Text("b")])],
        );
    }

    #[test]
    fn results_of_tools_come_before_words() {
        let result = Content::ToolResult { id: "1".into(), text: "free".into(), is_error: false };
        check(
            &[Message { role: Role::User, content: vec![Content::Text("and?".into()), result] }],
            &[(Role::User, vec![Part::ToolResult { id: "1", text: "free", is_error: false }, Part::Text("and?")])],
        );
    }

    #[test]
    fn a_conversation_that_opens_with_the_assistant_gets_a_first_user_turn() {
        let earlier = (Role::User, vec![Part::Text(EARLIER)]);
        check(&[Message::text(Role::Assistant, "a")], &[earlier.clone(), (Role::Assistant, vec![Part::Text("a")])]);
        check(&[], &[earlier]);
    }
}
