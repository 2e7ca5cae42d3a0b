//! How pages are answered.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};

use super::layout::{self, Place};
use super::refused;
use super::visit::Visit;
use super::words::Words;
use crate::{account, admin, store};

/// A page.
pub(super) fn html(status: StatusCode, markup: Markup) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}

/// A page with one sentence, for anybody.
pub(super) fn plain(words: &Words, status: StatusCode, title: &str, lead: &str) -> Response {
    let content = html! { section class="card" { h1 { (title) } p { (lead) } } };
    html(status, layout::door(words, title, &content))
}

/// Why a page cannot be shown, or nothing was done.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no such thing, or none that this visitor may know of.
    NotFound,
    /// They may only look.
    NotAllowed,
    /// The form was made by a page of another session.
    Stale,
    /// In words of their language.
    Said(StatusCode, String),
    /// As the admin API has it.
    Refused(admin::Error),
}

impl From<admin::Error> for Problem {
    fn from(error: admin::Error) -> Self {
        match error {
            // Nobody writes these addresses by hand.
            admin::Error::NotFound(_) | admin::Error::Query(_) => Self::NotFound,
            admin::Error::Store(store::Error::Gone { .. }) => Self::NotFound,
            admin::Error::Forbidden(_) => Self::NotAllowed,
            error => Self::Refused(error),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        admin::Error::from(error).into()
    }
}

impl From<account::Error> for Problem {
    fn from(error: account::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl Problem {
    pub(super) fn respond(self, visit: &Visit) -> Response {
        let words = visit.words;
        let (status, title, lead) = match self {
            Self::NotFound => (StatusCode::NOT_FOUND, words.not_found, words.not_found_lead.to_owned()),
            Self::NotAllowed => (StatusCode::FORBIDDEN, words.not_allowed, words.not_allowed_lead.to_owned()),
            Self::Stale => (StatusCode::FORBIDDEN, words.stale, words.stale_lead.to_owned()),
            Self::Said(status, lead) => (status, words.failed, lead),
            Self::Refused(error) => {
                let (status, lead) = refused::said(visit, error);
                (status, words.failed, lead)
            }
        };
        let content = html! { section class="card" { h1 { (title) } p { (lead) } } };
        html(status, layout::page(visit, Place::Elsewhere, title, &content))
    }
}

/// What was done is shown by the page that comes next, so that nothing is done twice when it is loaded again.
pub(super) fn done(address: &str) -> Response {
    Redirect::to(address).into_response()
}
