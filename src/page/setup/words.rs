//! What the setup says.

use crate::admin::providers::Probed;
use crate::gateway::Question;
use crate::page::words::{fill, words};

words! {
    /// What the setup says.
    SetupWords;
    count: "Question {n} of {of}", "Frage {n} von {of}";
    progress: "Questions", "Fragen";
    asked: "done", "erledigt";
    save: "Save and go on", "Speichern und weiter";
    go_on: "Go on", "Weiter";
    skip_question: "Skip", "Überspringen";
    back: "Back", "Zurück";
    later: "Finish this later", "Später fertig machen";
    change: "Change", "Ändern";
    change_of: "Change: {what}", "Ändern: {what}";

    business_step: "Business", "Unternehmen";
    business_title: "What is your business called?", "Wie heißt Ihr Unternehmen?";
    business_lead: "Your worker introduces itself with it, and knows from the start how such a business answers.",
        "Ihr Mitarbeiter meldet sich damit und weiß von Anfang an, wie man in so einem Unternehmen antwortet.";
    business_name: "Name of the business", "Name des Unternehmens";
    business_type: "What does it do?", "Was macht es?";
    dental_practice: "Dental practice", "Zahnarztpraxis";
    dental_practice_lead: "Takes requests for appointments, gives no medical advice, knows what an emergency is.",
        "Nimmt Terminwünsche auf, gibt keinen medizinischen Rat und weiß, was ein Notfall ist.";
    estate_agency: "Estate agency", "Immobilienbüro";
    estate_agency_lead: "Takes requests for viewings and damage reports, invents nothing about a property.",
        "Nimmt Besichtigungswünsche und Schäden auf und erfindet nichts über ein Objekt.";
    blank: "Something else", "Etwas anderes";
    blank_lead: "A careful front desk for any business, to build on.", "Ein umsichtiger Empfang für jedes Unternehmen, zum Ausbauen.";
    worker_language: "Language of your worker", "Sprache Ihres Mitarbeiters";
    worker_language_hint: "It answers everybody in their own language; this is the one that it begins with.",
        "Er antwortet allen in ihrer Sprache; mit dieser beginnt er.";
    where_it_is: "Address and telephone", "Adresse und Telefon";
    where_it_is_lead: "If you like: the questions that people ask most.", "Wenn Sie mögen: Danach wird am häufigsten gefragt.";
    address: "Address", "Adresse";
    phone: "Telephone", "Telefon";

    hours_step: "Hours", "Zeiten";
    hours_title: "When are you open?", "Wann haben Sie geöffnet?";
    hours_lead: "Your worker knows what time it is with you, and says when somebody is there again.",
        "Ihr Mitarbeiter weiß, wie spät es bei Ihnen ist, und sagt, wann wieder jemand da ist.";
    time_zone: "Time zone", "Zeitzone";
    time_zone_hint: "The clock on the wall of your business.", "Die Uhr an der Wand Ihres Unternehmens.";
    zone_of_box: "As this box", "Wie diese Box";
    opening_hours: "Opening hours", "Öffnungszeiten";
    opening_hours_hint: "A day without times is a closed one. The second pair is for after a break.",
        "Ein Tag ohne Zeiten ist geschlossen. Das zweite Paar ist für nach der Pause.";
    from: "from", "von";
    to: "to", "bis";
    copy_monday: "Same as Monday until Friday", "Bis Freitag wie Montag";
    closed: "Also closed on", "Außerdem geschlossen";
    closed_hint: "Days like 2026-12-24, or from one to another, 2026-12-24/2027-01-01, with commas between.",
        "Tage wie 2026-12-24, oder von–bis als 2026-12-24/2027-01-01, mit Kommas dazwischen.";
    bad_hours: "A time is missing, or a day ends before it begins.", "Eine Uhrzeit fehlt, oder ein Tag endet, bevor er beginnt.";
    monday: "Monday", "Montag";
    tuesday: "Tuesday", "Dienstag";
    wednesday: "Wednesday", "Mittwoch";
    thursday: "Thursday", "Donnerstag";
    friday: "Friday", "Freitag";
    saturday: "Saturday", "Samstag";
    sunday: "Sunday", "Sonntag";

    model_step: "Model", "Modell";
    model_title: "What does your worker think with?", "Womit denkt Ihr Mitarbeiter?";
    model_lead: "The model is what writes the answers. You can choose another one at any time.",
        "Das Modell schreibt die Antworten. Sie können jederzeit ein anderes wählen.";
    model_source: "Where the model is", "Wo das Modell ist";
    model_server: "A server in your network", "Ein Server in Ihrem Netzwerk";
    model_server_lead: "llama.cpp, Ollama, LM Studio, vLLM or another. No word leaves your network.",
        "llama.cpp, Ollama, LM Studio, vLLM oder ein anderer. Kein Wort verlässt Ihr Netzwerk.";
    server_address: "Its address", "Seine Adresse";
    server_address_hint: "Like 192.168.1.20. We look for the port; if you know it, write 192.168.1.20:8080.",
        "Zum Beispiel 192.168.1.20. Den Port suchen wir; wenn Sie ihn kennen: 192.168.1.20:8080.";
    server_key: "Key, if it wants one", "Schlüssel, falls er einen möchte";
    model_openai: "OpenAI", "OpenAI";
    model_anthropic: "Anthropic", "Anthropic";
    model_cloud_lead: "With a key of your own. What people write is sent there to be answered.",
        "Mit Ihrem eigenen Schlüssel. Was geschrieben wird, geht zum Beantworten dorthin.";
    cloud_key: "Key", "Schlüssel";
    cloud_key_hint: "From your account there. It is kept on this box and never shown again.",
        "Aus Ihrem Konto dort. Er bleibt auf dieser Box und wird nie wieder angezeigt.";
    key_kept: "kept; leave empty to go on with it", "gespeichert; leer lassen, um ihn zu behalten";
    model_demo: "The demo", "Die Demo";
    model_demo_lead: "Answers by simple rules, without a model: to look around first.",
        "Antwortet nach einfachen Regeln, ohne Modell: um sich erst einmal umzusehen.";
    model_name: "Model", "Modell";
    check_and_save: "Check and save", "Prüfen und speichern";
    looking: "Asking the model for a word… A small machine may take a minute.",
        "Das Modell wird um ein Wort gebeten … Ein kleiner Rechner braucht vielleicht eine Minute.";
    looking_hint: "We ask the model for one word. Only a model that answers is saved.",
        "Wir bitten das Modell um ein Wort. Gespeichert wird nur ein Modell, das antwortet.";
    other_model: "Use another model", "Ein anderes Modell nehmen";
    in_use: "In use", "In Gebrauch";
    choose_model: "Choose one, please.", "Bitte wählen Sie etwas aus.";
    model_works: "The model answers. Your worker uses it from now on.", "Das Modell antwortet. Ihr Mitarbeiter nutzt es ab jetzt.";
    verdict_slow: "The model answers, but takes long. A smaller one would be quicker.",
        "Das Modell antwortet, braucht aber lange. Ein kleineres wäre schneller.";
    verdict_no_address: "This is no address. Write it like 192.168.1.20, with the port if you know it.",
        "Das ist keine Adresse. Schreiben Sie sie wie 192.168.1.20, mit dem Port, wenn Sie ihn kennen.";
    verdict_unknown_name: "Nobody knows this name. See that it is spelled right, or write the IP address.",
        "Diesen Namen kennt niemand. Prüfen Sie die Schreibweise, oder nehmen Sie die IP-Adresse.";
    verdict_refused: "Nothing listens there. Start the server, and see that it listens for the network and not for its own machine alone.",
        "Dort nimmt nichts an. Starten Sie den Server, und sehen Sie nach, ob er im Netzwerk lauscht und nicht nur auf seinem eigenen Rechner.";
    verdict_silent: "Nothing answers there. See that the machine is on and that no firewall is between.",
        "Dort antwortet nichts. Ist der Rechner an, und ist keine Firewall dazwischen?";
    verdict_tls: "The connection cannot be protected: the certificate is not valid, or the server speaks http.",
        "Die Verbindung lässt sich nicht schützen: Das Zertifikat ist ungültig, oder der Server spricht http.";
    verdict_key_missing: "The server is there and wants a key.", "Der Server ist da und möchte einen Schlüssel.";
    verdict_key_wrong: "The server does not take this key. See that all of it was copied, and that it is still valid.",
        "Der Server nimmt diesen Schlüssel nicht. Wurde er ganz kopiert, und gilt er noch?";
    verdict_other_server: "Something answers there, and it is no server of models. See the port.",
        "Dort antwortet etwas, aber kein Modell-Server. Stimmt der Port?";
    verdict_no_model: "The server is there and has no model that chats. Load one there.",
        "Der Server ist da, hat aber kein Modell zum Chatten. Laden Sie dort eines.";
    verdict_unknown_model: "The server does not have this model.", "Dieses Modell hat der Server nicht.";
    verdict_no_answer: "The server lists its models, but {model} does not answer.",
        "Der Server nennt seine Modelle, aber {model} antwortet nicht.";
    verdict_limited: "The server takes no questions now. See limits and payment in your account there.",
        "Der Server nimmt gerade keine Fragen an. Sehen Sie in Ihrem Konto dort nach Limits und Zahlung.";

    channel_step: "Channel", "Kanal";
    channel_title: "Where do people write to you?", "Wo schreibt man Ihnen?";
    channel_lead: "The web chat is ready now: as a page of its own, and as a button on your website.",
        "Der Web-Chat ist sofort bereit: als eigene Seite und als Knopf auf Ihrer Website.";
    chat_address: "Its address", "Seine Adresse";
    chat_embed: "On your website", "Auf Ihrer Website";
    chat_embed_hint: "Put this line into the pages, before </body>. Visitors from outside your network need an address that leads to this box.",
        "Setzen Sie diese Zeile in die Seiten, vor </body>. Besucher von außerhalb brauchen eine Adresse, die zu dieser Box führt.";
    chat_title: "Name above the conversation", "Name über dem Gespräch";
    chat_title_hint: "What your visitors read first.", "Was Ihre Besucher zuerst lesen.";
    other_channels: "Or begin with another one. The page shows the vendor's steps; then come back here.",
        "Oder mit einem anderen beginnen. Die Seite zeigt die Schritte beim Anbieter; danach kommen Sie hierher zurück.";

    alerts_step: "Alerts", "Meldungen";
    alerts_title: "Who is told when something is wrong?", "Wer erfährt, wenn etwas nicht stimmt?";
    alerts_lead: "One e-mail when something is wrong, and one when it is over. Never anything of a conversation.",
        "Eine E-Mail, wenn etwas nicht stimmt, und eine, wenn es vorbei ist. Nie etwas aus einem Gespräch.";
    alert_email: "E-mail address", "E-Mail-Adresse";
    alert_email_hint: "Mails go from this mailbox to itself. Leave it empty and nobody is told.",
        "Die Mails gehen aus diesem Postfach an sich selbst. Bleibt es leer, erfährt es niemand.";
    mail_password: "Password of the mailbox", "Passwort des Postfachs";
    mail_password_hint: "Many providers have a separate one for programs, called an app password. It is kept on this box and never shown again.",
        "Viele Anbieter haben dafür ein eigenes, das App-Passwort. Es bleibt auf dieser Box und wird nie wieder angezeigt.";
    mail_server: "Mail server", "Mailserver";
    mail_server_lead: "Only if the test does not arrive: your provider tells you these.",
        "Nur wenn der Test nicht ankommt: Ihr Anbieter nennt Ihnen diese Angaben.";
    server: "Server", "Server";
    port: "Port", "Port";
    security: "Protection", "Schutz";
    security_usual: "As usual", "Wie üblich";
    security_none: "None, in the own network", "Keiner, im eigenen Netzwerk";
    mail_user: "User name", "Benutzername";
    send_test: "Save and send a test", "Speichern und Test senden";
    alert_sent: "The test is on its way. Look into the mailbox.", "Der Test ist unterwegs. Sehen Sie ins Postfach.";
    alert_nobody: "Nobody is named, so nothing was sent.", "Niemand ist genannt, also wurde nichts gesendet.";
    alert_failed: "The test was not sent: {why}", "Der Test wurde nicht gesendet: {why}";

    updates_step: "Updates", "Updates";
    updates_title: "May this box keep itself up to date?", "Darf diese Box sich selbst aktuell halten?";
    updates_lead: "Updates close gaps and add what is new. No conversation is lost by them.",
        "Updates schließen Lücken und bringen Neues. Kein Gespräch geht dabei verloren.";
    updates_legend: "Updates", "Updates";
    updates_yes: "Yes, at night", "Ja, nachts";
    updates_yes_lead: "Without asking, in the hours below.", "Ohne Rückfrage, in der Zeit unten.";
    updates_no: "No, I decide", "Nein, ich entscheide";
    updates_no_lead: "Nothing is installed before you say so.", "Nichts wird installiert, bevor Sie es sagen.";
    updates_window: "Between", "Zwischen";
    updates_now: "Before one is used it proves itself; if something is wrong, the version from before comes back by itself.",
        "Bevor eines benutzt wird, muss es sich bewähren; stimmt etwas nicht, kommt die vorige Version von selbst zurück.";
    updates_nobody: "On this machine nothing looks for updates yet. Your wish is kept and counts as soon as something does; the page Updates says how.",
        "Auf diesem Gerät sucht noch nichts nach Updates. Ihr Wunsch wird gespeichert und gilt, sobald das so ist; wie, steht auf der Seite Updates.";

    try_step: "Try it", "Ausprobieren";
    try_title: "Say hello to your worker", "Begrüßen Sie Ihren Mitarbeiter";
    try_lead: "Write as a customer would. This is the web chat as your visitors see it.",
        "Schreiben Sie wie eine Kundin. Das ist der Web-Chat, wie Ihre Besucher ihn sehen.";
    try_frame: "Web chat", "Web-Chat";
    try_elsewhere: "Open it in a window of its own", "In einem eigenen Fenster öffnen";
    try_nowhere: "No web chat is on. Write to your worker where your channel is.",
        "Kein Web-Chat ist an. Schreiben Sie Ihrem Mitarbeiter dort, wo Ihr Kanal ist.";
    summary: "What you have set up", "Was Sie eingerichtet haben";
    nobody: "Nobody", "Niemand";
    finish: "Finish", "Fertig";
}

impl SetupWords {
    /// What a question is called; `None`: the page behind all.
    pub(super) fn name(&self, question: Option<Question>) -> &'static str {
        match question {
            Some(Question::Business) => self.business_step,
            Some(Question::Hours) => self.hours_step,
            Some(Question::Model) => self.model_step,
            Some(Question::Channel) => self.channel_step,
            Some(Question::Alerts) => self.alerts_step,
            Some(Question::Updates) => self.updates_step,
            None => self.try_step,
        }
    }

    /// The question itself, and a sentence on it.
    pub(super) fn head(&self, question: Option<Question>) -> (&'static str, &'static str) {
        match question {
            Some(Question::Business) => (self.business_title, self.business_lead),
            Some(Question::Hours) => (self.hours_title, self.hours_lead),
            Some(Question::Model) => (self.model_title, self.model_lead),
            Some(Question::Channel) => (self.channel_title, self.channel_lead),
            Some(Question::Alerts) => (self.alerts_title, self.alerts_lead),
            Some(Question::Updates) => (self.updates_title, self.updates_lead),
            None => (self.try_title, self.try_lead),
        }
    }

    pub(super) fn weekdays(&self) -> [&'static str; 7] {
        [self.monday, self.tuesday, self.wednesday, self.thursday, self.friday, self.saturday, self.sunday]
    }

    /// How a look at a model went that was not kept.
    pub(super) fn verdict(&self, found: &Probed) -> String {
        let sentence = match found.verdict {
            "no_address" => self.verdict_no_address,
            "unknown_name" => self.verdict_unknown_name,
            "refused" => self.verdict_refused,
            "silent" => self.verdict_silent,
            "tls" => self.verdict_tls,
            "key_missing" => self.verdict_key_missing,
            "key_wrong" => self.verdict_key_wrong,
            "other_server" => self.verdict_other_server,
            "no_model" => self.verdict_no_model,
            "unknown_model" => self.verdict_unknown_model,
            "limited" => self.verdict_limited,
            _ => self.verdict_no_answer,
        };
        fill(sentence, &[("model", found.model.as_deref().unwrap_or_default())])
    }
}
