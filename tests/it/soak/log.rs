//! What the gateway logs at debug level, looked through for words of conversations.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use super::oracle::words;

static N_LINES: AtomicUsize = AtomicUsize::new(0);
static WITH_WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins, once in a process: the log is the process's.
pub(crate) fn capture() {
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("frontdesk", LevelFilter::DEBUG);
    let layer = tracing_subscriber::fmt::layer().with_writer(|| Lines).with_ansi(false);
    // Another test of this process may have begun it.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(layer));
}

/// How many lines there were, and those that held a word.
pub(crate) fn captured() -> (usize, Vec<String>) {
    (N_LINES.load(Ordering::SeqCst), WITH_WORDS.lock().unwrap().clone())
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        N_LINES.fetch_add(1, Ordering::SeqCst);
        let text = String::from_utf8_lossy(bytes);
        if !words(&text).is_empty() {
            WITH_WORDS.lock().unwrap().push(text.into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
