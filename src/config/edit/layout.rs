//! Comments and blank lines around tables: whose they are, and where they go.

use std::collections::BTreeMap;

use toml_edit::{Decor, DocumentMut, Item, Key, RawString, Table, TableLike};

/// A comment that belongs to nothing, where something was removed.
#[derive(Debug)]
pub(super) struct Left {
    position: isize,
    text: String,
}

/// Are there keys before the first header?
pub(super) fn has_values(document: &DocumentMut) -> bool {
    !document.as_table().get_values().is_empty()
}

/// Where the last table of the file stands.
pub(super) fn last_position(document: &DocumentMut) -> isize {
    let mut last = 0;
    visit_below(document.as_table(), &mut |table| last = last.max(table.position().unwrap_or(0)));
    last
}

/// Notes the comments around a table that is to be removed, which are not its own.
pub(super) fn collect_left(table: &Table, left: &mut Vec<Left>) {
    let root = table.position().unwrap_or(0);
    visit(table, &mut |table| {
        let (detached, _) = split_last_blank(&prefix(table.decor()).unwrap_or_default());
        let position = table.position().unwrap_or(root);
        // A blank line alone is no comment.
        if !detached.trim().is_empty() {
            left.push(Left { position, text: detached });
        }
    });
}

/// The same, for whatever was removed.
pub(super) fn collect_left_of(item: &Item, left: &mut Vec<Left>) {
    match item {
        Item::Table(table) => collect_left(table, left),
        Item::ArrayOfTables(tables) => tables.iter().for_each(|table| collect_left(table, left)),
        Item::None | Item::Value(_) => {}
    }
}

/// The comments above a key that are not its own.
pub(super) fn detached_of(key: &Key) -> String {
    split_last_blank(&prefix(key.leaf_decor()).unwrap_or_default()).0
}

/// Gives comments above a key to the one below it in the same table.
pub(super) fn hand_on(table: &mut dyn TableLike, key: &str, comments: &str) {
    if comments.trim().is_empty() {
        return;
    }
    let keys = table.iter().filter(|(_, item)| item.is_value()).map(|(key, _)| key);
    let next = keys.skip_while(|other| *other != key).nth(1).map(str::to_owned);
    if let Some(mut next) = next.and_then(|next| table.key_mut(&next)) {
        let own = prefix(next.leaf_decor()).unwrap_or_default();
        next.leaf_decor_mut().set_prefix(format!("{comments}{own}"));
    }
}

/// How the keys of a table are indented, if they are.
pub(super) fn indent(table: &dyn TableLike) -> Option<String> {
    let (last, _) = table.iter().filter(|(_, item)| item.is_value()).last()?;
    let before = prefix(table.key(last)?.leaf_decor())?;
    let line = before.rsplit('\n').next().unwrap_or_default();
    let is_in_lines = !line.is_empty() && before.contains('\n') || line.len() > 1;
    (is_in_lines && line.chars().all(|c| matches!(c, ' ' | '\t'))).then(|| line.to_owned())
}

/// One table in the order in which they are written.
struct Place {
    /// In the order of [`visit`].
    n: usize,
    position: isize,
    /// `None`: it is new.
    prefix: Option<String>,
}

/// Puts blank lines and comments where they belong after a change.
pub(super) fn settle(document: &mut DocumentMut, had_values: bool, left: Vec<Left>) {
    let mut places = places(document);
    let mut trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    let mut is_first = !has_values(document);
    let mut at_top = None;
    for Left { position, text } in left {
        let next = places.iter_mut().filter(|place| place.position > position && place.prefix.is_some());
        match next.min_by_key(|place| place.position).and_then(|place| place.prefix.as_mut()) {
            Some(prefix) => *prefix = joined(&text, prefix),
            None => trailing = joined(&text, &trailing),
        }
    }
    if !had_values && !is_first {
        // A comment at the top is about the file, and stays there.
        match places.first_mut() {
            Some(Place { prefix: Some(prefix), .. }) => {
                let (top, own) = split_last_blank(prefix);
                *prefix = if own.starts_with('\n') { own } else { format!("\n{own}") };
                at_top = Some(top);
            }
            Some(_) => {}
            None => {
                let (top, rest) = split_last_blank(&trailing);
                let (top, rest) = if top.is_empty() { (rest, top) } else { (top, rest) };
                trailing = if rest.is_empty() { rest } else { format!("\n{rest}") };
                at_top = Some(top);
            }
        }
    }
    let mut n = 0;
    while let Some(place) = places.get(n) {
        if place.prefix.is_some() {
            is_first = false;
            n += 1;
            continue;
        }
        let n_new = places.iter().skip(n).take_while(|place| place.prefix.is_none()).count();
        // A comment right below the table above is about that one.
        let head = match places.get_mut(n + n_new).and_then(|place| place.prefix.as_mut()) {
            Some(following) => {
                let (head, rest) = split_first_blank(following);
                match rest.is_empty() {
                    true => String::new(),
                    false => {
                        *following = rest;
                        head
                    }
                }
            }
            None => {
                let (head, rest) = split_first_blank(&trailing);
                trailing = rest;
                head
            }
        };
        for (k, place) in places.iter_mut().skip(n).take(n_new).enumerate() {
            let before = if k == 0 { head.as_str() } else { "" };
            let blank = if is_first && before.is_empty() { "" } else { "\n" };
            place.prefix = Some(format!("{before}{blank}"));
            is_first = false;
        }
        n += n_new;
    }
    let prefixes: BTreeMap<usize, Option<String>> = places.into_iter().map(|place| (place.n, place.prefix)).collect();
    let mut n = 0;
    visit_below_mut(document.as_table_mut(), &mut |table| {
        if let Some(Some(prefix)) = prefixes.get(&n) {
            table.decor_mut().set_prefix(prefix);
        }
        n += 1;
    });
    if let Some(top) = at_top {
        let first = document.iter().find(|(_, item)| !is_header(item)).map(|(key, _)| key.to_owned());
        if let Some(mut key) = first.and_then(|first| document.key_mut(&first)) {
            key.leaf_decor_mut().set_prefix(top);
        }
    }
    document.set_trailing(trailing);
}

fn is_header(item: &Item) -> bool {
    match item {
        Item::Table(table) => !table.is_dotted(),
        Item::ArrayOfTables(_) => true,
        Item::None | Item::Value(_) => false,
    }
}

/// The headers of a document, as they are written one below the other.
fn places(document: &DocumentMut) -> Vec<Place> {
    let (mut places, mut position, mut n) = (Vec::new(), 0, 0);
    visit_below(document.as_table(), &mut |table| {
        position = table.position().unwrap_or(position);
        if !table.is_implicit() || !table.get_values().is_empty() {
            places.push(Place { n, position, prefix: prefix(table.decor()) });
        }
        n += 1;
    });
    places.sort_by_key(|place| place.position);
    places
}

/// A table and those below it, as the writer goes through them; without those that have no header because their
/// keys have dots.
fn visit(table: &Table, found: &mut dyn FnMut(&Table)) {
    if !table.is_dotted() {
        found(table);
    }
    visit_below(table, found);
}

fn visit_below(table: &Table, found: &mut dyn FnMut(&Table)) {
    for (_, item) in table.iter() {
        match item {
            Item::Table(below) => visit(below, found),
            Item::ArrayOfTables(tables) => tables.iter().for_each(|below| visit(below, found)),
            Item::None | Item::Value(_) => {}
        }
    }
}

fn visit_below_mut(table: &mut Table, found: &mut dyn FnMut(&mut Table)) {
    let mut visit = |below: &mut Table| {
        if !below.is_dotted() {
            found(below);
        }
        visit_below_mut(below, found);
    };
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(below) => visit(below),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(&mut visit),
            Item::None | Item::Value(_) => {}
        }
    }
}

/// One above the other, without a second blank line between them.
fn joined(comments: &str, below: &str) -> String {
    let has_blank = split_last_blank(comments).1.is_empty();
    format!("{comments}{}", if has_blank { below.strip_prefix('\n').unwrap_or(below) } else { below })
}

fn prefix(decor: &Decor) -> Option<String> {
    decor.prefix().and_then(RawString::as_str).map(str::to_owned)
}

/// Up to and with the last blank line, and the rest.
fn split_last_blank(text: &str) -> (String, String) {
    let mut end = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.ends_with('\n') && line.trim().is_empty() {
            end = at;
        }
    }
    halves(text, end)
}

/// Up to the first blank line, and the rest.
fn split_first_blank(text: &str) -> (String, String) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            break;
        }
        at += line.len();
    }
    halves(text, at)
}

fn halves(text: &str, at: usize) -> (String, String) {
    let (first, second) = text.split_at_checked(at).unwrap_or((text, ""));
    (first.to_owned(), second.to_owned())
}
