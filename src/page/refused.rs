//! What the admin API does not do, in an owner's words. For what they seldom meet there are the API's own, in English.

use axum::http::StatusCode;

use super::visit::Visit;
use super::words::{Words, words};
use crate::admin;

/// As `visit` may hear it.
pub(super) fn said(visit: &Visit, error: admin::Error) -> (StatusCode, String) {
    told(visit.words, error.heard_by(visit.who()))
}

/// The same for somebody who is not known yet.
pub(super) fn told(words: &Words, error: admin::Error) -> (StatusCode, String) {
    let words = RefusalWords::of(words);
    let (status, refused) = error.told();
    // The first thing that is wrong is what was just typed.
    let detail = refused.problems.and_then(|problems| problems.into_iter().next());
    let detail = detail.map_or(refused.error, |problem| problem.message);
    let own = match refused.code {
        "changed" => words.changed,
        "yaml" => words.yaml,
        "restart_needed" => words.restart_needed,
        "too_many" => words.too_many,
        "too_long" => words.too_long,
        "too_slow" => words.too_slow,
        "taken_by_other" => words.taken_by_other,
        "not_taken" => words.not_taken,
        "conversation_over" => words.conversation_over,
        "conversation_changed" => words.conversation_changed,
        "nowhere_to_send" => words.nowhere_to_send,
        "safe_mode" => words.safe_mode,
        "backup_running" => words.backup_running,
        "name_taken" => words.name_taken,
        "wrong_name" => words.wrong_name,
        "last_admin" => words.last_admin,
        "no_passkey" => words.no_passkey,
        "busy" => words.busy,
        "test_too_slow" => words.test_too_slow,
        "disk" => words.disk,
        // Here it matters what exactly.
        "config_invalid" | "unusable" | "wrong_request" => return (status, with(words.config_invalid, &detail)),
        "address_unusable" => return (status, with(words.address_unusable, &detail)),
        "backup_failed" => return (status, with(words.backup_failed, &detail)),
        _ => return (status, with(words.other, &detail)),
    };
    (status, own.to_owned())
}

fn with(sentence: &str, detail: &str) -> String {
    format!("{sentence} ({detail})")
}

words! {
    /// Why something was not done.
    RefusalWords;
    changed: "Somebody else changed the settings in the meantime. Look at them again and repeat what you did.",
        "Jemand anderes hat inzwischen die Einstellungen geändert. Sehen Sie sie erneut an und wiederholen Sie die Änderung.";
    yaml: "The settings are in a .yml file, which is not changed in place. Turn it into config.toml under Settings.",
        "Die Einstellungen stehen in einer .yml-Datei, die nicht an Ort und Stelle geändert wird. Wandeln Sie sie unter Einstellungen in config.toml um.";
    restart_needed: "That takes a restart of Frontdesk. Until then nothing is changed.",
        "Das braucht einen Neustart von Frontdesk. Bis dahin ist nichts geändert.";
    too_many: "That was tried too often. Wait a minute, then try again.", "Das wurde zu oft versucht. Warten Sie eine Minute und versuchen Sie es dann erneut.";
    too_long: "That is too long.", "Das ist zu lang.";
    too_slow: "It did not arrive in time. Send it again.", "Es kam nicht rechtzeitig an. Senden Sie es noch einmal.";
    taken_by_other: "Somebody else has taken this conversation. Ask them to hand it back.",
        "Jemand anderes hat dieses Gespräch übernommen. Bitten Sie darum, es zurückzugeben.";
    not_taken: "Nobody has taken this conversation, so the worker answers there. Take it first.",
        "Niemand hat dieses Gespräch übernommen, also antwortet der Mitarbeiter. Übernehmen Sie es zuerst.";
    conversation_over: "This conversation is over. Take it up again first.", "Dieses Gespräch ist zu Ende. Nehmen Sie es zuerst wieder auf.";
    conversation_changed: "The conversation has gone on meanwhile. Look at it again.", "Das Gespräch ist inzwischen weitergegangen. Sehen Sie es erneut an.";
    nowhere_to_send: "Nobody can be written to here: the channel is gone, or no message came in by one.",
        "Hier kann niemandem geschrieben werden: Der Kanal ist weg, oder es kam noch keine Nachricht über einen.";
    safe_mode: "The settings cannot be used, so nothing is sent. Mend them first.", "Die Einstellungen sind nicht verwendbar, daher wird nichts gesendet. Berichtigen Sie sie zuerst.";
    backup_running: "A backup is being made. Wait until it is there.", "Gerade wird eine Sicherung erstellt. Warten Sie, bis sie da ist.";
    name_taken: "An account or a token has this name already. Choose another.", "Ein Konto oder Zugang hat diesen Namen schon. Wählen Sie einen anderen.";
    wrong_name: "That cannot be a name here: it is empty, too long, or has characters that cannot be seen.",
        "Das kann hier kein Name sein: Er ist leer, zu lang oder hat Zeichen, die man nicht sieht.";
    last_admin: "Somebody must be able to do everything, and this is the last one who can.",
        "Jemand muss alles dürfen, und das ist die letzte Person, die es darf.";
    no_passkey: "There is no passkey yet. Add one first.", "Es gibt noch keinen Passkey. Fügen Sie zuerst einen hinzu.";
    busy: "Too many log in at this moment. Try again in a few seconds.", "Gerade melden sich zu viele an. Versuchen Sie es in ein paar Sekunden erneut.";
    test_too_slow: "The test took too long. See whether the vendor can be reached, and try again.",
        "Die Prüfung hat zu lange gedauert. Sehen Sie nach, ob der Anbieter erreichbar ist, und versuchen Sie es erneut.";
    disk: "The disk is full or cannot be written. Make room; then it goes on.",
        "Der Datenträger ist voll oder nicht beschreibbar. Schaffen Sie Platz; dann geht es weiter.";
    config_invalid: "It cannot be used like this.", "So lässt es sich nicht verwenden.";
    address_unusable: "The box cannot be reached at that address, so nothing is changed.", "Unter dieser Adresse ist die Box nicht erreichbar, daher ist nichts geändert.";
    backup_failed: "The backup was not made.", "Die Sicherung wurde nicht erstellt.";
    other: "It was not done.", "Das wurde nicht ausgeführt.";
}
