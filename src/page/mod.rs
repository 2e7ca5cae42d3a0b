//! The local page: what the owner, the agency and support see.
//!
//! | path | who | what |
//! |---|---|---|
//! | `/admin/claim` | near the box, with the claim code, while nobody has claimed it | the first account |
//! | `/admin/login`, `POST /admin/logout` | anybody | in and out |
//! | `/admin/login/passkey`, `POST /admin/login/passkey/begin` | anybody; after a password, who knew it | in with a passkey |
//! | `/admin/` | who is logged in | is it working? |
//! | `/admin/conversations?words&tenant&which&before` | the same | the list, and the search |
//! | `/admin/conversation?key&tenant&episode&before` | the same | one of them, as it goes on |
//! | `/admin/erase?key&tenant`, `POST /admin/conversation/{archive,restore,erase}` | admins | what support does |
//! | `/admin/setup/{question}` | admins of everything | the six questions of a new box, and a first conversation |
//! | `/admin/activity?range&tenant` | the same | charts of what was asked, answered and paid |
//! | `/admin/logs?level&words` | admins of the whole gateway | the last lines of the log |
//! | `POST /admin/conversation/{take,say,hand-back}` | admins | answering instead of the worker |
//! | `/admin/access?tenant&who&what&key&after` | admins | who read or changed what |
//! | `/admin/workers`, `/admin/explain?address` or `?key&tenant&episode&line` | the same | who answers, and why |
//! | `/admin/worker?name`, `/admin/worker/file?name&file`, `POST /admin/worker/{save,remove}` | who sees all of it | one worker |
//! | `/admin/tenants?words&after`, `/admin/tenant?id`, `POST /admin/tenants/add`, `/admin/tenant/erase` | who sees all of it | the businesses |
//! | `POST /admin/programs/{key,key-end,token,token-end}` | admins of everything | what programs get in with |
//! | `/admin/settings`, `/admin/settings/revision?number` | admins of the whole gateway | what owners change, the file, what it was, secrets |
//! | `/admin/channels`, `/admin/channels/new?type`, `/admin/channels/entry?id` | who is logged in; to change, admins of the whole gateway | channels, and who may write |
//! | `/admin/people` | who is logged in | accounts, own sessions, own password |
//! | `/admin/updates` | who sees all of it | which version runs, what there is |
//! | `POST /admin/updates/{check,install,rollback,save}` | admins of everything | what the updater is asked for |
//! | `POST /admin/people/passkeys/{begin,add,remove,ask,stop-asking,remove-of}` | the same; the last, admins of everything | passkeys |
//! | `/admin/backups`, `POST /admin/backups/{now,check,passphrase}` | admins of everything | backups |
//! | `/admin/page.css`, `/admin/page.js`, `/admin/passkeys.js`, `/admin/mark.svg` | anybody | what pages need |
//!
//! Pages are made here, whole, in the language of the browser; they work without their script, and ask no other host for
//! anything. Not here: what may be seen, which is `admin::Reached`; who somebody is, which is `account`.
//!
//! What always holds: a request is heard only under a name of ours ([`visit::guard`]); what changes something is a POST by
//! a page of the same session; whatever people or models wrote stays text.

mod access;
mod activity;
mod answer;
mod backups;
mod channels;
mod chart;
mod conversation;
mod conversations;
mod door;
mod explain;
mod findings;
mod format;
mod home;
mod layout;
mod logs;
mod passkeys;
mod people;
mod programs;
mod refused;
mod setup;
mod tenants;
mod updates;
mod settings;
mod visit;
mod words;
mod worker;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};

use crate::admin;
use crate::browser::Asset;
use crate::gateway::Gateway;
use crate::id::{SessionKey, TenantId};

const HOME: &str = "/admin/";
const LOGIN: &str = "/admin/login";
const CLAIM: &str = "/admin/claim";
const CONVERSATIONS: &str = "/admin/conversations";
const CONVERSATION: &str = "/admin/conversation";
const ACTIVITY: &str = "/admin/activity";
const LOGS: &str = "/admin/logs";
const PEOPLE: &str = "/admin/people";
const SETUP: &str = "/admin/setup";
const SETTINGS: &str = "/admin/settings";
const CHANNELS: &str = "/admin/channels";
const WORKERS: &str = "/admin/workers";
const WORKER: &str = "/admin/worker";
const TENANTS: &str = "/admin/tenants";
const TENANT: &str = "/admin/tenant";
const PROGRAMS: &str = "/admin/programs";
const EXPLAIN: &str = "/admin/explain";
const ACCESS: &str = "/admin/access";
const BACKUPS: &str = "/admin/backups";
const UPDATES: &str = "/admin/updates";
const ERASE: &str = "/admin/erase";

/// How pages look: what all have, then what one of them has.
const STYLE: &str = concat!(
    include_str!("page.css"),
    include_str!("conversation.css"),
    include_str!("backups.css"),
    include_str!("activity.css"),
    include_str!("workers.css"),
    include_str!("setup.css"),
    include_str!("settings.css"),
    include_str!("updates.css"),
);

/// What pages do by themselves.
const SCRIPT: &str = concat!(include_str!("page.js"), include_str!("setup.js"));

/// Serves the pages, and the admin API to programs with a token and to those who are logged in.
pub fn router(gateway: &Gateway) -> Router {
    let door = visit::Door::new(gateway);
    Router::new()
        .route("/admin", get(async || answer::done(HOME)))
        .route(HOME, get(home::show))
        .route(LOGIN, get(door::login_page).post(door::login))
        .route(passkeys::SECOND, get(passkeys::second_page).post(passkeys::login))
        .route("/admin/login/passkey/begin", post(passkeys::begin_login))
        .route("/admin/logout", post(door::logout))
        .route(CLAIM, get(door::claim_page).post(door::claim))
        .route(CONVERSATIONS, get(conversations::list))
        .route(CONVERSATION, get(conversation::show))
        .route(ERASE, get(conversation::ask_to_erase))
        .route("/admin/conversation/{action}", post(conversation::change))
        .route(ACTIVITY, get(activity::show))
        .route(LOGS, get(logs::show))
        .route(WORKERS, get(workers::list))
        .route("/admin/workers/{action}", post(workers::change))
        .route(EXPLAIN, get(explain::show))
        .route(TENANTS, get(tenants::list))
        .route("/admin/tenants/add", post(tenants::add))
        .route(TENANT, get(tenants::show))
        .route("/admin/tenant/erase", get(tenants::ask_to_erase).post(tenants::erase))
        .route("/admin/programs/{action}", post(programs::change))
        .route(WORKER, get(worker::show))
        .route("/admin/worker/file", get(worker::file))
        // A text in a form may be three times as long as it is.
        .route("/admin/worker/{action}", post(worker::change).layer(DefaultBodyLimit::max(1024 * 1024)))
        .route(SETTINGS, get(settings::show))
        .route("/admin/settings/revision", get(settings::revision))
        .route("/admin/settings/{action}", post(settings::change).layer(DefaultBodyLimit::max(visit::MAX_TEXT_BYTES)))
        .route(CHANNELS, get(channels::show))
        .route("/admin/channels/new", get(channels::new))
        .route("/admin/channels/entry", get(channels::entry))
        .route("/admin/channels/{action}", post(channels::change))
        .route(PEOPLE, get(people::show))
        .route(ACCESS, get(access::show))
        .route(UPDATES, get(updates::show))
        .route("/admin/updates/{action}", post(updates::change))
        .route(BACKUPS, get(backups::show))
        .route("/admin/backups/{action}", post(backups::change))
        .route("/admin/people/{action}", post(people::change))
        .route("/admin/people/passkeys/begin", post(passkeys::begin))
        .route("/admin/people/passkeys/{action}", post(passkeys::change))
        .route(SETUP, get(setup::begin))
        .route("/admin/setup/{question}", get(setup::show).post(setup::change))
        .merge(files())
        .route("/admin/{*elsewhere}", get(nothing))
        .with_state(gateway.clone())
        .merge(admin::router(gateway, door))
        .layer(middleware::from_fn_with_state(gateway.clone(), visit::guard))
}

/// What pages need, whoever asks.
fn files() -> Router<Gateway> {
    let assets = [
        Asset::new("/admin/page.css", "text/css; charset=utf-8", STYLE),
        Asset::new("/admin/page.js", "text/javascript; charset=utf-8", SCRIPT),
        Asset::new("/admin/passkeys.js", "text/javascript; charset=utf-8", include_str!("passkeys.js")),
        Asset::new("/admin/mark.svg", "image/svg+xml", include_str!("mark.svg")),
    ];
    assets.into_iter().fold(Router::new(), |router, asset| {
        let (name, asset) = (asset.name(), Arc::new(asset));
        router.route(name, get(move |headers: HeaderMap| async move { asset.respond(&headers) }))
    })
}

async fn nothing(headers: HeaderMap) -> Response {
    let words = visit::words(&headers);
    answer::plain(words, StatusCode::NOT_FOUND, words.not_found, words.not_found_lead)
}

/// A value of a query, as an address holds it.
fn query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn conversation_address(tenant: Option<&TenantId>, key: &SessionKey, episode: Option<u64>) -> String {
    format!("{CONVERSATION}?{}", place_query(tenant, key, episode))
}

/// Names a conversation, in an address.
fn place_query(tenant: Option<&TenantId>, key: &SessionKey, episode: Option<u64>) -> String {
    let tenant = tenant.map(TenantId::as_str).unwrap_or_default();
    let episode = episode.map(|episode| format!("&episode={episode}")).unwrap_or_default();
    format!("tenant={}&key={}{episode}", query(tenant), query(key.as_str()))
}
