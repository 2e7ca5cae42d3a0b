//! Tables as the rest of the store sees them: a row's value is decoded where it is read, and a row that is written is
//! noted in a log.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, RangeBounds};

use redb::{AccessGuard, Key, ReadableTable, ReadableTableMetadata, Table, TableDefinition, Value};

use super::Error;
use super::log::Log;
use super::portable::PortableKey;
use super::salvage::{Row, caught};
use super::seal::Keyring;
use super::versioned::Versioned;

/// A versioned value, sealed.
pub(super) type Bytes = &'static [u8];

/// A key whose first part is the tenant.
pub(super) trait RowKey: PortableKey {
    /// Whose row it is.
    fn tenant<'k>(key: &Self::SelfType<'k>) -> &'k str
    where
        Self: 'k;

    /// The least key of a tenant.
    fn first(tenant: &str) -> Self::SelfType<'_>;
}

macro_rules! row_keys {
    ($($key:ty: $($rest:literal),+;)+) => {
        $(impl RowKey for $key {
            fn tenant<'k>(key: &Self::SelfType<'k>) -> &'k str
            where
                Self: 'k,
            {
                key.0
            }

            fn first(tenant: &str) -> Self::SelfType<'_> {
                (tenant, $($rest),+)
            }
        })+
    };
}

row_keys! {
    (&'static str, u64): 0;
    (&'static str, &'static str): "";
    (&'static str, &'static str, u64): "", 0;
    (&'static str, &'static str, u128): "", 0;
    (&'static str, &'static str, &'static str): "", "";
    (&'static str, &'static str, u64, u64): "", 0, 0;
    (&'static str, &'static str, u64, &'static str): "", 0, "";
    (&'static str, &'static str, &'static str, &'static str): "", "", "";
}

/// A table of the shape `T`. Its number stands for it outside of redb, for good.
pub(super) struct ValueTable<K: Key + 'static, T> {
    pub(super) number: u8,
    pub(super) definition: TableDefinition<'static, K, Bytes>,
    shape: PhantomData<fn() -> T>,
}

/// A table of which redb's values are all.
pub(super) struct PlainTable<K: Key + 'static, V: Value + 'static> {
    pub(super) number: u8,
    pub(super) definition: TableDefinition<'static, K, V>,
}

impl<K: Key + 'static, T> ValueTable<K, T> {
    pub(super) const fn new(number: u8, name: &'static str) -> Self {
        Self { number, definition: TableDefinition::new(name), shape: PhantomData }
    }
}

impl<K: Key + 'static, V: Value + 'static> PlainTable<K, V> {
    pub(super) const fn new(number: u8, name: &'static str) -> Self {
        Self { number, definition: TableDefinition::new(name) }
    }
}

impl<K: RowKey, T: Versioned> ValueTable<K, T> {
    /// Is this a row of it? Its key and value are as redb writes them.
    pub(super) fn judge(&self, keyring: &Keyring, key: &[u8], stored: &[u8]) -> Row {
        let decoder = Decoder::<K, T> { number: self.number, keyring, shape: PhantomData };
        // redb cannot take every text apart that is no key.
        match caught(|| decoder.decode(&K::from_bytes(key), stored)) {
            Ok(Ok(_)) => Row::Good,
            Ok(Err(Error::Busy)) => Row::Erasing,
            Ok(Err(_)) | Err(_) => Row::Bad,
        }
    }
}

/// An open table of the shape `T`.
pub(super) struct Values<'s, R, K, T> {
    table: R,
    decoder: Decoder<'s, K, T>,
}

/// Makes a shape of what is stored.
struct Decoder<'s, K, T> {
    number: u8,
    keyring: &'s Keyring,
    shape: PhantomData<fn() -> (K, T)>,
}

impl<K, T> Clone for Decoder<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for Decoder<'_, K, T> {}

impl<K: RowKey, T: Versioned> Decoder<'_, K, T> {
    fn decode(self, key: &K::SelfType<'_>, stored: &[u8]) -> Result<T, Error> {
        T::decode(&self.open(key, stored)?)
    }

    fn open(self, key: &K::SelfType<'_>, stored: &[u8]) -> Result<Vec<u8>, Error> {
        let row = K::as_bytes(key);
        let opened = self.keyring.open(K::tenant(key), (self.number, row.as_ref()), stored);
        opened.map_err(|_sealed| match self.keyring.is_erasing(K::tenant(key)) {
            true => Error::Busy,
            false => Error::Value { what: T::WHAT },
        })
    }
}

impl<'s, R: ReadableTable<K, Bytes>, K: RowKey, T: Versioned> Values<'s, R, K, T> {
    pub(super) fn new(table: R, definition: &ValueTable<K, T>, keyring: &'s Keyring) -> Self {
        Self { table, decoder: Decoder { number: definition.number, keyring, shape: PhantomData } }
    }

    pub(super) fn get<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<Option<T>, Error> {
        let key = key.borrow();
        let value = self.table.get(key)?;
        value.map(|value| self.decoder.decode(key, value.value())).transpose()
    }

    pub(super) fn has<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<bool, Error> {
        Ok(self.table.get(key)?.is_some())
    }

    /// Rows in the order of their keys. One that cannot be read is an error of its own; those behind it follow.
    pub(super) fn range<'k, B: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        range: impl RangeBounds<B> + 'k,
    ) -> Result<Rows<'_, K, T>, Error> {
        Ok(Rows { rows: self.table.range(range)?, decoder: self.decoder })
    }

    /// Their keys alone.
    pub(super) fn keys<'k, B: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        range: impl RangeBounds<B> + 'k,
    ) -> Result<Keys<'_, K>, Error> {
        Ok(Keys(self.table.range(range)?))
    }
}

impl<R: ReadableTableMetadata, K, T> Values<'_, R, K, T> {
    pub(super) fn len(&self) -> Result<u64, Error> {
        Ok(self.table.len()?)
    }
}

/// See [`Values::range`].
pub(super) struct Rows<'r, K: Key + 'static, T> {
    rows: redb::Range<'r, K, Bytes>,
    decoder: Decoder<'r, K, T>,
}

/// See [`Values::keys`].
pub(super) struct Keys<'r, K: Key + 'static>(redb::Range<'r, K, Bytes>);

impl<'r, K: Key + 'static> Iterator for Keys<'r, K> {
    type Item = Result<AccessGuard<'r, K>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|row| Ok(row?.0))
    }
}

impl<K: Key + 'static> DoubleEndedIterator for Keys<'_, K> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|row| Ok(row?.0))
    }
}

type Raw<'r, K> = redb::Result<(AccessGuard<'r, K>, AccessGuard<'r, Bytes>), redb::StorageError>;

impl<'r, K: RowKey, T: Versioned> Rows<'r, K, T> {
    /// The same rows, for whoever decodes them.
    pub(super) fn opened(self) -> impl DoubleEndedIterator<Item = Result<(AccessGuard<'r, K>, Vec<u8>), Error>> {
        let decoder = self.decoder;
        self.rows.map(move |row| {
            let (key, value) = row?;
            let opened = decoder.open(&key.value(), value.value())?;
            Ok((key, opened))
        })
    }

    fn decode(decoder: Decoder<'r, K, T>, row: Raw<'r, K>) -> Result<(AccessGuard<'r, K>, T), Error> {
        let (key, value) = row?;
        let decoded = decoder.decode(&key.value(), value.value())?;
        Ok((key, decoded))
    }
}

impl<'r, K: RowKey, T: Versioned> Iterator for Rows<'r, K, T> {
    type Item = Result<(AccessGuard<'r, K>, T), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next().map(|row| Self::decode(self.decoder, row))
    }
}

impl<K: RowKey, T: Versioned> DoubleEndedIterator for Rows<'_, K, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.rows.next_back().map(|row| Self::decode(self.decoder, row))
    }
}

/// Finds the rows of a tenant, until so many are found: number of the table, key as redb writes it.
fn rows_of<K: RowKey, V: Value + 'static>(
    table: &impl ReadableTable<K, V>,
    number: u8,
    tenant: &str,
    limit: usize,
    found: &mut Vec<(u8, Vec<u8>)>,
) -> Result<(), Error> {
    for row in table.range::<K::SelfType<'_>>(K::first(tenant)..)? {
        let (key, _) = row?;
        let key = key.value();
        if found.len() >= limit || K::tenant(&key) != tenant {
            break;
        }
        found.push((number, K::as_bytes(&key).as_ref().to_vec()));
    }
    Ok(())
}

/// A [`ValueTable`] in a write transaction.
pub(super) struct WrittenValues<'t, K: Key + 'static, T>(Values<'t, Table<'t, K, Bytes>, K, T>);

impl<'t, K: RowKey, T: Versioned> WrittenValues<'t, K, T> {
    pub(super) fn new(table: Table<'t, K, Bytes>, definition: &ValueTable<K, T>, keyring: &'t Keyring) -> Self {
        Self(Values::new(table, definition, keyring))
    }

    /// See [`rows_of`].
    pub(super) fn rows_of(&self, tenant: &str, limit: usize, found: &mut Vec<(u8, Vec<u8>)>) -> Result<(), Error> {
        rows_of(&self.0.table, self.0.decoder.number, tenant, limit, found)
    }

    /// Puts a value there, as [`Versioned::encode`] made it, or removes what is there.
    pub(super) fn put(&mut self, log: &mut Log, key: &K::SelfType<'_>, value: Option<&[u8]>) -> Result<(), Error> {
        let Values { table, decoder } = &mut self.0;
        let row = K::as_bytes(key);
        match value {
            Some(value) => {
                let sealed = decoder.keyring.seal(K::tenant(key), (decoder.number, row.as_ref()), value)?;
                log.put(decoder.number, row.as_ref(), &sealed);
                table.insert(key, &*sealed)?;
            }
            None => {
                log.remove(decoder.number, row.as_ref());
                table.remove(key)?;
            }
        }
        Ok(())
    }

    /// Puts there what a log says.
    pub(super) fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let (table, key) = (&mut self.0.table, K::from_bytes(key));
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
        Ok(())
    }
}

impl<'t, K: Key + 'static, T> Deref for WrittenValues<'t, K, T> {
    type Target = Values<'t, Table<'t, K, Bytes>, K, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A [`PlainTable`] in a write transaction.
pub(super) struct WrittenRows<'t, K: Key + 'static, V: Value + 'static> {
    number: u8,
    table: Table<'t, K, V>,
}

impl<K: RowKey, V: Value + 'static> WrittenRows<'_, K, V> {
    /// See [`rows_of`].
    pub(super) fn rows_of(&self, tenant: &str, limit: usize, found: &mut Vec<(u8, Vec<u8>)>) -> Result<(), Error> {
        rows_of(&self.table, self.number, tenant, limit, found)
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> WrittenRows<'t, K, V> {
    pub(super) fn new(table: Table<'t, K, V>, definition: &PlainTable<K, V>) -> Self {
        Self { number: definition.number, table }
    }

    pub(super) fn put(
        &mut self,
        log: &mut Log,
        key: &K::SelfType<'_>,
        value: Option<&V::SelfType<'_>>,
    ) -> Result<(), Error> {
        match value {
            Some(value) => {
                log.put(self.number, K::as_bytes(key).as_ref(), V::as_bytes(value).as_ref());
                self.table.insert(key, value)?;
            }
            None => {
                log.remove(self.number, K::as_bytes(key).as_ref());
                self.table.remove(key)?;
            }
        }
        Ok(())
    }

    /// Puts there what a log says.
    pub(super) fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let key = K::from_bytes(key);
        match value {
            Some(value) => drop(self.table.insert(key, V::from_bytes(value))?),
            None => drop(self.table.remove(key)?),
        }
        Ok(())
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> Deref for WrittenRows<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl<K: Key + 'static, T> fmt::Debug for ValueTable<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueTable").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<K: Key + 'static, V: Value + 'static> fmt::Debug for PlainTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainTable").field("number", &self.number).finish_non_exhaustive()
    }
}
