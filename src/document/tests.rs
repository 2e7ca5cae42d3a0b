use proptest::prelude::*;

use super::*;

struct Nothing;

impl Variables for Nothing {
    fn get(&self, _: &str) -> Option<String> {
        None
    }
}

/// One variable, `S`.
struct Only(String);

impl Variables for Only {
    fn get(&self, name: &str) -> Option<String> {
        (name == "S").then(|| self.0.clone())
    }
}

/// Takes everything that is there as everything that it is not.
fn read_all(mut section: Section<'_>, keys: &[String], depth: usize) {
    for key in keys {
        section.take_string(key);
        section.take_secret(key);
        section.take_parsed(key, |text| Err::<(), _>(format!("not good: {text:?}")));
        section.take_choice(key, &[("main", 0)]);
        section.take_bool(key);
        section.take_integer(key, 1..=9);
        section.take_strings(key);
        section.take_lists_by_name(key);
        section.missing(key, "help");
        section.problem(Severity::Warning, key, "message", None);
        if depth > 0 {
            section.take_section(key).into_iter().for_each(|inner| read_all(inner, keys, depth - 1));
            section.take_sections(key).into_iter().for_each(|inner| read_all(inner, keys, depth - 1));
        }
    }
    assert_eq!(section.fingerprint(), section.fingerprint());
    section.finish();
}

fn survive(text: &str) {
    for document in [Document::parse_toml("t", text), Document::parse_yaml("y", text)] {
        let problems = match document {
            Ok(document) => {
                let keys: Vec<_> = document.table.entries.iter().take(8).map(|entry| entry.key.clone()).collect();
                read_all(document.root(&Nothing), &keys, 3);
                document.problems()
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "{text:?}");
                problems
            }
        };
        // In YAML a carriage return alone ends a line too.
        let n_lines = text.matches(['\n', '\r']).count() + 2;
        for problem in problems {
            assert!(problem.line >= 1 && problem.line <= n_lines && problem.column >= 1, "{text:?}: {problem}");
            assert!(!problem.to_string().contains('\n'), "{text:?}: {problem}");
        }
    }
}

/// Pieces of both syntaxes, put together in no order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "dmScope",
        "dm_scope",
        ": ",
        ":",
        " = ",
        "=",
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "- ",
        "? ",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        ", ",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "#",
        " # c",
        "&x ",
        "*x",
        "<<",
        "!",
        "!!str ",
        "!t ",
        "|",
        ">",
        "|-\n",
        "---",
        "\n---\n",
        "...\n",
        "%YAML 1.2\n",
        "%TAG ! x\n",
        "${A}",
        "$${",
        "${",
        "1",
        "42",
        "-1",
        "1.5",
        "1e9",
        "0x1",
        "true",
        "null",
        "~",
        "2026-01-01",
        "\t",
        "\r\n",
        "\r",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "é",
        "😀",
        "\0",
        "\\",
        "\\x",
        "\\u12",
        "\\\n",
        ".",
        "..",
        "a.b",
        " ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A value and how both syntaxes write it.
#[derive(Debug, Clone)]
enum Sample {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Sample>),
    Table(Vec<(String, Sample)>),
}

impl Sample {
    fn toml(&self) -> String {
        match self {
            Self::Table(entries) => {
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key} = {}", value.toml())).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Self::List(items) => format!("[{}]", items.iter().map(Self::toml).collect::<Vec<_>>().join(", ")),
            other => other.scalar(),
        }
    }

    /// In block style, so that the two have nothing in common.
    fn yaml(&self, indent: usize) -> String {
        let margin = " ".repeat(indent);
        match self {
            Self::Table(entries) if !entries.is_empty() => entries.iter().fold(String::new(), |text, (key, value)| {
                format!("{text}\n{margin}{}: {}", spelling::camel_case(key), value.yaml(indent + 2))
            }),
            Self::List(items) if !items.is_empty() => {
                items.iter().fold(String::new(), |text, item| format!("{text}\n{margin}- {}", item.yaml(indent + 2)))
            }
            Self::Table(_) => "{}".into(),
            Self::List(_) => "[]".into(),
            other => other.scalar(),
        }
    }

    fn scalar(&self) -> String {
        match self {
            Self::Bool(b) => b.to_string(),
            Self::Integer(n) => n.to_string(),
            Self::Float(n) => format!("{n:?}"),
            Self::Text(text) => {
                let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
                format!("\"{escaped}\"")
            }
            Self::List(_) | Self::Table(_) => String::new(),
        }
    }
}

fn entries(value: impl Strategy<Value = Sample>) -> impl Strategy<Value = Vec<(String, Sample)>> {
    let key = "[a-z]{1,3}(_[a-z]{1,3}){0,2}";
    prop::collection::btree_map(key, value, 0..5).prop_map(|map| map.into_iter().collect())
}

fn sample() -> impl Strategy<Value = Sample> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Sample::Bool),
        any::<i64>().prop_map(Sample::Integer),
        (-1e6..1e6).prop_map(Sample::Float),
        any::<String>().prop_map(Sample::Text),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Sample::List),
            entries(inner).prop_map(Sample::Table)
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn no_soup_of_syntax_makes_it_panic(text in soup()) {
        survive(&text);
    }

    #[test]
    fn no_problem_shows_what_a_variable_stands_for(
        value in ".{8,40}",
        texts in prop::collection::vec("[a-z ]{0,3}(\\$\\{S\\})?[a-z ]{0,3}", 1..5),
    ) {
        let yaml: String = texts.iter().enumerate().map(|(n, text)| format!("k{n}: [\"{text}\"]\nt{n}: \"{text}\"\n")).collect();
        let document = Document::parse_yaml("y", &yaml).unwrap();
        let keys: Vec<_> = document.table.entries.iter().map(|entry| entry.key.clone()).collect();
        read_all(document.root(&Only(value.clone())), &keys, 1);
        for problem in document.problems() {
            prop_assert!(!problem.to_string().contains(&value), "{}", problem);
        }
    }

    #[test]
    fn equal_content_has_equal_fingerprints(content in entries(sample())) {
        let toml: String = content.iter().map(|(key, value)| format!("{key} = {}\n", value.toml())).collect();
        let yaml = Sample::Table(content.into_iter().rev().collect()).yaml(0);
        let digest = |document: Result<Document, Vec<Problem>>| {
            let document = document.map_err(|problems| format!("{problems:?}\n{toml}\n{yaml}"));
            document.map(|document| {
                let root = document.root(&Nothing);
                let digest = root.fingerprint();
                root.abandon();
                digest
            })
        };
        prop_assert_eq!(digest(Document::parse_toml("t", &toml)), digest(Document::parse_yaml("y", &yaml)));
    }
}

#[test]
fn texts_that_broke_other_readers_are_survived() {
    let corpus = [
        "\u{feff}",
        "\u{feff}\u{feff}a: 1",
        "\r",
        "\r\n\r\n",
        "\0",
        "a: \0",
        "%",
        "%YAML",
        "%YAML 1.2",
        "%TAG",
        "---\n---",
        "...",
        "--- |\n",
        "--- >",
        "a: |",
        "a: |9\n",
        "a: |+\n\n\n",
        "a: >-2\n x",
        "? ",
        "?",
        "? ?",
        ":",
        ": :",
        "- :",
        "[",
        "]",
        "{",
        "}",
        "[,]",
        "{,}",
        "[[],",
        "{a",
        "{a:",
        "{a: [",
        "a: }",
        "a: ]",
        "\"",
        "'",
        "\"\\",
        "\"\\x",
        "\"\\u",
        "\"\\UFFFFFFFF\"",
        "a: \"\\uD800\"",
        "a = \"\\uD800\"",
        "a: 'x",
        "!",
        "!!",
        "!<",
        "!<>",
        "! a",
        "!a!b c",
        "&",
        "*",
        "& a",
        "&a &b c",
        "*a: b",
        "&a",
        "a: &a",
        "- - - - -",
        "a:\n b\n c",
        "a: b: c",
        "a:\n\t- b",
        "\t",
        "\ta: b",
        "a: #",
        "#",
        "a = ",
        "= 1",
        "a.",
        ".a",
        "a..b = 1",
        "[]",
        "[[]]",
        "[a",
        "[[a]",
        "[a.]",
        "a = [",
        "a = {",
        "a = {b",
        "a = '''",
        "a = \"\"\"",
        "a = 1__0",
        "a = 0x",
        "a = 1e",
        "a = +",
        "a = .5",
        "a = inf",
        "a = -nan",
        "a = 99999999999999999999",
        "a = 0000-00-00",
        "a = 25:61",
        "[a]\n[[a]]",
        "[[a]]\n[a]",
        "a.b = 1\n[a]",
        "a = {b.c = 1, b.d = 2}",
        "a = {b = 1}\na.c = 2",
        "a: 1e999999999",
        "a: -0",
        "a: +",
        "a: 0o",
        "a: .",
        "a: \u{2028}b",
        "a\u{85}: b",
        "é: é",
        "😀: \"😀",
        "\u{7f}",
        "a: \"x\ny\"",
        "a: \"x\n---\ny\"",
        "? |\n a\n: b",
        "? - a\n: - b",
        "{? a: b}",
        "[? a: b]",
        "[a: b, c]",
        "{a, b}",
        "\"a\":b",
        "{\"a\":b}",
    ];
    corpus.iter().for_each(|text| survive(text));
    // And every beginning of something long.
    for text in [GUIDE_YAML, NATIVE_TOML] {
        text.char_indices().for_each(|(end, _)| survive(text.get(..end).unwrap_or_default()));
    }
}

#[test]
fn a_file_that_is_too_long_is_refused_unread() {
    let text = format!("# {}", "x".repeat(MAX_BYTES));
    for problems in [Document::parse_toml("f", &text), Document::parse_yaml("f", &text)].map(Result::unwrap_err) {
        assert_eq!(problems[0].to_string(), "f:1:1: the file is 1048578 bytes long; at most 1048576 are read");
    }
}

/// As guides of `OpenClaw` print it.
const GUIDE_YAML: &str = r#"session:
  dmScope: per-channel-peer
  keyFormat: "tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}"
  ttlDays: 30
  storage: sqlite               # accepted: served by the embedded redb store, said so at start and in status
  storagePath: ~/.openclaw/sessions.db
channels:
  - type: slack
    botToken: ${SLACK_BOT_TOKEN}
    signingSecret: ${SLACK_SIGNING_SECRET}
    tenant_id: "42"
  - type: webchat
    publicUrl: https://chat.example.com
    tenant_id: "42"
agents:
  - name: agent-acme
routing:
  - "slack:T09ABC*:* -> agent-acme"
"#;

const NATIVE_TOML: &str = r#"default_agent = "reception"
routing = ["webhook:* -> reception"]

[gateway]
port = 18789
bind = "127.0.0.1"              # the image sets the local network

[session]
dm_scope = "per-channel-peer"
ttl_days = 30

[[providers]]
name = "local"
kind = "openai"                 # openai | anthropic | demo
base_url = "http://127.0.0.1:8080/v1"
api_key = "${LOCAL_MODEL_KEY}"
model = "qwen"

[[agents]]                      # none: one agent named default on the first provider
name = "reception"
provider = "local"
soul = "reception/SOUL.md"

[[channels]]
id = "hook42"                   # default: the type, numbered when it repeats
type = "webhook"
tenant_id = "42"
secret = "${HOOK_SECRET}"
reply_url = "https://example.com/replies"
"#;

/// Answers every variable with its own name.
struct Echoed;

impl Variables for Echoed {
    fn get(&self, name: &str) -> Option<String> {
        Some(format!("<{name}>"))
    }
}

#[test]
fn the_yaml_of_the_guide_reads() {
    let document = Document::parse_yaml("config.yml", GUIDE_YAML).unwrap();
    let mut root = document.root(&Echoed);
    let mut session = root.take_section("session").unwrap();
    assert_eq!(session.take_string("dm_scope").unwrap(), "per-channel-peer");
    assert_eq!(
        session.take_string("key_format").unwrap(),
        "tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}"
    );
    assert_eq!(session.take_integer("ttl_days", 0..=36_500), Some(30));
    assert_eq!(session.take_string("storage").unwrap(), "sqlite");
    assert_eq!(session.take_string("storage_path").unwrap(), "~/.openclaw/sessions.db");
    session.finish();
    let mut channels = root.take_sections("channels");
    assert_eq!(channels.len(), 2);
    assert_eq!(channels[0].take_string("type").unwrap(), "slack");
    assert_eq!(channels[0].take_secret("bot_token").unwrap().expose(), "<SLACK_BOT_TOKEN>");
    assert_eq!(channels[0].take_secret("signing_secret").unwrap().expose(), "<SLACK_SIGNING_SECRET>");
    assert_eq!(channels[0].take_string("tenant_id").unwrap(), "42");
    assert_eq!(channels[1].take_string("type").unwrap(), "webchat");
    assert_eq!(channels[1].take_string("public_url").unwrap(), "https://chat.example.com");
    assert_eq!(channels[1].take_string("tenant_id").unwrap(), "42");
    drop(channels);
    assert_eq!(root.take_sections("agents")[0].take_string("name").unwrap(), "agent-acme");
    assert_eq!(root.take_strings("routing"), ["slack:T09ABC*:* -> agent-acme"]);
    root.finish();
    assert_eq!(document.problems(), []);
}

#[test]
fn the_native_toml_reads() {
    let document = Document::parse_toml("config.toml", NATIVE_TOML).unwrap();
    let mut root = document.root(&Echoed);
    assert_eq!(root.take_string("default_agent").unwrap(), "reception");
    assert_eq!(root.take_strings("routing"), ["webhook:* -> reception"]);
    assert_eq!(root.take_section("gateway").unwrap().fingerprint().len(), 32);
    assert_eq!(root.take_sections("providers")[0].take_secret("api_key").unwrap().expose(), "<LOCAL_MODEL_KEY>");
    assert_eq!(root.take_sections("channels")[0].take_string("tenant_id").unwrap(), "42");
    for key in ["agents", "session"] {
        assert!(root.has(key));
    }
    root.finish();
    let paths: Vec<_> = document.problems().into_iter().map(|problem| problem.path).collect();
    let expected = ["gateway.port", "gateway.bind", "providers[0].name", "providers[0].kind", "providers[0].base_url"];
    assert_eq!(paths[..5], expected);
}
