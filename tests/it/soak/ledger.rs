//! Everything that was written, asked of the model and heard, and what was wrong with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use frontdesk::agent::{NOTICE, PATIENCE};
use serde_json::Value;
use tokio::sync::watch;

use super::oracle::{Address, Conversation, Scope, address, conversation, word, words};
use super::place::{Kind, Place};
use super::random::Random;

/// Words in a line of an answer: two lines are the longest piece that Slack takes.
const LINE_WORDS: usize = 110;
/// Wrong things that are kept: the first ones tell the story.
const MAX_WRONG: usize = 20;

#[derive(Debug)]
pub(crate) struct Ledger {
    scope: Scope,
    book: Mutex<Book>,
    /// Messages that were acknowledged so far.
    n_accepted: watch::Sender<usize>,
}

#[derive(Debug)]
struct Book {
    random: Random,
    messages: Vec<Message>,
    conversations: HashMap<Conversation, usize>,
    /// By conversation: what came before this message is archived or gone.
    begins_at: Vec<usize>,
    erased: HashSet<usize>,
    keys: HashMap<usize, (usize, String)>,
    by_key: HashMap<(usize, String), usize>,
    by_id: HashMap<(String, String), usize>,
    n_written: HashMap<String, usize>,
    answers: Vec<Answer>,
    failed: HashSet<usize>,
    deliveries: HashMap<String, String>,
    n_notices: usize,
    n_repeats: usize,
    n_with_history: usize,
    wrong: Vec<String>,
    n_wrong: usize,
}

#[derive(Debug)]
struct Message {
    place: Place,
    conversation: usize,
    /// As the vendor calls it.
    id: String,
    is_accepted: bool,
    answer: Option<usize>,
    /// Whoever asked has gone: the answer is in the transcript only.
    is_unheard: bool,
    is_set_aside: bool,
}

/// One answer of the model.
#[derive(Debug)]
struct Answer {
    /// The messages that it answers.
    batch: Vec<usize>,
    n_lines: usize,
    heard: BTreeSet<usize>,
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
        let book = Book {
            random: Random::new(seed),
            messages: Vec::new(),
            conversations: HashMap::new(),
            begins_at: Vec::new(),
            erased: HashSet::new(),
            keys: HashMap::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            n_written: HashMap::new(),
            answers: Vec::new(),
            failed: HashSet::new(),
            deliveries: HashMap::new(),
            n_notices: 0,
            n_repeats: 0,
            n_with_history: 0,
            wrong: Vec::new(),
            n_wrong: 0,
        };
        Self { scope, book: Mutex::new(book), n_accepted: watch::Sender::new(0) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Notes a message that is going to be written; returns its number.
    pub(crate) fn write(&self, place: Place) -> usize {
        let mut book = self.book();
        let n = book.messages.len();
        let next = book.conversations.len();
        let conversation = *book.conversations.entry(conversation(self.scope, &place)).or_insert(next);
        if conversation == next {
            book.begins_at.push(0);
        }
        // Every entry counts for itself, so that tenants use the same ids; a visitor's page, too.
        let owner = owner(&place);
        let n_of_owner = book.n_written.entry(owner.clone()).or_default();
        let id = std::mem::replace(n_of_owner, *n_of_owner + 1).to_string();
        book.by_id.insert((owner, id.clone()), n);
        let (is_accepted, is_unheard, is_set_aside) = (false, false, false);
        book.messages.push(Message { place, conversation, id, is_accepted, answer: None, is_unheard, is_set_aside });
        n
    }

    /// Where message `n` is written, and its id there.
    pub(crate) fn message(&self, n: usize) -> (Place, String) {
        let book = self.book();
        (book.messages[n].place.clone(), book.messages[n].id.clone())
    }

    /// The gateway says that it has message `n`, and which key its conversation has.
    pub(crate) fn accepted(&self, n: usize, key: Option<&str>) {
        let mut book = self.book();
        let (conversation, tenant) = (book.messages[n].conversation, book.messages[n].place.tenant);
        if let Some(key) = key {
            let own = (tenant, key.to_owned());
            let known = book.keys.entry(conversation).or_insert_with(|| own.clone()).clone();
            let of_key = *book.by_key.entry(own.clone()).or_insert(conversation);
            if known != own || of_key != conversation {
                book.wrong(format!("message {n} got the key {key:.200}, its conversation has {:.200}", known.1));
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
        let last = request["messages"].as_array().and_then(|messages| messages.last());
        let batch = words(last.and_then(|last| last["content"].as_str()).unwrap_or_default());
        let seen = words(body);
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
        let lines: Vec<&[usize]> = seen.chunks(LINE_WORDS).collect();
        let (answer, n_lines) = (book.answers.len(), lines.len());
        let print = |(line, seen): (usize, &&[usize])| {
            let words: Vec<String> = seen.iter().map(|n| word(*n)).collect();
            format!("[a{answer} {line} {n_lines}] {}", words.join(" "))
        };
        let text: Vec<String> = lines.iter().enumerate().map(print).collect();
        book.answers.push(Answer { batch, n_lines, heard: BTreeSet::new() });
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
        let said = book.heard(&at, text);
        if said.iter().copied().map(Some).collect::<Vec<_>>() != answers {
            book.wrong(format!("a reply to {said:?} says that it answers {answers:?}"));
        }
        if body["in_reply_to"] != ids.last().cloned().unwrap_or_else(|| body["in_reply_to"].clone()) {
            book.wrong(format!("in_reply_to is not the last of {answers:?}"));
        }
        if let Some(first) = said.first() {
            let conversation = book.messages[*first].conversation;
            let key = body["session_key"].as_str().unwrap_or_default();
            if book.keys.get(&conversation).is_some_and(|(_, known)| known != key) {
                book.wrong(format!("the reply to {first} names another conversation"));
            }
        }
    }

    /// A text arrives at an address.
    pub(crate) fn heard(&self, at: &Address, text: &str) {
        self.book().heard(at, text);
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
            let of = book.messages.get(n).map(|message| message.place.tenant);
            if of != Some(tenant) || book.erased.contains(&n) {
                book.wrong(format!("{what} of tenant {tenant} has the word of {n}, which is of {of:?}"));
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

    /// How many conversations a tenant has, as far as messages were acknowledged.
    pub(crate) fn n_conversations(&self, tenant: usize) -> usize {
        let book = self.book();
        let of_tenant = book.messages.iter().filter(|message| message.is_accepted && message.place.tenant == tenant);
        of_tenant.map(|message| message.conversation).collect::<HashSet<_>>().len()
    }

    /// Which of these have no whole answer yet.
    pub(crate) fn unanswered(&self) -> Vec<usize> {
        let book = self.book();
        let is_open = |(_, message): &(usize, &Message)| {
            let heard = message.answer.map(|answer| &book.answers[answer]);
            let is_whole = heard.is_some_and(|answer| answer.heard.len() == answer.n_lines);
            message.is_accepted && !(is_whole || message.is_set_aside || message.is_unheard && heard.is_some())
        };
        book.messages.iter().enumerate().filter(is_open).map(|(n, _)| n).collect()
    }

    /// What was wrong, and how much was checked.
    pub(crate) fn close(&self) -> (Vec<String>, String) {
        let book = self.book();
        let count = |is: fn(&Message) -> bool| book.messages.iter().filter(|message| is(message)).count();
        let report = format!(
            "{}: {} messages in {} conversations, {} accepted, {} prompts answered, {} with history, {} replies repeated \
             under their id, {} notices, {} answers set aside as unclear, {} that nobody waited for; {} wrong",
            self.scope.name(),
            book.messages.len(),
            book.conversations.len(),
            count(|message| message.is_accepted),
            book.answers.len(),
            book.n_with_history,
            book.n_repeats,
            book.n_notices,
            count(|message| message.is_set_aside),
            count(|message| message.is_unheard),
            book.n_wrong,
        );
        (book.wrong.clone(), report)
    }
}

/// Whose ids the id of a message at this place is one of.
fn owner(place: &Place) -> String {
    let Place { kind, entry, user, .. } = place;
    if *kind == Kind::Chat { format!("{entry} {user}") } else { entry.clone() }
}

impl Book {
    fn wrong(&mut self, what: String) {
        self.n_wrong += 1;
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push(what);
        }
    }

    /// Do these words belong to the conversation of message `n` as it is now?
    fn check_words(&mut self, what: &str, n: usize, words: &[usize]) {
        let Some(conversation) = self.messages.get(n).map(|message| message.conversation) else {
            return self.wrong(format!("{what} has a word that nobody wrote: {n}"));
        };
        for other in words {
            if self.messages.get(*other).map(|message| message.conversation) != Some(conversation) {
                self.wrong(format!("{what} in the conversation of {n} has the word of {other}"));
            } else if *other < self.begins_at[conversation] {
                self.wrong(format!("{what} in the conversation of {n} has the word of {other} from before"));
            } else if self.erased.contains(other) {
                self.wrong(format!("{what} in the conversation of {n} has the erased word of {other}"));
            }
        }
    }

    /// A text arrives at an address. Returns the messages that it answers.
    fn heard(&mut self, at: &Address, text: &str) -> Vec<usize> {
        if [NOTICE, PATIENCE].contains(&text) {
            self.n_notices += 1;
            return Vec::new();
        }
        let marks = marks(text);
        let Some((answer, _)) = marks.first().copied() else {
            self.wrong(format!("a reply that the model did not make: {text:.80}"));
            return Vec::new();
        };
        let Some(batch) = self.answers.get(answer).map(|answer| answer.batch.clone()) else {
            self.wrong(format!("a reply that the model did not make: a{answer}"));
            return Vec::new();
        };
        self.check_words("a reply", batch[0], &words(text));
        for n in &batch {
            let right = address(&self.messages[*n].place, *n);
            if right != *at {
                self.wrong(format!("the answer to {n} went to {at:.300?} instead of {right:.300?}"));
            }
            let known = *self.messages[*n].answer.get_or_insert(answer);
            if known != answer {
                self.wrong(format!("message {n} was answered twice, by a{known} and a{answer}"));
            }
        }
        for (other, line) in marks {
            if other != answer || !self.answers[answer].heard.insert(line) {
                self.wrong(format!("line {line} of a{other} was heard twice, or in another answer than a{answer}"));
            }
        }
        batch
    }
}

/// Answer and number of every line of an answer in a text.
fn marks(text: &str) -> Vec<(usize, usize)> {
    let mark = |line: &str| {
        let (mark, _) = line.strip_prefix("[a")?.split_once(']')?;
        let mut numbers = mark.split(' ').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    text.lines().filter_map(mark).collect()
}
