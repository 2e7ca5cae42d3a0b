//! What every page has around its own part.

use maud::{DOCTYPE, Markup, html};

use super::visit::Visit;
use super::words::{Words, fill};
use super::{
    ACCESS, ACTIVITY, BACKUPS, CHANNELS, CONVERSATIONS, HOME, LOGS, PEOPLE, SETTINGS, TENANTS, UPDATES, WORKERS,
};
use crate::account::{Reach, Role, Who};

/// A place in the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Home,
    Conversations,
    Activity,
    Logs,
    Workers,
    Tenants,
    Channels,
    People,
    Backups,
    Updates,
    Access,
    Settings,
    Elsewhere,
}

/// Where the menu leads, in its order. What somebody may never see is not in theirs.
fn menu(words: &Words, who: &Who) -> impl Iterator<Item = (Place, &'static str, &'static str)> {
    let (is_admin, is_whole) = (who.role == Role::Admin, who.reach == Reach::All);
    let all = [
        (Place::Home, HOME, words.home, true),
        (Place::Conversations, CONVERSATIONS, words.conversations, true),
        (Place::Activity, ACTIVITY, words.activity, true),
        (Place::Workers, WORKERS, words.workers, true),
        (Place::Channels, CHANNELS, words.channels, true),
        (Place::Tenants, TENANTS, words.tenants, is_whole),
        (Place::Backups, BACKUPS, words.backups, is_admin && is_whole),
        (Place::Updates, UPDATES, words.updates, is_whole),
        (Place::People, PEOPLE, words.people, true),
        (Place::Access, ACCESS, words.access, is_admin),
        (Place::Settings, SETTINGS, words.settings, is_admin && is_whole),
        (Place::Logs, LOGS, words.logs, is_admin && is_whole),
    ];
    all.into_iter().filter_map(|(place, address, name, is_shown)| is_shown.then_some((place, address, name)))
}

/// A page for somebody who is logged in.
pub(super) fn page(visit: &Visit, place: Place, title: &str, content: &Markup) -> Markup {
    let words = visit.words;
    let head = html! {
        (bar(visit))
        nav class="menu" aria-label=(words.menu) {
            ul {
                @for (at, address, name) in menu(words, visit.who()) {
                    li { a href=(address) aria-current=[(at == place).then_some("page")] { (name) } }
                }
            }
        }
    };
    document(words, title, &head, content, "page")
}

fn bar(visit: &Visit) -> Markup {
    let words = visit.words;
    html! {
        header class="bar" {
            a class="brand" href="/admin/" { (mark()) span { "Frontdesk" } }
            form class="account" method="post" action="/admin/logout" {
                (csrf(visit))
                span class="who" title=(fill(words.logged_in_as, &[("name", &visit.who().name)])) { (visit.who().name) }
                button class="quiet" { (words.log_out) }
            }
        }
    }
}

/// A page for somebody who is logged in and does one thing.
pub(super) fn alone(visit: &Visit, title: &str, content: &Markup) -> Markup {
    document(visit.words, title, &bar(visit), content, "setup")
}

/// A page for somebody who is not.
pub(super) fn door(words: &Words, title: &str, content: &Markup) -> Markup {
    let head = html! { header class="bar" { span class="brand" { (mark()) span { "Frontdesk" } } } };
    document(words, title, &head, content, "door")
}

fn document(words: &Words, title: &str, head: &Markup, content: &Markup, kind: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(words.language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Frontdesk" }
                link rel="icon" href="/admin/mark.svg" type="image/svg+xml";
                link rel="stylesheet" href="/admin/page.css";
                script src="/admin/page.js" type="module" {}
            }
            body class=(kind) {
                a class="skip" href="#main" { (words.skip) }
                (head)
                main id="main" tabindex="-1" { (content) }
            }
        }
    }
}

/// What a form proves with that a page of this session made it.
pub(super) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.session.csrf.expose()); }
}

/// Where a new password is typed; `id` is its own on the page.
pub(super) fn new_password(words: &Words, id: &str, label: &str) -> Markup {
    let hint = format!("{id}-hint");
    html! {
        label for=(id) { (label) }
        input id=(id) name="password" type="password" required autocomplete="new-password" aria-describedby=(hint);
        p class="hint" id=(hint) { (words.password_hint) }
    }
}

/// A line above the rest of a page: what was done, or why not.
pub(super) fn notice(kind: &str, text: &str) -> Markup {
    html! { p class={ "notice " (kind) } role="status" { (text) } }
}

/// What stands where there is nothing to show.
pub(super) fn empty(title: &str, lead: &str) -> Markup {
    html! {
        div class="empty" {
            (mark())
            h2 { (title) }
            p { (lead) }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg class="mark" viewBox="0 0 24 24" aria-hidden="true" {
            path d="M4 18h16M6 18a6 6 0 0 1 12 0M12 12V9M10 8h4" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::Language;

    #[test]
    fn what_is_put_into_a_page_stays_text() {
        let words = Words::in_language(Language::English);
        let hostile = "</title><script>alert(1)</script>\"'&";
        let page = door(words, hostile, &html! { p { (hostile) } }).into_string();
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    }
}
