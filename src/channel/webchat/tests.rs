//! The adapter as the gateway sees it: requests in, responses and events out, with a host that keeps
//! its transcript in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use super::Config;
use crate::browser::Origin;
use crate::channel::registry::{Settings as _, Setup};
use crate::channel::{Admitted, Channel, Event, History, HistoryLine, Host, Preview, Reply, Sent};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::id::{EntryId, OpaqueId};

/// Accepts everything once and remembers it.
#[derive(Debug)]
struct FakeHost {
    entry: EntryId,
    clock: ManualClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    lines: Vec<(String, HistoryLine)>,
    /// The next answers; when there are none, the message is accepted.
    scripted: Vec<Admitted>,
}

impl FakeHost {
    fn new() -> Arc<Self> {
        let clock = ManualClock::at(Timestamp(1_700_000_000_000));
        Arc::new(Self { entry: entry(), clock, state: Mutex::default() })
    }

    fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    fn script(&self, outcome: Admitted) {
        self.state.lock().unwrap().scripted.push(outcome);
    }

    /// Commits an agent's line and returns the reply that carries it.
    fn answer(&self, target: &str, text: &str) -> Reply {
        let mut state = self.state.lock().unwrap();
        let seq = state.lines.iter().filter(|(peer, _)| peer == target).count() as u64 + 1;
        let at = self.clock.now();
        let line = HistoryLine { seq: Some(seq), from_agent: true, message_id: None, at, text: text.into() };
        state.lines.push((target.into(), line));
        let in_reply_to = OpaqueId::new("m1").unwrap();
        Reply {
            delivery_id: format!("{target}/{seq}"),
            target: target.into(),
            session_key: Some(format!("webchat:{target}")),
            answers: vec![in_reply_to.clone()],
            in_reply_to,
            text: text.into(),
            seq,
        }
    }

    /// What was said is gone.
    fn erase(&self) {
        self.state.lock().unwrap().lines.clear();
    }
}

#[async_trait]
impl Host for FakeHost {
    fn entry(&self) -> &EntryId {
        &self.entry
    }

    async fn admit(&self, event: Event) -> Admitted {
        let mut state = self.state.lock().unwrap();
        if let Some(outcome) = state.scripted.pop() {
            return outcome;
        }
        if state.events.iter().any(|known| known.message_id == event.message_id) {
            return Admitted::Duplicate;
        }
        let seq = state.lines.iter().filter(|(peer, _)| *peer == event.reply_target).count() as u64 + 1;
        let line = HistoryLine {
            seq: Some(seq),
            from_agent: false,
            message_id: Some(event.message_id.as_str().into()),
            at: self.clock.now(),
            text: event.text.clone(),
        };
        state.lines.push((event.reply_target.clone(), line));
        let session_key = format!("webchat:{}", event.reply_target);
        state.events.push(event);
        Admitted::Accepted { session_key }
    }

    async fn history(&self, event: &Event, after_seq: Option<u64>, limit: usize) -> History {
        let state = self.state.lock().unwrap();
        let own = state.lines.iter().filter(|(peer, _)| *peer == event.reply_target).map(|(_, line)| line.clone());
        let last = state.lines.iter().filter_map(|(_, line)| line.seq).max().unwrap_or(0);
        let is_fresh = after_seq.is_some_and(|after| after > last);
        let lines: Vec<_> = own.filter(|line| is_fresh || line.seq > after_seq).collect();
        History { lines: lines[lines.len().saturating_sub(limit)..].to_vec(), last, is_fresh }
    }

    fn report(&self, _health: Result<(), String>) {}

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn entry() -> EntryId {
    EntryId::new("webchat").unwrap()
}

fn open(config: &Config) -> Arc<dyn Channel> {
    config.open(Setup { entry: entry(), signing_key: [7; 32], http: reqwest::Client::new() })
}

/// One adapter and its host, asked as a browser would.
struct Site {
    channel: Arc<dyn Channel>,
    host: Arc<FakeHost>,
}

impl Site {
    fn new() -> Self {
        Self { channel: open(&Config::default()), host: FakeHost::new() }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let uri = format!("/chat/webchat/{path}");
        let mut request = Request::builder().method(method).uri(uri).header(header::HOST, "box:1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let path = path.split('?').next().unwrap();
        let host = Arc::clone(&self.host) as Arc<dyn Host>;
        self.channel.serve(path, request.body(Body::from(body.to_owned())).unwrap(), host).await
    }

    async fn cookie(&self) -> String {
        cookie_of(self.ask("GET", "", &[], "").await.headers())
    }

    async fn post(&self, cookie: &str, message: Value) -> (StatusCode, Value) {
        let headers = [("cookie", cookie), ("origin", "http://box:1"), ("content-type", "application/json")];
        let response = self.ask("POST", "messages", &headers, &message.to_string()).await;
        let status = response.status();
        (status, serde_json::from_str(&text(response).await).unwrap())
    }

    async fn history(&self, cookie: &str, query: &str) -> Value {
        let response = self.ask("GET", &format!("history{query}"), &[("cookie", cookie)], "").await;
        assert_eq!(response.status(), StatusCode::OK);
        serde_json::from_str(&text(response).await).unwrap()
    }
}

/// `name=value` of the `Set-Cookie` header.
fn cookie_of(headers: &HeaderMap) -> String {
    headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

fn message(id: &str, text: &str) -> Value {
    json!({ "id": id, "text": text })
}

#[tokio::test]
async fn the_page_makes_a_visitor_and_keeps_the_one_it_knows() {
    let site = Site::new();
    let first = site.cookie().await;
    let again = site.ask("GET", "", &[("cookie", &first)], "").await;
    assert_eq!(cookie_of(again.headers()), first);
    assert_ne!(site.cookie().await, first);

    let policy = again.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = text(again).await;
    for must in ["role=\"log\"", "aria-label=\"Message\"", "aria-label=\"Send\""] {
        assert!(page.contains(must), "{must}");
    }
    for must_not in ["<style", "style=", "onclick", "http://", "https://"] {
        assert!(!page.contains(must_not), "{must_not}");
    }
    // The only element that could be an inline script is data.
    assert_eq!(page.matches("<script").count(), 2);
    assert!(page.contains("<script type=\"application/json\""));
}

#[tokio::test]
async fn without_the_cookie_nothing_is_said_and_nothing_is_read() {
    let site = Site::new();
    let own = [("origin", "http://box:1"), ("content-type", "application/json")];
    let forged = [own[0], own[1], ("cookie", "frontdesk-webchat=00000000000000000000000000000000.AAAA")];
    for headers in [&own[..], &forged] {
        for (method, path) in [("POST", "messages"), ("GET", "history"), ("GET", "events"), ("GET", "socket")] {
            let response = site.ask(method, path, headers, &message("m1", "hi").to_string()).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
            assert!(response.headers().get(header::SET_COOKIE).is_none(), "{path}");
        }
    }
    assert!(site.host.events().is_empty());
}

#[tokio::test]
async fn the_visitor_is_taken_from_the_cookie_alone() {
    let site = Site::new();
    let cookie = site.cookie().await;
    let hex = cookie.split(['=', '.']).nth(1).unwrap();
    let mut body = message("m1", "hi");
    body["user_id"] = "anon_00000000000000000000000000000000".into();
    body["user"] = body["user_id"].clone();
    let (status, answer) = site.post(&cookie, body).await;
    assert_eq!((status, &answer["type"]), (StatusCode::ACCEPTED, &json!("accepted")));
    let event = site.host.events().remove(0);
    assert_eq!(event.user.unwrap().as_str(), format!("anon_{hex}"));
    assert_eq!(event.reply_target, format!("anon_{hex}"));
    assert_eq!((event.server, event.room, event.thread, event.account), (None, None, None, None));
    let own_id = format!("anon_{hex}/m1");
    assert_eq!((event.message_id.as_str(), event.text.as_str()), (own_id.as_str(), "hi"), "ids of visitors never meet");
    assert!(!answer.to_string().contains(hex), "the page never learns the id");
}

#[tokio::test]
async fn other_sites_cannot_write() {
    let site = Site::new();
    let cookie = site.cookie().await;
    let check = async |origin: &[(&str, &str)], expected| {
        let mut headers = vec![("cookie", cookie.as_str()), ("content-type", "application/json")];
        headers.extend(origin);
        let response = site.ask("POST", "messages", &headers, &message("m1", "hi").to_string()).await;
        assert_eq!(response.status(), expected, "{origin:?}");
        assert!(response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    };
    check(&[("origin", "http://box:2")], StatusCode::FORBIDDEN).await;
    check(&[], StatusCode::FORBIDDEN).await;
    check(&[("sec-fetch-site", "cross-site")], StatusCode::FORBIDDEN).await;
    check(&[("sec-fetch-site", "same-origin")], StatusCode::ACCEPTED).await;
    check(&[("origin", "http://BOX:1")], StatusCode::ACCEPTED).await;
    // A form of another site could send this type without being asked.
    let form = [("cookie", cookie.as_str()), ("origin", "http://box:1"), ("content-type", "text/plain")];
    let response = site.ask("POST", "messages", &form, "{}").await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let site = Site::new();
    let request = Request::builder().method("POST").uri("/chat/webchat/messages").header(header::HOST, "box:1");
    let request = request.header("cookie", site.cookie().await).header("origin", "http://box:1");
    let stalled = Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>());
    let request = request.header("content-type", "application/json").body(stalled).unwrap();
    let response = site.channel.serve("messages", request, Arc::clone(&site.host) as Arc<dyn Host>).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_a_reason() {
    let site = Site::new();
    let cookie = site.cookie().await;
    let check = async |body: Value, status, reason: &str| {
        let (found, answer) = site.post(&cookie, body).await;
        assert_eq!((found, answer["reason"].as_str()), (status, Some(reason)), "{answer}");
        answer
    };
    check(message("m1", "  \n"), StatusCode::UNPROCESSABLE_ENTITY, "invalid").await;
    check(message("", "hi"), StatusCode::UNPROCESSABLE_ENTITY, "invalid").await;
    check(message("m 1", "hi"), StatusCode::UNPROCESSABLE_ENTITY, "invalid").await;
    check(message(&"m".repeat(65), "hi"), StatusCode::UNPROCESSABLE_ENTITY, "invalid").await;
    check(json!({ "id": "m1" }), StatusCode::UNPROCESSABLE_ENTITY, "invalid").await;
    check(message("m1", &"ä".repeat(8193)), StatusCode::PAYLOAD_TOO_LARGE, "too_long").await;
    check(message("m1", &"a".repeat(200_000)), StatusCode::PAYLOAD_TOO_LARGE, "too_long").await;
    site.host.script(Admitted::Unavailable { retry_after: Duration::from_millis(2500) });
    let answer = check(message("m1", "hi"), StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    assert_eq!(answer["retry_after_ms"], 2500);
    site.host.script(Admitted::Unresolvable("a secret of the operator".into()));
    let answer = check(message("m1", "hi"), StatusCode::FORBIDDEN, "refused").await;
    assert!(!answer.to_string().contains("secret"));
    assert!(site.host.events().is_empty());
    // Control characters are six bytes each in JSON and one byte of text.
    let (status, _) = site.post(&cookie, message("m1", &"\u{1}".repeat(16 * 1024))).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_message_sent_again_is_confirmed_and_filed_once() {
    let site = Site::new();
    let cookie = site.cookie().await;
    for _ in 0..2 {
        let (status, answer) = site.post(&cookie, message("m1", "hi")).await;
        assert_eq!((status, &answer["type"], &answer["id"]), (StatusCode::ACCEPTED, &json!("accepted"), &json!("m1")));
    }
    assert_eq!(site.host.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_writes_too_fast_is_told_when_to_go_on() {
    let site = Site::new();
    let cookie = site.cookie().await;
    for n in 0..10 {
        assert_eq!(site.post(&cookie, message(&format!("m{n}"), "hi")).await.0, StatusCode::ACCEPTED);
    }
    let headers = [("cookie", cookie.as_str()), ("origin", "http://box:1"), ("content-type", "application/json")];
    let response = site.ask("POST", "messages", &headers, &message("m10", "hi").to_string()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[header::RETRY_AFTER], "3");
    // The time of day does not count: it may be set back.
    site.host.clock.set(Timestamp(1_600_000_000_000));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(site.post(&cookie, message("m10", "hi")).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn history_is_the_visitors_own_and_starts_where_asked() {
    let site = Site::new();
    let (ada, bob) = (site.cookie().await, site.cookie().await);
    site.post(&ada, message("a1", "from ada")).await;
    site.post(&bob, message("b1", "from bob")).await;
    let target = site.host.events()[0].reply_target.clone();
    assert_eq!(site.channel.send(&site.host.answer(&target, "to ada")).await, Sent::Delivered);

    let texts =
        |history: &Value| history["lines"].as_array().unwrap().iter().map(|l| l["text"].clone()).collect::<Vec<_>>();
    assert_eq!(texts(&site.history(&ada, "").await), ["from ada", "to ada"]);
    assert_eq!(texts(&site.history(&ada, "?after=1").await), ["to ada"]);
    assert_eq!(texts(&site.history(&bob, "").await), ["from bob"]);
    let nothing = site.history(&ada, "?after=2").await;
    assert_eq!((texts(&nothing).len(), &nothing["last"], &nothing["fresh"]), (0, &json!(2), &json!(false)));

    site.host.erase();
    site.post(&ada, message("a2", "again")).await;
    let fresh = site.history(&ada, "?after=2").await;
    assert_eq!((texts(&fresh), &fresh["fresh"]), (vec![json!("again")], &json!(true)));
}

#[tokio::test]
async fn files_have_etags_and_anything_else_is_not_found() {
    let site = Site::new();
    let check = async |method, path, headers: &[(&str, &str)], expected| {
        let response = site.ask(method, path, headers, "").await;
        assert_eq!(response.status(), expected, "{method} {path}");
        response
    };
    for path in ["chat.js", "chat.css", "theme.css", "icon.svg", "widget.js", "transport.js"] {
        let etag = check("GET", path, &[], StatusCode::OK).await.headers()[header::ETAG].clone();
        check("GET", path, &[("if-none-match", etag.to_str().unwrap())], StatusCode::NOT_MODIFIED).await;
    }
    check("GET", "words.json", &[], StatusCode::NOT_FOUND).await;
    check("GET", "../webchat", &[], StatusCode::NOT_FOUND).await;
    check("POST", "", &[], StatusCode::METHOD_NOT_ALLOWED).await;
    check("GET", "messages", &[], StatusCode::METHOD_NOT_ALLOWED).await;
    check("DELETE", "history", &[], StatusCode::METHOD_NOT_ALLOWED).await;
}

#[tokio::test]
async fn a_public_address_over_tls_lets_other_sites_embed_the_page() {
    let public_url = Some(Origin::parse("https://chat.example.com").unwrap());
    let channel = open(&Config { public_url, ..Config::default() });
    let request = Request::builder().uri("/chat/webchat").header(header::HOST, "chat.example.com");
    let response = channel.serve("", request.body(Body::empty()).unwrap(), FakeHost::new()).await;
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.ends_with("HttpOnly; Secure; SameSite=None; Partitioned"), "{cookie}");
}

#[tokio::test]
async fn a_stream_carries_history_and_what_follows() {
    let site = Site::new();
    let cookie = site.cookie().await;
    site.post(&cookie, message("m1", "hi")).await;
    let target = site.host.events()[0].reply_target.clone();
    site.channel.preview(&target, Preview::Delta("he".into()));
    let response = site.ask("GET", "events?after=0", &[("cookie", &cookie)], "").await;
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut frames = response.into_body().into_data_stream();
    let mut next = async || String::from_utf8(frames.next().await.unwrap().unwrap().to_vec()).unwrap();
    let first = next().await;
    assert!(first.starts_with(':') && first.contains("\ndata: {\"type\":\"history\""), "{first}");
    assert!(first.contains("\"id\":\"m1\"") && first.contains("\"draft\":\"he\""), "{first}");
    site.channel.send(&site.host.answer(&target, "line\nbreak")).await;
    let second = next().await;
    assert!(
        second.starts_with("data: {\"type\":\"message\",\"seq\":2,") && second.contains("line\\nbreak"),
        "{second}"
    );
    drop(site.channel);
    assert!(frames.next().await.is_none(), "an adapter that goes takes its tabs along");
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Serves the adapter on a port of its own and returns `host:port`.
async fn listen(site: &Site) -> String {
    let (channel, host) = (Arc::clone(&site.channel), Arc::clone(&site.host));
    let router = Router::new().fallback(move |request: Request| {
        let (channel, host) = (Arc::clone(&channel), Arc::clone(&host));
        async move {
            let path = request.uri().path().trim_start_matches("/chat/webchat").trim_start_matches('/').to_owned();
            channel.serve(&path, request, host).await
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    #[expect(clippy::disallowed_methods, reason = "the test ends before its peer must")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn connect(address: &str, cookie: &str, origin: &str) -> Result<Socket, StatusCode> {
    use tungstenite::client::IntoClientRequest as _;
    let mut request = format!("ws://{address}/chat/webchat/socket").into_client_request().unwrap();
    request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(response.status()),
        Err(error) => panic!("{error}"),
    }
}

async fn say(socket: &mut Socket, frame: Value) {
    socket.send(tungstenite::Message::text(frame.to_string())).await.unwrap();
}

/// The next event, or `null` when the socket was closed.
async fn hear(socket: &mut Socket) -> Value {
    match socket.next().await {
        Some(Ok(tungstenite::Message::Text(text))) => serde_json::from_str(&text).unwrap(),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn two_tabs_see_one_conversation() {
    let site = Site::new();
    let address = listen(&site).await;
    let (cookie, origin) = (site.cookie().await, format!("http://{address}"));
    let mut one = connect(&address, &cookie, &origin).await.unwrap();
    let mut two = connect(&address, &cookie, &origin).await.unwrap();
    for socket in [&mut one, &mut two] {
        say(socket, json!({ "type": "hello" })).await;
        assert_eq!(
            hear(socket).await,
            json!({ "type": "history", "lines": [], "last": 0, "fresh": false, "draft": null })
        );
    }
    say(&mut one, json!({ "type": "message", "id": "m1", "text": "hi" })).await;
    for socket in [&mut one, &mut two] {
        let event = hear(socket).await;
        assert_eq!((&event["type"], &event["id"], &event["text"]), (&json!("accepted"), &json!("m1"), &json!("hi")));
    }
    let target = site.host.events()[0].reply_target.clone();
    site.channel.preview(&target, Preview::Typing);
    site.channel.send(&site.host.answer(&target, "hello")).await;
    assert_eq!(hear(&mut two).await["type"], "typing");
    let event = hear(&mut two).await;
    assert_eq!((&event["type"], &event["seq"], &event["text"]), (&json!("message"), &json!(2), &json!("hello")));
}

#[tokio::test]
async fn shutting_down_ends_the_tabs_and_takes_no_more() {
    let site = Site::new();
    let cookie = site.cookie().await;
    let stream = site.ask("GET", "events", &[("cookie", &cookie)], "").await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    site.channel.run(Arc::clone(&site.host) as Arc<dyn Host>, shutdown).await;
    assert!(text(stream).await.contains("\"history\""), "the stream ends");
    let response = site.ask("GET", "events", &[("cookie", &cookie)], "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn sockets_of_strangers_and_other_sites_are_refused() {
    let site = Site::new();
    let address = listen(&site).await;
    let (cookie, origin) = (site.cookie().await, format!("http://{address}"));
    let check = async |cookie: &str, origin: &str, expected| {
        assert_eq!(connect(&address, cookie, origin).await.err(), Some(expected), "{origin}");
    };
    check(&cookie, "http://evil.example", StatusCode::FORBIDDEN).await;
    check("a=b", &origin, StatusCode::UNAUTHORIZED).await;
    let forged = cookie.replace('=', "=0");
    check(&forged, &origin, StatusCode::UNAUTHORIZED).await;
    let mut tabs = Vec::new();
    for _ in 0..super::hub::MAX_PER_VISITOR {
        tabs.push(connect(&address, &cookie, &origin).await.unwrap());
    }
    check(&cookie, &origin, StatusCode::TOO_MANY_REQUESTS).await;
}

#[tokio::test]
async fn a_socket_that_does_not_speak_the_protocol_is_closed() {
    let site = Site::new();
    let address = listen(&site).await;
    let (cookie, origin) = (site.cookie().await, format!("http://{address}"));
    let frames = [json!({ "type": "message", "id": "m1", "text": "hi" }), json!("hello"), json!({ "type": "admin" })];
    for frame in frames {
        let mut socket = connect(&address, &cookie, &origin).await.unwrap();
        say(&mut socket, frame.clone()).await;
        assert_eq!(hear(&mut socket).await, Value::Null, "{frame}");
    }
    assert!(site.host.events().is_empty(), "a message before the hello is no message");
}
