//! Lines of a conversation, a page at a time, for as long as somebody reads them.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::error::Error;
use super::export::Format;
use super::json;
use super::operation::{Document, Lines, Query};
use super::place::{Episode, Named};
use super::reach::Reached;
use crate::store::{Line, SessionStore};

/// Lines that are in memory at a time.
const PAGE: usize = 64;
/// Lines that `tail` begins with at most.
const MAX_LAST: usize = 1_000;
/// So often it is asked whether somebody who reads along still may, also when nothing is said.
const ASK_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Export {
    /// `jsonl`, `md` or `html`.
    pub(crate) format: String,
    /// Every conversation under the key, oldest first.
    #[serde(default)]
    pub(crate) all: bool,
}

pub(crate) async fn export(
    reached: Reached,
    (Query(named), Query(export)): (Query<Named>, Query<Export>),
) -> Result<Document, Error> {
    let format = Format::CHOICES.into_iter().find(|(name, _)| *name == export.format);
    let (_, format) =
        format.ok_or_else(|| Error::Query(format!("format: {:?} is not one of jsonl, md, html", export.format)))?;
    let place = named.place(&reached)?;
    let episodes = match export.all {
        true => place.episodes()?,
        false => vec![place.episode(named.episode)?],
    };
    place.of.note_look("export", Some(&place.key));
    let head = episodes.first().map(|first| format.head(first.row())).unwrap_or_default();
    let pages = Pages { format, ahead: head, left: episodes.into(), is_begun: false, after: 0, is_over: false };
    let pages =
        stream::try_unfold(pages, |mut pages| async move { Ok::<_, Broken>(pages.next()?.map(|page| (page, pages))) });
    Ok(Document { media_type: format.media_type(), body: Body::from_stream(pages) })
}

/// Breaks the answer off, so that nobody takes a part of it for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot be read")]
struct Broken;

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        tracing::error!(?error, "a conversation could not be read to its end");
        Self
    }
}

/// A file that is being written.
struct Pages {
    format: Format,
    /// Not said yet.
    ahead: String,
    left: VecDeque<Episode>,
    /// Is the first of those left begun?
    is_begun: bool,
    /// Line up to which it is written.
    after: u64,
    is_over: bool,
}

impl Pages {
    fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        while !self.is_over {
            let mut page = std::mem::take(&mut self.ahead);
            match self.left.front() {
                None => {
                    page.push_str(self.format.foot());
                    self.is_over = true;
                }
                Some(episode) => {
                    if !std::mem::replace(&mut self.is_begun, true) {
                        page.push_str(&self.format.episode(episode.row()));
                    }
                    let lines = episode.lines_after(self.after, PAGE)?;
                    lines.iter().for_each(|line| page.push_str(&self.format.line(episode.row(), line)));
                    match lines.last() {
                        Some(last) => self.after = last.seq,
                        // Erased while it was written.
                        None if episode.row().n_messages > 0 && self.after < episode.row().last_line => {
                            return Err(Broken);
                        }
                        None => {
                            self.left.pop_front();
                            (self.is_begun, self.after) = (false, 0);
                        }
                    }
                }
            }
            if !page.is_empty() {
                return Ok(Some(page.into()));
            }
        }
        Ok(None)
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Tail {
    /// The last ones, so many at most.
    pub(crate) lines: Option<usize>,
    /// Go on with those that come.
    #[serde(default)]
    pub(crate) follow: bool,
}

pub(crate) async fn tail(
    reached: Reached,
    (Query(named), Query(tail)): (Query<Named>, Query<Tail>),
) -> Result<Lines<json::Line>, Error> {
    let place = named.place(&reached)?;
    place.of.note_look("tail", Some(&place.key));
    // From here on no line is missed: those that are read below may be told twice, and are not.
    let (said, stop) = reached.said();
    let episode = place.episode(named.episode)?;
    if tail.follow && !matches!(episode, Episode::Live(..)) {
        return Err(Error::Query("follow: that conversation is over, and nothing will follow".to_owned()));
    }
    let first = episode.last_lines(tail.lines.unwrap_or(10).min(MAX_LAST))?;
    let after = first.last().map_or(episode.row().last_line, |line| line.seq);
    let reader = Reader { reached, session: place.session, first: Some(first), after, said, stop, follow: tail.follow };
    let lines = stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, Broken>(reader.next().await?.map(|page| (page, reader)))
    });
    Ok(Lines::new(Body::from_stream(lines)))
}

/// Somebody who reads along.
struct Reader {
    reached: Reached,
    session: SessionStore,
    /// What was said before, until it is told.
    first: Option<Vec<Line>>,
    after: u64,
    said: watch::Receiver<u64>,
    stop: CancellationToken,
    follow: bool,
}

impl Reader {
    /// The next lines; `None`: that is all, they may not read on, or the gateway stops.
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Some(first) = self.first.take() {
            return Ok(Some(text(&first)));
        }
        while self.follow {
            self.said.mark_unchanged();
            let lines = self.session.lines_after(self.after, PAGE).map_err(Error::from)?;
            // Behind the reading: what is said once they are shut out is not among these.
            if !self.reached.is_still_theirs().await {
                return Ok(None);
            }
            if let Some(last) = lines.last() {
                self.after = last.seq;
                return Ok(Some(text(&lines)));
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                changed = self.said.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
        Ok(None)
    }
}

/// One JSON object a line. Never empty, so that the reader learns at once that it was heard.
fn text(lines: &[Line]) -> Bytes {
    let mut text: String = lines.iter().map(|line| format!("{}\n", serde_json::json!(json::Line::of(line)))).collect();
    if text.is_empty() {
        text.push('\n');
    }
    text.into()
}
