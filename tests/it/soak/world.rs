//! The gateway under test, and what happens to it while people write.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use frontdesk::clock::{ManualClock, Timestamp};
use frontdesk::store::{Filter, ParkedItem, Store};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::config::{Variant, config};
use super::ledger::Ledger;
use super::oracle::{Scope, word, words};
use super::place::{Kind, N_PEERS, Place, TENANTS, ids, place};
use super::random::Random;
use super::senders::Street;
use super::vendors;
use crate::peers::TestGateway;

/// People who write at the same time.
const N_WRITERS: usize = 24;
/// Until something must have happened that only has to be looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an entry may be gone.
const MOMENT: Duration = Duration::from_secs(3);
/// Longer than everything takes that is written at once.
const GUARD: Duration = Duration::from_secs(300);
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Days after which a conversation is over, as the configuration says.
const TTL_MS: u64 = 30 * DAY_MS;
/// When it all begins.
const START: Timestamp = Timestamp(1_800_000_000_000);
/// What the operator does, as the path calls it.
const ORDERS: [&str; 3] = ["archive", "restore", "erase"];

pub(crate) struct World {
    scope: Scope,
    random: Random,
    ids: Vec<String>,
    ledger: Arc<Ledger>,
    street: Arc<Street>,
    clock: Arc<ManualClock>,
    vendors: String,
    gateway: TestGateway,
    n_written: usize,
    n_cuts: usize,
    n_reloads: usize,
    /// How often the operator archived, restored and erased a conversation.
    n_orders: [usize; 3],
    n_expired: usize,
    days: u64,
}

impl World {
    pub(crate) async fn start(scope: Scope, seed: u64) -> Self {
        let ledger = Arc::new(Ledger::new(scope, seed));
        let clock = Arc::new(ManualClock::at(START));
        let vendors = vendors::start(ledger.clone()).await;
        let street = Street::new(ledger.clone(), clock.clone());
        let gateway = TestGateway::start_at(&config(scope, &vendors, Variant::default()), clock.clone()).await;
        street.door.send_replace(Some(gateway.url("")));
        let (random, ids) = (Random::new(seed), ids());
        Self {
            scope,
            random,
            ids,
            ledger,
            street,
            clock,
            vendors,
            gateway,
            n_written: 0,
            n_cuts: 0,
            n_reloads: 0,
            n_orders: [0; 3],
            n_expired: 0,
            days: 0,
        }
    }

    pub(crate) fn n_written(&self) -> usize {
        self.n_written
    }

    /// Everybody writes on every channel of every tenant.
    pub(crate) async fn everybody_writes(&mut self) {
        let mut places = Vec::new();
        for tenant in 0..TENANTS.len() {
            for kind in Kind::ALL {
                places.extend((0..N_PEERS).map(|peer| place(&self.ids, tenant, kind, peer, 0)));
            }
        }
        self.random.shuffle(&mut places);
        self.round(places, 6).await;
    }

    /// So many messages of anybody, from any of their places.
    pub(crate) async fn some_write(&mut self, n_messages: usize) {
        let random = &mut self.random;
        let places = (0..n_messages).map(|_| {
            let kind = Kind::ALL[random.below(Kind::ALL.len())];
            place(&self.ids, random.below(TENANTS.len()), kind, random.below(N_PEERS), random.below(2))
        });
        let places = places.collect();
        self.round(places, 3).await;
    }

    /// Messages, and between them what disturbs. Comes back when everything is answered.
    async fn round(&mut self, places: Vec<Place>, n_disturbances: usize) {
        let n_before = self.ledger.n_accepted();
        let numbers = places.into_iter().map(|place| {
            let may_order = matches!(place.kind, Kind::HookDirect | Kind::HookGroup | Kind::HookThread);
            self.ledger.write(place, may_order && self.n_written > 0 && self.random.one_in(20))
        });
        let numbers: VecDeque<usize> = numbers.collect();
        let n_messages = numbers.len();
        self.n_written += n_messages;
        let mut disturbances: Vec<usize> = (0..n_disturbances).map(|_| self.random.below(n_messages)).collect();
        disturbances.sort_unstable();
        let numbers = Arc::new(Mutex::new(numbers));
        let mut writers = JoinSet::new();
        for _writer in 0..N_WRITERS {
            let (numbers, street) = (numbers.clone(), self.street.clone());
            writers.spawn(async move {
                loop {
                    let next = numbers.lock().unwrap().pop_front();
                    let Some(n) = next else { return };
                    street.send(n).await;
                    street.clock.advance_ms(30);
                }
            });
        }
        for n in disturbances {
            self.until(n_before + n).await;
            self.disturb().await;
        }
        self.reload(Variant::default()).await;
        assert!(timeout(GUARD, writers.join_all()).await.is_ok(), "the writers do not come to an end");
        self.until(n_before + n_messages).await;
        self.settle().await;
    }

    async fn until(&self, n_accepted: usize) {
        let accepted = timeout(GUARD, self.ledger.has_accepted(n_accepted)).await;
        assert!(
            accepted.is_ok(),
            "{} of {n_accepted} messages were accepted: {:?}",
            self.ledger.n_accepted(),
            self.ledger.close()
        );
    }

    async fn disturb(&mut self) {
        match self.random.below(6) {
            n @ 0..3 => self.order(n).await,
            3 => self.cut_the_power().await,
            4 => {
                let variant = Variant::any(&mut self.random);
                self.reload(variant).await;
                if variant.is_without_hook() {
                    // Not for long: in the end everybody would wait for that entry.
                    let some = self.ledger.n_accepted() + 20;
                    let _ = timeout(MOMENT, self.ledger.has_accepted(some)).await;
                    self.reload(Variant::default()).await;
                }
            }
            _ => {
                // Somebody sets the clock.
                let now = self.gateway.now();
                let (back, ms) = (self.random.one_in(2), HOUR_MS * u64::try_from(self.random.below(3)).unwrap());
                self.clock.set(if back { Timestamp(now.0 - ms) } else { now.plus_ms(ms) });
            }
        }
    }

    /// The operator archives, restores or erases a conversation.
    async fn order(&mut self, order: usize) {
        let Some(ending) = self.ledger.any(ORDERS[order] != "restore") else { return };
        let (name, key) = (encode(TENANTS[ending.tenant]), encode(&ending.key));
        let path = format!("/api/v1/sessions/{}?tenant={name}&key={key}", ORDERS[order]);
        let (status, body) = self.gateway.admin(Method::POST, &path).await;
        match (status, ORDERS[order]) {
            (StatusCode::OK, "archive") => self.ledger.archived(&ending),
            (StatusCode::OK, "restore") => self.ledger.restored(&ending, self.gateway.now()),
            (StatusCode::OK, _) => self.ledger.erased(&ending),
            // Nothing was said there, or nothing is archived.
            (StatusCode::NOT_FOUND, _) => return,
            _ => self.ledger.wrong(format!("{path:.300} was answered with {status}: {body}")),
        }
        self.n_orders[order] += 1;
    }

    async fn cut_the_power(&mut self) {
        self.n_cuts += 1;
        self.street.door.send_replace(None);
        self.gateway.power_off().await;
        self.gateway.power_on().await;
        self.street.door.send_replace(Some(self.gateway.url("")));
    }

    /// Days without power: what nobody wrote to for long is over.
    pub(crate) async fn days_pass(&mut self, days: u64) {
        self.street.door.send_replace(None);
        self.gateway.power_off().await;
        self.days += days;
        self.clock.set(START.plus_ms(self.days * DAY_MS));
        self.n_expired += self.ledger.expire(self.gateway.now(), TTL_MS);
        self.gateway.power_on().await;
        self.street.door.send_replace(Some(self.gateway.url("")));
    }

    async fn reload(&mut self, variant: Variant) {
        self.n_reloads += 1;
        self.gateway.configure(&config(self.scope, &self.vendors, variant));
        self.gateway.reload().await.unwrap();
    }

    /// Waits until everything is answered, and looks at what the operator sees.
    async fn settle(&mut self) {
        let settled = async {
            loop {
                let (_, status) = self.gateway.admin(Method::GET, "/api/v1/status").await;
                if status["queue"]["waiting"] == 0 && status["queue"]["undelivered"] == 0 {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        if timeout(GUARD, settled).await.is_err() {
            let (_, status) = self.gateway.admin(Method::GET, "/api/v1/status").await;
            self.ledger.wrong(format!("something still waits: {status}"));
        }
        self.look().await;
        let answered = async {
            while !self.ledger.unanswered().is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        if timeout(GUARD / 10, answered).await.is_err() {
            let unanswered = self.ledger.unanswered();
            let first = self.ledger.message(unanswered[0]);
            let (tenant, words) = (encode(TENANTS[first.0.tenant]), word(unanswered[0]));
            let search = format!("/api/v1/sessions/search?tenant={tenant}&words={words}");
            let (_, said) = self.gateway.admin(Method::GET, &search).await;
            let (_, aside) =
                self.gateway.admin(Method::GET, &format!("/api/v1/deliveries?tenant={tenant}&text=true")).await;
            self.ledger.wrong(format!(
                "{} messages have no answer, {} at {first:.500?}; said: {said:.1500}; set aside: {aside:.3000}",
                unanswered.len(),
                unanswered[0]
            ));
        }
    }

    /// The admin views of every tenant.
    async fn look(&self) {
        for (tenant, name) in TENANTS.iter().enumerate() {
            let name = encode(name);
            let (at_least, at_most) = self.ledger.n_live(tenant);
            let mut keys = self.list(tenant, &name).await;
            // What is over is archived by and by after a start.
            let swept = async {
                while keys.len() > at_most {
                    tokio::time::sleep(PAUSE).await;
                    keys = self.list(tenant, &name).await;
                }
            };
            let is_swept = timeout(GUARD / 10, swept).await.is_ok();
            if !is_swept || keys.len() < at_least {
                let n_keys = keys.len();
                self.ledger.wrong(format!("tenant {tenant} has {n_keys} conversations, not {at_least} to {at_most}"));
            }
            for key in keys {
                let path = format!("/api/v1/sessions/show?tenant={name}&key={}", encode(&key));
                let shown = self.view("show", tenant, &path).await;
                let texts = |list: &str, is: fn(&Value) -> bool| -> Vec<String> {
                    let items = shown[list].as_array().into_iter().flatten().filter(|item| is(item));
                    items.map(|item| item["text"].as_str().unwrap_or_default().to_owned()).collect()
                };
                let is_unclear = |item: &Value| {
                    let reason = item["reason"].as_str().unwrap_or_default();
                    item["what"] == "reply" && reason.contains("may have been sent")
                };
                self.ledger.kept(&texts("lines", |_| true), &texts("parked", is_unclear));
            }
        }
    }

    /// All keys of a tenant, page by page.
    async fn list(&self, tenant: usize, name: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.view("list", tenant, &format!("/api/v1/sessions?tenant={name}&limit=200{after}")).await;
            let rows = page["sessions"].as_array().cloned().unwrap_or_default();
            if rows.iter().any(|row| row["tenant"] != TENANTS[tenant]) {
                self.ledger.wrong(format!("a list of tenant {tenant} has a row of another"));
            }
            keys.extend(rows.iter().map(|row| row["key"].as_str().unwrap_or_default().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", encode(next)),
                None => return keys,
            }
        }
    }

    async fn view(&self, what: &str, tenant: usize, path: &str) -> Value {
        let (status, body) = self.gateway.admin(Method::GET, path).await;
        if status != StatusCode::OK {
            self.ledger.wrong(format!("{what} of tenant {tenant} was answered with {status}"));
        }
        self.ledger.viewed(what, tenant, &body.to_string());
        body
    }

    /// Everything that can be found, exported and searched of each tenant, and what words each must not find.
    async fn look_everywhere(&self) {
        let (erased, _) = self.ledger.erased_and_kept();
        let erased: Vec<usize> = erased.into_iter().take(20).collect();
        for (tenant, name) in TENANTS.iter().enumerate() {
            let name = encode(name);
            for user in self.ids.iter().step_by(7) {
                for channel in ["webhook", "slack", "api"] {
                    let user = encode(user);
                    let path = format!("/api/v1/sessions/find?tenant={name}&channel={channel}&user={user}");
                    self.view("find", tenant, &path).await;
                }
            }
            for n in erased.iter().copied().chain((0..self.n_written).step_by(self.n_written / 20)) {
                let path = format!("/api/v1/sessions/search?tenant={name}&words={}", word(n));
                self.view("search", tenant, &path).await;
            }
            for (n, key) in self.list(tenant, &name).await.into_iter().enumerate().step_by(5) {
                let format = ["jsonl", "md", "html"][n % 3];
                let path =
                    format!("/api/v1/sessions/export?tenant={name}&key={}&all=true&format={format}", encode(&key));
                let text = self.gateway.admin_text(&path).await;
                self.ledger.viewed("export", tenant, &text);
            }
        }
    }

    /// What was wrong, and a line about the run.
    pub(crate) async fn close(mut self) -> (Vec<String>, String) {
        self.look_everywhere().await;
        self.street.close_pages();
        self.street.door.send_replace(None);
        self.gateway.power_off().await;
        let path = self.gateway.home().join("frontdesk.redb");
        let in_clear = words(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        if !in_clear.is_empty() {
            self.ledger.wrong(format!("the store's file holds {} words that are not sealed", in_clear.len()));
        }
        let found = kept_words(&Store::open(&path, 1024 * 1024, &self.gateway.wrapping_key()).unwrap());
        let (erased, n_kept) = self.ledger.erased_and_kept();
        let left: Vec<&usize> = erased.intersection(&found).collect();
        if !left.is_empty() {
            self.ledger.wrong(format!("the store holds {} of {} erased words: {left:.200?}", left.len(), erased.len()));
        }
        if found.len() < n_kept {
            self.ledger.wrong(format!("the store holds {} words and should hold {n_kept}", found.len()));
        }
        let (wrong, report) = self.ledger.close();
        let [n_archived, n_restored, n_erased] = self.n_orders;
        let report = format!(
            "{report}; {} power cuts, {} reloads, {} conversations expired, {n_archived} archived, {n_restored} restored, \
             {n_erased} erased",
            self.n_cuts, self.n_reloads, self.n_expired
        );
        (wrong, report)
    }
}

/// Those of all lines, live and archived, and of messages that were set aside.
fn kept_words(store: &Store) -> HashSet<usize> {
    let mut found = HashSet::new();
    for tenant in store.tenants().unwrap() {
        let conversations = store.tenant(tenant.as_ref());
        let all = Filter { limit: usize::MAX, ..Filter::default() };
        let live = conversations.sessions(&all).unwrap();
        let live = live.iter().flat_map(|row| conversations.session(&row.key).lines_after(0, usize::MAX).unwrap());
        let archived = conversations.archived(&all).unwrap();
        let archived = archived.iter().flat_map(|row| {
            let episode = conversations.session(&row.session.key).episode(row.session.episode).unwrap().unwrap();
            episode.lines_after(0, usize::MAX).unwrap()
        });
        found.extend(live.chain(archived).flat_map(|line| words(&line.text)));
        let keys = conversations.sessions(&all).unwrap().into_iter().map(|row| row.key);
        let keys = keys.chain(conversations.archived(&all).unwrap().into_iter().map(|row| row.session.key));
        for item in keys.flat_map(|key| conversations.session(&key).parked(usize::MAX).unwrap()) {
            if let ParkedItem::Message(inbound) = item.what {
                found.extend(words(&inbound.text));
            }
        }
    }
    found
}

/// For a query.
fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
