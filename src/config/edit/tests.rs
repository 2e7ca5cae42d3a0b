use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

/// What a text says, read by other means than those that change it.
fn said(text: &str) -> Json {
    fn of_value(value: &Written) -> Json {
        match value {
            Written::String(text) => json!(text.value()),
            Written::Integer(n) => json!(n.value()),
            Written::Float(n) => json!(n.value()),
            Written::Boolean(flag) => json!(flag.value()),
            Written::Datetime(date) => json!(date.value().to_string()),
            Written::Array(array) => array.iter().map(of_value).collect(),
            Written::InlineTable(table) => table.iter().map(|(key, one)| (key.to_owned(), of_value(one))).collect(),
        }
    }
    fn of_item(item: &Item) -> Json {
        match item {
            Item::None => Json::Null,
            Item::Value(value) => of_value(value),
            Item::Table(table) => of_table(table),
            Item::ArrayOfTables(tables) => tables.iter().map(of_table).collect(),
        }
    }
    fn of_table(table: &Table) -> Json {
        table.iter().map(|(key, one)| (key.to_owned(), of_item(one))).collect()
    }
    let document = toml_edit::Document::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    of_table(document.as_table())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Flag(flag) => json!(flag),
        Value::Integer(n) => json!(n),
        Value::Number(n) => json!(n),
        Value::Text(text) => json!(text),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Table(entries) => entries.iter().map(|(key, value)| (key.clone(), json(value))).collect(),
    }
}

/// The same change of what is said. `None`: it is refused.
fn model(said: &Json, change: &Change) -> Option<Json> {
    fn within(table: &mut Map<String, Json>, steps: &[Step], act: &Act) -> Option<()> {
        let (step, rest) = steps.split_first()?;
        let snake = |name: &str| -> String {
            name.chars()
                .map(|c| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.into() })
                .collect()
        };
        let found = table.keys().find(|key| **key == step.key.name);
        let other = table.keys().find(|key| !step.key.is_exact && snake(key) == snake(&step.key.name));
        let key = found.or(other).unwrap_or(&step.key.name).clone();
        match (&step.pick, rest) {
            (None, []) => match act {
                Act::Remove => {
                    table.remove(&key);
                }
                Act::Set(value) => {
                    table.insert(key, json(value));
                }
                Act::Append(value) => {
                    table.entry(key).or_insert_with(|| json!([])).as_array_mut()?.push(json(value));
                }
            },
            (None, rest) => {
                if !table.contains_key(&key) && *act == Act::Remove {
                    return Some(());
                }
                within(table.entry(key).or_insert_with(|| json!({})).as_object_mut()?, rest, act)?;
            }
            (Some(pick), rest) => {
                let list = table.get_mut(&key)?.as_array_mut()?;
                let n = match pick {
                    Pick::Number(n) => *n,
                    Pick::With { key, text } => {
                        let mut found = list.iter().enumerate().filter(|(_, one)| one[key] == json!(text));
                        let n = found.next()?.0;
                        if found.next().is_some() {
                            return None;
                        }
                        n
                    }
                };
                match (rest, act) {
                    ([], Act::Remove) if n < list.len() => {
                        list.remove(n);
                    }
                    ([], Act::Set(value)) => *list.get_mut(n)? = json(value),
                    ([], _) => return None,
                    (rest, act) => within(list.get_mut(n)?.as_object_mut()?, rest, act)?,
                }
            }
        }
        Some(())
    }
    let mut said = said.clone();
    within(said.as_object_mut()?, &path::parse(&change.path).ok()?, &change.act)?;
    Some(said)
}

/// Dotted keys cannot say that a table is there and empty, which means the same as no table.
fn pruned(json: Json) -> Json {
    match json {
        Json::Object(table) => {
            let table = table.into_iter().map(|(key, one)| (key, pruned(one)));
            table.filter(|(_, one)| *one != json!({})).collect()
        }
        Json::Array(list) => list.into_iter().map(pruned).collect(),
        other => other,
    }
}

fn check(text: &str, changes: &[Change], expected: &str) {
    let edited = edit(text, changes).unwrap();
    assert_eq!(edited, expected, "\n--- is\n{edited}--- should be\n{expected}");
}

#[test]
fn a_value_changes_and_nothing_around_it() {
    let text = "# Ours\n\n[session]   # who talks\n# apart\ndmScope = \"main\"  # not yet\nttl_days=30\n";
    let expected = text.replace("\"main\"", "\"per-peer\"");
    check(text, &[Change::set("session.dm_scope", "per-peer")], &expected);
    check(text, &[Change::set("session.ttl_days", 7_i64)], &text.replace("=30", "=7"));
    check(text, &[Change::set("session.ttl_days", 30_i64)], text);
    check(text, &[Change::set("session.says_new", false)], &format!("{text}says_new = false\n"));
}

#[test]
fn a_file_that_is_not_there_is_made() {
    check("", &[Change::set("session.dm_scope", "per-peer")], "[session]\ndm_scope = \"per-peer\"\n");
    let hook = Value::table([("type", Some(Value::from("webhook"))), ("secret", Some("${S}".into())), ("x", None)]);
    check("", &[Change::append("channels", hook.clone())], "[[channels]]\ntype = \"webhook\"\nsecret = \"${S}\"\n");
    let both = [Change::set("default_agent", "a"), Change::append("channels", hook)];
    check("", &both, "default_agent = \"a\"\n\n[[channels]]\ntype = \"webhook\"\nsecret = \"${S}\"\n");
    check(
        "",
        &[Change::set("session.identity_links.\"a b\"", vec!["slack:U1".to_owned()])],
        "[session.identity_links]\n\"a b\" = [\"slack:U1\"]\n",
    );
}

#[test]
fn a_comment_at_the_top_stays_at_the_top() {
    let text = "# The desk of Pine Street\n\n# where\n[gateway]\nport = 1\n";
    let expected = "# The desk of Pine Street\n\ndefault_agent = \"a\"\n\n# where\n[gateway]\nport = 1\n";
    check(text, &[Change::set("default_agent", "a")], expected);
    check("# alone\n", &[Change::set("default_agent", "a")], "# alone\ndefault_agent = \"a\"\n");
    check("# alone\n", &[Change::set("a.b", 1_i64)], "# alone\n\n[a]\nb = 1\n");
}

#[test]
fn elements_are_found_by_what_they_say() {
    let text = "[[channels]]\ntype = \"slack\"\n\n[[channels]]\ntype = \"slack\" # two\n\n[[channels]]\nid = \"h\"\ntype = \"webhook\"\n";
    let edited = |path: &str| {
        edit(text, &[Change::set(path, "x")])
            .map(|edited| edited.lines().position(|line| line.starts_with("account")).unwrap())
    };
    assert_eq!(edited("channels[id=slack].account"), Ok(2));
    assert_eq!(edited("channels[id=slack-2].account"), Ok(5));
    assert_eq!(edited("channels[id=h].account"), Ok(9));
    assert_eq!(edited("channels[2].account"), Ok(9));
    assert!(matches!(edited("channels[type=slack].account"), Err(EditError::Several { .. })));
    assert!(matches!(edited("channels[id=x].account"), Err(EditError::NoSuch { .. })));
    assert!(matches!(edited("channels[9].account"), Err(EditError::NoSuch { .. })));
    assert!(matches!(edited("channels.account"), Err(EditError::Other { .. })));
    assert!(matches!(edit("a = 1", &[Change::set("a.b", 1_i64)]), Err(EditError::Other { .. })));
}

#[test]
fn one_more_element_goes_behind_the_last_with_what_is_said_of_that() {
    let text = "[[channels]]\nid = \"a\"\n# key = \"x\"\n\n# about the session\n[session]\nttl_days = 1\n# end\n";
    let b = || Value::table([("id", Some(Value::from("b")))]);
    let expected = "[[channels]]\nid = \"a\"\n# key = \"x\"\n\n[[channels]]\nid = \"b\"\n\n# about the session\n[session]\nttl_days = 1\n# end\n";
    check(text, &[Change::append("channels", b())], expected);
    let expected = format!("{text}\n[[agents]]\nid = \"b\"\n");
    check(text, &[Change::append("agents", b())], &expected);
    check("channels = [] # none\n", &[Change::append("channels", b())], "[[channels]]\nid = \"b\"\n");
    check(
        "channels = [{ id = \"a\" }]\n",
        &[Change::append("channels", b())],
        "channels = [{ id = \"a\" }, { id = \"b\" }]\n",
    );
}

#[test]
fn what_is_removed_takes_its_own_comments_along_and_no_others() {
    let text = "# All\n\n# of a\n[[channels]]\nid = \"a\" # hm\n\n# of b\n[[channels]]\nid = \"b\"\n\n# End\n";
    let expected = "# All\n\n# of b\n[[channels]]\nid = \"b\"\n\n# End\n";
    check(text, &[Change::remove("channels[id=a]")], expected);
    let without_b = "# All\n\n# of a\n[[channels]]\nid = \"a\" # hm\n\n# End\n";
    check(text, &[Change::remove("channels[id=b]")], without_b);
    check(text, &[Change::remove("channels[0]"), Change::remove("channels[0]")], "# All\n\nchannels = []\n\n# End\n");
    let text = "a = 1\n\n# on its own\n\n# of b\nb = 2 # b\nc = 3\n";
    check(text, &[Change::remove("b")], "a = 1\n\n# on its own\n\nc = 3\n");
    check(text, &[Change::remove("nothing.there")], text);
}

#[test]
fn lists_keep_the_lines_of_what_stays() {
    let text = "routing = [\n  # first\n  \"a -> x\", # why a\n  \"b -> y\", # why b\n]\n";
    let expected = text.replace("b -> y", "b -> z");
    check(text, &[Change::set("routing[1]", "b -> z")], &expected);
    check(text, &[Change::remove("routing[1]")], "routing = [\n  # first\n  \"a -> x\", # why a\n]\n");
    check(text, &[Change::remove("routing[0]")], "routing = [\n  \"b -> y\", # why b\n]\n");
    let longer = text.replace("]\n", "  \"c -> x\",\n]\n");
    check(text, &[Change::append("routing", "c -> x")], &longer);
    let texts = |texts: &[&str]| Value::from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    check(text, &[Change::set("routing", texts(&["a -> x", "b -> y", "c -> x"]))], &longer);
    check(&longer, &[Change::set("routing", texts(&["a -> x", "b -> y"]))], text);
    check("a = [1, 2]\n", &[Change::append("a", 3_i64)], "a = [1, 2, 3]\n");
    check("a = [ 1 ]\n", &[Change::append("a", 3_i64)], "a = [ 1, 3 ]\n");
    check("a = [ 1, 2 ]\n", &[Change::remove("a[1]")], "a = [ 1 ]\n");
    check("a = []\n", &[Change::append("a", 3_i64)], "a = [3]\n");
}

#[test]
fn every_way_of_writing_a_table_stays_what_it_is() {
    let to = [Change::set("session.dm_scope", "x"), Change::set("session.identity_links.\"al\"", vec!["a".to_owned()])];
    check("session = {}\n", &to, "session = { dm_scope = \"x\", identity_links = { al = [\"a\"] } }\n");
    check("session.ttl = 1\n", &to, "session.ttl = 1\nsession.dm_scope = \"x\"\nsession.identity_links.al = [\"a\"]\n");
    check("[session]\n[b]\n", &to, "[session]\ndm_scope = \"x\"\n\n[session.identity_links]\nal = [\"a\"]\n[b]\n");
}

#[test]
fn what_a_path_says_is_read_as_it_is_written() {
    let text = "[session]\ndmScope = \"x\"\n[[channels]]\ntype = \"slack\"\nallow = [\"${A}\"]\n[[channels]]\ntype = \"slack\"\nn = 1\n";
    let check = |path: &str, expected: Option<Value>| assert_eq!(read(text, path), expected, "{path}");
    check("session.dm_scope", Some("x".into()));
    check("session.\"dm_scope\"", None);
    check("channels[id=slack].allow", Some(vec!["${A}".to_owned()].into()));
    check("channels[id=slack].allow[0]", Some("${A}".into()));
    check("channels[id=slack-2].n", Some(1_i64.into()));
    check("channels[2].n", None);
    check("session[", None);
}

#[test]
fn line_ends_and_the_mark_at_the_beginning_stay() {
    check(
        "\u{feff}a = 1\r\n# x\r\nb = 2\r\n",
        &[Change::set("c", "x\ny")],
        "\u{feff}a = 1\r\n# x\r\nb = 2\r\nc = \"x\\ny\"\r\n",
    );
}

#[test]
fn what_cannot_be_read_is_not_changed() {
    let error = edit("a = 1\nb = \"hunter2", &[Change::set("a", 2_i64)]).unwrap_err();
    assert!(error.to_string().contains("line 2") && !error.to_string().contains("hunter2"), "{error}");
}

/// A file as people write it: of all shapes, with comments everywhere. Each comment is there once.
fn file() -> impl Strategy<Value = String> {
    let scalar = || {
        prop_oneof![
            (0_i64..9).prop_map(|n| n.to_string()),
            "[a-z]{0,4}".prop_map(|text| format!("{text:?}")),
            Just("true".to_owned()),
            Just("'${X}'".to_owned()),
            proptest::collection::vec(0_i64..9, 0..3).prop_map(|list| format!("{list:?}")),
            proptest::collection::vec(0_i64..9, 1..4).prop_map(|list| {
                let lines: String = list.iter().map(|n| format!("  {n}, #@\n")).collect();
                format!("[ #@\n{lines}  #@\n]")
            }),
            (0_i64..9).prop_map(|n| format!("{{ p = {n}, q = \"x\" }}")),
        ]
    };
    let line = move |prefix: &'static str| {
        (0_usize..3, scalar(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            move |(key, value, has_comment, has_own, has_blank)| {
                let key = ["dm_scope", "ttlDays", "n"][key];
                let own = if has_own { "#@\n" } else { "" };
                let blank = if has_blank { "\n" } else { "" };
                let comment = if has_comment { " #@" } else { "" };
                (key, format!("{blank}{own}{prefix}{key} = {value}{comment}\n"))
            },
        )
    };
    let lines = move |prefix: &'static str| {
        proptest::collection::vec(line(prefix), 0..4).prop_map(|mut lines| {
            lines.sort_by_key(|(key, _)| *key);
            lines.dedup_by_key(|(key, _)| *key);
            lines.into_iter().map(|(_, line)| line).collect::<String>()
        })
    };
    let element = move || {
        (lines(""), "[a-c]", any::<bool>(), any::<bool>()).prop_map(|(lines, id, has_id, has_below)| {
            let id = if has_id { format!("id = \"{id}\"\n") } else { String::new() };
            let below = if has_below { "#@\n[channels.below]\nz = 1 #@\n" } else { "" };
            format!("\n#@\n\n#@\n[[channels]] #@\n{id}{lines}{below}")
        })
    };
    let blocks = (
        lines(""),
        prop_oneof![
            Just(String::new()),
            lines("").prop_map(|lines| format!("\n#@\n[session] #@\n{lines}")),
            lines("session.")
        ],
        proptest::collection::vec(element(), 0..3),
        prop_oneof![Just(String::new()), lines("").prop_map(|lines| format!("#@\n[gateway]\n{lines}#@\n"))],
        prop_oneof![Just(""), Just("#@\n"), Just("\n#@\n\n#@\n")],
        any::<bool>(),
    );
    blocks.prop_map(|(top, session, channels, gateway, end, is_session_last)| {
        let is_dotted = session.contains("session.");
        let [first, last] = match is_session_last && !is_dotted {
            true => [String::new(), session],
            false => [session, String::new()],
        };
        let text = format!("#@\n{top}{first}{}{gateway}{last}{end}", channels.concat());
        // So that each can be looked for.
        let mut n = 0;
        text.split("#@").fold(String::new(), |numbered, piece| {
            n += 1;
            if n == 1 { piece.to_owned() } else { format!("{numbered}# c{n}.{piece}") }
        })
    })
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::Flag),
        any::<i64>().prop_map(Value::Integer),
        (-9.0..9.0).prop_map(Value::Number),
        any::<String>().prop_map(Value::Text),
    ];
    scalar.prop_recursive(2, 6, 3, |below| {
        let table = proptest::collection::btree_map("[a-z]{1,3}", below.clone(), 0..3);
        prop_oneof![
            proptest::collection::vec(below, 0..3).prop_map(Value::List),
            table.prop_map(|entries| Value::Table(entries.into_iter().collect())),
        ]
    })
}

fn change() -> impl Strategy<Value = Change> {
    let path = prop_oneof![
        "(default_agent|session|channels|gateway|dm_scope|ttl_days|n)",
        "(session|gateway|other)\\.(dm_scope|dmScope|ttl_days|n|new)",
        "(session|other)\\.links\\.(\"a b\"|\"aB\"|x)",
        "channels\\[(0|1|2|id=a|id=b)\\](\\.(dm_scope|ttl_days|id|new|below|below\\.z|below\\.y))?",
        "(n|session\\.n)\\[[0-2]\\]",
    ];
    let act = prop_oneof![
        3 => value().prop_map(Act::Set),
        2 => value().prop_map(Act::Append),
        2 => Just(Act::Remove),
    ];
    (path, act).prop_map(|(path, act)| Change { path, act })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_change_of_the_text_is_a_change_of_what_it_says(text in file(), changes in proptest::collection::vec(change(), 1..4)) {
        let expected = changes.iter().try_fold(said(&text), |said, change| model(&said, change));
        match (edit(&text, &changes), expected) {
            (Ok(edited), Some(expected)) => prop_assert_eq!(pruned(said(&edited)), pruned(expected), "\n{}\n---\n{}", text, edited),
            (Ok(edited), None) => prop_assert!(false, "not refused: {:?}\n{}\n---\n{}", changes, text, edited),
            (Err(_), None) => {}
            // What is written cannot hold such a list.
            (Err(EditError::Other { .. }), Some(_)) => {}
            (Err(error), Some(_)) => prop_assert!(false, "{error}: {:?}\n{}", changes, text),
        }
    }

    #[test]
    fn what_is_set_or_added_takes_no_comment_away(text in file(), path in "(session|gateway|other)\\.(dm_scope|ttl_days|new)|default_agent", n in any::<i64>(), appends in any::<bool>()) {
        let element = Value::table([("id", Some(Value::from("new")))]);
        let changes = match appends {
            true => vec![Change::append("channels", element)],
            false => vec![Change::set(path, n)],
        };
        // A list that becomes a number has no place for the comments in it.
        let is_list = |said: &Json, path: &str| path.split('.').fold(said.clone(), |at, key| {
            at.as_object().and_then(|at| at.iter().find(|(other, _)| same_key(other, key))).map_or(Json::Null, |(_, one)| one.clone())
        }).is_array();
        prop_assume!(appends || !is_list(&said(&text), &changes[0].path));
        let edited = edit(&text, &changes).unwrap();
        for comment in text.split('#').skip(1).map(|rest| rest.lines().next().unwrap_or_default()) {
            prop_assert!(edited.contains(comment), "{}\n---\n{}", text, edited);
        }
        // Every other line is as it was, and in its order.
        let difference = similar::TextDiff::from_lines(&text, &edited);
        let n_gone = difference.iter_all_changes().filter(|change| change.tag() == similar::ChangeTag::Delete).count();
        prop_assert!(n_gone <= 1, "{}\n---\n{}", text, edited);
    }

    #[test]
    fn any_text_is_changed_or_refused(text in "[a-c=\\[\\]{}.,\"'#\n 1]{0,40}", change in change()) {
        let _ = edit(&text, &[change]);
    }
}
