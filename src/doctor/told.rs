//! What was found, in an owner's words. What the doctor says itself is for whoever helps them.

use super::{Finding, Severity};
use crate::browser::Language;

/// What it means, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What is so.
    pub title: &'static str,
    /// What to do.
    pub lead: &'static str,
}

/// In this language. `None`: the doctor's own words must do.
#[must_use]
pub fn told(finding: &Finding, language: Language) -> Option<Told> {
    let [title, lead, german_title, german_lead] = match finding.id {
        "weak-api-key" => [
            "An access key is too easy to guess",
            "Replace it by a new one; the program that uses it then needs the new one, too.",
            "Ein Zugangsschlüssel ist zu leicht zu erraten",
            "Ersetzen Sie ihn durch einen neuen; das Programm, das ihn benutzt, braucht dann ebenfalls den neuen.",
        ],
        "wide-api-key" => [
            "A program may read every conversation",
            "Fine if you want that. If not, give its key less reach.",
            "Ein Programm darf alle Gespräche lesen",
            "In Ordnung, wenn Sie das so möchten. Wenn nicht, schränken Sie seinen Schlüssel ein.",
        ],
        "no-tls" => [
            "This page can be read along in your network",
            "Open it with https instead of http, above all where others use the same network.",
            "Diese Seite kann in Ihrem Netzwerk mitgelesen werden",
            "Öffnen Sie sie mit https statt http, vor allem, wo andere dasselbe Netzwerk benutzen.",
        ],
        "clear-secret" => [
            "A password or key stands openly in the settings",
            "Move it to the secrets, where nobody can read it again.",
            "Ein Passwort oder Schlüssel steht offen in den Einstellungen",
            "Verschieben Sie es zu den Geheimnissen, wo es niemand mehr lesen kann.",
        ],
        "shared-conversation" => [
            "People on one channel share a conversation",
            "Everybody there may hear what the others wrote. Give each person their own conversation in the settings.",
            "Auf einem Kanal teilen sich mehrere Personen ein Gespräch",
            "Jeder dort kann erfahren, was die anderen geschrieben haben. Geben Sie in den Einstellungen jeder Person ein eigenes Gespräch.",
        ],
        "answers-always" => [
            "Your worker answers everything that is said in groups",
            "Most people prefer that it answers in groups only when it is called by name.",
            "Ihr Mitarbeiter antwortet in Gruppen auf alles",
            "Meist ist es besser, wenn er in Gruppen nur antwortet, wenn man ihn anspricht.",
        ],
        "open-home" | "open-file" | "other-owner" => [
            "Other users of this computer could read files of this box",
            "This happens when files were copied by hand. Whoever looks after the computer can close it with the line below.",
            "Andere Benutzer dieses Computers könnten Dateien dieser Box lesen",
            "Das passiert, wenn Dateien von Hand kopiert wurden. Wer den Computer betreut, schließt das mit der Zeile unten.",
        ],
        "clear-key" => [
            "Whoever takes the disk can read what is on it",
            "Conversations are encrypted, but the key lies beside them. A passphrase protects it, and is then asked for at each start.",
            "Wer den Datenträger mitnimmt, kann ihn lesen",
            "Gespräche sind verschlüsselt, aber der Schlüssel liegt daneben. Eine Passphrase schützt ihn und wird dann bei jedem Start verlangt.",
        ],
        "device-key" => [
            "The key to the conversations cannot be used",
            "Nothing is lost as long as the key comes back. Do not delete anything.",
            "Der Schlüssel zu den Gesprächen lässt sich nicht benutzen",
            "Solange der Schlüssel wieder auftaucht, ist nichts verloren. Löschen Sie nichts.",
        ],
        "store" => [
            "The conversations on the disk cannot be used as they are",
            "Nothing was deleted. Have somebody look at the line below before you restore a backup.",
            "Die gespeicherten Gespräche lassen sich so nicht benutzen",
            "Es wurde nichts gelöscht. Lassen Sie jemanden die Zeile unten ansehen, bevor Sie eine Sicherung zurückspielen.",
        ],
        "disk-full" => [
            "The disk is full",
            "New messages cannot be taken. Make room; it then goes on by itself.",
            "Der Datenträger ist voll",
            "Neue Nachrichten werden nicht angenommen. Schaffen Sie Platz; dann geht es von selbst weiter.",
        ],
        "disk-low" => [
            "The disk is nearly full",
            "Make room soon. When it is full, new messages cannot be taken.",
            "Der Datenträger ist fast voll",
            "Schaffen Sie bald Platz. Ist er voll, werden keine neuen Nachrichten angenommen.",
        ],
        "clock-behind" => [
            "The clock of the box is slow",
            "It sets itself as soon as the box reaches the internet. Until then, some messages may be refused.",
            "Die Uhr der Box geht nach",
            "Sie stellt sich, sobald die Box das Internet erreicht. Bis dahin werden manche Nachrichten vielleicht abgelehnt.",
        ],
        "config" => [
            "There is a mistake in the settings",
            "They are not used. Go back to the last ones that worked, or mend the line below.",
            "In den Einstellungen ist ein Fehler",
            "Sie werden nicht benutzt. Gehen Sie zu den letzten zurück, die funktioniert haben, oder berichtigen Sie die Zeile unten.",
        ],
        "not-reloaded" => [
            "The settings file was changed and is not used yet",
            "Open the settings and save them, or restart the box.",
            "Die Einstellungsdatei wurde geändert und wird noch nicht benutzt",
            "Öffnen Sie die Einstellungen und speichern Sie, oder starten Sie die Box neu.",
        ],
        "never-delivered" => [
            "Messages come in on a channel, but no answer has gone out",
            "Right after the first message this is normal. If it stays, test the channel.",
            "Auf einem Kanal kommen Nachrichten an, aber keine Antwort ging hinaus",
            "Gleich nach der ersten Nachricht ist das normal. Bleibt es so, testen Sie den Kanal.",
        ],
        "certificate" => [
            "Browsers cannot trust the box at its domain yet",
            "See that the domain leads to your router, and port 443 or 80 of the router to the box. It is tried again by itself.",
            "Browser können der Box unter ihrer Domain noch nicht vertrauen",
            "Prüfen Sie, ob die Domain zu Ihrem Router führt und dessen Port 443 oder 80 zur Box. Es wird von selbst wieder versucht.",
        ],
        "local-name" => [
            "The box is not found by its name in your network",
            "Another device has that name, or the network does not pass it on. The line below says where the box is.",
            "Die Box ist in Ihrem Netzwerk nicht unter ihrem Namen zu finden",
            "Ein anderes Gerät hat diesen Namen, oder das Netzwerk gibt ihn nicht weiter. Die Zeile unten sagt, wo die Box ist.",
        ],
        "never-used" => [
            "Nobody has written on a channel since the box started",
            "Write something there yourself and see whether it is answered.",
            "Auf einem Kanal hat seit dem Start der Box niemand geschrieben",
            "Schreiben Sie selbst etwas und sehen Sie, ob eine Antwort kommt.",
        ],
        "paused" => [
            "A channel is paused",
            "Nobody is answered there until you let it go on, on its page under Channels. What waits is kept.",
            "Ein Kanal ist angehalten",
            "Dort wird niemand beantwortet, bis Sie ihn auf seiner Seite unter Kanäle weiterlaufen lassen. Was wartet, bleibt erhalten.",
        ],
        "gateway" if finding.severity == Severity::Error => [
            "The box cannot answer as it should",
            "The line below says why, and what to do. Nothing that was taken is lost.",
            "Die Box kann nicht so antworten, wie sie soll",
            "Die Zeile unten sagt, warum, und was zu tun ist. Was angenommen wurde, geht nicht verloren.",
        ],
        "update-failed" => [
            "The last update did not work",
            "The version from before runs, and nothing is lost. Under Updates you see why, and can try again.",
            "Das letzte Update hat nicht geklappt",
            "Die Version von vorher läuft, und nichts ist verloren. Unter Updates sehen Sie, warum, und können es erneut versuchen.",
        ],
        "security-update" => [
            "An update that closes a security hole is waiting",
            "Install it under Updates, or let the box do that by itself at night.",
            "Ein Update, das eine Sicherheitslücke schließt, wartet",
            "Installieren Sie es unter Updates, oder lassen Sie die Box das nachts von selbst tun.",
        ],
        _ => return None,
    };
    Some(match language {
        Language::English => Told { title, lead },
        Language::German => Told { title: german_title, lead: german_lead },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_gateway_is_told_and_its_warnings_speak_for_themselves() {
        let of = |severity| told(&Finding::new(severity, "gateway", "x", "y"), Language::German);
        assert!(of(Severity::Error).is_some_and(|told| told.title.starts_with("Die Box")));
        assert_eq!(of(Severity::Warning), None);
    }
}
