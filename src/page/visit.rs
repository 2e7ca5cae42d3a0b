//! Who looks at a page, and whether their browser may be heard.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::answer;
use super::words::Words;
use crate::account::{CHALLENGE_MS, SESSION_MS, Session, Site, Who, is_local};
use crate::admin::{self, AdminToken, Authenticate};
use crate::browser::{self, Language, Proof, Scheme};
use crate::document::Secret;
use crate::gateway::{Gateway, Peer};

/// Name of the cookie that a session is shown with.
const COOKIE: &str = "frontdesk_session";
/// The same over TLS. Another name, because a browser that has a `Secure` cookie takes none of that name over HTTP; and with
/// this prefix (RFC 6265bis §4.1.3.2) nothing but this host, over TLS, can have set it.
const SECURE_COOKIE: &str = "__Host-frontdesk_session";
/// Names of the cookie of a log-in that has begun with a passkey and is not done, in the same way.
const ATTEMPT: [&str; 2] = ["frontdesk_attempt", "__Host-frontdesk_attempt"];
/// Longest body of a form, in bytes.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// Longest one with the text of the configuration in it, as a form sends it.
pub(super) const MAX_TEXT_BYTES: usize = 2 * 1024 * 1024;
/// How long a form may take.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Somebody who is logged in.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) session: Session,
    pub(super) words: &'static Words,
}

impl Visit {
    pub(super) fn who(&self) -> &Who {
        &self.session.who
    }
}

impl FromRequestParts<Gateway> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Response> {
        let words = words(&parts.headers);
        let session = match token(scheme(parts), &parts.headers) {
            Some(token) => gateway.accounts().session(token).await,
            None => None,
        };
        let from = parts.extensions.get::<Peer>().map(|peer| peer.0.to_canonical());
        let at = |session: Session| Session { who: session.who.at(from), ..session };
        session
            .map(|session| Self { session: at(session), words })
            .ok_or_else(|| to_the_door(&parts.uri, &parts.method))
    }
}

/// Back to where they wanted to go, once they are logged in.
fn to_the_door(uri: &Uri, method: &Method) -> Response {
    let wanted = uri.path_and_query().map(|wanted| wanted.as_str()).filter(|_| *method == Method::GET);
    match wanted.filter(|wanted| *wanted != super::HOME) {
        Some(wanted) => Redirect::to(&format!("{}?next={}", super::LOGIN, super::query(wanted))).into_response(),
        None => Redirect::to(super::LOGIN).into_response(),
    }
}

/// The words of the language that the browser likes best.
pub(super) fn words(headers: &HeaderMap) -> &'static Words {
    Words::in_language(Language::of(headers))
}

/// What the browser proves a session with.
pub(super) fn token(scheme: Scheme, headers: &HeaderMap) -> Option<&str> {
    shown(cookie_name(scheme), headers)
}

/// What the browser proves with that it began to log in.
pub(super) fn attempt(scheme: Scheme, headers: &HeaderMap) -> Option<&str> {
    shown(attempt_name(scheme), headers)
}

fn shown<'h>(cookie: &str, headers: &'h HeaderMap) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie).map(|(_, token)| token)
}

/// What makes a browser show the session from now on; `None`: not any more.
pub(super) fn cookie(scheme: Scheme, token: Option<&Secret>) -> HeaderValue {
    made(scheme, cookie_name(scheme), token, SESSION_MS)
}

/// The same with a log-in that has begun.
pub(super) fn attempt_cookie(scheme: Scheme, token: Option<&Secret>) -> HeaderValue {
    made(scheme, attempt_name(scheme), token, CHALLENGE_MS)
}

fn made(scheme: Scheme, name: &str, token: Option<&Secret>, lasts_ms: u64) -> HeaderValue {
    let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
    let (token, seconds) = token.map_or(("", 0), |token| (token.expose(), lasts_ms / 1000));
    let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    // A token has no character that a header could not hold.
    HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static("frontdesk_session=; Path=/; Max-Age=0"))
}

fn cookie_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => COOKIE,
        Scheme::Https => SECURE_COOKIE,
    }
}

fn attempt_name(scheme: Scheme) -> &'static str {
    let [plain, secure] = ATTEMPT;
    match scheme {
        Scheme::Http => plain,
        Scheme::Https => secure,
    }
}

/// How the browser reached the page. A proxy that ends TLS says so; whoever else says it has a cookie that only TLS brings
/// back.
pub(super) fn scheme(parts: &Parts) -> Scheme {
    scheme_of(&parts.headers, &parts.extensions)
}

fn scheme_of(headers: &HeaderMap, extensions: &Extensions) -> Scheme {
    match headers.get("x-forwarded-proto") {
        Some(proto) if proto == "https" => Scheme::Https,
        _ => Scheme::of_connection(extensions),
    }
}

/// The same page over TLS, if it was asked for in clear under a name that browsers trust the box at. Not behind a proxy, which
/// may have ended TLS without saying so; not with a port, which may lead to HTTP alone.
fn trusted_address(host: &str, trusted: &[String], request: &Request) -> Option<String> {
    let is_plain =
        scheme_of(request.headers(), request.extensions()) == Scheme::Http && !is_forwarded(request.headers());
    let name = trusted.iter().find(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.')));
    let name = name.filter(|_| is_plain && request.method().is_safe())?;
    Some(format!("https://{name}{}", request.uri().path_and_query()?))
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// Says who asks for the admin API: a program by its token, a browser by its session.
#[derive(Debug, Clone)]
pub(super) struct Door {
    gateway: Gateway,
    admin_token: AdminToken,
}

impl Door {
    pub(super) fn new(gateway: &Gateway) -> Self {
        Self { gateway: gateway.clone(), admin_token: AdminToken::of(gateway) }
    }
}

impl Authenticate for Door {
    async fn who(&self, head: &Parts) -> Option<Who> {
        match (admin::bearer(head), token(scheme(head), &head.headers)) {
            (Some(token), _) => match self.admin_token.shown_in(head) {
                Some(console) => Some(console),
                None => self.gateway.accounts().token(token).await,
            },
            // A cookie comes along whoever makes the browser ask.
            (None, Some(token)) if browser::is_ours(&head.headers, None, proof_for(&head.method)) => {
                self.gateway.accounts().session(token).await.map(|session| session.who)
            }
            (None, _) => None,
        }
    }
}

fn proof_for(method: &Method) -> Proof {
    if method.is_safe() { Proof::IfPresent } else { Proof::Required }
}

/// Does a page of another site have this one as a picture, a script or a frame? Links are followed.
fn is_embedded(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    matches!(text("sec-fetch-site"), Some("cross-site" | "same-site")) && text("sec-fetch-mode") != Some("navigate")
}

/// What proxies say of those they speak for.
const FORWARDED: [&str; 7] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "cf-connecting-ip"];

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    pub(super) address: IpAddr,
    /// Behind a proxy nobody knows who is near.
    pub(super) is_near: bool,
    pub(super) scheme: Scheme,
}

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let is_forwarded = is_forwarded(&parts.headers);
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.to_canonical());
        let (is_near, scheme) = (|address| !is_forwarded && is_local(address), scheme(parts));
        let from = peer.map(|address| Self { address, is_near: is_near(address), scheme });
        from.ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// The name that the page is opened under, as passkeys have it: the guard has seen that it is ours. `None`: passkeys do not
/// work there.
#[derive(Debug, Clone)]
pub(super) struct At(pub(super) Option<Site>);

impl<S: Sync> FromRequestParts<S> for At {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Ok(Self(host.and_then(Site::of_host)))
    }
}

/// Lets through what a page of ours, opened by an address of ours, may ask; says in every answer what a browser may do
/// with it.
pub(super) async fn guard(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let words = words(headers);
    // Programs prove themselves with each request; see [`Door`].
    let is_page = !request.uri().path().starts_with("/api/");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let trusted = gateway.tls().public().map(|certificate| certificate.names);
    let trusted = trusted.as_deref().and_then(|trusted| trusted_address(host, trusted, &request));
    if let Some(address) = trusted.filter(|_| is_page) {
        return Redirect::temporary(&address).into_response();
    }
    // A name that somebody else's server gave our address is how other sites reach into a local network.
    let mut response = if !is_own_host(host, &gateway) {
        match is_page {
            true => answer::plain(words, StatusCode::MISDIRECTED_REQUEST, words.failed, words.wrong_host),
            false => admin::Error::Misdirected.into_response(),
        }
    } else if is_page && is_embedded(headers)
        || is_page && !request.method().is_safe() && !browser::is_ours(headers, None, Proof::Required)
    {
        answer::plain(words, StatusCode::FORBIDDEN, words.stale, words.stale_lead)
    } else {
        match whole(request, &gateway).await {
            Ok(request) => next.run(request).await,
            Err(status) => answer::plain(words, status, words.failed, words.stale_lead),
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("accept-language, cookie"));
    response
}

/// A form is read before anything else happens: whoever sends slowly, or without end, is not waited for. What the admin
/// API takes, it reads itself.
async fn whole(request: Request, gateway: &Gateway) -> Result<Request, StatusCode> {
    if request.method().is_safe() || request.uri().path().starts_with("/api/") {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let takes_text = ["/admin/settings/", "/admin/worker/"].iter().any(|front| head.uri.path().starts_with(front));
    let token = token(scheme(&head), &head.headers).filter(|_| takes_text);
    // Much is taken from those only who are logged in.
    let has_text = match token {
        Some(token) => gateway.accounts().session(token).await.is_some(),
        None => false,
    };
    let max = if has_text { MAX_TEXT_BYTES } else { MAX_FORM_BYTES };
    let body = tokio::time::timeout(READ_TIMEOUT, axum::body::to_bytes(body, max)).await;
    let body = body.map_err(|_elapsed| StatusCode::REQUEST_TIMEOUT)?.map_err(|_error| StatusCode::PAYLOAD_TOO_LARGE)?;
    Ok(Request::from_parts(head, body.into()))
}

const HEADERS: [(header::HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types page",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];

/// An address in numbers, this machine, a name that only the local network gives, or one that the operator names.
fn is_own_host(host: &str, gateway: &Gateway) -> bool {
    let name = name_of(host);
    is_local_name(&name) || gateway.page_hosts().contains(&name)
}

/// Without the port, in lower case, without a dot at the end.
fn name_of(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn is_local_name(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || name == "localhost" || (name.ends_with(".local") && !name.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_give_us_are_ours() {
        let check = |host: &str, expected| assert_eq!(is_local_name(&name_of(host)), expected, "{host}");
        for host in ["127.0.0.1:18789", "192.168.1.7", "[::1]:18789", "[fe80::1]", "localhost", "Frontdesk.local:80"] {
            check(host, true);
        }
        for host in ["evil.example", "frontdesk.local.evil.example", "127.0.0.1.evil.example", ".local", "", "local"] {
            check(host, false);
        }
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let check = |text: &str, expected: [Option<&str>; 2]| {
            let headers = HeaderMap::from_iter([(header::COOKIE, text.parse().unwrap())]);
            assert_eq!([Scheme::Http, Scheme::Https].map(|scheme| token(scheme, &headers)), expected, "{text}");
        };
        check("frontdesk_session=abc", [Some("abc"), None]);
        check("a=b; frontdesk_session=abc; c=d", [Some("abc"), None]);
        check("frontdesk_session=abc; __Host-frontdesk_session=def", [Some("abc"), Some("def")]);
        check("xfrontdesk_session=abc", [None, None]);
        check("", [None, None]);
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let token = Secret::new("t0ken".to_owned());
        let text = |scheme, token| cookie(scheme, token).to_str().unwrap().to_owned();
        let expected = "frontdesk_session=t0ken; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000";
        assert_eq!(text(Scheme::Http, Some(&token)), expected);
        assert_eq!(text(Scheme::Https, Some(&token)), format!("__Host-{expected}; Secure"));
        assert!(text(Scheme::Http, None).contains("Max-Age=0"));
    }

    #[test]
    fn who_comes_in_clear_to_a_trusted_name_is_led_to_tls() {
        let check = |method: Method, host: &str, header: Option<&'static str>, own: Scheme, expected: Option<&str>| {
            let mut request = Request::builder().method(method).uri("/admin/people?a=b");
            request = header.iter().fold(request, |request, name| request.header(*name, "x"));
            let request = request.extension(own).body(axum::body::Body::empty()).unwrap();
            let trusted = ["desk.example.com".to_owned()];
            assert_eq!(trusted_address(host, &trusted, &request).as_deref(), expected, "{host}");
        };
        let address = Some("https://desk.example.com/admin/people?a=b");
        check(Method::GET, "desk.example.com", None, Scheme::Http, address);
        check(Method::GET, "Desk.Example.com.", None, Scheme::Http, address);
        check(Method::GET, "desk.example.com", None, Scheme::Https, None);
        check(Method::GET, "desk.example.com", Some("x-forwarded-for"), Scheme::Http, None);
        check(Method::GET, "desk.example.com:8080", None, Scheme::Http, None);
        check(Method::POST, "desk.example.com", None, Scheme::Http, None);
        check(Method::GET, "frontdesk.local", None, Scheme::Http, None);
    }

    #[test]
    fn tls_of_our_own_or_of_a_proxy_is_https() {
        let check = |own: Option<Scheme>, proxy: Option<&str>, expected| {
            let mut parts = Request::new(()).into_parts().0;
            own.map(|scheme| parts.extensions.insert(scheme));
            proxy.map(|proto| parts.headers.insert("x-forwarded-proto", proto.parse().unwrap()));
            assert_eq!(scheme(&parts), expected);
        };
        check(None, None, Scheme::Http);
        check(Some(Scheme::Https), None, Scheme::Https);
        check(Some(Scheme::Https), Some("http"), Scheme::Https);
        check(Some(Scheme::Http), Some("https"), Scheme::Https);
        check(Some(Scheme::Http), Some("http"), Scheme::Http);
    }
}
