//! Clients that wait for the answer of a conversation.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::api::Part;
use crate::channel::Preview;

/// News that a slow client may leave unread before it is left behind.
pub(super) const MAX_UNREAD: usize = 1_024;

/// Who waits, by the reply target of the request: a random text that no other request has.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Waiters(Mutex<HashMap<String, mpsc::Sender<Part>>>);

/// A client's place among those who wait. Dropped, it is given up, unless [`Self::keep`] was called.
#[derive(Debug)]
pub(super) struct Place<'w> {
    waiters: &'w Waiters,
    target: Option<String>,
}

impl Place<'_> {
    /// The answer will come: the place stays until then, or until there is news for a client that has gone.
    pub(super) fn keep(mut self) {
        self.target = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(target) = self.target.take() {
            self.waiters.lock().remove(&target);
        }
    }
}

impl Waiters {
    /// Waits for what is said to `target`.
    pub(super) fn wait(&self, target: String) -> (Place<'_>, mpsc::Receiver<Part>) {
        let (sender, receiver) = mpsc::channel(MAX_UNREAD);
        self.lock().insert(target.clone(), sender);
        (Place { waiters: self, target: Some(target) }, receiver)
    }

    pub(in crate::gateway) fn preview(&self, target: &str, preview: Preview) {
        let (part, is_end) = match preview {
            Preview::Typing => (None, false),
            Preview::Delta(text) => (Some(Part::Delta(text)), false),
            Preview::Reset => (Some(Part::Reset), false),
            Preview::Failed { retry_after } => (Some(Part::Failed { retry_after }), true),
        };
        self.tell(target, part, is_end);
    }

    pub(in crate::gateway) fn answer(&self, target: &str, text: &str) {
        self.tell(target, Some(Part::Answer(text.to_owned())), true);
    }

    /// `None` is news without words. A client that has gone or is left behind does not wait any more.
    fn tell(&self, target: &str, part: Option<Part>, is_end: bool) {
        let mut waiters = self.lock();
        let is_lost = waiters.get(target).is_some_and(|waiter| match part {
            Some(part) => waiter.try_send(part).is_err(),
            None => waiter.is_closed(),
        });
        if is_end || is_lost {
            waiters.remove(target);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Part>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who_waits(waiters: &Waiters) -> Vec<String> {
        waiters.lock().keys().cloned().collect()
    }

    #[test]
    fn place_is_given_up_unless_the_question_was_accepted() {
        let waiters = Waiters::default();
        let (refused, _parts) = waiters.wait("refused".to_owned());
        let (accepted, mut parts) = waiters.wait("accepted".to_owned());
        drop(refused);
        accepted.keep();
        assert_eq!(who_waits(&waiters), ["accepted"]);
        waiters.answer("accepted", "hello");
        assert_eq!(parts.try_recv(), Ok(Part::Answer("hello".to_owned())));
        assert_eq!(who_waits(&waiters), [""; 0]);
    }

    fn check_gone(news: Preview) {
        let waiters = Waiters::default();
        let (place, parts) = waiters.wait("a".to_owned());
        place.keep();
        drop(parts);
        waiters.preview("a", news.clone());
        assert_eq!(who_waits(&waiters), [""; 0], "{news:?}");
    }

    #[test]
    fn client_that_has_gone_is_forgotten_at_the_next_news() {
        check_gone(Preview::Typing);
        check_gone(Preview::Delta("word".to_owned()));
        check_gone(Preview::Reset);
    }

    #[test]
    fn client_that_does_not_read_is_left_behind() {
        let waiters = Waiters::default();
        let (place, mut parts) = waiters.wait("a".to_owned());
        place.keep();
        for _news in 0..=MAX_UNREAD {
            waiters.preview("a", Preview::Delta("word".to_owned()));
        }
        assert_eq!(who_waits(&waiters), [""; 0]);
        let mut n_read = 0;
        while parts.try_recv().is_ok() {
            n_read += 1;
        }
        assert_eq!(n_read, MAX_UNREAD);
    }
}
