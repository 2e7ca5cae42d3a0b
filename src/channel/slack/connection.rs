//! Keeps a Socket Mode connection where the entry has an app token, and asks who the bot is.
//!
//! Health has three parts: the bot token, the connection, and whether Slack lets the bot speak. The
//! channel is well when all are.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::MaybeTlsStream;
use tokio_util::sync::CancellationToken;

use super::Slack;
use super::api::CallError;
use super::backoff::{AUTH_RETRY, Backoff};
use super::event::Me;
use super::socket::{DialError, Ended, Socket, dial, drain, serve};
use crate::channel::Host;

/// Does all this until `shutdown`.
pub(super) async fn keep(slack: &Slack, host: &dyn Host, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = supervise(slack, host, slack) => {}
    }
}

/// What is kept and asked. A trait, so that tests need no network.
trait Upstream: Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Who the bot is.
    fn introduce(&self) -> impl Future<Output = Result<Me, CallError>> + Send;

    /// A new connection for events.
    fn dial(&self) -> impl Future<Output = Result<Socket<Self::Stream>, DialError>> + Send;
}

impl Upstream for Slack {
    type Stream = MaybeTlsStream<TcpStream>;

    async fn introduce(&self) -> Result<Me, CallError> {
        self.api.auth_test(&self.settings.bot_token).await
    }

    async fn dial(&self) -> Result<Socket<Self::Stream>, DialError> {
        match &self.settings.app_token {
            Some(app_token) => dial(&self.api, app_token).await,
            None => Err(DialError::Socket("the entry has no app token".to_owned())),
        }
    }
}

/// What the supervisor waits for.
enum Happened<S> {
    /// `auth.test` has answered.
    Introduced(Result<Me, CallError>),
    Dialled(Result<Socket<S>, DialError>),
    Ended(Ended<S>, Duration),
    Drained,
    /// Slack refused an answer for want of a permission, or took one again.
    Heard(watch::Receiver<Option<String>>),
}

async fn supervise<U: Upstream>(slack: &Slack, host: &dyn Host, upstream: &U) {
    let uses_socket = slack.settings.app_token.is_some();
    let mut health =
        Health { host, token: None, link: (!uses_socket).then_some(Ok(())), voice: Ok(()), reported: None };
    let mut introduction = Backoff::default();
    let mut connection = Backoff::default();
    let mut replaced = CancellationToken::new();

    // In Socket Mode there is at any time one attempt to connect, or one connection that is not being drained.
    let mut tasks = FuturesUnordered::<BoxFuture<'_, Happened<U::Stream>>>::new();
    tasks.push(introduce(upstream, Duration::ZERO).boxed());
    tasks.push(hear(slack.refusal.subscribe()).boxed());
    if uses_socket {
        tasks.push(connect(upstream, Duration::ZERO).boxed());
    }
    while let Some(happened) = tasks.next().await {
        let wait = match happened {
            Happened::Introduced(Ok(me)) => {
                slack.me.get_or_init(|| me);
                health.token(Ok(()));
                continue;
            }
            Happened::Introduced(Err(error)) => {
                health.token(Err(blame("bot_token", &error)));
                tasks.push(introduce(upstream, introduction.after_error(&error)).boxed());
                continue;
            }
            Happened::Heard(mut refusal) => {
                let heard = refusal.borrow_and_update().clone();
                health.voice(heard.map_or(Ok(()), Err));
                tasks.push(hear(refusal).boxed());
                continue;
            }
            Happened::Drained => continue,
            Happened::Dialled(Ok(socket)) => {
                std::mem::take(&mut replaced).cancel();
                health.link(Ok(()));
                tasks.push(stay(slack, host, socket).boxed());
                continue;
            }
            Happened::Dialled(Err(error)) => {
                let (problem, wait) = match &error {
                    DialError::Call(call) => (blame("app_token", call), connection.after_error(call)),
                    DialError::Socket(_) => (error.to_string(), connection.after_failure()),
                };
                health.link(Err(problem));
                wait
            }
            Happened::Ended(Ended::Replace(socket), life) => {
                let replaced = replaced.clone();
                tasks.push(drain(slack, host, socket, replaced).map(|()| Happened::Drained).boxed());
                connection.note_life(life);
                connection.after_notice()
            }
            Happened::Ended(Ended::Disabled, _) => {
                health.link(Err("Socket Mode is switched off in the settings of the Slack app".to_owned()));
                AUTH_RETRY
            }
            Happened::Ended(Ended::Lost(reason), life) => {
                health.link(Err(reason));
                connection.note_life(life);
                connection.after_failure()
            }
        };
        tasks.push(connect(upstream, wait).boxed());
    }
}

async fn introduce<U: Upstream>(upstream: &U, wait: Duration) -> Happened<U::Stream> {
    sleep(wait).await;
    Happened::Introduced(upstream.introduce().await)
}

async fn connect<U: Upstream>(upstream: &U, wait: Duration) -> Happened<U::Stream> {
    sleep(wait).await;
    Happened::Dialled(upstream.dial().await)
}

async fn hear<S>(mut refusal: watch::Receiver<Option<String>>) -> Happened<S> {
    if refusal.changed().await.is_err() {
        // The adapter is gone, and this with it.
        std::future::pending::<()>().await;
    }
    Happened::Heard(refusal)
}

async fn stay<S>(slack: &Slack, host: &dyn Host, socket: Socket<S>) -> Happened<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let start = Instant::now();
    let ended = serve(slack, host, socket).await;
    Happened::Ended(ended, start.elapsed())
}

/// `None`: not known yet.
struct Health<'h> {
    host: &'h dyn Host,
    token: Option<Result<(), String>>,
    link: Option<Result<(), String>>,
    /// Well until Slack says otherwise.
    voice: Result<(), String>,
    reported: Option<Result<(), String>>,
}

impl Health<'_> {
    fn token(&mut self, token: Result<(), String>) {
        self.token = Some(token);
        self.report();
    }

    fn link(&mut self, link: Result<(), String>) {
        self.link = Some(link);
        self.report();
    }

    fn voice(&mut self, voice: Result<(), String>) {
        self.voice = voice;
        self.report();
    }

    /// Says what is new.
    fn report(&mut self) {
        let health = match (&self.token, &self.link, &self.voice) {
            (Some(Err(reason)), _, _) | (_, Some(Err(reason)), _) | (_, _, Err(reason)) => Err(reason.clone()),
            (Some(Ok(())), Some(Ok(())), Ok(())) => Ok(()),
            _ => return,
        };
        if self.reported.as_ref() != Some(&health) {
            self.host.report(health.clone());
            self.reported = Some(health);
        }
    }
}

/// Names the setting where Slack refuses a token.
fn blame(key: &str, error: &CallError) -> String {
    if error.is_auth() { format!("{key} does not work: {error}") } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use futures_util::SinkExt as _;
    use serde_json::{Value, json};
    use tokio::io::DuplexStream;
    use tokio::sync::{mpsc, oneshot};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::super::testing::{TestHost, slack, slack_over_http};
    use super::*;
    use crate::channel::Admitted;

    /// Slack's end of a connection.
    type Peer = WebSocketStream<DuplexStream>;

    /// Hands out connections in memory, or the failures it was told, and gives Slack's ends to the test.
    struct TestUpstream {
        failures: Mutex<VecDeque<DialError>>,
        peers: mpsc::UnboundedSender<(Instant, Option<Peer>)>,
    }

    impl Upstream for TestUpstream {
        type Stream = DuplexStream;

        async fn introduce(&self) -> Result<Me, CallError> {
            Ok(Me { user_id: "UBOT".to_owned(), bot_id: None })
        }

        async fn dial(&self) -> Result<Socket<DuplexStream>, DialError> {
            if let Some(failure) = self.failures.lock().unwrap().pop_front() {
                let _ = self.peers.send((Instant::now(), None));
                return Err(failure);
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let peer = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
            let _ = self.peers.send((Instant::now(), Some(peer)));
            Ok(Box::new(WebSocketStream::from_raw_socket(ours, Role::Client, None).await))
        }
    }

    /// A supervised connection whose other end is the test.
    struct Bench {
        host: Arc<TestHost>,
        dialled: mpsc::UnboundedReceiver<(Instant, Option<Peer>)>,
        _stop: oneshot::Sender<()>,
    }

    fn bench(failures: impl Into<VecDeque<DialError>>, outcomes: impl Into<VecDeque<Admitted>>) -> Bench {
        let (peers, dialled) = mpsc::unbounded_channel();
        let host = Arc::new(TestHost::answering(outcomes));
        let upstream = TestUpstream { failures: Mutex::new(failures.into()), peers };
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&host);
        #[expect(clippy::disallowed_methods, reason = "the test ends before its peer must")]
        tokio::spawn(async move {
            let slack = slack();
            tokio::select! {
                _ = stopped => {}
                () = supervise(&slack, &*served, &upstream) => {}
            }
        });
        Bench { host, dialled, _stop: stop }
    }

    impl Bench {
        async fn peer(&mut self) -> Peer {
            self.dialled.recv().await.unwrap().1.unwrap()
        }
    }

    async fn say(peer: &mut Peer, frame: Value) {
        peer.send(Message::text(frame.to_string())).await.unwrap();
    }

    fn message(envelope_id: &str, ts: &str) -> Value {
        json!({"type": "events_api", "envelope_id": envelope_id, "payload": {
            "type": "event_callback", "team_id": "T1",
            "event": {"type": "message", "channel": "D1", "channel_type": "im", "user": "U1", "text": "hi", "ts": ts},
        }})
    }

    /// The envelope id that is acknowledged next.
    async fn next_ack(peer: &mut Peer) -> String {
        loop {
            let frame = peer.next().await.unwrap().unwrap();
            if let Message::Text(text) = frame {
                let ack: Value = serde_json::from_str(&text).unwrap();
                return ack["envelope_id"].as_str().unwrap().to_owned();
            }
        }
    }

    fn accepted() -> Admitted {
        Admitted::Accepted { session_key: "slack:T1:D1:U1".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_envelope_is_acknowledged_once_it_is_admitted() {
        let mut bench = bench([], [accepted(), Admitted::Duplicate, Admitted::Ignored("echo")]);
        let mut peer = bench.peer().await;
        for (envelope_id, ts) in [("e1", "1.1"), ("e2", "1.1"), ("e3", "1.2")] {
            say(&mut peer, message(envelope_id, ts)).await;
            assert_eq!(next_ack(&mut peer).await, envelope_id);
        }
        assert_eq!(bench.host.admitted(), ["D1:1.1", "D1:1.1", "D1:1.2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_envelope_that_the_store_cannot_take_is_left_for_redelivery() {
        let busy = Admitted::Unavailable { retry_after: Duration::from_secs(1) };
        let mut bench = bench([], [busy, accepted()]);
        let mut peer = bench.peer().await;
        say(&mut peer, message("e1", "1.1")).await;
        say(&mut peer, message("e2", "1.1")).await;
        assert_eq!(next_ack(&mut peer).await, "e2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_message_is_acknowledged_and_forgotten() {
        let mut bench = bench([], []);
        let mut peer = bench.peer().await;
        let reaction = json!({"type": "event_callback", "team_id": "T1", "event": {"type": "reaction_added"}});
        let broken = json!({"type": "event_callback", "team_id": "T1", "event": {"type": "message", "ts": "1.1"}});
        say(&mut peer, json!({"type": "slash_commands", "envelope_id": "e1", "payload": {}})).await;
        say(&mut peer, json!({"type": "events_api", "envelope_id": "e2", "payload": reaction})).await;
        say(&mut peer, json!({"type": "events_api", "envelope_id": "e3", "payload": broken})).await;
        for expected in ["e1", "e2", "e3"] {
            assert_eq!(next_ack(&mut peer).await, expected);
        }
        assert!(bench.host.admitted().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_announced_end_opens_the_next_connection_before_the_old_one_is_left() {
        let mut bench = bench([], [accepted(), accepted()]);
        let mut old = bench.peer().await;
        say(&mut old, json!({"type": "disconnect", "reason": "refresh_requested"})).await;
        say(&mut old, message("late", "1.1")).await;
        let mut new = bench.peer().await;
        assert_eq!(next_ack(&mut old).await, "late");
        say(&mut new, message("next", "1.2")).await;
        assert_eq!(next_ack(&mut new).await, "next");
        assert!(matches!(old.next().await, None | Some(Err(_))), "the old connection is left");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_end_at_once_are_not_dialled_in_a_hot_loop() {
        let mut bench = bench([], []);
        let start = Instant::now();
        for _ in 0..6 {
            let mut peer = bench.peer().await;
            say(&mut peer, json!({"type": "disconnect", "reason": "refresh_requested"})).await;
        }
        assert!(start.elapsed() >= Duration::from_secs(15), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_reported_and_dialled_again() {
        let mut bench = bench([], []);
        let mut peer = bench.peer().await;
        peer.close(None).await.unwrap();
        bench.peer().await;
        let reported = Err("Slack closed the connection".to_owned());
        assert!(bench.host.health().contains(&reported), "{:?}", bench.host.health());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_and_then_ends_the_connection() {
        let mut bench = bench([], []);
        let (dialled_at, peer) = bench.dialled.recv().await.unwrap();
        let mut peer = peer.unwrap();
        // The peer takes the ping from the wire and never answers, as after a lost route.
        let (redialled_at, _next) = bench.dialled.recv().await.unwrap();
        let ping = peer.get_mut();
        let mut first = [0; 1];
        tokio::io::AsyncReadExt::read_exact(ping, &mut first).await.unwrap();
        assert_eq!(first[0] & 0x0f, 0x9, "a ping was sent");
        let silent = redialled_at - dialled_at;
        assert!(silent >= Duration::from_secs(60) && silent < Duration::from_secs(63), "{silent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_slack_refuses_is_tried_again_slowly() {
        let refused = DialError::Call(CallError::Refused("invalid_auth".to_owned()));
        let mut bench = bench([refused], []);
        let (first, _) = bench.dialled.recv().await.unwrap();
        let (second, _) = bench.dialled.recv().await.unwrap();
        assert!(second - first >= AUTH_RETRY);
        assert!(
            bench
                .host
                .health()
                .iter()
                .flat_map(|h| h.as_ref().err())
                .any(|e| e == "app_token does not work: Slack answered \"invalid_auth\"")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_that_slack_asks_for_is_kept() {
        let throttled = DialError::Call(CallError::Throttled { retry_after: Some(Duration::from_secs(42)) });
        let mut bench = bench([throttled], []);
        let (first, _) = bench.dialled.recv().await.unwrap();
        let (second, _) = bench.dialled.recv().await.unwrap();
        assert!(second - first >= Duration::from_secs(42) && second - first < Duration::from_secs(43));
    }

    #[tokio::test(start_paused = true)]
    async fn without_socket_mode_the_token_alone_is_checked() {
        let slack = slack_over_http();
        let host = TestHost::answering([]);
        let (peers, mut dialled) = mpsc::unbounded_channel();
        let upstream = TestUpstream { failures: Mutex::default(), peers };
        let for_a_while = tokio::time::timeout(Duration::from_secs(600), supervise(&slack, &host, &upstream));
        assert!(for_a_while.await.is_err(), "it waits for the shutdown");
        assert_eq!(host.health(), [Ok(())]);
        assert!(dialled.try_recv().is_err(), "nothing was dialled");
        assert_eq!(slack.me.get().unwrap().user_id, "UBOT");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_slack_forbids_is_reported_until_one_is_taken() {
        let slack = slack_over_http();
        let host = TestHost::answering([]);
        let (peers, _dialled) = mpsc::unbounded_channel();
        let upstream = TestUpstream { failures: Mutex::default(), peers };
        let refused = || CallError::Refused("missing_scope".to_owned());
        let said = async {
            for outcome in [Err(refused()), Err(refused()), Ok(())] {
                sleep(Duration::from_secs(1)).await;
                slack.note_refusal(&outcome);
            }
            sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = supervise(&slack, &host, &upstream) => {}
            () = said => {}
        }
        assert_eq!(host.health(), [Ok(()), Err(refused().to_string()), Ok(())]);
    }
}
