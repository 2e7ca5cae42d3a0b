//! How a webhook is added.

use crate::channel::form::{Field, Form, Kind, Say};

pub(super) static FORM: Form = Form {
    name: Say("Webhook", "Webhook"),
    lead: Say(
        "For a program of yours: it posts messages, and answers are posted to it",
        "Für ein eigenes Programm: Es sendet Nachrichten, und Antworten werden ihm gesendet",
    ),
    steps: &[
        Say(
            "Say where answers are to be posted. Leave the secret empty, and one is made and shown once.",
            "Geben Sie an, wohin Antworten gesendet werden. Lassen Sie das Geheimnis leer, dann wird eines erzeugt und einmal gezeigt.",
        ),
        Say(
            "Give the secret to your program. It signs every message with it as Standard Webhooks says (standardwebhooks.com), and checks the signatures of answers.",
            "Geben Sie das Geheimnis Ihrem Programm. Es unterschreibt damit jede Nachricht nach Standard Webhooks (standardwebhooks.com) und prüft die Unterschriften der Antworten.",
        ),
        Say("Post messages to the address below.", "Senden Sie Nachrichten an die Adresse unten."),
    ],
    copies: &[
        (Say("Address for messages (POST)", "Adresse für Nachrichten (POST)"), "{url}/hooks/{id}"),
        (
            Say("A message", "Eine Nachricht"),
            "{\"kind\":\"direct\",\"user_id\":\"42\",\"text\":\"Are you open on Monday?\"}",
        ),
    ],
    fields: &[
        Field {
            key: "reply_url",
            label: Say("Where answers are posted", "Wohin Antworten gesendet werden"),
            hint: Say("An https address of your program.", "Eine https-Adresse Ihres Programms."),
            kind: Kind::Text,
            is_required: true,
        },
        Field {
            key: "secret",
            label: Say("Secret", "Geheimnis"),
            hint: Say(
                "Leave it empty, and one is made. It is shown once.",
                "Leer lassen, dann wird eines erzeugt. Es wird einmal gezeigt.",
            ),
            kind: Kind::MadeSecret,
            is_required: false,
        },
    ],
};
