//! The admin API (SPEC §7.5): everything that the commands and the local page do, under `/api/v1`.
//!
//! Each file declares its operations: path, who may ask, handler. From these come the router, the description at
//! `/api/v1/openapi.json` and the table that tests walk; an operation without a rule does not compile.
//!
//! Not here: how somebody proves who they are on the public address; pages.
//!
//! What always holds: without a caller there is nothing to learn but the description, not even which paths exist.
//! Handlers have a `Reached` and nothing else, so whoever is bound to a tenant hears of no other. A key that
//! several tenants have is answered with 409 until one of them is named; `tenant=` is the owner's own. Whoever reads
//! or changes a conversation is in the access log, the words are not.

pub(crate) mod access;
pub(crate) mod alerts;
pub(crate) mod agents;
pub(crate) mod api_keys;
pub(crate) mod arrange;
pub(crate) mod backup;
pub(crate) mod change;
pub(crate) mod channels;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod deliveries;
pub(crate) mod error;
mod export;
pub(crate) mod factory_reset;
mod health;
pub(crate) mod import;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod logs;
mod metrics;
mod openapi;
pub(crate) mod operation;
pub(crate) mod pairing;
pub(crate) mod passkeys;
mod place;
pub(crate) mod providers;
pub(crate) mod reach;
pub(crate) mod rekey;
pub(crate) mod routes;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod setup;
pub(crate) mod taking;
pub(crate) mod tenants;
pub(crate) mod unresolved;
pub(crate) mod updates;
pub(crate) mod usage;
pub(crate) mod users;

pub(crate) use error::Error;
pub(crate) use operation::{Body, Name, NameAndFile, NameAndId, Query};
pub use operation::{Listed, Rule, Scope};
pub(crate) use place::{Episode, Named, Place as Conversation};
pub(crate) use reach::{Reached, Seen, Stop};
pub(crate) use sessions::{Words, search};
pub(crate) use users::note as note_account;

pub(crate) use json::{findings as findings_json, problem as problem_json};

use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use futures_util::future::BoxFuture;

use crate::account::Who;
use crate::channel::registry;
use crate::doctor;
use crate::document::Secret;
use crate::gateway::device_key::Sources;
use crate::gateway::{Gateway, Peer, StartError};
use crate::id::ChannelType;

use json::{Findings, Status};
use operation::{INSPECT, Operation, READ};

/// Where the description is: the one path that wants no caller.
const DESCRIPTION: &str = "/api/v1/openapi.json";
/// The description, made when somebody asks for it first, for all routers.
static SHOWN: LazyLock<Bytes> = LazyLock::new(|| description().into());

/// Says who a request is from.
pub trait Authenticate: Send + Sync + 'static {
    /// `None`: from nobody that is known.
    fn who(&self, head: &Parts) -> impl Future<Output = Option<Who>> + Send;
}

impl<F: Fn(&Parts) -> Option<Who> + Send + Sync + 'static> Authenticate for F {
    async fn who(&self, head: &Parts) -> Option<Who> {
        self(head)
    }
}

/// Asks once more who a request is from. What was true when it came may not be by now: tokens are revoked and expire.
#[derive(Clone)]
struct Again(Arc<dyn Fn() -> BoxFuture<'static, Option<Who>> + Send + Sync>);

impl Again {
    fn new<D: Authenticate>(doors: Arc<D>, head: Parts) -> Self {
        let asked = Arc::new((doors, head));
        Self(Arc::new(move || {
            let asked = Arc::clone(&asked);
            Box::pin(async move { known(&*asked.0, &asked.1).await })
        }))
    }

    async fn who(&self) -> Option<Who> {
        (self.0)().await
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").finish_non_exhaustive()
    }
}

/// Whoever has the admin token of the home is the console.
#[derive(Debug, Clone)]
pub struct AdminToken(Secret);

impl AdminToken {
    /// The one of this gateway.
    #[must_use]
    pub fn of(gateway: &Gateway) -> Self {
        Self(gateway.admin_token().clone())
    }

    /// The console, if the request shows the token.
    #[must_use]
    pub fn shown_in(&self, head: &Parts) -> Option<Who> {
        let given = bearer(head)?;
        let compared = aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), self.0.expose().as_bytes());
        compared.is_ok().then(Who::console)
    }
}

impl Authenticate for AdminToken {
    async fn who(&self, head: &Parts) -> Option<Who> {
        self.shown_in(head)
    }
}

/// What stands behind `Authorization: Bearer`.
#[must_use]
pub fn bearer(head: &Parts) -> Option<&str> {
    let value = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Serves the admin API on the gateway's local socket, to whoever has the admin token.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(gateway: &Gateway) -> Result<(), StartError> {
    gateway.listen_local(router(gateway, AdminToken::of(gateway)).fallback(no_path))
}

/// The admin API, for those whom `doors` knows. It has the paths under `/api/v1` and may be merged into another router.
pub fn router<D: Authenticate>(gateway: &Gateway, doors: D) -> Router {
    let (doors, mut router) = (Arc::new(doors), Router::new());
    for Operation { listed, serve, .. } in operations() {
        router = router.route(listed.path, serve);
    }
    router
        .method_not_allowed_fallback(no_method)
        // No fallback of the router: this one is merged into others.
        .route("/api/v1", any(no_path))
        .route("/api/v1/", any(no_path))
        .route("/api/v1/{*path}", any(no_path))
        .layer(middleware::from_fn_with_state(doors, authenticate::<D>))
        .route(DESCRIPTION, get(async || ([(header::CONTENT_TYPE, "application/json")], SHOWN.clone())))
        .with_state(gateway.clone())
}

/// Every operation and who may ask for it.
#[must_use]
pub fn table() -> Vec<Listed> {
    operations().into_iter().map(|operation| operation.listed).collect()
}

/// What the API says of itself: OpenAPI 3.1 in JSON.
#[must_use]
pub fn description() -> String {
    let described = openapi::describe(&operations());
    serde_json::to_string(&described).unwrap_or_default()
}

fn operations() -> Vec<Operation> {
    let own = vec![
        Operation::get("/api/v1/status", READ, "How the gateway is", status),
        Operation::get("/api/v1/doctor", INSPECT, "What is wrong, worst first, each with the fix", examine),
    ];
    [
        own,
        config::operations(),
        change::operations(),
        channels::operations(),
        secrets::operations(),
        sessions::operations(),
        taking::operations(),
        access::operations(),
        context::operations(),
        unresolved::operations(),
        rekey::operations(),
        deliveries::operations(),
        pairing::operations(),
        tenants::operations(),
        backup::operations(),
        import::operations(),
        providers::operations(),
        alerts::operations(),
        updates::operations(),
        health::operations(),
        factory_reset::operations(),
        setup::operations(),
        users::operations(),
        passkeys::operations(),
        usage::operations(),
        metrics::operations(),
        logs::operations(),
        agents::operations(),
        api_keys::operations(),
        arrange::operations(),
        routes::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn authenticate<D: Authenticate>(State(doors): State<Arc<D>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    match known(&*doors, &head).await {
        Some(who) => {
            let again = Again::new(doors, head.clone());
            head.extensions.insert(again);
            head.extensions.insert(who);
            next.run(Request::from_parts(head, body)).await
        }
        None => Error::Nobody.into_response(),
    }
}

/// Who a request is from, and from where.
async fn known<D: Authenticate>(doors: &D, head: &Parts) -> Option<Who> {
    let from = head.extensions.get::<Peer>().map(|peer| peer.0.to_canonical());
    doors.who(head).await.map(|who| who.at(from))
}

async fn no_path() -> Response {
    Error::NoPath.into_response()
}

async fn no_method() -> Response {
    Error::NoMethod.into_response()
}

pub(crate) async fn status(reached: Reached, (): ()) -> Result<Status, Error> {
    Ok(match reached.status()? {
        Seen::Whole(status) => Status::whole(&status, updates::sentence(reached.whole(READ)?)),
        Seen::Share { counts, n_unresolved, channels } => Status::share(&counts, n_unresolved, &channels),
    })
}

pub(crate) async fn examine(reached: Reached, (): ()) -> Result<Findings, Error> {
    let gateway = reached.whole(INSPECT)?;
    let (status, in_use) = (gateway.status()?, gateway.config_digest());
    let running = doctor::Running { status: &status, config_digest: in_use.as_deref() };
    let found =
        doctor::examine(gateway.home(), gateway.variables(), Some(&running), &Sources::default(), gateway.now());
    Ok(Findings::of(&found, true))
}

/// Where a page goes on, in the caller's hands meanwhile.
fn cursor<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_error| Error::Query("after is not what a page gave as next".to_owned()))
}

fn channel_type(name: &str) -> Result<ChannelType, Error> {
    parsed("channel", ChannelType::new(registry::key_tag(name)))
}

fn parsed<T, E: fmt::Display>(field: &str, result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|error| Error::Query(format!("{field}: {error}")))
}
