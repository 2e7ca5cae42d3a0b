//! Looks for words in the transcripts of one tenant.

use crate::id::{SessionKey, TenantId};

use super::database::View;
use super::record::{Found, Hit, Search, SearchCursor};
use super::scope::{Scope, tenant_part};
use super::tables::{self, ARCHIVE, SESSIONS, TRANSCRIPT};
use super::versioned::Versioned;
use super::{Error, disk};

/// Lines that one call looks at.
pub(super) const MAX_LOOKED: usize = 5000;
/// Characters of a line that a hit shows before the first of the words, and from there on.
const EXCERPT_CHARS: (usize, usize) = (40, 120);

/// See `TenantStore::search`.
pub(super) fn search(view: &View<'_>, tenant: Option<&TenantId>, search: &Search) -> Result<Found, Error> {
    let transcript = view.values(&TRANSCRIPT)?;
    let words: Vec<String> = search.words.split_whitespace().map(lower).collect();
    let mut found = Found::default();
    if words.is_empty() || search.limit == 0 {
        return Ok(found);
    }
    let part = tenant_part(tenant);
    let start = search.after.as_ref().map(|after| (after.key.as_str(), after.seq.saturating_add(1)));
    let (key, seq) = start.unwrap_or(("", 0));
    let next_tenant = tables::after(part);
    let mut key_of: Option<Episodes> = None;
    let mut last = None;
    for (n, row) in transcript.range((part, key, seq)..(&*next_tenant, "", 0))?.enumerate() {
        if n == MAX_LOOKED || found.hits.len() == search.limit {
            found.next = last;
            break;
        }
        let (id, line) = row?;
        let (_, key, seq) = id.value();
        let episodes = match key_of.take() {
            Some(episodes) if episodes.key.as_str() == key => episodes,
            _ => Episodes::of(view, Scope::restore(part, key)?)?,
        };
        if let Some((episode, is_archived)) = episodes.of_line(seq)
            && if is_archived { search.in_archived } else { search.in_live }
        {
            let line = line.restore(seq).or(Err(Error::Value { what: disk::Line::WHAT }))?;
            let text = lower(&line.text);
            if words.iter().all(|word| text.contains(word)) {
                let excerpt = excerpt(&line.text, &words);
                let (at, speaker) = (line.at, line.speaker);
                found.hits.push(Hit { key: episodes.key.clone(), episode, is_archived, seq, at, speaker, excerpt });
            }
        }
        last = Some(SearchCursor { key: episodes.key.clone(), seq });
        key_of = Some(episodes);
    }
    Ok(found)
}

/// Which lines of one key belong to which conversation.
struct Episodes {
    key: SessionKey,
    /// First and last line, number, is it archived?
    ranges: Vec<(u64, u64, u64, bool)>,
}

impl Episodes {
    fn of(view: &View<'_>, scope: Scope) -> Result<Self, Error> {
        let (archive, sessions) = (view.values(&ARCHIVE)?, view.values(&SESSIONS)?);
        let range = |row: &disk::Session, last, is_archived| (row.first_line, last, row.episode, is_archived);
        let mut ranges = Vec::new();
        for row in archive.range(tables::positions(&scope))? {
            let session = row?.1.session;
            ranges.push(range(&session, session.n_lines, true));
        }
        if let Some(row) = sessions.get(scope.parts())? {
            ranges.push(range(&row, u64::MAX, false));
        }
        Ok(Self { key: scope.key, ranges })
    }

    fn of_line(&self, seq: u64) -> Option<(u64, bool)> {
        let range = self.ranges.iter().find(|(first, last, ..)| (*first..=*last).contains(&seq));
        range.map(|(_, _, episode, is_archived)| (*episode, *is_archived))
    }
}

/// Character by character, so that it is the same wherever in a text a word stands.
fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// What stands around the first place where one of the words stands.
fn excerpt(text: &str, words: &[String]) -> String {
    let starts = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        words.iter().any(|word| {
            let mut rest = rest.chars().flat_map(char::to_lowercase);
            word.chars().all(|letter| rest.next() == Some(letter))
        })
    };
    let n_before = text.char_indices().take_while(|(at, _)| !starts(*at)).count();
    let skipped = n_before.saturating_sub(EXCERPT_CHARS.0);
    let shown: String = text.chars().skip(skipped).take(n_before - skipped + EXCERPT_CHARS.1).collect();
    let is_cut = skipped + shown.chars().count() < text.chars().count();
    format!("{}{shown}{}", if skipped > 0 { "…" } else { "" }, if is_cut { "…" } else { "" })
}
