//! Alerts in words.

use serde_json::{Value, json};

use super::{Message, Trouble};
use crate::browser::Language;
use crate::clock::Timestamp;

/// Subject and text of an e-mail. A message without news is a test.
pub(super) fn email(message: &Message, business: Option<&str>, language: Language) -> (String, String) {
    let words = match language {
        Language::English => &ENGLISH,
        Language::German => &GERMAN,
    };
    let at = business.map(|name| format!(" ({name})")).unwrap_or_default();
    let (Message { new, over, .. }, is_test) = (message, message.new.is_empty() && message.over.is_empty());
    let subject = match (is_test, new.is_empty()) {
        (true, _) => words.test,
        (false, false) => words.needed,
        (false, true) => words.over,
    };
    let mut text = String::new();
    let mut part = |head: &str, troubles: &[Trouble], has_fix: bool| {
        if troubles.is_empty() {
            return;
        }
        text.push_str(&format!("{head}\n\n"));
        for trouble in troubles {
            text.push_str(&format!("- {}\n", trouble.told.as_ref().map_or(&trouble.what, |told| &told.title)));
            match &trouble.told {
                _ if !has_fix => {}
                Some(told) => {
                    text.push_str(&format!(
                        "  {}\n  {}: {}; {}\n",
                        told.lead, words.details, trouble.what, trouble.fix
                    ));
                }
                None => text.push_str(&format!("  {}: {}\n", words.fix, trouble.fix)),
            }
        }
        text.push('\n');
    };
    part(words.needed_head, new, true);
    part(words.over_head, over, false);
    let foot = match (is_test, message.is_last) {
        (true, _) => words.test_text,
        (false, true) => words.last,
        (false, false) => words.foot,
    };
    text.push_str(foot);
    text.push('\n');
    (format!("Frontdesk{at}: {subject}"), text)
}

/// What is posted: `type`, `timestamp` and `data`, as Standard Webhooks recommends.
pub(super) fn body(message: &Message, business: Option<&str>) -> Value {
    let list = |troubles: &[Trouble]| -> Vec<Value> {
        let one = |trouble: &Trouble| json!({ "id": trouble.id, "what": trouble.what, "fix": trouble.fix });
        troubles.iter().map(one).collect()
    };
    let is_test = message.new.is_empty() && message.over.is_empty();
    json!({
        "type": if is_test { "alert.test" } else { "alert" },
        "timestamp": Timestamp(message.at_ms).to_string(),
        "data": { "business": business, "new": list(&message.new), "over": list(&message.over), "last_today": message.is_last },
    })
}

struct Words {
    needed: &'static str,
    over: &'static str,
    test: &'static str,
    needed_head: &'static str,
    over_head: &'static str,
    fix: &'static str,
    details: &'static str,
    foot: &'static str,
    last: &'static str,
    test_text: &'static str,
}

static ENGLISH: Words = Words {
    needed: "something needs you",
    over: "it is over",
    test: "a test",
    needed_head: "Something is wrong:",
    over_head: "This is over:",
    fix: "What to do",
    details: "For whoever helps you",
    foot: "You are told once, and once more when it is over. The admin page has more.",
    last: "This was the last message for today. The admin page shows what else there is.",
    test_text: "This is a test: alerts of your Frontdesk reach you here. Nothing is wrong.",
};

static GERMAN: Words = Words {
    needed: "hier werden Sie gebraucht",
    over: "es ist vorbei",
    test: "ein Test",
    needed_head: "Etwas stimmt nicht:",
    over_head: "Das ist vorbei:",
    fix: "Was zu tun ist",
    details: "Für den, der Ihnen hilft",
    foot: "Das erfahren Sie einmal, und noch einmal, wenn es vorbei ist. Mehr steht auf der Verwaltungsseite.",
    last: "Das war die letzte Nachricht für heute. Was es sonst gibt, steht auf der Verwaltungsseite.",
    test_text: "Das ist ein Test: Meldungen Ihres Frontdesk erreichen Sie hier. Es ist alles in Ordnung.",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Told;

    fn message(new: &[&str], over: &[&str]) -> Message {
        let troubles = |whats: &[&str]| -> Vec<Trouble> {
            let one = |what: &&str| Trouble {
                id: "a".into(),
                what: (*what).to_owned(),
                fix: "mend it".into(),
                told: what
                    .strip_prefix("the ")
                    .map(|what| Told { title: format!("Titel: {what}"), lead: "Schaffen Sie Platz.".into() }),
            };
            whats.iter().map(one).collect()
        };
        Message { id: "1".into(), at_ms: 0, new: troubles(new), over: troubles(over), is_last: false }
    }

    #[test]
    fn a_letter_says_what_is_wrong_what_to_do_and_what_is_over() {
        let (subject, text) = email(&message(&["disk full"], &["safe mode"]), Some("Dr. Lind"), Language::English);
        assert_eq!(subject, "Frontdesk (Dr. Lind): something needs you");
        let expected =
            "Something is wrong:\n\n- disk full\n  What to do: mend it\n\nThis is over:\n\n- safe mode\n\nYou are";
        assert!(text.starts_with(expected), "{text}");
        let (subject, text) = email(&message(&[], &["the disk"]), None, Language::German);
        assert_eq!(subject, "Frontdesk: es ist vorbei");
        assert!(text.starts_with("Das ist vorbei:\n\n- Titel: disk\n\n"), "{text}");
        let (_, text) = email(&message(&["the disk"], &[]), None, Language::German);
        let expected = "- Titel: disk\n  Schaffen Sie Platz.\n  Für den, der Ihnen hilft: the disk; mend it\n";
        assert!(text.contains(expected), "{text}");
        let (subject, text) = email(&message(&[], &[]), None, Language::English);
        assert!(subject.ends_with("a test") && text.contains("Nothing is wrong"));
        assert_eq!(body(&message(&[], &[]), None)["type"], "alert.test");
        assert_eq!(body(&message(&["x"], &[]), None)["data"]["new"][0]["what"], "x");
    }
}
