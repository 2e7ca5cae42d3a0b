//! What was told, what is to be told, and when it is tried again. Pure: the time comes along.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// What is gone by itself within this time is not worth a message.
const SETTLE_MS: u64 = 25_000;
/// What comes back within this time was not over.
const CALM_MS: u64 = 5 * 60_000;
/// Wait before the second attempt; it doubles every time.
const FIRST_WAIT_MS: u64 = 60_000;
/// Longest wait between two attempts.
const LONGEST_WAIT_MS: u64 = 60 * 60_000;
/// Older news is not sent any more.
const MAX_AGE_MS: u64 = 24 * 60 * 60_000;
/// Milliseconds of a day, in UTC.
const DAY_MS: u64 = 24 * 60 * 60_000;
/// Troubles that are kept in mind at most. More is one trouble that is worded anew each time.
const MAX_TROUBLES: usize = 100;

/// Something that is wrong, in the words of whoever found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The same for the same kind of thing.
    pub id: String,
    /// What is so.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// The same for an owner, in their language, where there are words for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// A trouble in an owner's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What is so.
    pub title: String,
    /// What to do.
    pub lead: String,
}

impl Trouble {
    /// The same as long as it is the same trouble: "failed 3 minutes ago" is, a minute later.
    fn key(&self) -> String {
        let mut key = format!("{} ", self.id);
        for c in self.what.chars() {
            match c.is_ascii_digit() {
                false => key.push(c),
                true if key.ends_with('#') => {}
                true => key.push('#'),
            }
        }
        key
    }
}

/// By which way somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// By e-mail.
    Email,
    /// By a signed POST.
    Webhook,
}

/// News.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Names it, also when it is tried again.
    pub id: String,
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// What is wrong now.
    pub new: Vec<Trouble>,
    /// What was told before, and is over.
    pub over: Vec<Trouble>,
    /// Nothing more is told on this day.
    pub is_last: bool,
}

/// News on one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// By which way.
    pub target: Target,
    /// What.
    pub message: Message,
    n_tries: u32,
    next_ms: u64,
}

/// The last attempt that did not go through, until one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at_ms: u64,
    /// Why, for the operator.
    pub reason: String,
    /// It is not tried again.
    pub is_given_up: bool,
}

/// All that is kept in mind between two looks, and over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    troubles: BTreeMap<String, Known>,
    /// Days since 1970, in UTC.
    day: u64,
    n_today: u32,
    letters: Vec<Letter>,
    failed: BTreeMap<Target, Failed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    trouble: Trouble,
    /// When it was seen: not kept, as it changes with every look.
    #[serde(skip)]
    first_ms: u64,
    #[serde(skip)]
    last_ms: u64,
    is_told: bool,
}

impl Book {
    /// Takes in what is wrong now. What is to be told is written to every one of `targets`, at most `per_day` messages a
    /// day; what is over the limit is told on the next day, if it is still so.
    pub fn look(&mut self, troubles: &[Trouble], targets: &[Target], per_day: u32, now: Timestamp) {
        self.letters.retain(|letter| targets.contains(&letter.target));
        self.failed.retain(|target, _| targets.contains(target));
        for known in self.troubles.values_mut() {
            // Somebody set the clock back.
            known.first_ms = known.first_ms.min(now.0);
            known.last_ms = known.last_ms.min(now.0);
            // After a restart: what was told is not over before somebody has looked.
            if known.last_ms == 0 {
                (known.first_ms, known.last_ms) = (now.0, now.0);
            }
        }
        let n_known = self.troubles.len();
        for trouble in troubles {
            let key = trouble.key();
            match self.troubles.get_mut(&key) {
                Some(known) => {
                    known.last_ms = now.0;
                    known.trouble = trouble.clone();
                }
                None if n_known < MAX_TROUBLES => {
                    let (first_ms, last_ms) = (now.0, now.0);
                    self.troubles.insert(key, Known { trouble: trouble.clone(), first_ms, last_ms, is_told: false });
                }
                None => {}
            }
        }
        self.troubles.retain(|_, known| known.is_told || known.last_ms == now.0);
        let today = now.0 / DAY_MS;
        // A clock that goes back over midnight, as clocks do when they are set, begins no new day.
        if today > self.day || today + 1 < self.day {
            (self.day, self.n_today) = (today, 0);
        }
        if !targets.is_empty() && self.n_today < per_day {
            self.tell(targets, per_day, now);
        }
    }

    fn tell(&mut self, targets: &[Target], per_day: u32, now: Timestamp) {
        let is_new = |known: &Known| !known.is_told && now.0 - known.first_ms >= SETTLE_MS;
        let is_over = |known: &Known| known.is_told && now.0 - known.last_ms >= CALM_MS;
        let those = |is_it: &dyn Fn(&Known) -> bool| -> Vec<Trouble> {
            self.troubles.values().filter(|known| is_it(known)).map(|known| known.trouble.clone()).collect()
        };
        let (new, over) = (those(&is_new), those(&is_over));
        if new.is_empty() && over.is_empty() {
            return;
        }
        self.troubles.retain(|_, known| !is_over(known));
        self.troubles.values_mut().filter(|known| is_new(known)).for_each(|known| known.is_told = true);
        self.n_today += 1;
        let id = format!("alert_{}_{}", now.0, self.n_today);
        let message = Message { id, at_ms: now.0, new, over, is_last: self.n_today == per_day };
        let letter = |target: &Target| Letter { target: *target, message: message.clone(), n_tries: 0, next_ms: now.0 };
        self.letters.extend(targets.iter().map(letter));
    }

    /// What is to be sent now, the oldest first.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<Letter> {
        // A clock that was set back does not hold anything up.
        let is_due = |letter: &&Letter| letter.next_ms <= now.0 || letter.message.at_ms > now.0;
        self.letters.iter().filter(is_due).cloned().collect()
    }

    /// Notes how an attempt at a letter went: `Err` has the reason, and whether it is likely to stay so.
    pub fn tried(&mut self, letter: &Letter, went: Result<(), (String, bool)>, now: Timestamp) {
        let is_it = |other: &Letter| other.target == letter.target && other.message.id == letter.message.id;
        let (reason, is_lasting) = match went {
            Ok(()) => {
                self.letters.retain(|other| !is_it(other));
                self.failed.remove(&letter.target);
                return;
            }
            Err(failed) => failed,
        };
        let is_given_up = now.since_ms(Timestamp(letter.message.at_ms)) >= MAX_AGE_MS;
        self.failed.insert(letter.target, Failed { at_ms: now.0, reason, is_given_up });
        if is_given_up {
            self.letters.retain(|other| !is_it(other));
        }
        for letter in self.letters.iter_mut().filter(|other| is_it(other)) {
            let wait = FIRST_WAIT_MS.saturating_mul(1 << letter.n_tries.min(16)).min(LONGEST_WAIT_MS);
            // Some vendors lock whoever comes with a wrong password again and again.
            let wait = if is_lasting { LONGEST_WAIT_MS } else { wait };
            letter.n_tries += 1;
            letter.next_ms = now.0.saturating_add(wait);
        }
    }

    /// A way was mended: what waits for it is due.
    pub fn try_again(&mut self, target: Target) {
        self.failed.remove(&target);
        self.letters.iter_mut().filter(|letter| letter.target == target).for_each(|letter| letter.next_ms = 0);
    }

    /// What was told and is not over.
    pub fn told(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.values().filter(|known| known.is_told).map(|known| &known.trouble)
    }

    /// Is there nothing to be kept over a restart?
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.letters.is_empty() && self.failed.is_empty() && self.troubles.values().all(|known| !known.is_told)
    }

    /// Letters that wait for another attempt.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.letters.len()
    }

    /// Ways by which the last attempt did not go through.
    #[must_use]
    pub fn failed(&self) -> &BTreeMap<Target, Failed> {
        &self.failed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Target; 2] = [Target::Email, Target::Webhook];
    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn trouble(n: usize) -> Trouble {
        let what = ["the disk is full", "safe mode: line 7", "the key can be read by others"][n % 3];
        Trouble { id: format!("id{n}"), what: what.to_owned(), fix: "mend it".to_owned(), told: None }
    }

    /// Looks at these times, in seconds from noon; returns what was told at each.
    fn run(looks: &[(u64, &[usize])], per_day: u32) -> Vec<(Vec<String>, Vec<String>)> {
        let mut book = Book::default();
        let ids = |troubles: &[Trouble]| troubles.iter().map(|trouble| trouble.id.clone()).collect();
        let look = |(at, troubles): &(u64, &[usize])| {
            let troubles: Vec<Trouble> = troubles.iter().copied().map(trouble).collect();
            let now = Timestamp(NOON + at * 1000);
            book.look(&troubles, &[Target::Email], per_day, now);
            let due = book.due(now);
            due.iter().for_each(|letter| book.tried(letter, Ok(()), now));
            let message = due.into_iter().next().map(|letter| letter.message);
            message.map(|message| (ids(&message.new), ids(&message.over))).unwrap_or_default()
        };
        looks.iter().map(look).collect()
    }

    fn said(new: &[&str], over: &[&str]) -> (Vec<String>, Vec<String>) {
        let own = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        (own(new), own(over))
    }

    #[test]
    fn a_trouble_is_told_once_and_its_end_once() {
        let nothing = || said(&[], &[]);
        let looks: [(u64, &[usize]); 8] =
            [(0, &[0]), (30, &[0]), (60, &[0]), (90, &[]), (120, &[0]), (150, &[]), (420, &[]), (480, &[0])];
        let expected = [
            nothing(),
            said(&["id0"], &[]),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            said(&[], &["id0"]),
            nothing(),
        ];
        assert_eq!(run(&looks, 9), expected);
    }

    #[test]
    fn what_passes_by_itself_is_not_told() {
        assert!(run(&[(0, &[0]), (20, &[]), (40, &[0]), (60, &[])], 9).iter().all(|told| *told == said(&[], &[])));
    }

    #[test]
    fn what_differs_in_numbers_alone_is_one_trouble() {
        let minutes = |n: u64| Trouble {
            id: "a".into(),
            what: format!("failed {n} minutes ago"),
            fix: String::new(),
            told: None,
        };
        let mut book = Book::default();
        for n in 0..30 {
            book.look(&[minutes(n)], &[Target::Email], 9, Timestamp(NOON + n * 60_000));
        }
        assert_eq!((book.letters.len(), book.troubles.len()), (1, 1));
    }

    #[test]
    fn a_letter_that_does_not_go_through_is_tried_for_a_day_and_said() {
        let mut book = Book::default();
        for at in [0, 30_000] {
            book.look(&[trouble(0)], &BOTH, 9, Timestamp(NOON + at));
        }
        let (mut now, mut n_tries) = (NOON + 30_000, 0);
        while book.n_waiting() > 0 && n_tries < 1_000 {
            for letter in book.due(Timestamp(now)) {
                n_tries += 1;
                book.tried(&letter, Err(("refused".to_owned(), false)), Timestamp(now));
            }
            now += 30_000;
        }
        assert!((20..100).contains(&n_tries) && now >= NOON + MAX_AGE_MS, "{n_tries} attempts");
        assert!(book.failed().values().all(|failed| failed.is_given_up && failed.reason == "refused"));
        book.look(&[], &[Target::Webhook], 9, Timestamp(now));
        assert_eq!(book.failed().len(), 1, "a way that is gone has no trouble");
    }

    #[test]
    fn what_is_likely_to_stay_wrong_is_tried_seldom_until_it_is_mended() {
        let mut book = Book::default();
        for at in [0, 30_000] {
            book.look(&[trouble(0)], &[Target::Email], 9, Timestamp(NOON + at));
        }
        let now = NOON + 30_000;
        let letter = book.due(Timestamp(now)).remove(0);
        book.tried(&letter, Err(("wrong password".to_owned(), true)), Timestamp(now));
        assert_eq!((book.due(Timestamp(now + LONGEST_WAIT_MS - 1)), book.failed().len()), (vec![], 1));
        book.try_again(Target::Email);
        assert_eq!((book.due(Timestamp(now)).len(), book.failed().len()), (1, 0));
    }

    proptest! {
        /// Whatever comes and goes, and wherever the clock jumps: what is told is new and then over, in turns, never
        /// more than so often a day, and nothing is told of what was never wrong.
        #[test]
        fn news_takes_turns_and_stays_under_the_limit(
            steps in prop::collection::vec((0..400_u64, 0..8_u8, any::<bool>()), 1..200),
            per_day in 0..5_u32,
        ) {
            let mut book = Book::default();
            let mut now = NOON;
            let mut is_open = BTreeMap::<String, bool>::new();
            let mut per_days = BTreeMap::<u64, u32>::new();
            let mut seen = std::collections::BTreeSet::new();
            for (seconds, which, is_back) in steps {
                now = if is_back && seconds > 390 { now - 7_200_000 } else { now + seconds * 1000 };
                let troubles: Vec<Trouble> = (0..3).filter(|n| which & (1 << n) != 0).map(trouble).collect();
                seen.extend(troubles.iter().map(|trouble| trouble.id.clone()));
                book.look(&troubles, &[Target::Email], per_day, Timestamp(now));
                let due = book.due(Timestamp(now));
                prop_assert!(due.len() <= 1);
                for letter in due {
                    book.tried(&letter, Ok(()), Timestamp(now));
                    *per_days.entry(now / DAY_MS).or_default() += 1;
                    prop_assert!(!letter.message.new.is_empty() || !letter.message.over.is_empty());
                    for trouble in &letter.message.new {
                        prop_assert!(seen.contains(&trouble.id));
                        prop_assert_eq!(is_open.insert(trouble.id.clone(), true).unwrap_or(false), false);
                    }
                    for trouble in &letter.message.over {
                        prop_assert_eq!(is_open.insert(trouble.id.clone(), false), Some(true));
                        prop_assert!(!troubles.contains(trouble));
                    }
                }
                let told: Vec<&str> = book.told().map(|trouble| trouble.id.as_str()).collect();
                let open: Vec<&str> = is_open.iter().filter(|(_, is_open)| **is_open).map(|(id, _)| id.as_str()).collect();
                prop_assert_eq!(told, open);
            }
            prop_assert!(per_days.values().all(|n| *n <= per_day.max(1) * 2), "{:?}", per_days);
        }

        /// What stays wrong is told within a minute, whatever else goes on.
        #[test]
        fn what_stays_wrong_is_told(noise in prop::collection::vec(0..4_u8, 5)) {
            let mut book = Book::default();
            for (n, which) in noise.iter().enumerate() {
                let mut troubles = vec![trouble(2)];
                troubles.extend((0..2).filter(|n| which & (1 << n) != 0).map(trouble));
                book.look(&troubles, &[Target::Webhook], 20, Timestamp(NOON + 30_000 * n as u64));
            }
            prop_assert!(book.told().any(|told| *told == trouble(2)));
        }

        #[test]
        fn it_is_kept_as_it_is(which in prop::collection::vec(0..8_u8, 0..20)) {
            let mut book = Book::default();
            for (n, which) in which.iter().enumerate() {
                let troubles: Vec<Trouble> = (0..3).filter(|n| which & (1 << n) != 0).map(trouble).collect();
                book.look(&troubles, &BOTH, 20, Timestamp(NOON + 30_000 * n as u64));
            }
            let kept = serde_json::to_vec(&book).unwrap();
            let again = serde_json::from_slice::<Book>(&kept).unwrap();
            prop_assert_eq!(again.told().collect::<Vec<_>>(), book.told().collect::<Vec<_>>());
            prop_assert_eq!(serde_json::to_vec(&again).unwrap(), kept);
        }
    }
}
