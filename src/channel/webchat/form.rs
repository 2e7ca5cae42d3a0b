//! How a web chat is added.

use crate::channel::form::{Field, Form, Kind, Say};

pub(super) static FORM: Form = Form {
    name: Say("Web chat", "Webchat"),
    lead: Say(
        "A chat page that this box serves, and a button for your own site",
        "Eine Chat-Seite, die dieses Gerät ausliefert, und ein Knopf für Ihre eigene Website",
    ),
    steps: &[
        Say(
            "Everything may stay empty. Then the page is at the address below, in your network.",
            "Alles darf leer bleiben. Dann ist die Seite unter der Adresse unten, in Ihrem Netz.",
        ),
        Say(
            "For visitors from outside, say at which address they reach this box, and put the snippet into your site.",
            "Für Besucher von außen: Geben Sie an, unter welcher Adresse sie dieses Gerät erreichen, und setzen Sie den Schnipsel in Ihre Website.",
        ),
    ],
    copies: &[
        (Say("The page", "Die Seite"), "{url}/chat/{id}"),
        (
            Say("Snippet for your site", "Schnipsel für Ihre Website"),
            "<script src=\"{url}/chat/{id}/widget.js\" async></script>",
        ),
    ],
    fields: &[
        Field {
            key: "title",
            label: Say("Title", "Titel"),
            hint: Say("Often the name of the business.", "Oft der Name des Unternehmens."),
            kind: Kind::Text,
            is_required: false,
        },
        Field {
            key: "greeting",
            label: Say("Greeting", "Begrüßung"),
            hint: Say("What an empty conversation says.", "Was ein leeres Gespräch sagt."),
            kind: Kind::Text,
            is_required: false,
        },
        Field {
            key: "accent",
            label: Say("Colour", "Farbe"),
            hint: Say("As in #2f4fd8.", "Wie in #2f4fd8."),
            kind: Kind::Text,
            is_required: false,
        },
        Field {
            key: "public_url",
            label: Say("Address from outside", "Adresse von außen"),
            hint: Say(
                "Scheme and host, as in https://chat.example.com.",
                "Schema und Host, wie in https://chat.example.com.",
            ),
            kind: Kind::Text,
            is_required: false,
        },
        Field {
            key: "embed_origins",
            label: Say("Sites that may show it", "Websites, die ihn zeigen dürfen"),
            hint: Say(
                "One a line, as in https://www.example.com. Empty: any.",
                "Je eine Zeile, wie in https://www.example.com. Leer: alle.",
            ),
            kind: Kind::Lines,
            is_required: false,
        },
    ],
};
