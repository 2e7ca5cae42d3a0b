//! The last lines of the log. They may name any tenant and any conversation, so they are for whoever runs the gateway.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Level;
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{Lines, MANAGE, Operation, Query};
use super::reach::Reached;
use crate::log::{self, Filter, Line};

/// Lines of an answer unless somebody says otherwise.
const LINES: usize = 200;
/// And at most. More than are kept.
const MAX_LINES: usize = 10_000;
/// Lines that came at once are told at once. What tells them may be logged, too, and must not chase itself.
const PAUSE: Duration = Duration::from_millis(250);
/// So often it is asked whether somebody who reads along still may, also when nothing is logged.
const ASK_AGAIN: Duration = Duration::from_secs(60);

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get("/api/v1/logs", MANAGE, "The last lines of the log", show)]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Asked {
    /// This bad or worse: `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: Option<String>,
    /// Lines with all of these words, in upper or lower case.
    pub(crate) words: Option<String>,
    /// Lines behind the one with this number.
    pub(crate) after: Option<u64>,
    /// The newest, so many at most; absent: 200.
    pub(crate) lines: Option<usize>,
    /// Go on with those that come.
    #[serde(default)]
    pub(crate) follow: bool,
}

impl Asked {
    pub(crate) fn filter(&self) -> Result<Filter, Error> {
        let level = self.level.as_deref().filter(|level| !level.is_empty()).map(|level| {
            Level::from_str(level).map_err(|_error| {
                Error::Query(format!("level: {level:?} is not one of error, warn, info, debug, trace"))
            })
        });
        let words = self.words.clone().unwrap_or_default();
        Ok(Filter { level: level.transpose()?, words, after: self.after.unwrap_or_default() })
    }
}

/// A line of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// Counted from the start of the program.
    pub(crate) number: u64,
    pub(crate) at: String,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub(crate) level: &'static str,
    /// Which part of the program.
    pub(crate) target: String,
    pub(crate) message: String,
    /// By name.
    pub(crate) fields: serde_json::Map<String, serde_json::Value>,
}

impl LogLine {
    fn of(line: &Line) -> Self {
        let fields = line.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into()));
        Self {
            number: line.number,
            at: time(line.at),
            level: line.level.as_str(),
            target: line.target.clone(),
            message: line.message.clone(),
            fields: fields.collect(),
        }
    }
}

/// The newest lines that were asked for.
pub(crate) fn look(reached: &Reached, filter: &Filter, limit: usize) -> Result<Vec<Arc<Line>>, Error> {
    reached.whole(MANAGE)?;
    Ok(log::last(filter, limit))
}

pub(crate) async fn show(reached: Reached, Query(asked): Query<Asked>) -> Result<Lines<LogLine>, Error> {
    let filter = asked.filter()?;
    let news = log::news();
    let first = look(&reached, &filter, asked.lines.unwrap_or(LINES).min(MAX_LINES))?;
    let (_, stop) = reached.said();
    let reader = Reader { reached, filter, first: Some(first), news, stop, follow: asked.follow };
    let lines = stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, std::convert::Infallible>(reader.next().await.map(|page| (page, reader)))
    });
    Ok(Lines::new(Body::from_stream(lines)))
}

/// Somebody who reads along.
struct Reader {
    reached: Reached,
    filter: Filter,
    /// What was logged before, until it is told.
    first: Option<Vec<Arc<Line>>>,
    news: watch::Receiver<u64>,
    stop: CancellationToken,
    follow: bool,
}

impl Reader {
    /// The next lines; `None`: that is all, they may not read on, or the gateway stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            self.filter.after = first.last().map_or(self.filter.after, |last| last.number);
            return Some(text(&first));
        }
        while self.follow {
            self.news.mark_unchanged();
            let lines = log::last(&self.filter, MAX_LINES);
            // Behind the reading: what is logged once they are shut out is not among these.
            if !self.reached.is_still_theirs().await {
                return None;
            }
            if let Some(last) = lines.last() {
                self.filter.after = last.number;
                return Some(text(&lines));
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.news.changed() => changed.ok()?,
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }
}

/// One JSON object a line. Never empty, so that the reader learns at once that it was heard.
fn text(lines: &[Arc<Line>]) -> Bytes {
    let mut text: String = lines.iter().map(|line| format!("{}\n", serde_json::json!(LogLine::of(line)))).collect();
    if text.is_empty() {
        text.push('\n');
    }
    text.into()
}
