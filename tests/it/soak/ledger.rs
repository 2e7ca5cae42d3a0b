//! Everything that was written, asked of the model and heard, and what was wrong with it.

mod book;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use frontdesk::clock::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use book::{Answer, Book, Gone, Life, Message, marks};

use super::oracle::{Address, Scope, address, conversation, word, words};
use super::place::{Kind, Place};

/// Words in a line of an answer.
const LINE_WORDS: usize = 110;
/// A line of a long answer: two are the longest piece that Slack takes.
const LINE_CHARS: usize = 1_500;
#[derive(Debug)]
pub(crate) struct Ledger {
    scope: Scope,
    book: Mutex<Book>,
    /// Messages that were acknowledged so far.
    n_accepted: watch::Sender<usize>,
}

/// Something that ends a conversation, from outside.
#[derive(Debug)]
pub(crate) struct Ending {
    conversation: usize,
    said: Vec<usize>,
    pub(crate) tenant: usize,
    pub(crate) key: String,
}

/// What the model does.
#[derive(Debug)]
pub(crate) enum Told {
    /// This, after so long.
    Says(String, Duration),
    Fails,
}

impl Ledger {
    pub(crate) fn new(scope: Scope, seed: u64) -> Self {
        let book = Book::new(seed);
        Self { scope, book: Mutex::new(book), n_accepted: watch::Sender::new(0) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Notes a message that is going to be written, perhaps as the first of a new conversation; returns its number.
    pub(crate) fn write(&self, place: Place, is_order: bool) -> usize {
        let mut book = self.book();
        let n = book.messages.len();
        let next = book.conversations.len();
        let conversation = *book.conversations.entry(conversation(self.scope, &place)).or_insert(next);
        if conversation == next {
            let (tenant, key, last_active) = (place.tenant, None, Timestamp(0));
            book.lives.push(Life { tenant, key, last_active, n_ends: 0, n_news: 0, is_moot: false });
        }
        book.by_address.insert(address(&place, n), conversation);
        // Every entry counts for itself, so that tenants use the same ids; a visitor's page, too.
        let owner = owner(&place);
        let n_of_owner = book.n_written.entry(owner.clone()).or_default();
        let id = std::mem::replace(n_of_owner, *n_of_owner + 1).to_string();
        book.by_id.insert((owner, id.clone()), n);
        book.messages.push(Message {
            place,
            conversation,
            id,
            is_accepted: false,
            answer: None,
            is_unheard: false,
            is_set_aside: false,
            order: is_order.then(Vec::new),
            gone: None,
            is_erased: false,
            is_dropped: false,
        });
        n
    }

    /// Where message `n` is written, and its id there.
    pub(crate) fn message(&self, n: usize) -> (Place, String) {
        let book = self.book();
        (book.messages[n].place.clone(), book.messages[n].id.clone())
    }

    /// The gateway says that it has message `n`, and which key its conversation has.
    pub(crate) fn accepted(&self, n: usize, key: Option<&str>, now: Timestamp) {
        let mut book = self.book();
        let (conversation, tenant) = (book.messages[n].conversation, book.messages[n].place.tenant);
        let life = &mut book.lives[conversation];
        life.last_active = now;
        if let Some(key) = key {
            let known = life.key.get_or_insert_with(|| key.to_owned()).clone();
            let of_key = *book.by_key.entry((tenant, key.to_owned())).or_insert(conversation);
            if known != key || of_key != conversation {
                book.wrong(format!("message {n} got the key {key:.200}, its conversation has {known:.200}"));
            }
        }
        if !std::mem::replace(&mut book.messages[n].is_accepted, true) {
            self.n_accepted.send_modify(|n_accepted| *n_accepted += 1);
        }
    }

    /// Whoever wrote message `n` will not hear the answer.
    pub(crate) fn unheard(&self, n: usize) {
        self.book().messages[n].is_unheard = true;
    }

    /// Comes back when so many were acknowledged.
    pub(crate) async fn has_accepted(&self, n_accepted: usize) {
        self.n_accepted.subscribe().wait_for(|n| *n >= n_accepted).await.unwrap();
    }

    pub(crate) fn n_accepted(&self) -> usize {
        *self.n_accepted.borrow()
    }

    /// The model is asked: says every word it sees.
    pub(crate) fn asked(&self, body: &str) -> Told {
        let mut book = self.book();
        let request: Value = serde_json::from_str(body).unwrap();
        let messages = request["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user");
        let by_people: Vec<&str> = messages.filter_map(|message| message["content"].as_str()).collect();
        let batch = words(by_people.last().copied().unwrap_or_default());
        // Answers repeat the words of people, so they are as long as the history and not as all before them.
        let (seen, said) = (words(body), words(&by_people.concat()));
        let Some(first) = batch.first().copied() else {
            book.wrong("a prompt that asks nothing".to_owned());
            return Told::Says("?".to_owned(), Duration::ZERO);
        };
        book.check_words("a prompt", first, &seen);
        let at = |n: usize| book.messages.get(n).map(|message| address(&message.place, n));
        if batch.iter().any(|n| at(*n) != at(first)) {
            book.wrong(format!("a turn answers messages of several addresses: {batch:?}"));
        }
        if book.random.one_in(50) && book.failed.insert(first) {
            return Told::Fails;
        }
        book.n_with_history += usize::from(seen.len() > batch.len());
        let mut lines: Vec<&[usize]> = said.chunks(LINE_WORDS).collect();
        if book.random.one_in(20) {
            // Longer than a message of Slack may be.
            lines = lines.iter().copied().cycle().take(4).collect();
        }
        let is_long = lines.len() > 1;
        let (answer, n_lines) = (book.answers.len(), lines.len());
        let print = |(line, said): (usize, &&[usize])| {
            let words: Vec<String> = said.iter().map(|n| word(*n)).collect();
            let width = if is_long { LINE_CHARS } else { 0 };
            format!("{:.<width$}", format!("[a{answer} {line} {n_lines}] {}", words.join(" ")))
        };
        let text: Vec<String> = lines.iter().enumerate().map(print).collect();
        book.answers.push(Answer { batch, seen, n_lines, heard: BTreeSet::new() });
        // Mostly at once; sometimes something else happens first.
        let thinks = if book.random.one_in(20) { Duration::from_millis(100) } else { Duration::ZERO };
        Told::Says(text.join("\n\n"), thinks)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&self, n: usize) -> bool {
        self.book().random.one_in(n)
    }

    /// A webhook's peer gets a reply.
    pub(crate) fn hook_reply(&self, entry: &str, delivery: &str, body: &str) {
        let mut book = self.book();
        match book.deliveries.get(delivery) {
            Some(known) if known == body => return book.n_repeats += 1,
            Some(_) => return book.wrong(format!("{delivery} says two things")),
            None => book.deliveries.insert(delivery.to_owned(), body.to_owned()),
        };
        let body: Value = serde_json::from_str(body).unwrap();
        let id = |name: &str| body[name].as_str().map(str::to_owned);
        let [server, room, thread, user] = ["server_id", "channel_id", "thread_id", "user_id"].map(id);
        let at = Address(vec![Some(entry.to_owned()), server, room, thread, user]);
        let ids = body["answers"].as_array().cloned().unwrap_or_default();
        let answers: Vec<Option<usize>> = ids
            .iter()
            .map(|id| book.by_id.get(&(entry.to_owned(), id.as_str().unwrap_or_default().to_owned())).copied())
            .collect();
        let text = body["text"].as_str().unwrap_or_default();
        let in_reply_to = body["in_reply_to"].as_str().unwrap_or_default().to_owned();
        let in_reply_to = book.by_id.get(&(entry.to_owned(), in_reply_to)).copied();
        let said = book.heard(&at, text, in_reply_to);
        if said.iter().copied().map(Some).collect::<Vec<_>>() != answers {
            book.wrong(format!("a reply to {said:?} says that it answers {answers:?}"));
        }
        if body["in_reply_to"] != ids.last().cloned().unwrap_or_else(|| body["in_reply_to"].clone()) {
            book.wrong(format!("in_reply_to is not the last of {answers:?}"));
        }
        if let Some(first) = said.first() {
            let conversation = book.messages[*first].conversation;
            let key = body["session_key"].as_str().unwrap_or_default();
            if book.lives[conversation].key.as_deref().is_some_and(|known| known != key) {
                book.wrong(format!("the reply to {first} names another conversation"));
            }
        }
    }

    /// A text arrives at an address.
    pub(crate) fn heard(&self, at: &Address, text: &str) {
        self.book().heard(at, text, None);
    }

    /// A page shows a visitor what they wrote.
    pub(crate) fn shown(&self, place: &Place, text: &str) {
        let mut book = self.book();
        for n in words(text) {
            if book.messages.get(n).is_none_or(|message| message.place != *place) {
                book.wrong(format!("the page of {} shows what somebody else wrote: {n}", place.user));
            }
        }
    }

    /// Some of an answer is on its way to this address.
    pub(crate) fn seen(&self, what: &str, place: &Place, text: &str) {
        let mut book = self.book();
        let own = conversation(self.scope, place);
        let own = book.conversations.get(&own).copied();
        for n in words(text) {
            if book.messages.get(n).map(|message| message.conversation) != own {
                book.wrong(format!("{what} of {} has the word of {n}", place.user));
            }
        }
    }

    pub(crate) fn wrong(&self, what: String) {
        self.book().wrong(what);
    }

    /// An admin view of one tenant; returns nothing, notes what does not belong there.
    pub(crate) fn viewed(&self, what: &str, tenant: usize, text: &str) {
        let mut book = self.book();
        for n in words(text) {
            let of = book.messages.get(n).map(|message| (message.place.tenant, message.is_erased));
            if of != Some((tenant, false)) {
                book.wrong(format!(
                    "{what} of tenant {tenant} has the word of {n}, which is of (tenant, erased) {of:?}"
                ));
            }
        }
    }

    /// What the store shows of one conversation: `lines` of the agent, and replies that were set aside.
    pub(crate) fn kept(&self, lines: &[String], set_aside: &[String]) {
        let mut book = self.book();
        let all: Vec<usize> = lines.iter().chain(set_aside).flat_map(|text| words(text)).collect();
        if let Some(first) = all.first() {
            let own = book.messages.get(*first).map(|message| message.conversation);
            if all.iter().any(|n| book.messages.get(*n).map(|message| message.conversation) != own) {
                book.wrong(format!("the conversation of {first} holds the words of others"));
            }
        }
        for (answer, _) in lines.iter().flat_map(|text| marks(text)) {
            for n in book.answers.get(answer).map(|answer| answer.batch.clone()).unwrap_or_default() {
                if book.messages[n].is_unheard {
                    book.messages[n].answer = Some(answer);
                }
            }
        }
        for (answer, line) in set_aside.iter().flat_map(|text| marks(text)) {
            let Some(answer) = book.answers.get_mut(answer) else { continue };
            answer.heard.insert(line);
            for n in answer.batch.clone() {
                book.messages[n].is_set_aside = true;
            }
        }
    }

    /// How many live conversations a tenant has: at least and at most.
    pub(crate) fn n_live(&self, tenant: usize) -> (usize, usize) {
        let book = self.book();
        let of_tenant = book.messages.iter().filter(|message| message.is_accepted && message.place.tenant == tenant);
        let (mut live, mut moot) = (HashSet::new(), HashSet::new());
        for message in of_tenant {
            if book.lives[message.conversation].is_moot {
                moot.insert(message.conversation);
            } else if message.gone.is_none() {
                live.insert(message.conversation);
            }
        }
        (live.len(), live.len() + moot.len())
    }

    /// Some conversation whose key is known and that all write to through webhooks; then nothing of it comes twice.
    pub(crate) fn any(&self, is_live: bool) -> Option<Ending> {
        let mut book = self.book();
        let fits =
            |(n, life): &(usize, &Life)| life.key.is_some() && (is_live || life.n_ends > 0) && book.is_of_hooks(*n);
        let known: Vec<usize> = book.lives.iter().enumerate().filter(fits).map(|(n, _)| n).collect();
        if known.is_empty() {
            return None;
        }
        let conversation = known[book.random.below(known.len())];
        Some(book.ending(conversation))
    }

    /// The operator has archived it. Prompts from now on hold nothing of what was answered before.
    pub(crate) fn archived(&self, ending: &Ending) {
        self.book().end(ending.conversation, &ending.said);
    }

    /// Its last episode is part of it again.
    pub(crate) fn restored(&self, ending: &Ending, now: Timestamp) {
        let mut book = self.book();
        book.lives[ending.conversation].last_active = now;
        let last = book.lives[ending.conversation].n_ends;
        book.lives[ending.conversation].is_moot = true;
        let back = book.messages.iter_mut().filter(|message| message.conversation == ending.conversation);
        for message in back.filter(|message| message.gone.is_some_and(|gone| gone.end == last) && !message.is_erased) {
            message.gone = None;
        }
        book.lives[ending.conversation].n_ends = last.saturating_sub(1);
    }

    /// Everything under its key is gone, and what was said may not be found anywhere.
    pub(crate) fn erased(&self, ending: &Ending) {
        let mut book = self.book();
        let (conversation, since) = (ending.conversation, book.answers.len());
        let end = book.lives[conversation].n_ends + 1;
        for message in book.messages.iter_mut().filter(|message| message.conversation == conversation) {
            message.is_dropped = true;
        }
        for n in &ending.said {
            book.messages[*n].gone = Some(Gone { end, since });
            book.messages[*n].is_erased = true;
        }
        (book.lives[conversation].n_ends, book.lives[conversation].is_moot) = (0, true);
    }

    /// What message `n` says. An order puts away what is said when it is sent for the first time.
    pub(crate) fn text(&self, n: usize, is_first: bool) -> String {
        let mut book = self.book();
        if book.messages[n].order.is_none() {
            return format!("my word is {}", word(n));
        }
        if is_first {
            let conversation = book.messages[n].conversation;
            book.messages[n].order = Some(book.ending(conversation).said);
        }
        if is_bare(n) { "/new".to_owned() } else { format!("/new my word is {}", word(n)) }
    }

    /// The gateway begins to run at `now`, when everything is answered: what nobody wrote to for so long is over.
    pub(crate) fn expire(&self, now: Timestamp, ttl_ms: u64) -> usize {
        let mut book = self.book();
        let mut n_expired = 0;
        for conversation in 0..book.lives.len() {
            let is_over = now.since_ms(book.lives[conversation].last_active) > ttl_ms;
            if !is_over {
                continue;
            }
            book.lives[conversation].n_news += 1;
            let said = book.ending(conversation).said;
            if !said.is_empty() {
                n_expired += 1;
                book.end(conversation, &said);
                book.lives[conversation].is_moot = false;
            }
        }
        n_expired
    }

    /// Messages whose words must not be found anywhere, and a few that must.
    pub(crate) fn erased_and_kept(&self) -> (HashSet<usize>, usize) {
        let book = self.book();
        let erased = book.messages.iter().enumerate().filter(|(_, message)| message.is_erased);
        let erased: HashSet<usize> = erased.map(|(n, _)| n).collect();
        let n_kept = book.messages.iter().enumerate().filter(|(n, message)| {
            let has_words = message.order.is_none() || !is_bare(*n);
            message.answer.is_some() && !message.is_dropped && has_words
        });
        (erased, n_kept.count())
    }

    /// Which of these have no whole answer yet.
    pub(crate) fn unanswered(&self) -> Vec<usize> {
        let book = self.book();
        let is_open = |(_, message): &(usize, &Message)| {
            let heard = message.answer.map(|answer| &book.answers[answer]);
            let is_whole = heard.is_some_and(|answer| answer.heard.len() == answer.n_lines);
            let is_enough = is_whole || message.is_set_aside || message.is_unheard && heard.is_some();
            message.is_accepted && !is_enough && !message.is_dropped
        };
        book.messages.iter().enumerate().filter(is_open).map(|(n, _)| n).collect()
    }

    /// What was wrong, and how much was checked.
    pub(crate) fn close(&self) -> (Vec<String>, String) {
        let book = self.book();
        let count = |is: fn(&Message) -> bool| book.messages.iter().filter(|message| is(message)).count();
        let report = format!(
            "{}: {} messages in {} conversations, {} accepted, {} prompts answered, {} with history, {} replies repeated \
             under their id, {} notices, {} told that a conversation is new, {} orders obeyed, {} messages erased, {} answers \
             set aside as unclear, {} that nobody waited for; {} wrong",
            self.scope.name(),
            book.messages.len(),
            book.conversations.len(),
            count(|message| message.is_accepted),
            book.answers.len(),
            book.n_with_history,
            book.n_repeats,
            book.n_notices,
            book.n_news,
            book.n_orders,
            count(|message| message.is_erased),
            count(|message| message.is_set_aside),
            count(|message| message.is_unheard),
            book.n_wrong,
        );
        (book.wrong.clone(), report)
    }
}

/// Is the order of message `n` all that it says?
pub(super) fn is_bare(n: usize) -> bool {
    n.is_multiple_of(2)
}

/// Whose ids the id of a message at this place is one of.
fn owner(place: &Place) -> String {
    let Place { kind, entry, user, .. } = place;
    if *kind == Kind::Chat { format!("{entry} {user}") } else { entry.clone() }
}
