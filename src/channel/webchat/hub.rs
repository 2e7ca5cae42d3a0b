//! The tabs that are open now, by visitor, and what they are being told.
//!
//! Each connection has a bounded queue. A reader that falls behind is cut off; it comes back and takes
//! up the thread in the history. A visitor without connections costs nothing, except while an answer
//! is being made for them: its words so far are kept for the tab that opens in the middle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::visitor::Visitor;
use super::wire::ToPage;
use crate::channel::Preview;

/// Events that may wait for one tab.
const QUEUE: usize = 256;
/// Tabs of one visitor.
pub(super) const MAX_PER_VISITOR: usize = 20;
/// Tabs of all visitors of an entry.
pub(super) const MAX_CONNECTIONS: usize = 2_000;
/// Longest unfinished answer that is shown. Beyond it, all tabs wait for the whole answer.
const MAX_DRAFT_BYTES: usize = 256 * 1024;
/// An unfinished answer without news for this long was given up by whoever made it.
const DRAFT_IDLE: Duration = Duration::from_secs(300);

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Hub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tabs: HashMap<Box<str>, Vec<Tab>>,
    drafts: HashMap<Box<str>, Draft>,
    n_connections: usize,
    last_id: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Tab {
    id: u64,
    queue: mpsc::Sender<Utf8Bytes>,
}

#[derive(Debug)]
struct Draft {
    text: String,
    touched: Instant,
}

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The visitor has enough of them, or the entry has.
    TooMany,
    /// The entry is shutting down.
    Closed,
}

/// One open tab. Dropping it takes it off the list.
#[derive(Debug)]
pub(super) struct Connection {
    hub: Arc<Hub>,
    visitor: Visitor,
    id: u64,
    events: mpsc::Receiver<Utf8Bytes>,
    draft: Option<String>,
}

impl Hub {
    /// Puts a tab on the list. From here on it misses nothing: read the history afterwards.
    pub(super) fn join(self: &Arc<Self>, visitor: &Visitor) -> Result<Connection, Full> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Full::Closed);
        }
        let n_tabs = state.tabs.get(visitor.as_str()).map_or(0, Vec::len);
        if n_tabs >= MAX_PER_VISITOR || state.n_connections >= MAX_CONNECTIONS {
            return Err(Full::TooMany);
        }
        state.last_id += 1;
        state.n_connections += 1;
        let id = state.last_id;
        let (queue, events) = mpsc::channel(QUEUE);
        state.tabs.entry(visitor.as_str().into()).or_default().push(Tab { id, queue });
        // Read under the same lock: a word is either in the draft or in the queue.
        let draft = state.draft(visitor);
        Ok(Connection { hub: Arc::clone(self), visitor: visitor.clone(), id, events, draft })
    }

    /// Tells all tabs of a visitor.
    pub(super) fn tell(&self, visitor: &str, event: &ToPage) {
        self.state().tell(visitor, event);
    }

    /// Tells all tabs of a visitor the end of what was being made for them.
    pub(super) fn finish(&self, visitor: &str, event: &ToPage) {
        let mut state = self.state();
        state.drafts.remove(visitor);
        state.tell(visitor, event);
    }

    /// Shows progress, and remembers it for tabs that open later.
    pub(super) fn preview(&self, visitor: &str, preview: Preview) {
        let mut state = self.state();
        match preview {
            Preview::Typing => state.tell(visitor, &ToPage::Typing),
            Preview::Reset | Preview::Failed { .. } => {
                state.drafts.remove(visitor);
                state.tell(visitor, &ToPage::Reset);
            }
            Preview::Delta(text) => {
                if state.extend_draft(visitor, &text) {
                    state.tell(visitor, &ToPage::Delta { text });
                }
            }
        }
    }

    /// What was streamed so far to this visitor.
    pub(super) fn draft(&self, visitor: &Visitor) -> Option<String> {
        self.state().draft(visitor)
    }

    /// Ends all connections and takes no more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        // The queues end with their senders; each connection ends when it has sent what waits.
        state.tabs.clear();
        state.drafts.clear();
    }

    fn leave(&self, visitor: &Visitor, id: u64) {
        let mut state = self.state();
        state.n_connections = state.n_connections.saturating_sub(1);
        if let Some(tabs) = state.tabs.get_mut(visitor.as_str()) {
            tabs.retain(|tab| tab.id != id);
            if tabs.is_empty() {
                state.tabs.remove(visitor.as_str());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, visitor: &str, event: &ToPage) {
        let Some(tabs) = self.tabs.get_mut(visitor) else { return };
        let event = event.encode();
        tabs.retain(|tab| tab.queue.try_send(event.clone()).is_ok());
        if tabs.is_empty() {
            self.tabs.remove(visitor);
        }
    }

    fn draft(&self, visitor: &Visitor) -> Option<String> {
        let draft = self.drafts.get(visitor.as_str()).filter(|draft| draft.touched.elapsed() < DRAFT_IDLE)?;
        Some(draft.text.clone())
    }

    /// False: the answer has become too long to show before it is whole.
    fn extend_draft(&mut self, visitor: &str, text: &str) -> bool {
        if !self.drafts.contains_key(visitor) {
            // Bounded by the turns that run at once, as long as those that were given up are swept.
            self.drafts.retain(|_, draft| draft.touched.elapsed() < DRAFT_IDLE);
        }
        let empty = || Draft { text: String::new(), touched: Instant::now() };
        let draft = self.drafts.entry(visitor.into()).or_insert_with(empty);
        draft.touched = Instant::now();
        let fits = draft.text.len().saturating_add(text.len()) <= MAX_DRAFT_BYTES;
        if fits {
            draft.text.push_str(text);
        }
        fits
    }
}

impl Connection {
    /// The next event. `None`: this connection is over, because it fell behind or the entry closes.
    pub(super) async fn next(&mut self) -> Option<Utf8Bytes> {
        self.events.recv().await
    }

    /// What was streamed before this tab joined; its queue goes on from there.
    pub(super) fn take_draft(&mut self) -> Option<String> {
        self.draft.take()
    }

    pub(super) fn visitor(&self) -> &Visitor {
        &self.visitor
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.leave(&self.visitor, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor() -> Visitor {
        Visitor::new().unwrap()
    }

    fn waiting(connection: &mut Connection) -> Vec<String> {
        std::iter::from_fn(|| connection.events.try_recv().ok()).map(|event| event.to_string()).collect()
    }

    #[test]
    fn all_tabs_of_a_visitor_hear_it_and_nobody_else() {
        let (hub, one, other) = (Arc::new(Hub::default()), visitor(), visitor());
        let (mut a, mut b, mut c) = (hub.join(&one).unwrap(), hub.join(&one).unwrap(), hub.join(&other).unwrap());
        hub.tell(one.as_str(), &ToPage::Typing);
        assert_eq!(waiting(&mut a), [r#"{"type":"typing"}"#]);
        assert_eq!(waiting(&mut b), [r#"{"type":"typing"}"#]);
        assert!(waiting(&mut c).is_empty());
    }

    #[test]
    fn nothing_is_left_of_a_visitor_whose_last_tab_closed() {
        let (hub, visitor) = (Arc::new(Hub::default()), visitor());
        let (a, b) = (hub.join(&visitor).unwrap(), hub.join(&visitor).unwrap());
        drop(a);
        assert_eq!(hub.state().tabs.len(), 1);
        drop(b);
        hub.preview(visitor.as_str(), Preview::Delta("half".into()));
        hub.finish(visitor.as_str(), &ToPage::Reset);
        let state = hub.state();
        assert_eq!((state.tabs.len(), state.drafts.len(), state.n_connections), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_cut_off_and_the_others_go_on() {
        let (hub, visitor) = (Arc::new(Hub::default()), visitor());
        let (mut slow, mut quick) = (hub.join(&visitor).unwrap(), hub.join(&visitor).unwrap());
        let mut n_quick = 0;
        for _ in 0..=QUEUE {
            hub.tell(visitor.as_str(), &ToPage::Typing);
            n_quick += waiting(&mut quick).len();
        }
        let mut n_slow = 0;
        while slow.next().await.is_some() {
            n_slow += 1;
        }
        assert_eq!((n_slow, n_quick), (QUEUE, QUEUE + 1));
        drop(slow);
        assert_eq!(hub.state().n_connections, 1);
    }

    #[test]
    fn connections_are_bounded() {
        let (hub, one) = (Arc::new(Hub::default()), visitor());
        let tabs: Vec<_> = (0..MAX_PER_VISITOR).map(|_| hub.join(&one).unwrap()).collect();
        assert_eq!(hub.join(&one).unwrap_err(), Full::TooMany);
        let others: Vec<_> = (tabs.len()..MAX_CONNECTIONS).map(|_| hub.join(&visitor()).unwrap()).collect();
        assert_eq!(hub.join(&visitor()).unwrap_err(), Full::TooMany);
        drop((tabs, others));
        assert!(hub.join(&one).is_ok());
    }

    #[tokio::test]
    async fn closing_ends_every_connection() {
        let (hub, visitor) = (Arc::new(Hub::default()), visitor());
        let mut tab = hub.join(&visitor).unwrap();
        hub.tell(visitor.as_str(), &ToPage::Beat);
        hub.close();
        assert!(tab.next().await.is_some(), "what waits is still sent");
        assert!(tab.next().await.is_none());
        assert_eq!(hub.join(&visitor).unwrap_err(), Full::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tab_that_opens_in_the_middle_gets_the_words_so_far() {
        let (hub, visitor) = (Arc::new(Hub::default()), visitor());
        let check = |expected: Option<&str>| assert_eq!(hub.draft(&visitor).as_deref(), expected);
        check(None);
        hub.preview(visitor.as_str(), Preview::Delta("Good ".into()));
        let mut tab = hub.join(&visitor).unwrap();
        hub.preview(visitor.as_str(), Preview::Delta("morning".into()));
        assert_eq!(tab.take_draft().as_deref(), Some("Good "));
        assert_eq!(waiting(&mut tab), [r#"{"type":"delta","text":"morning"}"#]);
        check(Some("Good morning"));
        hub.preview(visitor.as_str(), Preview::Reset);
        check(None);
        hub.preview(visitor.as_str(), Preview::Delta("Hello".into()));
        tokio::time::advance(DRAFT_IDLE).await;
        check(None);
    }
}
