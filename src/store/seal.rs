//! Placeholder: values are stored as they are.

use std::borrow::Cow;

use super::Error;

/// The keys of the tenants.
#[derive(Debug, Default)]
pub(super) struct Keyring;

/// A value that does not open.
#[derive(Debug)]
pub(super) struct Sealed;

impl Keyring {
    pub(super) fn seal(&self, _tenant: &str, _row: (u8, &[u8]), value: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(value.to_vec())
    }

    pub(super) fn open<'v>(&self, _tenant: &str, _row: (u8, &[u8]), stored: &'v [u8]) -> Result<Cow<'v, [u8]>, Sealed> {
        Ok(Cow::Borrowed(stored))
    }
}
