//! Who gets what below `/chat/<entry id>`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::assets::Assets;
use super::config::Config;
use super::hub::{Connection, Full, Hub};
use super::intake;
use super::page::Page;
use super::rate::Rates;
use super::theme::Theme;
use super::visitor::{Cookies, Reach, Visitor};
use super::wire::{Draft, MAX_FRAME_BYTES, Refusal, ToPage};
use super::{socket, stream};
use crate::browser::{self, Language, Origin, Proof, Scheme};
use crate::channel::Host;
use crate::channel::registry::Setup;

/// How soon a page may come back when there was no room for it.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long the few kilobytes of a message may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything that the requests of one entry share.
#[derive(Debug)]
pub(super) struct Site {
    public_url: Option<Origin>,
    cookies: Cookies,
    assets: Assets,
    page: Page,
    pub(super) hub: Arc<Hub>,
    pub(super) rates: Rates,
}

impl Site {
    pub(super) fn new(config: &Config, setup: &Setup) -> Self {
        let theme = Theme::new(config.accent);
        Self {
            public_url: config.public_url.clone(),
            cookies: Cookies::new(&setup.entry, &setup.signing_key),
            assets: Assets::new(&theme),
            page: Page::new(config, &setup.entry, &theme),
            hub: Arc::default(),
            rates: Rates::default(),
        }
    }
}

/// Answers one request.
pub(super) async fn serve(site: &Arc<Site>, path: &str, request: Request, host: Arc<dyn Host>) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "messages" if request.method() == Method::POST => post(site, request, &*host).await,
        "messages" => not_allowed("POST"),
        _ if !is_read => not_allowed("GET, HEAD"),
        "" => page(site, Scheme::of_connection(request.extensions()), request.headers()),
        "widget.js" => {
            let language = Language::of(request.headers());
            let widget = site.page.widget(language).respond(request.headers());
            vary_by_language(to_other_sites(widget))
        }
        "socket" => open_socket(site, request, host).await,
        "events" => match connect(site, request.headers(), Proof::IfPresent) {
            Ok(connection) => stream::respond(host, connection, after(&request)),
            Err(refusal) => refusal,
        },
        "history" => match visitor(site, request.headers(), Proof::IfPresent) {
            Ok(visitor) => {
                let draft = site.hub.draft(&visitor);
                json(StatusCode::OK, &intake::history(&*host, &visitor, after(&request), draft).await)
            }
            Err(refusal) => refusal,
        },
        _ => match site.assets.get(path) {
            Some(asset) => to_other_sites(asset.respond(request.headers())),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

/// The widget is loaded by other sites, also by those that isolate themselves.
fn to_other_sites(mut response: Response) -> Response {
    let name = header::HeaderName::from_static("cross-origin-resource-policy");
    response.headers_mut().insert(name, HeaderValue::from_static("cross-origin"));
    response
}

/// The page. Only here does a visitor come into being.
fn page(site: &Site, scheme: Scheme, headers: &HeaderMap) -> Response {
    let Some(visitor) = site.cookies.read(headers).or_else(Visitor::new) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let is_secure = browser::is_secure(scheme, headers, site.public_url.as_ref());
    let reach = if is_secure { Reach::AnySite } else { Reach::OwnPages };
    let mut response = vary_by_language(site.page.respond(Language::of(headers)));
    if let Some(cookie) = site.cookies.write(&visitor, reach) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn open_socket(site: &Arc<Site>, request: Request, host: Arc<dyn Host>) -> Response {
    let connection = match connect(site, request.headers(), Proof::Required) {
        Ok(connection) => connection,
        Err(refusal) => return refusal,
    };
    let (mut parts, _body) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let site = Arc::clone(site);
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| socket::run(socket, site, host, connection))
}

async fn post(site: &Site, request: Request, host: &dyn Host) -> Response {
    let visitor = match visitor(site, request.headers(), Proof::Required) {
        Ok(visitor) => visitor,
        Err(refusal) => return refusal,
    };
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|value| value.starts_with("application/json")) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let Ok(body) = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_FRAME_BYTES)).await else {
        return StatusCode::REQUEST_TIMEOUT.into_response();
    };
    let Ok(body) = body else {
        return json(StatusCode::PAYLOAD_TOO_LARGE, &ToPage::refused(String::new(), Refusal::TooLong, None));
    };
    let Ok(draft) = serde_json::from_slice::<Draft>(&body) else {
        return json(StatusCode::UNPROCESSABLE_ENTITY, &ToPage::refused(String::new(), Refusal::Invalid, None));
    };
    let answer = intake::take(site, host, &visitor, draft).await;
    let ToPage::Refused { reason, retry_after_ms, .. } = &answer else {
        return json(StatusCode::ACCEPTED, &answer);
    };
    let status = match reason {
        Refusal::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooFast => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Refused => StatusCode::FORBIDDEN,
    };
    let response = json(status, &answer);
    match retry_after_ms {
        Some(wait) => retry_after(response, Duration::from_millis(*wait)),
        None => response,
    }
}

#[expect(clippy::result_large_err, reason = "a response is what both callers return")]
fn visitor(site: &Site, headers: &HeaderMap, proof: Proof) -> Result<Visitor, Response> {
    if !browser::is_ours(headers, site.public_url.as_ref(), proof) {
        return Err((StatusCode::FORBIDDEN, "not from a page of this chat").into_response());
    }
    let nobody = || (StatusCode::UNAUTHORIZED, "open the page first; it sets a cookie").into_response();
    site.cookies.read(headers).ok_or_else(nobody)
}

#[expect(clippy::result_large_err, reason = "a response is what both callers return")]
fn connect(site: &Site, headers: &HeaderMap, proof: Proof) -> Result<Connection, Response> {
    let visitor = visitor(site, headers, proof)?;
    site.hub.join(&visitor).map_err(|full| {
        let status = match full {
            Full::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Full::Closed => StatusCode::SERVICE_UNAVAILABLE,
        };
        retry_after(status.into_response(), RETRY_AFTER)
    })
}

/// `?after=N`. Anything else counts as a page that has nothing.
fn after(request: &Request) -> Option<u64> {
    request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("after="))?.parse().ok()
}

fn json(status: StatusCode, event: &ToPage) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, event.encode().to_string()).into_response()
}

fn not_allowed(allow: &'static str) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allow)]).into_response()
}

fn vary_by_language(mut response: Response) -> Response {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Language"));
    response
}

/// Whole seconds, rounded up: a page that waits this long is not early.
fn retry_after(mut response: Response, wait: Duration) -> Response {
    let seconds = wait.as_millis().div_ceil(1000);
    if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
