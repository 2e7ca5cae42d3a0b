//! The forms of the questions.

use maud::{Markup, html};

use super::sent::{DAYS, SPANS, model_of};
use super::{View, address};
use crate::admin::setup::ModelSource;
use crate::browser::Language;
use crate::business::Zone;
use crate::channel::registry::TYPES;
use crate::gateway::Question;
use crate::page::words::fill;
use crate::page::{CHANNELS, layout};

/// What hours a form begins with when nothing is known: what many have.
const USUAL: (&str, &str) = ("09:00", "17:00");
/// When updates are usual.
const USUAL_WINDOW: &str = "03:00-05:00";

/// The form of a question; `before` is the page of the one before it.
pub(super) fn question(view: &View<'_>, question: Question, before: Option<String>) -> Markup {
    match question {
        Question::Business => business(view, before),
        Question::Hours => hours(view, before),
        Question::Model => model(view, before),
        Question::Channel => channel(view, before),
        Question::Alerts => alerts(view, before),
        Question::Updates => updates(view, before),
    }
}

/// A form that is posted to its own page.
fn form(view: &View<'_>, question: Question, before: Option<String>, save: &str, content: &Markup) -> Markup {
    let words = view.words;
    html! {
        form method="post" action=(address(question.as_str())) {
            (layout::csrf(view.visit))
            (content)
            div class="actions" {
                button class="primary" name="do" value="save" { (save) }
                button class="quiet" name="do" value="skip" formnovalidate { (words.skip_question) }
                @if let Some(before) = before { a class="button quiet" href=(before) { (words.back) } }
            }
        }
    }
}

/// What was typed, else what is known.
fn value<'v>(view: &'v View<'_>, name: &str, known: Option<&'v str>) -> &'v str {
    if view.sent.is_empty() { known.unwrap_or_default() } else { view.sent.text(name) }
}

/// A line of text with its label.
fn text(name: &str, label: &str, value: &str, autocomplete: &str) -> Markup {
    html! {
        label for=(name) { (label) }
        input id=(name) name=(name) value=(value) maxlength="200" autocomplete=(autocomplete);
    }
}

fn business(view: &View<'_>, before: Option<String>) -> Markup {
    let (words, known) = (view.words, &view.shown.business);
    let kinds = [
        ("dental_practice", words.dental_practice, words.dental_practice_lead),
        ("estate_agency", words.estate_agency, words.estate_agency_lead),
        ("blank", words.blank, words.blank_lead),
    ];
    let kind = value(view, "type", known.kind.as_deref());
    let language = value(view, "language", known.language.as_deref());
    let language = if language.is_empty() { words.language.code() } else { language };
    let content = html! {
        label for="name" { (words.business_name) }
        input id="name" name="name" value=(value(view, "name", known.name.as_deref())) maxlength="200" required
            autocomplete="organization" autofocus;
        fieldset {
            legend { (words.business_type) }
            @for (word, name, lead) in kinds {
                label class="choice" {
                    input type="radio" name="type" value=(word) checked[word == kind || (kind.is_empty() && word == "blank")];
                    span { strong { (name) } span class="hint" { (lead) } }
                }
            }
        }
        label for="language" { (words.worker_language) }
        select id="language" name="language" aria-describedby="language-hint" {
            @for one in Language::ALL {
                @let name = match one { Language::English => "English", Language::German => "Deutsch" };
                option value=(one.code()) lang=(one.code()) selected[one.code() == language] { (name) }
            }
        }
        p class="hint" id="language-hint" { (words.worker_language_hint) }
        details open[known.address.is_some() || known.phone.is_some()] {
            summary { (words.where_it_is) }
            div class="fields" {
                p class="hint" { (words.where_it_is_lead) }
                (text("address", words.address, value(view, "address", known.address.as_deref()), "street-address"))
                (text("phone", words.phone, value(view, "phone", known.phone.as_deref()), "tel"))
            }
        }
    };
    form(view, Question::Business, before, words.save, &content)
}

fn hours(view: &View<'_>, before: Option<String>) -> Markup {
    let (words, known) = (view.words, &view.shown.hours);
    let zone = value(view, "time_zone", known.time_zone.as_deref());
    let mut regions: Vec<(String, Vec<String>)> = Vec::new();
    for name in Zone::names() {
        let region = name.split('/').next().unwrap_or_default().to_owned();
        match regions.last_mut() {
            Some((last, names)) if *last == region => names.push(name),
            _ => regions.push((region, vec![name])),
        }
    }
    let span = |day: usize, n: usize| -> (String, String) {
        if !view.sent.is_empty() {
            let sent = |side: &str| view.sent.text(&format!("{side}-{day}-{n}")).to_owned();
            return (sent("from"), sent("to"));
        }
        let usual = (USUAL.0.to_owned(), USUAL.1.to_owned());
        match &known.week {
            None if day < 5 && n == 0 => usual,
            None => (String::new(), String::new()),
            Some(week) => {
                let span = week.get(day).and_then(|spans| spans.get(n)).and_then(|span| span.split_once('-'));
                span.map(|(from, to)| (from.to_owned(), to.replace("24:00", "00:00"))).unwrap_or_default()
            }
        }
    };
    let n_spans = known.week.iter().flatten().map(Vec::len).max().unwrap_or_default().max(SPANS);
    let closed = if view.sent.is_empty() { known.closed.join(", ") } else { view.sent.text("closed").to_owned() };
    let content = html! {
        label for="time_zone" { (words.time_zone) }
        select id="time_zone" name="time_zone" data-guess-zone[zone.is_empty()] aria-describedby="zone-hint" {
            option value="" selected[zone.is_empty()] { (words.zone_of_box) }
            @for (region, names) in &regions {
                optgroup label=(region) {
                    @for name in names { option value=(name) selected[name == zone] { (name.replace('_', " ")) } }
                }
            }
        }
        p class="hint" id="zone-hint" { (words.time_zone_hint) }
        fieldset {
            legend { (words.opening_hours) }
            p class="hint" { (words.opening_hours_hint) }
            div class="week" {
                @for (day, name) in words.weekdays().into_iter().enumerate().take(DAYS) {
                    div class="day" role="group" aria-label=(name) {
                        span class="dayname" { (name) }
                        @for n in 0..n_spans {
                            @let (from, to) = span(day, n);
                            span class="span" {
                                input type="time" name=(format!("from-{day}-{n}")) value=(from) aria-label=(time_label(words.from, name, n));
                                span aria-hidden="true" { "–" }
                                input type="time" name=(format!("to-{day}-{n}")) value=(to) aria-label=(time_label(words.to, name, n));
                            }
                        }
                    }
                }
            }
            button type="button" class="quiet" data-copy-day hidden { (words.copy_monday) }
        }
        label for="closed" { (words.closed) }
        input id="closed" name="closed" value=(closed) autocomplete="off" aria-describedby="closed-hint";
        p class="hint" id="closed-hint" { (words.closed_hint) }
    };
    form(view, Question::Hours, before, words.save, &content)
}

fn time_label(side: &str, day: &str, n: usize) -> String {
    format!("{day} {}: {side}", n + 1)
}

fn model(view: &View<'_>, before: Option<String>) -> Markup {
    let (words, known) = (view.words, &view.shown.model);
    let is_asked = view.shown.asked.contains(&Question::Model.as_str());
    let has_model = known.source != ModelSource::Demo;
    let chosen = match (view.sent.is_empty(), known.source) {
        (false, _) => view.sent.text("source"),
        (true, ModelSource::Demo) if !is_asked => "",
        (true, source) => source_word(source),
    };
    let source = |word: &str, name: &str, lead: &str| {
        html! {
            label class="choice" {
                input type="radio" name="source" value=(word) required checked[word == chosen];
                span { strong { (name) } span class="hint" { (lead) } }
            }
        }
    };
    let kept = if known.has_key { words.key_kept } else { "" };
    let content = html! {
        fieldset {
            legend class="unseen" { (words.model_source) }
            (source("server", words.model_server, words.model_server_lead))
            div class="fields under" data-for="server" {
                label for="address" { (words.server_address) }
                input id="address" name="address" autocomplete="off" autocapitalize="none" spellcheck="false" inputmode="url"
                    value=(value(view, "address", known.address.as_deref().filter(|_| known.source == ModelSource::Server)))
                    aria-describedby="address-hint";
                p class="hint" id="address-hint" { (words.server_address_hint) }
                label for="server-key" { (words.server_key) }
                input id="server-key" name="server-key" type="password" autocomplete="off"
                    placeholder=(if known.source == ModelSource::Server { kept } else { "" });
            }
            (source("openai", words.model_openai, words.model_cloud_lead))
            (source("anthropic", words.model_anthropic, words.model_cloud_lead))
            div class="fields under" data-for="openai anthropic" {
                label for="key" { (words.cloud_key) }
                input id="key" name="key" type="password" autocomplete="off" aria-describedby="key-hint"
                    placeholder=(if matches!(known.source, ModelSource::OpenAi | ModelSource::Anthropic) { kept } else { "" });
                p class="hint" id="key-hint" { (words.cloud_key_hint) }
            }
            (source("demo", words.model_demo, words.model_demo_lead))
        }
        @if has_model && !known.models.is_empty() {
            input type="hidden" name="model-of" value=(model_of(source_word(known.source), known.address.as_deref().unwrap_or_default()));
            label for="model" { (words.model_name) }
            select id="model" name="model" {
                @for model in &known.models { option value=(model) selected[known.model.as_ref() == Some(model)] { (model) } }
            }
        }
        p class="hint" data-busy=(words.looking) aria-live="polite" { (words.looking_hint) }
    };
    let is_typed = !view.sent.is_empty();
    html! {
        @if is_asked && has_model {
            p class="inuse" {
                span class="tag good" { (words.in_use) } " "
                strong { (known.model.as_deref().unwrap_or_default()) } " "
                span class="muted" { (known.address.as_deref().unwrap_or_default()) }
            }
            p class="actions" {
                a class="button primary" href=(address(super::after(Question::Model.as_str()).unwrap_or(super::TRY))) { (words.go_on) }
                @if let Some(before) = &before { a class="button quiet" href=(before) { (words.back) } }
            }
            details open[is_typed] {
                summary { (words.other_model) }
                (form(view, Question::Model, before, words.check_and_save, &content))
            }
        } @else {
            (form(view, Question::Model, before, words.check_and_save, &content))
        }
    }
}

fn source_word(source: ModelSource) -> &'static str {
    match source {
        ModelSource::OpenAi => "openai",
        ModelSource::Anthropic => "anthropic",
        ModelSource::Server => "server",
        ModelSource::Demo => "demo",
    }
}

fn channel(view: &View<'_>, before: Option<String>) -> Markup {
    let words = view.words;
    let title = value(view, "title", view.shown.business.name.as_deref());
    let content = html! {
        (text("title", words.chat_title, title, "off"))
        p class="hint" { (words.chat_title_hint) }
    };
    html! {
        @for page in &view.shown.chats {
            div class="place" {
                h2 { (words.chat_address) }
                p { a href=(page) target="_blank" rel="noopener" { code data-origin { (page) } } }
                h2 { (words.chat_embed) }
                p class="hint" { (words.chat_embed_hint) }
                pre tabindex="0" { code data-origin { "<script src=\"" (page) "/widget.js\" async></script>" } }
            }
        }
        (form(view, Question::Channel, before, words.save, &content))
        p class="hint" { (words.other_channels) }
        ul class="others" {
            @for one in TYPES.iter().filter(|one| !one.descriptor.has_page) {
                li { a class="button" href=(format!("{CHANNELS}/new?type={}", one.descriptor.type_name)) { (one.form.name.r#in(words.language)) } }
            }
        }
    }
}

fn alerts(view: &View<'_>, before: Option<String>) -> Markup {
    let (words, known) = (view.words, &view.shown.alerts);
    let securities =
        [("", words.security_usual), ("tls", "TLS"), ("starttls", "STARTTLS"), ("none", words.security_none)];
    let security = value(view, "security", known.security);
    let port = known.port.map(|port| port.to_string());
    let is_open = !view.sent.text("server").is_empty();
    let content = html! {
        label for="email" { (words.alert_email) }
        input id="email" name="email" type="email" value=(value(view, "email", known.email.as_deref())) autocomplete="email"
            aria-describedby="email-hint";
        p class="hint" id="email-hint" { (words.alert_email_hint) }
        label for="password" { (words.mail_password) }
        input id="password" name="password" type="password" autocomplete="off" aria-describedby="mail-password-hint"
            placeholder=(if known.has_password { words.key_kept } else { "" });
        p class="hint" id="mail-password-hint" { (words.mail_password_hint) }
        details open[is_open] {
            summary { (words.mail_server) }
            div class="fields" {
                p class="hint" { (words.mail_server_lead) }
                (text("server", words.server, value(view, "server", known.server.as_deref()), "off"))
                label for="port" { (words.port) }
                input id="port" name="port" inputmode="numeric" pattern="[0-9]*" value=(value(view, "port", port.as_deref())) autocomplete="off";
                label for="security" { (words.security) }
                select id="security" name="security" {
                    @for (word, name) in securities { option value=(word) selected[word == security] { (name) } }
                }
                (text("user", words.mail_user, value(view, "user", known.user.as_deref()), "off"))
            }
        }
    };
    let test = html! {
        (content)
        div { button name="do" value="test" { (words.send_test) } }
    };
    // The first button is what Enter presses: saving, not a test.
    html! {
        form method="post" action=(address(Question::Alerts.as_str())) {
            (layout::csrf(view.visit))
            button class="unseen" name="do" value="save" tabindex="-1" aria-hidden="true" { (words.save) }
            (test)
            div class="actions" {
                button class="primary" name="do" value="save" { (words.save) }
                button class="quiet" name="do" value="skip" formnovalidate { (words.skip_question) }
                @if let Some(before) = before { a class="button quiet" href=(before) { (words.back) } }
            }
        }
    }
}

fn updates(view: &View<'_>, before: Option<String>) -> Markup {
    let (words, known) = (view.words, &view.shown.updates);
    let is_asked = view.shown.asked.contains(&Question::Updates.as_str());
    let is_auto = if view.sent.is_empty() { known.auto || !is_asked } else { view.sent.text("auto") == "yes" };
    let window = value(view, "window", known.window.as_deref().or(Some(USUAL_WINDOW)));
    let content = html! {
        fieldset {
            legend class="unseen" { (words.updates_legend) }
            label class="choice" {
                input type="radio" name="auto" value="yes" checked[is_auto];
                span { strong { (words.updates_yes) } span class="hint" { (words.updates_yes_lead) } }
            }
            label class="choice" {
                input type="radio" name="auto" value="no" checked[!is_auto];
                span { strong { (words.updates_no) } span class="hint" { (words.updates_no_lead) } }
            }
        }
        (text("window", words.updates_window, window, "off"))
        p class="hint" { (if view.has_updater { words.updates_now } else { words.updates_nobody }) }
    };
    form(view, Question::Updates, before, words.save, &content)
}

/// The first conversation, right here.
pub(super) fn try_it(view: &View<'_>, before: Option<String>) -> Markup {
    let (words, shown) = (view.words, view.shown);
    let dash = "–";
    let mailbox = shown.alerts.email.as_deref();
    let facts = [
        (Question::Business, shown.business.name.as_deref().unwrap_or(dash).to_owned()),
        (Question::Hours, shown.hours.time_zone.as_deref().map_or(dash.to_owned(), |zone| zone.replace('_', " "))),
        (Question::Model, shown.model.model.as_deref().unwrap_or(words.model_demo).to_owned()),
        (Question::Channel, shown.chats.first().map_or(dash, String::as_str).to_owned()),
        (Question::Alerts, mailbox.unwrap_or(words.nobody).to_owned()),
        (Question::Updates, if shown.updates.auto { words.updates_yes } else { words.updates_no }.to_owned()),
    ];
    html! {
        @match shown.chats.first() {
            Some(page) => {
                iframe class="chat" src=(page) title=(words.try_frame) {}
                p class="small" { a href=(page) target="_blank" rel="noopener" { (words.try_elsewhere) } }
            }
            None => p class="notice" { (words.try_nowhere) },
        }
        h2 { (words.summary) }
        dl class="facts" {
            @for (question, fact) in facts {
                div {
                    dt { (words.name(Some(question))) }
                    dd { (fact) " " a class="small" href=(address(question.as_str())) aria-label=(fill(words.change_of, &[("what", words.name(Some(question)))])) { (words.change) } }
                }
            }
        }
        form method="post" action=(address(super::TRY)) {
            (layout::csrf(view.visit))
            div class="actions" {
                button class="primary" name="do" value="finish" { (words.finish) }
                @if let Some(before) = before { a class="button quiet" href=(before) { (words.back) } }
            }
        }
    }
}
