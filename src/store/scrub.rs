//! Overwrites what erased conversations leave in the file.

use super::record::Scrubbed;
use super::tables::{Changes, NUMBERS, Number, Tables};
use super::writer::Operation;
use super::{Error, Shared};

/// Does what an erasure left to do, if it did.
pub(super) async fn if_pending(shared: &Shared) -> Result<Scrubbed, Error> {
    let numbers = shared.database.read()?.open_table(NUMBERS)?;
    if numbers.get(Number::ScrubPending.name())?.is_none_or(|pending| pending.value() == 0) {
        return Ok(Scrubbed::default());
    }
    drop(numbers);
    shared.writer.write(Done).await?;
    Ok(Scrubbed::default())
}

#[derive(Debug)]
struct Done;

impl Operation for Done {
    type Outcome = ();

    fn plan(self, _tables: &Tables<'_>) -> Result<((), Changes), Error> {
        Ok(((), Changes::Number(Number::ScrubPending, 0)))
    }
}
