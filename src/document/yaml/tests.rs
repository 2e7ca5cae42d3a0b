use super::*;

fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Integer { value, .. } => value.to_string(),
        Value::Float { value, .. } => format!("{value:?}"),
        Value::Date(text) => text.clone(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(nodes) => format!("[{}]", nodes.iter().map(describe).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => describe_table(table),
    }
}

fn describe_table(table: &Table) -> String {
    let entries: Vec<_> = table.entries.iter().map(|e| format!("{}: {}", e.key, describe(&e.node))).collect();
    format!("{{{}}}", entries.join(", "))
}

fn check(text: &str, expected: &str) {
    assert_eq!(describe_table(&parse(text).unwrap_or_else(|faults| panic!("{text:?}: {faults:?}"))), expected);
}

/// `expected` is the place and a piece of the message or help of each fault.
fn check_refused(text: &str, expected: &[(usize, usize, &str)]) {
    let faults = parse(text).unwrap_err();
    assert_eq!(faults.len(), expected.len(), "{text:?}: {faults:?}");
    for (fault, (line, column, piece)) in faults.iter().zip(expected) {
        assert_eq!((fault.position.line, fault.position.column), (*line, *column), "{text:?}: {fault:?}");
        let all = format!("{}; {}", fault.message, fault.help.clone().unwrap_or_default());
        assert!(all.contains(piece), "{text:?}: {all}");
    }
}

#[test]
fn the_usual_shapes_are_read() {
    check("", "{}");
    check("# nothing\n", "{}");
    check("---\n", "{}");
    check("---\na: 1\n...\n", "{a: 1}");
    check("\u{feff}a: 1\n", "{a: 1}");
    check("a: 1\r\nb: x\r\n", "{a: 1, b: \"x\"}");
    check("a:\n  b: yes\n  c: \"42\"\n  d: '42'\n", "{a: {b: \"yes\", c: \"42\", d: \"42\"}}");
    check("a: [1, two, {b: true}]\n", "{a: [1, \"two\", {b: true}]}");
    check("a:\n- b: 1\n  c: 2\n- d: 3\n", "{a: [{b: 1, c: 2}, {d: 3}]}");
    check("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{a: \"x\\ny\\n\", b: \"x y\"}");
    check("a:\nb: ~\n", "{a: null, b: null}");
    check("42: x\ntrue: y\n", "{42: \"x\", true: \"y\"}");
    check("u: https://chat.example.com\np: ~/.openclaw/sessions.db\n", {
        r#"{u: "https://chat.example.com", p: "~/.openclaw/sessions.db"}"#
    });
    check("t: ${SLACK_BOT_TOKEN}\n", r#"{t: "${SLACK_BOT_TOKEN}"}"#);
}

#[test]
fn tags_of_the_core_schema_are_obeyed() {
    check("a: !!str 42\nb: !!int 42\nc: !!float 4\nd: !!seq [1]\ne: !!map {}\n", {
        "{a: \"42\", b: 42, c: 4.0, d: [1], e: {}}"
    });
    check_refused("a: !!int x\nb: !secret x\n", &[(1, 4, "tag"), (2, 4, "tag")]);
}

#[test]
fn positions_are_those_of_the_text() {
    let table = parse("a:\n  - é: \"x\"\n    bc: 2\nd:\n").unwrap();
    let Value::List(items) = &table.entries[0].node.value else { panic!("{table:?}") };
    let Value::Table(item) = &items[0].value else { panic!("{table:?}") };
    let places: Vec<_> = item.entries.iter().chain(&table.entries).map(|e| (e.key_position, e.node.position)).collect();
    let at = |line, column| Position { line, column };
    assert_eq!(
        places,
        [(at(2, 5), at(2, 8)), (at(3, 5), at(3, 9)), (at(1, 1), at(1, 1)), (at(4, 1), at(4, 1))],
        "{table:?}"
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    check_refused("a: 1\nb: 2\na: 3\n", &[(3, 1, "\"a\" is given twice; first on line 1")]);
    check_refused("x: {a: 1, \"a\": 3}\n", &[(1, 11, "twice")]);
}

#[test]
fn anchors_aliases_and_merge_keys_are_refused_with_a_hint_at_quotes() {
    check_refused("a: &x 1\nb: *x\n", &[(1, 4, "anchor"), (2, 4, "put it in quotes")]);
    check_refused("r:\n  - * -> reception\n", &[(2, 5, "quotes")]);
    check_refused("r:\n  - *:* -> reception\n", &[(2, 5, "quotes")]);
    check_refused("a:\n  <<: {b: 1}\n", &[(2, 3, "`<<`")]);
}

#[test]
fn laughs_stay_few() {
    let mut text = String::from("a0: &a0 [lol, lol]\n");
    for n in 1..40 {
        text += &format!("a{n}: &a{n} [*a{}, *a{}, *a{}]\n", n - 1, n - 1, n - 1);
    }
    assert!(parse(&text).unwrap_err().iter().any(|fault| fault.message.contains("alias")));
}

#[test]
fn other_shapes_are_refused_with_their_place() {
    check_refused("a: 1\n---\nb: 2\n", &[(2, 1, "second YAML document")]);
    check_refused("- a\n", &[(1, 1, "keys and values")]);
    check_refused("hello\n", &[(1, 1, "a text")]);
    check_refused("? [a]\n: b\n", &[(1, 3, "key must be a text")]);
    check_refused(": b\n", &[(1, 1, "key is missing")]);
    check_refused("a: @b\n", &[(1, 4, "quotes")]);
    check_refused("a:\n\tb: 1\n", &[(2, 2, "spaces")]);
}

#[test]
fn nesting_has_a_limit_in_every_style() {
    let list = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&list(MAX_DEPTH - 1)).is_ok());
    check_refused(&list(MAX_DEPTH), &[(1, 35, "32 deep")]);
    for opening in ["[", "{", "{a: ", "- ", "? ", "[[], ", "- ? - ", "&a [", "!!seq [", "\"a\": {", "[?"] {
        let text = opening.repeat(50_000);
        assert!(parse(&text).is_err(), "{opening:?}");
    }
    let mut text = String::new();
    for depth in 0..200 {
        text += &format!("{}a:\n", " ".repeat(depth));
    }
    assert!(parse(&text).is_err());
}

#[test]
fn no_fault_is_behind_the_end_of_the_text() {
    check_refused("a: b\nx y", &[(2, 4, "this is not YAML: simple key expected")]);
    check_refused("a: b\r\nx y", &[(2, 4, "this is not YAML: simple key expected")]);
}
