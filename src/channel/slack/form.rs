//! How a Slack channel is added.

use crate::channel::form::{Field, Form, Kind, Say};

/// What Slack wants to know of the app: "Create an app" → "From a manifest".
const MANIFEST: &str = r#"display_information:
  name: Front desk
features:
  app_home:
    messages_tab_enabled: true
    messages_tab_read_only_enabled: false
  bot_user:
    display_name: Front desk
    always_online: true
oauth_config:
  scopes:
    bot: [app_mentions:read, channels:history, groups:history, im:history, mpim:history, chat:write]
settings:
  event_subscriptions:
    bot_events: [app_mention, message.channels, message.groups, message.im, message.mpim]
  socket_mode_enabled: true
"#;

pub(super) static FORM: Form = Form {
    name: Say("Slack", "Slack"),
    lead: Say("A bot in your Slack workspace", "Ein Bot in Ihrem Slack-Arbeitsbereich"),
    steps: &[
        Say(
            "Open api.slack.com/apps, choose \"Create New App\", \"From a manifest\", your workspace, and paste the manifest below.",
            "Öffnen Sie api.slack.com/apps, wählen Sie „Create New App“, „From a manifest“, Ihren Arbeitsbereich, und fügen Sie das Manifest von unten ein.",
        ),
        Say(
            "Under \"Basic Information\", \"App-Level Tokens\", make a token with the scope connections:write. That is the app token.",
            "Erzeugen Sie unter „Basic Information“, „App-Level Tokens“ ein Token mit dem Recht connections:write. Das ist das App-Token.",
        ),
        Say(
            "Choose \"Install App\" and install it. The \"Bot User OAuth Token\" that appears is the bot token.",
            "Wählen Sie „Install App“ und installieren Sie sie. Das „Bot User OAuth Token“, das dann erscheint, ist das Bot-Token.",
        ),
        Say(
            "Paste both here. Then write to the bot in Slack, or invite it into a channel and mention it.",
            "Fügen Sie beide hier ein. Schreiben Sie dann dem Bot in Slack, oder laden Sie ihn in einen Kanal ein und erwähnen Sie ihn.",
        ),
    ],
    copies: &[
        (Say("App manifest", "App-Manifest"), MANIFEST),
        (
            Say(
                "Request URL, only without an app token (Event Subscriptions)",
                "Request-URL, nur ohne App-Token (Event Subscriptions)",
            ),
            "{url}/hooks/{id}",
        ),
    ],
    fields: &[
        Field {
            key: "bot_token",
            label: Say("Bot token", "Bot-Token"),
            hint: Say("Begins with xoxb-. \"Install App\" shows it.", "Beginnt mit xoxb-. „Install App“ zeigt es."),
            kind: Kind::Secret,
            is_required: true,
        },
        Field {
            key: "app_token",
            label: Say("App token", "App-Token"),
            hint: Say(
                "Begins with xapp-. With it the box fetches messages itself and needs no public address.",
                "Beginnt mit xapp-. Damit holt das Gerät Nachrichten selbst und braucht keine öffentliche Adresse.",
            ),
            kind: Kind::Secret,
            is_required: false,
        },
        Field {
            key: "signing_secret",
            label: Say("Signing secret", "Signing Secret"),
            hint: Say(
                "Only in place of the app token: under \"Basic Information\". Slack then sends messages to the request URL.",
                "Nur anstelle des App-Tokens: unter „Basic Information“. Slack sendet Nachrichten dann an die Request-URL.",
            ),
            kind: Kind::Secret,
            is_required: false,
        },
    ],
};
