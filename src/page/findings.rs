//! What is wrong, in an owner's words. What the doctor says itself stands below, for whoever helps.

use maud::{Markup, html};

use super::words::{Words, words};
use crate::doctor::{Finding, Severity};

/// What it means, what to do about it.
struct Told {
    title: &'static str,
    lead: &'static str,
}

/// All of them, the worst first.
pub(super) fn list(words: &Words, findings: &[&Finding]) -> Markup {
    let words = FindingWords::of(words);
    html! { ul class="findings" { @for finding in findings { li { (line(words, finding)) } } } }
}

fn line(words: &FindingWords, finding: &Finding) -> Markup {
    let (kind, name) = match finding.severity {
        Severity::Error => ("bad", words.severity_error),
        Severity::Warning => ("warn", words.severity_warning),
        Severity::Hint => ("", words.severity_hint),
    };
    html! {
        span class={ "tag " (kind) } { (name) }
        @if let Some(told) = told(words, finding.id) {
            p { strong { (told.title) } }
            p { (told.lead) }
        }
        p class="muted small" lang="en" { (finding.what) " – " (finding.fix) }
    }
}

/// `None`: the doctor's own words must do.
fn told(words: &FindingWords, id: &str) -> Option<Told> {
    let (title, lead) = match id {
        "weak-api-key" => (words.weak_key, words.weak_key_lead),
        "wide-api-key" => (words.wide_key, words.wide_key_lead),
        "no-tls" => (words.no_tls, words.no_tls_lead),
        "clear-secret" => (words.clear_secret, words.clear_secret_lead),
        "shared-conversation" => (words.shared, words.shared_lead),
        "answers-always" => (words.answers_always, words.answers_always_lead),
        "open-home" | "open-file" | "other-owner" => (words.open_files, words.open_files_lead),
        "clear-key" => (words.clear_key, words.clear_key_lead),
        "device-key" => (words.device_key, words.device_key_lead),
        "store" => (words.store, words.store_lead),
        "disk-full" => (words.disk_full, words.disk_full_lead),
        "disk-low" => (words.disk_low, words.disk_low_lead),
        "clock-behind" => (words.clock, words.clock_lead),
        "config" => (words.config, words.config_lead),
        "not-reloaded" => (words.not_reloaded, words.not_reloaded_lead),
        "never-delivered" => (words.undelivered, words.undelivered_lead),
        "certificate" => (words.certificate, words.certificate_lead),
        "local-name" => (words.local_name, words.local_name_lead),
        "never-used" => (words.unused, words.unused_lead),
        _ => return None,
    };
    Some(Told { title, lead })
}

words! {
    /// What is wrong, for those who do not read logs.
    FindingWords;
    severity_error: "Error", "Fehler";
    severity_warning: "Warning", "Warnung";
    severity_hint: "Hint", "Hinweis";
    weak_key: "An access key is too easy to guess", "Ein Zugangsschlüssel ist zu leicht zu erraten";
    weak_key_lead: "Replace it by a new one; the program that uses it then needs the new one, too.",
        "Ersetzen Sie ihn durch einen neuen; das Programm, das ihn benutzt, braucht dann ebenfalls den neuen.";
    wide_key: "A program may read every conversation", "Ein Programm darf alle Gespräche lesen";
    wide_key_lead: "Fine if you want that. If not, give its key less reach.",
        "In Ordnung, wenn Sie das so möchten. Wenn nicht, schränken Sie seinen Schlüssel ein.";
    no_tls: "This page can be read along in your network", "Diese Seite kann in Ihrem Netzwerk mitgelesen werden";
    no_tls_lead: "Open it with https instead of http, above all where others use the same network.",
        "Öffnen Sie sie mit https statt http, vor allem, wo andere dasselbe Netzwerk benutzen.";
    clear_secret: "A password or key stands openly in the settings", "Ein Passwort oder Schlüssel steht offen in den Einstellungen";
    clear_secret_lead: "Move it to the secrets, where nobody can read it again.",
        "Verschieben Sie es zu den Geheimnissen, wo es niemand mehr lesen kann.";
    shared: "People on one channel share a conversation", "Auf einem Kanal teilen sich mehrere Personen ein Gespräch";
    shared_lead: "Everybody there may hear what the others wrote. Give each person their own conversation in the settings.",
        "Jeder dort kann erfahren, was die anderen geschrieben haben. Geben Sie in den Einstellungen jeder Person ein eigenes Gespräch.";
    answers_always: "Your worker answers everything that is said in groups", "Ihr Mitarbeiter antwortet in Gruppen auf alles";
    answers_always_lead: "Most people prefer that it answers in groups only when it is called by name.",
        "Meist ist es besser, wenn er in Gruppen nur antwortet, wenn man ihn anspricht.";
    open_files: "Other users of this computer could read files of this box", "Andere Benutzer dieses Computers könnten Dateien dieser Box lesen";
    open_files_lead: "This happens when files were copied by hand. Whoever looks after the computer can close it with the line below.",
        "Das passiert, wenn Dateien von Hand kopiert wurden. Wer den Computer betreut, schließt das mit der Zeile unten.";
    clear_key: "Whoever takes the disk can read what is on it", "Wer den Datenträger mitnimmt, kann ihn lesen";
    clear_key_lead: "Conversations are encrypted, but the key lies beside them. A passphrase protects it, and is then asked for at each start.",
        "Gespräche sind verschlüsselt, aber der Schlüssel liegt daneben. Eine Passphrase schützt ihn und wird dann bei jedem Start verlangt.";
    device_key: "The key to the conversations cannot be used", "Der Schlüssel zu den Gesprächen lässt sich nicht benutzen";
    device_key_lead: "Nothing is lost as long as the key comes back. Do not delete anything.",
        "Solange der Schlüssel wieder auftaucht, ist nichts verloren. Löschen Sie nichts.";
    store: "The conversations on the disk cannot be used as they are", "Die gespeicherten Gespräche lassen sich so nicht benutzen";
    store_lead: "Nothing was deleted. Have somebody look at the line below before you restore a backup.",
        "Es wurde nichts gelöscht. Lassen Sie jemanden die Zeile unten ansehen, bevor Sie eine Sicherung zurückspielen.";
    disk_full: "The disk is full", "Der Datenträger ist voll";
    disk_full_lead: "New messages cannot be taken. Make room; it then goes on by itself.",
        "Neue Nachrichten werden nicht angenommen. Schaffen Sie Platz; dann geht es von selbst weiter.";
    disk_low: "The disk is nearly full", "Der Datenträger ist fast voll";
    disk_low_lead: "Make room soon. When it is full, new messages cannot be taken.",
        "Schaffen Sie bald Platz. Ist er voll, werden keine neuen Nachrichten angenommen.";
    clock: "The clock of the box is slow", "Die Uhr der Box geht nach";
    clock_lead: "It sets itself as soon as the box reaches the internet. Until then, some messages may be refused.",
        "Sie stellt sich, sobald die Box das Internet erreicht. Bis dahin werden manche Nachrichten vielleicht abgelehnt.";
    config: "There is a mistake in the settings", "In den Einstellungen ist ein Fehler";
    config_lead: "They are not used. Go back to the last ones that worked, or mend the line below.",
        "Sie werden nicht benutzt. Gehen Sie zu den letzten zurück, die funktioniert haben, oder berichtigen Sie die Zeile unten.";
    not_reloaded: "The settings file was changed and is not used yet", "Die Einstellungsdatei wurde geändert und wird noch nicht benutzt";
    not_reloaded_lead: "Open the settings and save them, or restart the box.",
        "Öffnen Sie die Einstellungen und speichern Sie, oder starten Sie die Box neu.";
    undelivered: "Messages come in on a channel, but no answer has gone out", "Auf einem Kanal kommen Nachrichten an, aber keine Antwort ging hinaus";
    undelivered_lead: "Right after the first message this is normal. If it stays, test the channel.",
        "Gleich nach der ersten Nachricht ist das normal. Bleibt es so, testen Sie den Kanal.";
    certificate: "Browsers cannot trust the box at its domain yet", "Browser können der Box unter ihrer Domain noch nicht vertrauen";
    certificate_lead: "See that the domain leads to your router, and port 443 or 80 of the router to the box. It is tried again by itself.",
        "Prüfen Sie, ob die Domain zu Ihrem Router führt und dessen Port 443 oder 80 zur Box. Es wird von selbst wieder versucht.";
    local_name: "The box is not found by its name in your network", "Die Box ist in Ihrem Netzwerk nicht unter ihrem Namen zu finden";
    local_name_lead: "Another device has that name, or the network does not pass it on. The line below says where the box is.",
        "Ein anderes Gerät hat diesen Namen, oder das Netzwerk gibt ihn nicht weiter. Die Zeile unten sagt, wo die Box ist.";
    unused: "Nobody has written on a channel since the box started", "Auf einem Kanal hat seit dem Start der Box niemand geschrieben";
    unused_lead: "Write something there yourself and see whether it is answered.",
        "Schreiben Sie selbst etwas und sehen Sie, ob eine Antwort kommt.";
}
