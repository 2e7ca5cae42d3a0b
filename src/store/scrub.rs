//! Overwrites what erased conversations leave in the file.
//!
//! redb writes changed pages elsewhere and does not clear the old ones. So after an erasure the pages that held its
//! words, and by then are free, are filled with zeros: rows of a page each are inserted until the file grows, and
//! removed again. Pages in use may hold words too, behind their last row, where rows were removed in place: those
//! in which the erased rows were are built anew first.
//!
//! Every step is a transaction of its own, and other writes come in between. What was begun and not finished is
//! known after a restart by two numbers.

use redb::ReadableTable;

use super::database::Database;
use super::record::Scrubbed;
use super::scope::Scope;
use super::tables::{self, Changes, NUMBERS, Number, Tables};
use super::writer::Operation;
use super::{Error, Shared};

/// With its key, and as a table of pages of 4096 bytes keeps it, a page.
const ROW_BYTES: usize = 4080;
/// Rows that one step inserts or removes: 2 MiB.
const STEP_ROWS: u64 = 512;
/// Commits until the pages that an erasure freed may be used again: one makes them free, one more finds them so.
const N_SETTLING: usize = 3;

/// Overwrites what erasures left, if they left something.
pub(super) async fn if_pending(shared: &Shared) -> Result<Scrubbed, Error> {
    let _alone = shared.scrubbing.lock().await;
    let n_erasures = number(shared, Number::Erasures)?;
    let mut scrubbed = Scrubbed::default();
    if n_erasures <= number(shared, Number::Scrubbed)? {
        return Ok(scrubbed);
    }
    shared.writer.write(Step::Set(Number::IsFull, 0)).await?;
    shared.writer.write(Step::Rebuild).await?;
    for _ in 0..N_SETTLING {
        shared.writer.write(Step::Settle).await?;
    }
    while number(shared, Number::IsFull)? == 0 {
        shared.writer.write(Step::Fill).await?;
        scrubbed.n_bytes += STEP_ROWS * u64::try_from(ROW_BYTES).unwrap_or_default();
    }
    while shared.writer.write(Clear).await? {}
    // The pages become free, and with every commit the file loses some of those at its end.
    for _ in 0..N_SETTLING {
        shared.writer.write(Step::Settle).await?;
    }
    let mut n_bytes = u64::MAX;
    while shared.database.n_bytes()? < n_bytes {
        n_bytes = shared.database.n_bytes()?;
        shared.writer.write(Step::Settle).await?;
    }
    shared.writer.write(Step::Set(Number::Scrubbed, n_erasures)).await?;
    Ok(scrubbed)
}

fn number(shared: &Shared, number: Number) -> Result<u64, Error> {
    let view = shared.database.read()?;
    Ok(view.open_table(NUMBERS)?.get(number.name())?.map_or(0, |value| value.value()))
}

/// A transaction of its own: what it finds in pages was committed before.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing, but a commit, after all that read what was there before have ended.
    Settle,
    /// Pages of zeros, until the file grows.
    Fill,
    /// Pages in which rows of conversations lie or lay, of which something was erased.
    Rebuild,
    /// A number.
    Set(Number, u64),
}

impl Operation for Step {
    type Outcome = ();

    const IS_ALONE: bool = true;

    fn plan(self, _tables: &Tables<'_>) -> Result<((), Changes), Error> {
        Ok(((), Changes::Scrub(self)))
    }
}

/// Removes pages of zeros.
#[derive(Debug)]
struct Clear;

impl Operation for Clear {
    /// Are more left?
    type Outcome = bool;

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let first = tables.scrub.first()?.map(|(key, _)| key.value());
        let last = tables.scrub.last()?.map(|(key, _)| key.value());
        match first.zip(last) {
            None => Ok((false, Changes::None)),
            Some((first, last)) => {
                let end = first.saturating_add(STEP_ROWS);
                Ok((last >= end, Changes::ScrubbedUpTo(end)))
            }
        }
    }
}

impl Step {
    pub(super) fn apply(self, tables: &mut Tables<'_>, database: &Database) -> Result<(), Error> {
        match self {
            Self::Settle => {
                database.drain();
                // Any change, so that there is a commit.
                let n_erasures = tables.numbers.get(Number::Erasures.name())?.map_or(0, |n| n.value());
                tables.numbers.insert(Number::Erasures.name(), n_erasures)?;
            }
            Self::Fill => fill(tables, database)?,
            Self::Rebuild => rebuild_all(tables)?,
            Self::Set(number, value) => drop(tables.numbers.insert(number.name(), value)?),
        }
        Ok(())
    }
}

fn fill(tables: &mut Tables<'_>, database: &Database) -> Result<(), Error> {
    let n_bytes = database.n_bytes()?;
    let first = tables.scrub.last()?.map_or(0, |(key, _)| key.value() + 1);
    for key in first..first + STEP_ROWS {
        tables.scrub.insert(key, [0; ROW_BYTES].as_slice())?;
        if database.n_bytes()? > n_bytes {
            tables.numbers.insert(Number::IsFull.name(), 1)?;
            break;
        }
    }
    Ok(())
}

/// Takes out and puts in again the rows in a range, the one before it and the one after it: redb builds a committed
/// page anew when a row leaves it, and between them they lie in every page that may hold rows of the range.
macro_rules! rebuild {
    ($table:expr, $first:expr, $end:expr, |$row:ident| $key:expr, |$owned:ident| $borrowed:expr) => {{
        let mut rows = Vec::new();
        let before = $table.range(..$first)?.next_back();
        let after = $table.range($end..)?.next();
        for row in before.into_iter().chain($table.range($first..$end)?).chain(after) {
            let (id, value) = row?;
            let $row = id.value();
            rows.push(($key, value.value().to_owned()));
        }
        for ($owned, value) in &rows {
            $table.remove($borrowed)?;
            $table.insert($borrowed, value.as_slice())?;
        }
    }};
}

fn rebuild_all(tables: &mut Tables<'_>) -> Result<(), Error> {
    let mut scopes = Vec::new();
    for row in tables.rebuild.range::<(&str, &str)>(..)? {
        let (id, _) = row?;
        scopes.push(Scope::restore(id.value().0, id.value().1)?);
    }
    for scope in scopes {
        rebuild_rows(tables, &scope)?;
        tables.rebuild.remove(scope.parts())?;
    }
    Ok(())
}

fn rebuild_rows(tables: &mut Tables<'_>, scope: &Scope) -> Result<(), Error> {
    let (tenant, key) = scope.parts();
    let next = &*tables::after(key);
    let Tables { sessions, archive, transcript, inbox, outbox, parked, notes, files, .. } = tables;
    rebuild!(sessions, (tenant, key), (tenant, next), |id| (id.0.to_owned(), id.1.to_owned()), |id| (&*id.0, &*id.1));
    for table in [archive, transcript, inbox, parked] {
        rebuild!(table, (tenant, key, 0), (tenant, next, 0), |id| (id.0.to_owned(), id.1.to_owned(), id.2), |id| (
            &*id.0, &*id.1, id.2
        ));
    }
    rebuild!(outbox, (tenant, key, 0), (tenant, next, 0), |id| (id.0.to_owned(), id.1.to_owned(), id.2), |id| (
        &*id.0, &*id.1, id.2
    ));
    rebuild!(
        notes,
        (tenant, key, 0, 0),
        (tenant, next, 0, 0),
        |id| (id.0.to_owned(), id.1.to_owned(), id.2, id.3),
        |id| (&*id.0, &*id.1, id.2, id.3)
    );
    rebuild!(
        files,
        (tenant, key, 0, ""),
        (tenant, next, 0, ""),
        |id| (id.0.to_owned(), id.1.to_owned(), id.2, id.3.to_owned()),
        |id| (&*id.0, &*id.1, id.2, &*id.3)
    );
    Ok(())
}
