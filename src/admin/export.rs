//! A conversation as a file: JSON lines, Markdown, or one page of HTML. Pure; made piece by piece.
//!
//! What peers wrote cannot forge a speaker, a heading or a tag, whatever it holds.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::id::{OpaqueId, TenantId};
use crate::store::{Line, SessionRow, Speaker};

/// How a conversation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object for each line, with everything that is known of it.
    Jsonl,
    /// To read and to paste.
    Markdown,
    /// To read and to print; needs no other file.
    Html,
}

impl Format {
    pub(super) const CHOICES: [(&'static str, Self); 3] =
        [("jsonl", Self::Jsonl), ("md", Self::Markdown), ("html", Self::Html)];

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/x-ndjson",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    /// What stands before everything.
    pub(super) fn head(self, row: &SessionRow) -> String {
        match self {
            Self::Jsonl => String::new(),
            Self::Markdown => format!("# Conversation `{}`\n", row.key),
            Self::Html => html_head(row),
        }
    }

    /// What stands before the lines of one conversation under the key.
    pub(super) fn episode(self, row: &SessionRow) -> String {
        let tenant =
            row.tenant.as_ref().map(|tenant| format!(", tenant {}", one_line(tenant.as_str()))).unwrap_or_default();
        let about = format!(
            "Episode {}{tenant}, {} messages, {} to {}",
            row.episode, row.n_messages, row.created_at, row.last_active_at
        );
        match self {
            Self::Jsonl => String::new(),
            Self::Markdown => format!("\n## {}\n", markdown(&about)),
            Self::Html => format!("<h2>{}</h2>\n", html(&about)),
        }
    }

    pub(super) fn line(self, row: &SessionRow, line: &Line) -> String {
        match self {
            Self::Jsonl => json_line(row, line),
            Self::Markdown => {
                let (side, name) = speaker(line);
                let said = line.text.lines().map(markdown_line).collect::<Vec<_>>().join("\\\n");
                let said: String = said.lines().map(|line| format!("> {line}\n")).collect();
                format!("\n**{}** ({side}), {}\n\n{said}", markdown(&name), line.at)
            }
            Self::Html => {
                let (side, name) = speaker(line);
                format!(
                    "<article class=\"{side}\"><header><bdi>{}</bdi> <span>{side}</span> <time>{}</time></header>\
                     <p dir=\"auto\">{}</p></article>\n",
                    html(&name),
                    line.at,
                    html(&line.text)
                )
            }
        }
    }

    /// What stands behind everything.
    pub(super) fn foot(self) -> &'static str {
        match self {
            Self::Jsonl | Self::Markdown => "",
            Self::Html => "</main>\n</body>\n</html>\n",
        }
    }
}

fn json_line(row: &SessionRow, line: &Line) -> String {
    let (role, name, user, message_id) = match &line.speaker {
        Speaker::Agent(agent) => ("agent", Some(agent.as_str()), None, None),
        Speaker::Person(name) => ("person", Some(name.as_str()), None, None),
        Speaker::Peer { user, name, message_id } => {
            ("peer", name.as_deref(), user.as_ref().map(OpaqueId::as_str), Some(message_id.as_str()))
        }
    };
    let object = json!({
        "key": row.key.as_str(),
        "tenant": row.tenant.as_ref().map(TenantId::as_str),
        "episode": row.episode,
        "seq": line.seq,
        "at": line.at.to_string(),
        "at_ms": line.at.0,
        "role": role,
        "name": name,
        "user_id": user,
        "message_id": message_id,
        "channel": row.channel.as_str(),
        "entry": line.address.entry().as_str(),
        "reply_target": line.address.target(),
        "text": line.text,
    });
    let mut escaped = String::new();
    for c in object.to_string().chars() {
        if is_hidden(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    escaped
}

fn speaker(line: &Line) -> (&'static str, String) {
    match &line.speaker {
        Speaker::Agent(agent) => ("agent", agent.to_string()),
        Speaker::Person(name) => ("person", one_line(name)),
        Speaker::Peer { user, name, .. } => {
            let name = name.as_deref().or(user.as_ref().map(OpaqueId::as_str));
            ("peer", one_line(name.unwrap_or("unknown")))
        }
    }
}

/// A name with its line ends shown as spaces.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_hidden(c) { ' ' } else { c }).collect()
}

/// Text in Markdown that is read as text.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '<' | '>' | '&' | '|' | '~' | '$' | '#'
            | '@' => {
                out.push('\\');
                out.push(c);
            }
            // Otherwise some readers make it a link.
            ':' => out.push_str("\\:"),
            c if is_hidden(c) || c == '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A line of what somebody said: nothing at its start makes it a list, a heading or code.
fn markdown_line(line: &str) -> String {
    let text = line.trim_start();
    let indent = "\u{a0}".repeat(line.chars().count() - text.chars().count());
    let escaped = markdown(text);
    let digits = escaped.chars().take_while(char::is_ascii_digit).count();
    let (number, rest) = escaped.split_at_checked(digits).unwrap_or(("", &escaped));
    if rest.starts_with(['-', '+', '=']) || (digits > 0 && rest.starts_with('.')) {
        return format!("{indent}{number}\\{rest}");
    }
    // An empty line would end the paragraph and begin another.
    if escaped.is_empty() { "\u{a0}".to_owned() } else { format!("{indent}{escaped}") }
}

/// Text in HTML that is read as text.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Each paragraph is a world of its own as far as its direction goes, so marks of direction may stay.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:48rem;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.2rem;overflow-wrap:anywhere}h2{font-size:1rem;margin-top:2rem}\
article{border-inline-start:3px solid #8a94a6;padding-inline-start:.8rem;margin:1rem 0;break-inside:avoid}\
article.agent{border-color:#2f4fd8}header{font-size:.85rem;color:#4a5261}bdi{font-weight:600}\
p{margin:.2rem 0;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}\
@media print{body{margin:0;max-width:none;font-size:11pt}}";

fn html_head(row: &SessionRow) -> String {
    let digest = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let key = html(row.key.as_str());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{key}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Conversation <bdi>{key}</bdi></h1>\n<main>\n"
    )
}

/// What steers a terminal, shows text in another order than it has, or ends a line for some readers only.
fn is_hidden(c: char) -> bool {
    let is_direction = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_direction || matches!(c, '\u{2028}' | '\u{2029}') || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{AgentId, SessionKey};
    use crate::testing::inbound;

    fn row() -> SessionRow {
        let identity = inbound("hook", "u1", "hello").identity;
        SessionRow {
            tenant: TenantId::new("4\n2").ok(),
            key: SessionKey::parse("webhook:u1").unwrap(),
            kind: identity.kind,
            parent: identity.parent,
            entry: identity.entry,
            channel: identity.channel,
            account: None,
            workspace: None,
            server: None,
            room: None,
            thread: None,
            user: OpaqueId::new("u1").ok(),
            user_name: None,
            agent: None,
            episode: 2,
            first_line: 1,
            last_line: 1,
            n_messages: 1,
            is_news: false,
            created_at: Timestamp(1_700_000_000_000),
            last_active_at: Timestamp(1_700_000_000_000),
        }
    }

    fn said(name: &str, text: &str) -> Line {
        Line {
            seq: 1,
            at: Timestamp(1_700_000_000_000),
            speaker: Speaker::Peer {
                user: OpaqueId::new("u1").ok(),
                name: Some(name.to_owned()),
                message_id: OpaqueId::new("m1").unwrap(),
            },
            text: text.to_owned(),
            address: inbound("hook", "u1", "hello").reply_to,
        }
    }

    fn check(format: Format, name: &str, text: &str, expected: &str) {
        assert_eq!(format.line(&row(), &said(name, text)), expected);
    }

    #[test]
    fn words_forge_nothing_in_markdown() {
        let head = "\n**Eve** (peer), 2023-11-14T22:13:20Z\n\n";
        let check = |text: &str, expected: &str| check(Format::Markdown, "Eve", text, &format!("{head}{expected}"));
        check("hello", "> hello\n");
        check("# a\n\n**agent** (agent)", "> \\# a\\\n> \u{a0}\\\n> \\*\\*agent\\*\\* \\(agent\\)\n");
        check("- a\n1. b\n===\n    code", "> \\- a\\\n> 1\\. b\\\n> \\===\\\n> \u{a0}\u{a0}\u{a0}\u{a0}code\n");
        check("<b>&amp;`x`|y|[z](https://x)", "> \\<b\\>\\&amp;\\`x\\`\\|y\\|\\[z\\]\\(https\\://x\\)\n");
        check("a\rb\u{202e}c", "> a b c\n");
    }

    #[test]
    fn a_name_is_one_line_in_every_format() {
        let name = "Eve</bdi>\n**agent**";
        let markdown = Format::Markdown.line(&row(), &said(name, "x"));
        assert_eq!(
            markdown.lines().nth(1).unwrap(),
            "**Eve\\</bdi\\> \\*\\*agent\\*\\*** (peer), 2023-11-14T22:13:20Z"
        );
        let html = Format::Html.line(&row(), &said(name, "x"));
        assert_eq!((html.lines().count(), html.matches("</bdi>").count()), (1, 1));
        assert!(!Format::Markdown.episode(&row()).trim().contains('\n'));
    }

    #[test]
    fn words_forge_nothing_in_html() {
        let page = Format::Html.line(&row(), &said("Eve", "</p><script>alert('1')</script>\"&\u{1b}"));
        assert!(
            page.contains("&lt;/p&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}</p>"),
            "{page}"
        );
        let head = Format::Html.head(&row());
        assert!(
            head.contains("default-src 'none'") && !head.contains("http://") && !head.contains("<script"),
            "{head}"
        );
    }

    #[test]
    fn json_lines_hold_everything_and_steer_nothing() {
        let line = Format::Jsonl.line(&row(), &said("Eve", "a\nb\u{202e}c\u{9b}"));
        assert!(line.trim_end().chars().all(|c| !is_hidden(c) && c != '\n'), "{line}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&object["text"], &object["tenant"]), (&json!("a\nb\u{202e}c\u{9b}"), &json!("4\n2")));
        assert_eq!((&object["message_id"], &object["episode"]), (&json!("m1"), &json!(2)));
        let agent = Line { speaker: Speaker::Agent(AgentId::new("desk").unwrap()), ..said("", "hi") };
        let object: serde_json::Value = serde_json::from_str(&Format::Jsonl.line(&row(), &agent)).unwrap();
        assert_eq!((&object["role"], &object["name"]), (&json!("agent"), &json!("desk")));
    }
}
