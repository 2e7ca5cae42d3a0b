//! What the pages say, in every language they speak.

use crate::browser::Language;

/// Makes the fields of [`Words`] and one value for each language: a word that one of them lacks does not compile.
macro_rules! words {
    ($($name:ident: $english:literal, $german:literal;)*) => {
        /// Everything that a page says in one language. `{n}` and the like stand for what [`fill`] puts there.
        #[derive(Debug)]
        pub(super) struct Words {
            pub(super) language: Language,
            $(pub(super) $name: &'static str,)*
        }

        static ENGLISH: Words = Words { language: Language::English, $($name: $english,)* };
        static GERMAN: Words = Words { language: Language::German, $($name: $german,)* };

        #[cfg(test)]
        const PAIRS: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $german),)*];
    };
}

words! {
    skip: "Skip to content", "Zum Inhalt springen";
    menu: "Menu", "Menü";
    home: "Home", "Übersicht";
    conversations: "Conversations", "Gespräche";
    people: "People", "Personen";
    log_out: "Log out", "Abmelden";
    logged_in_as: "Logged in as {name}", "Angemeldet als {name}";

    claim_title: "Welcome", "Willkommen";
    claim_lead: "This box is new. Make it yours: type the claim code that is printed where it was started, and choose how you will log in.",
        "Diese Box ist neu. Machen Sie sie zu Ihrer: Geben Sie den Code ein, der beim Start angezeigt wird, und wählen Sie Ihre Anmeldung.";
    claim_code: "Claim code", "Code";
    claim_code_hint: "Ten letters and digits, as in K7QD-9M2X-4T. Capitals and dashes do not matter.",
        "Zehn Buchstaben und Ziffern, zum Beispiel K7QD-9M2X-4T. Großschreibung und Striche sind egal.";
    your_name: "Your name", "Ihr Name";
    name: "Name", "Name";
    password: "Password", "Passwort";
    password_hint: "At least ten characters. A few words that do not belong together are easy to keep.",
        "Mindestens zehn Zeichen. Ein paar Wörter, die nicht zusammengehören, merkt man sich leicht.";
    claim_submit: "Make it mine", "Einrichten";
    claim_elsewhere: "This box can only be claimed from the network it stands in. Open this page on a device in the same network.",
        "Diese Box lässt sich nur aus ihrem eigenen Netzwerk einrichten. Öffnen Sie diese Seite auf einem Gerät im selben Netzwerk.";
    claim_wrong: "This is not the claim code. It is printed where the box was started, and stands in the file claim.code.",
        "Das ist nicht der Code. Er wird beim Start der Box angezeigt und steht in der Datei claim.code.";
    login_title: "Log in", "Anmelden";
    login_submit: "Log in", "Anmelden";
    login_wrong: "The name or the password is wrong.", "Name oder Passwort ist falsch.";
    login_forgot: "Forgotten? Make a new claim code on the box: frontdesk users reset",
        "Vergessen? Erzeugen Sie an der Box einen neuen Code: frontdesk users reset";
    too_many: "Too many attempts. Try again in {n} seconds.", "Zu viele Versuche. Bitte in {n} Sekunden erneut versuchen.";
    open_chat: "Open the web chat", "Zum Web-Chat";
    accounts_shut: "Nobody can log in now: {why}", "Zurzeit kann sich niemand anmelden: {why}";

    accounts_shut_far: "Nobody can log in now. Open this page near the box to see why.",
        "Zurzeit kann sich niemand anmelden. Öffnen Sie diese Seite in der Nähe der Box, um zu sehen, warum.";
    login_with_code: "Use a claim code", "Mit einem Code anmelden";

    weak_short: "At least ten characters, please. A few words that do not belong together are easy to keep.",
        "Bitte mindestens zehn Zeichen. Ein paar Wörter, die nicht zusammengehören, merkt man sich leicht.";
    weak_long: "This password is too long.", "Dieses Passwort ist zu lang.";
    weak_common: "Many people have this password, or one like it.", "Dieses oder ein ähnliches Passwort haben viele.";
    weak_sequence: "Keys in a row and sequences are easy to guess.", "Tastenfolgen und Reihen sind leicht zu erraten.";
    weak_repetition: "Repetitions are easy to guess.", "Wiederholungen sind leicht zu erraten.";
    weak_date: "Dates and years are easy to guess.", "Tage und Jahre sind leicht zu erraten.";
    weak_name: "Names are easy to guess.", "Namen sind leicht zu erraten.";
    weak_word: "One word is easy to guess. Add others that do not belong to it.",
        "Ein einzelnes Wort ist leicht zu erraten. Fügen Sie andere hinzu, die nicht dazugehören.";
    weak_guessable: "This password is easy to guess. Add a word or two that do not belong to it.",
        "Dieses Passwort ist leicht zu erraten. Fügen Sie ein, zwei Wörter hinzu, die nicht dazugehören.";

    all_well: "Everything works", "Alles läuft";
    all_well_lead: "Messages come in and are answered.", "Nachrichten kommen an und werden beantwortet.";
    something_wrong: "Something needs you", "Hier werden Sie gebraucht";
    something_wrong_lead: "The worst comes first, each with what to do.", "Das Dringendste zuerst, jeweils mit dem, was zu tun ist.";
    worth_a_look: "Worth a look", "Einen Blick wert";
    to_do: "What to do", "Was zu tun ist";
    severity_error: "Error", "Fehler";
    severity_warning: "Warning", "Warnung";
    severity_hint: "Hint", "Hinweis";
    channels: "Channels", "Kanäle";
    channel: "Channel", "Kanal";
    last_in: "Last message in", "Letzte Nachricht";
    last_out: "Last answer out", "Letzte Antwort";
    state: "State", "Zustand";
    fine: "Fine", "In Ordnung";
    no_message_yet: "Nothing yet", "Noch nichts";
    no_channels: "No channel is set up yet.", "Noch ist kein Kanal eingerichtet.";
    queue: "Waiting", "In Arbeit";
    waiting_messages: "Messages that wait for an answer", "Nachrichten, die auf Antwort warten";
    undelivered: "Answers on their way", "Antworten unterwegs";
    set_aside: "Set aside for you", "Für Sie zurückgelegt";
    active: "Conversations", "Gespräche";
    archived_count: "Archived", "Archiviert";
    machine: "This box", "Diese Box";
    running_for: "Running for", "Läuft seit";
    disk: "Disk", "Speicherplatz";
    disk_free: "{free} of {total} free", "{free} von {total} frei";
    memory: "Memory", "Arbeitsspeicher";
    store: "Conversations take up", "Gespräche belegen";
    version: "Version", "Version";
    backup: "Backup", "Sicherung";
    backup_never: "Never", "Noch nie";
    backup_failed: "The last one failed: {why}", "Die letzte ist fehlgeschlagen: {why}";

    search_label: "Name, number or words", "Name, Nummer oder Wörter";
    tenant: "Business", "Unternehmen";
    all_tenants: "All", "Alle";
    own_tenant: "Our own", "Unser eigenes";
    live: "Live", "Laufend";
    archived: "Archived", "Archiviert";
    which: "Which", "Welche";
    show: "Show", "Anzeigen";
    messages: "Messages", "Nachrichten";
    search_on: "Search on", "Weitersuchen";
    search_on_lead: "Nothing found so far. There is more to look through.",
        "Bisher nichts gefunden. Es gibt noch mehr zu durchsuchen.";
    cut: "This message is long and cut here. The export has all of it.",
        "Diese Nachricht ist lang und hier gekürzt. Der Export enthält alles.";
    older: "Older", "Ältere";
    newest: "Newest", "Neueste";
    no_conversations: "No conversation yet", "Noch kein Gespräch";
    no_conversations_lead: "As soon as somebody writes on one of your channels, it shows up here.",
        "Sobald jemand auf einem Ihrer Kanäle schreibt, erscheint es hier.";
    nothing_found: "Nothing found", "Nichts gefunden";
    nothing_found_lead: "Try fewer or other words.", "Versuchen Sie es mit weniger oder anderen Wörtern.";
    group: "Group", "Gruppe";
    thread: "Thread", "Thread";
    worker: "Worker", "Mitarbeiter";
    began: "Began", "Begonnen";
    back_to_list: "All conversations", "Alle Gespräche";
    transcript: "Conversation", "Gespräch";
    earlier: "Earlier messages", "Frühere Nachrichten";
    waits_below: "Not answered yet", "Noch nicht beantwortet";
    archive: "Archive", "Archivieren";
    archive_done: "Archived. The next message begins a new conversation.",
        "Archiviert. Die nächste Nachricht beginnt ein neues Gespräch.";
    restore: "Restore", "Wiederherstellen";
    restore_done: "It is live again.", "Es läuft wieder.";
    export: "Export", "Exportieren";
    erase: "Erase…", "Löschen …";
    erase_title: "Erase this conversation?", "Dieses Gespräch löschen?";
    erase_lead: "Every message, note and file under this key is removed for good, archived ones too. Nobody can bring them back; only older backups still hold them.",
        "Alle Nachrichten, Notizen und Dateien unter diesem Schlüssel werden endgültig gelöscht, auch archivierte. Niemand kann sie zurückholen; nur ältere Sicherungen enthalten sie noch.";
    erase_submit: "Erase for good", "Endgültig löschen";
    erase_done: "Erased.", "Gelöscht.";
    cancel: "Cancel", "Abbrechen";
    earlier_conversations: "Earlier conversations", "Frühere Gespräche";
    live_now: "Live", "Laufend";
    nothing_said: "Nothing was said yet.", "Noch wurde nichts gesagt.";

    users: "People who may log in", "Wer sich anmelden darf";
    role: "May", "Darf";
    role_admin: "Everything", "Alles";
    role_support: "Look only", "Nur ansehen";
    reach: "Sees", "Sieht";
    reach_all: "All businesses", "Alle Unternehmen";
    add_person: "Add a person", "Person hinzufügen";
    add: "Add", "Hinzufügen";
    remove: "Remove", "Entfernen";
    added: "Added.", "Hinzugefügt.";
    removed: "Removed.", "Entfernt.";
    your_sessions: "Where you are logged in", "Wo Sie angemeldet sind";
    this_device: "This device", "Dieses Gerät";
    last_used: "Last used", "Zuletzt benutzt";
    end_session: "Log out there", "Dort abmelden";
    ended: "Logged out there.", "Dort abgemeldet.";
    change_password: "Change your password", "Passwort ändern";
    new_password: "New password", "Neues Passwort";
    current_password: "Current password", "Jetziges Passwort";
    change: "Change", "Ändern";
    changed: "Changed. All other devices are logged out.", "Geändert. Alle anderen Geräte sind abgemeldet.";

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

impl Words {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::German => &GERMAN,
        }
    }
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

    fn holes(text: &str) -> Vec<&str> {
        let mut holes: Vec<&str> = text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect();
        holes.sort_unstable();
        holes
    }

    #[test]
    fn both_languages_have_the_same_holes_and_none_is_empty() {
        for (name, english, german) in PAIRS {
            assert_eq!(holes(english), holes(german), "{name}");
            assert!(!english.trim().is_empty() && !german.trim().is_empty(), "{name}");
        }
    }

    #[test]
    fn a_value_is_not_read_as_a_template() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
        assert_eq!(fill("no {hole", &[]), "no hole");
    }
}
