//! What the pages say, in every language they speak.

/// Makes a set of words, as a struct with a value for each language. A word that one of them lacks, or one whose `{holes}`
/// differ, does not compile. A set of a page's own finds in [`Words`] what it does not say itself.
macro_rules! words {
    ($(#[$doc:meta])* Words; $($words:tt)*) => {
        words! { @set $(#[$doc])* Words; $($words)* }
    };
    (@set $(#[$doc:meta])* $set:ident; $($name:ident: $english:literal, $german:literal;)*) => {
        $(#[$doc])*
        ///
        /// `{n}` and the like stand for what [`fill`](super::words::fill) puts there.
        #[derive(Debug)]
        pub(super) struct $set {
            pub(super) language: $crate::browser::Language,
            $(pub(super) $name: &'static str,)*
        }

        impl $set {
            pub(super) fn in_language(language: $crate::browser::Language) -> &'static Self {
                use $crate::browser::Language;
                static ENGLISH: $set = $set { language: Language::English, $($name: $english,)* };
                static GERMAN: $set = $set { language: Language::German, $($name: $german,)* };
                match language {
                    Language::English => &ENGLISH,
                    Language::German => &GERMAN,
                }
            }
        }

        $(const _: () = assert!($crate::page::words::are_alike($english, $german), stringify!($name));)*
    };
    ($(#[$doc:meta])* $set:ident; $($words:tt)*) => {
        $crate::page::words::words! { @set $(#[$doc])* $set; $($words)* }

        impl $set {
            /// In the language of the others.
            pub(super) fn of(words: &$crate::page::words::Words) -> &'static Self {
                Self::in_language(words.language)
            }
        }

        impl std::ops::Deref for $set {
            type Target = $crate::page::words::Words;

            fn deref(&self) -> &Self::Target {
                $crate::page::words::Words::in_language(self.language)
            }
        }
    };
}
pub(super) use words;

words! {
    /// What many pages say, and what stands around them.
    Words;
    skip: "Skip to content", "Zum Inhalt springen";
    menu: "Menu", "Menü";
    home: "Home", "Übersicht";
    conversations: "Conversations", "Gespräche";
    activity: "Activity", "Aktivität";
    logs: "Log", "Protokoll";
    workers: "Workers", "Mitarbeiter";
    tenants: "Businesses", "Unternehmen";
    channels: "Channels", "Kanäle";
    settings: "Settings", "Einstellungen";
    people: "People", "Personen";
    backups: "Backups", "Sicherungen";
    updates: "Updates", "Updates";
    access: "Access log", "Zugriffe";
    log_out: "Log out", "Abmelden";
    logged_in_as: "Logged in as {name}", "Angemeldet als {name}";
    name: "Name", "Name";
    password: "Password", "Passwort";
    password_hint: "At least ten characters. A few words that do not belong together are easy to keep.",
        "Mindestens zehn Zeichen. Ein paar Wörter, die nicht zusammengehören, merkt man sich leicht.";
    login_wrong: "The name or the password is wrong.", "Name oder Passwort ist falsch.";
    too_many: "Too many attempts. Try again in {n} seconds.", "Zu viele Versuche. Bitte in {n} Sekunden erneut versuchen.";
    group: "Group", "Gruppe";
    thread: "Thread", "Thread";
    archived: "Archived", "Archiviert";
    messages: "Messages", "Nachrichten";
    newest: "Newest", "Neueste";
    not_found: "There is nothing here", "Hier ist nichts";
    not_found_lead: "It may have been archived or erased, or the address is not quite right.",
        "Vielleicht wurde es archiviert oder gelöscht, oder die Adresse stimmt nicht ganz.";
    not_allowed: "This is for administrators", "Das ist Administratoren vorbehalten";
    not_allowed_lead: "You may look, but not change anything.", "Sie dürfen ansehen, aber nichts ändern.";
    stale: "This page was open for too long", "Diese Seite war zu lange offen";
    stale_lead: "Nothing was changed. Go back, reload the page and try again.",
        "Es wurde nichts geändert. Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal.";
    failed: "That did not work", "Das hat nicht geklappt";
    wrong_host: "Open this page by its own address, such as frontdesk.local.",
        "Öffnen Sie diese Seite unter ihrer eigenen Adresse, zum Beispiel frontdesk.local.";
    just_now: "just now", "gerade eben";
    minutes_ago: "{n} min ago", "vor {n} Min.";
    hours_ago: "{n} h ago", "vor {n} Std.";
    days_ago: "{n} d ago", "vor {n} T.";
}

/// Do both say something, with the same `{holes}` equally often?
pub(super) const fn are_alike(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    !one.is_empty() && !other.is_empty() && has_holes_of(one, other) && has_holes_of(other, one)
}

const fn has_holes_of(one: &[u8], other: &[u8]) -> bool {
    let mut rest = one;
    while let [first, after @ ..] = rest {
        if *first == b'{' && n_holes(one, hole(after)) != n_holes(other, hole(after)) {
            return false;
        }
        rest = after;
    }
    true
}

/// What stands before the next `}`.
const fn hole(text: &[u8]) -> &[u8] {
    let (mut rest, mut length) = (text, 0);
    while let [first, after @ ..] = rest {
        if *first == b'}' {
            break;
        }
        (rest, length) = (after, length + 1);
    }
    text.split_at(length).0
}

const fn n_holes(text: &[u8], of: &[u8]) -> usize {
    let (mut rest, mut n) = (text, 0);
    while let [first, after @ ..] = rest {
        if *first == b'{' && is_same(hole(after), of) {
            n += 1;
        }
        rest = after;
    }
    n
}

const fn is_same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([first, rest @ ..], [other_first, other_rest @ ..]) = (one, other) {
        if *first != *other_first {
            return false;
        }
        (one, other) = (rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

/// Puts values in the place of `{name}`; a value is never read as a template.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut parts = template.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or(("", part));
        filled.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value));
        filled.push_str(rest);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_other_holes_are_not_alike() {
        let check = |one: &str, other: &str, expected| assert_eq!(are_alike(one, other), expected, "{one} / {other}");
        check("{a} of {b}", "{b}: {a}", true);
        check("{a} of {b}", "{a}", false);
        check("{a}", "{a} of {b}", false);
        check("{a} {a}", "{a}", false);
        check("none", "keine", true);
        check("", "keine", false);
    }

    #[test]
    fn a_value_is_not_read_as_a_template() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
        assert_eq!(fill("no {hole", &[]), "no hole");
    }
}
