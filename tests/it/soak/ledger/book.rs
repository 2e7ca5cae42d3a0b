//! What the ledger keeps, and the checks of what arrives.

use std::collections::{BTreeSet, HashMap, HashSet};

use frontdesk::agent::{BEGUN, NEWS, NOTICE, PATIENCE};
use frontdesk::clock::Timestamp;

use super::{Ending, is_bare};
use crate::soak::oracle::{Address, Conversation, address, words};
use crate::soak::place::{Kind, Place};
use crate::soak::random::Random;

/// Wrong things that are kept: the first ones tell the story.
const MAX_WRONG: usize = 20;

#[derive(Debug)]
pub(super) struct Book {
    pub(super) random: Random,
    pub(super) messages: Vec<Message>,
    pub(super) conversations: HashMap<Conversation, usize>,
    /// The same by number, with what became of them.
    pub(super) lives: Vec<Life>,
    pub(super) by_address: HashMap<Address, usize>,
    pub(super) by_key: HashMap<(usize, String), usize>,
    pub(super) by_id: HashMap<(String, String), usize>,
    pub(super) n_written: HashMap<String, usize>,
    pub(super) answers: Vec<Answer>,
    pub(super) failed: HashSet<usize>,
    pub(super) deliveries: HashMap<String, String>,
    pub(super) n_notices: usize,
    pub(super) n_news: usize,
    pub(super) n_orders: usize,
    pub(super) n_repeats: usize,
    pub(super) n_with_history: usize,
    pub(super) wrong: Vec<String>,
    pub(super) n_wrong: usize,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) place: Place,
    pub(super) conversation: usize,
    /// As the vendor calls it.
    pub(super) id: String,
    pub(super) is_accepted: bool,
    pub(super) answer: Option<usize>,
    /// Whoever asked has gone: the answer is in the transcript only.
    pub(super) is_unheard: bool,
    pub(super) is_set_aside: bool,
    /// It is an order, and those whose words it puts away when it is obeyed.
    pub(super) order: Option<Vec<usize>>,
    /// Out of the conversation: archived or erased.
    pub(super) gone: Option<Gone>,
    /// Nothing of it may be left anywhere.
    pub(super) is_erased: bool,
    /// It may have been erased before it was answered.
    pub(super) is_dropped: bool,
}

/// What became of a conversation.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) tenant: usize,
    pub(super) key: Option<String>,
    /// By the gateway's clock.
    pub(super) last_active: Timestamp,
    /// How often something of it went.
    pub(super) n_ends: usize,
    /// How often it expired without that its peer was told.
    pub(super) n_news: usize,
    /// It ended while people wrote: nobody can say from outside whether one is live.
    pub(super) is_moot: bool,
}

/// Since when a message is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    /// Which end of the conversation took it.
    pub(super) end: usize,
    /// Answers to prompts from this number on do not know it.
    pub(super) since: usize,
}

/// One answer of the model.
#[derive(Debug)]
pub(super) struct Answer {
    /// The messages that it answers.
    pub(super) batch: Vec<usize>,
    /// Every word in the prompt.
    pub(super) seen: Vec<usize>,
    pub(super) n_lines: usize,
    pub(super) heard: BTreeSet<usize>,
}

impl Book {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            messages: Vec::new(),
            conversations: HashMap::new(),
            lives: Vec::new(),
            by_address: HashMap::new(),
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            n_written: HashMap::new(),
            answers: Vec::new(),
            failed: HashSet::new(),
            deliveries: HashMap::new(),
            n_notices: 0,
            n_news: 0,
            n_orders: 0,
            n_repeats: 0,
            n_with_history: 0,
            wrong: Vec::new(),
            n_wrong: 0,
        }
    }

    pub(super) fn wrong(&mut self, what: String) {
        self.n_wrong += 1;
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push(what);
        }
    }

    /// Do these words belong to the conversation of message `n` as it is now?
    pub(super) fn check_words(&mut self, what: &str, n: usize, words: &[usize]) {
        let Some(conversation) = self.messages.get(n).map(|message| message.conversation) else {
            return self.wrong(format!("{what} has a word that nobody wrote: {n}"));
        };
        for other in words {
            if self.messages.get(*other).map(|message| message.conversation) != Some(conversation) {
                self.wrong(format!("{what} in the conversation of {n} has the word of {other}"));
            }
        }
    }

    /// Do all write to it through webhooks? They send nothing again that was accepted.
    pub(super) fn is_of_hooks(&self, conversation: usize) -> bool {
        let of_it = self.messages.iter().filter(|message| message.conversation == conversation);
        of_it
            .map(|message| message.place.kind)
            .all(|kind| matches!(kind, Kind::HookDirect | Kind::HookGroup | Kind::HookThread))
    }

    /// What would end with a conversation now: all that has its whole answer.
    pub(super) fn ending(&self, conversation: usize) -> Ending {
        let is_said = |(_, message): &(usize, &Message)| {
            let heard = message.answer.map(|answer| &self.answers[answer]);
            let is_whole = heard.is_some_and(|answer| answer.heard.len() == answer.n_lines);
            message.conversation == conversation
                && message.gone.is_none()
                && (is_whole || message.is_set_aside || message.is_unheard)
        };
        let said = self.messages.iter().enumerate().filter(is_said).map(|(n, _)| n).collect();
        let Life { tenant, key, .. } = &self.lives[conversation];
        Ending { conversation, said, tenant: *tenant, key: key.clone().unwrap_or_default() }
    }

    pub(super) fn end(&mut self, conversation: usize, said: &[usize]) {
        let since = self.answers.len();
        let life = &mut self.lives[conversation];
        life.n_ends += 1;
        life.is_moot = true;
        for n in said {
            self.messages[*n].gone.get_or_insert(Gone { end: life.n_ends, since });
        }
    }

    /// A peer is told that its order was obeyed.
    pub(super) fn begun(&mut self, at: &Address, order: Option<usize>) -> Vec<usize> {
        let order = order.filter(|n| address(&self.messages[*n].place, *n) == *at && self.messages[*n].order.is_some());
        let Some(n) = order else {
            self.wrong(format!("{at:.300?} is told of an order that nobody gave there"));
            return Vec::new();
        };
        self.n_orders += 1;
        let said = self.messages[n].order.replace(Vec::new()).unwrap_or_default();
        self.end(self.messages[n].conversation, &said);
        if !is_bare(n) {
            return Vec::new();
        }
        let none = Answer { batch: vec![n], seen: Vec::new(), n_lines: 0, heard: BTreeSet::new() };
        self.answers.push(none);
        if self.messages[n].answer.replace(self.answers.len() - 1).is_some() {
            self.wrong(format!("the order {n} was answered twice"));
        }
        vec![n]
    }

    /// A text arrives at an address. Returns the messages that it answers.
    pub(super) fn heard(&mut self, at: &Address, text: &str, in_reply_to: Option<usize>) -> Vec<usize> {
        if [NOTICE, PATIENCE].contains(&text) {
            self.n_notices += 1;
            return Vec::new();
        }
        if text == NEWS {
            // What a webhook's peer writes alone and in a group may have one address.
            let conversation = in_reply_to.map(|n| self.messages[n].conversation);
            let conversation = conversation.or_else(|| self.by_address.get(at).copied());
            match conversation.map(|conversation| &mut self.lives[conversation]) {
                Some(life) if life.n_news > 0 => life.n_news -= 1,
                _ => self.wrong(format!("{at:.300?} was told of a new conversation without need")),
            }
            self.n_news += 1;
            return Vec::new();
        }
        if text == BEGUN {
            return self.begun(at, in_reply_to);
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
        // An answer that was sent was committed, so its prompt was of the conversation as it was then.
        for n in self.answers[answer].seen.clone() {
            if let Some(gone) =
                self.messages.get(n).and_then(|message| message.gone).filter(|gone| gone.since <= answer)
            {
                self.wrong(format!("the prompt of a{answer} has the word of {n}, which is over: {gone:?}"));
            }
        }
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
pub(super) fn marks(text: &str) -> Vec<(usize, usize)> {
    let mark = |line: &str| {
        let (mark, _) = line.strip_prefix("[a")?.split_once(']')?;
        let mut numbers = mark.split(' ').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    text.lines().filter_map(mark).collect()
}
