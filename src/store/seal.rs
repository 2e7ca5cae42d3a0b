//! Values as they lie on the disk: sealed with the key of their tenant.
//!
//! Every tenant has one *data key*, 32 random bytes. It lies in the store, wrapped with a *wrapping key* that is made
//! from the device key, which does not lie there. Without the device key nothing is read, and with a tenant's wrapped key gone
//! nothing of that tenant is, wherever old pages or copies of the file are.
//!
//! ```text
//! value     0xE1 ‖ nonce 12 ‖ ciphertext ‖ tag 16             of AES-256-GCM-SIV under HMAC(data key, "values")
//!           bound to: length of the tenant (4, big endian) ‖ tenant ‖ table 1 ‖ key of the row
//! data key  0xD1 ‖ id 16 ‖ nonce 12 ‖ ciphertext 32 ‖ tag 16  of the same under the wrapping key
//!           bound to: "frontdesk data key" ‖ id ‖ tenant
//! ```
//!
//! A value that was moved to another row, table or tenant does not open, nor does one with a changed bit, and one that
//! was never sealed is not taken for a sealed one. Nonces are random: should one come again, AES-GCM-SIV (RFC 8452)
//! shows only whether the two values and their rows are the same.
//!
//! Pure but for random numbers and the cache of opened keys. Called by whatever writes and reads rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::Error;

/// The first byte of a sealed value. No version of a shape has it.
const SEALED: u8 = 0xE1;
/// The first byte of a value in a test that looks for words in the file.
#[cfg(test)]
const PLAIN: u8 = 0xE0;
/// The first byte of a wrapped data key.
const WRAPPED: u8 = 0xD1;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 16;
const MARK_BYTES: usize = 1;
/// A data key that is on its way to another device.
pub(super) const EXPORTED_BYTES: usize = KEY_ID_BYTES + KEY_BYTES;
const WRAPPED_BYTES: usize = MARK_BYTES + KEY_ID_BYTES + NONCE_LEN + KEY_BYTES + TAG_BYTES;

type Key = Zeroizing<[u8; KEY_BYTES]>;
type KeyId = [u8; KEY_ID_BYTES];

/// Where a value lies in the tables of its tenant: the number of the table, the key of the row as redb stores it.
type Row<'r> = (u8, &'r [u8]);

/// A value that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed;

/// Seals and opens the values of one tenant.
pub(super) struct Seal {
    tenant: String,
    values: Cipher,
    names: hmac::Key,
}

enum Cipher {
    Sealed(LessSafeKey),
    /// For tests that look for words in the file, and must be able to find them.
    #[cfg(test)]
    Plain,
}

impl Seal {
    /// Bytes that a sealed value is longer.
    pub(super) const OVERHEAD_BYTES: usize = MARK_BYTES + NONCE_LEN + TAG_BYTES;

    fn new(tenant: &str, data_key: &Key) -> Result<Self, Error> {
        Ok(Self {
            tenant: tenant.to_owned(),
            values: Cipher::Sealed(cipher(&derive(&**data_key, b"values"))?),
            names: hmac::Key::new(hmac::HMAC_SHA256, &*derive(&**data_key, b"names")),
        })
    }

    /// The value as it is stored in `row`.
    ///
    /// # Errors
    /// [`Error::Storage`] when the system gives no random numbers.
    pub(super) fn seal(&self, row: Row<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.values {
            Cipher::Sealed(key) => {
                let mut stored = Vec::with_capacity(Self::OVERHEAD_BYTES.saturating_add(plain.len()));
                stored.push(SEALED);
                seal(key, random()?, &self.bound_to(row), plain, &mut stored)?;
                Ok(stored)
            }
            #[cfg(test)]
            Cipher::Plain => Ok([&[PLAIN], plain].concat()),
        }
    }

    /// What was sealed for `row`.
    ///
    /// # Errors
    /// [`Sealed`] when it is not what this tenant stored there.
    pub(super) fn open(&self, row: Row<'_>, stored: &[u8]) -> Result<Vec<u8>, Sealed> {
        let opened = match &self.values {
            Cipher::Sealed(key) => {
                stored.strip_prefix(&[SEALED]).and_then(|sealed| open(key, &self.bound_to(row), sealed))
            }
            #[cfg(test)]
            Cipher::Plain => stored.strip_prefix(&[PLAIN]).map(<[u8]>::to_vec),
        };
        opened.ok_or(Sealed)
    }

    /// Stands for a name in a key of a row: says nothing of it, and is the same only for the same name in the same
    /// place. 32 hexadecimal digits.
    pub(super) fn name_tag(&self, place: &str, name: &str) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(&length(place));
        context.update(place.as_bytes());
        context.update(name.as_bytes());
        let tag = context.sign();
        tag.as_ref().iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// No two rows have the same.
    fn bound_to(&self, row: Row<'_>) -> SmallVec<[u8; 192]> {
        let mut bound = SmallVec::from_slice(&length(&self.tenant));
        bound.extend_from_slice(self.tenant.as_bytes());
        bound.push(row.0);
        bound.extend_from_slice(row.1);
        bound
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// The data keys of all tenants. Of the table `keys` it has what [`Self::load`] was shown, and what was made since.
///
/// One thread writes the store, and so makes and removes keys. Whoever reads an older state of the store while a tenant is
/// erased finds values that do not open.
pub(super) struct Keyring {
    wrapping: Arc<LessSafeKey>,
    tenants: RwLock<Tenants>,
    #[cfg(test)]
    is_plain: bool,
}

#[derive(Default)]
struct Tenants {
    keys: BTreeMap<String, Held>,
    /// Keys that are not in the store yet, wrapped.
    new: Vec<(String, Vec<u8>)>,
    /// Whose rows are being removed.
    erasing: BTreeSet<String>,
}

enum Held {
    Opened(Arc<Seal>),
    /// The stored key does not open. It may be mended one day, so there is no new one either.
    Unreadable,
}

impl Keyring {
    /// Without any, with a key that is made from the device key for this purpose alone.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cipher cannot be used.
    pub(super) fn new(wrapping_key: &[u8; KEY_BYTES]) -> Result<Self, Error> {
        Ok(Self {
            wrapping: Arc::new(cipher(wrapping_key)?),
            tenants: RwLock::default(),
            #[cfg(test)]
            is_plain: false,
        })
    }

    /// One whose values are stored as they are, with a mark that nothing else reads.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { is_plain: true, ..Self::new(&[0; KEY_BYTES]).unwrap() }
    }

    /// Another one of this device, without any.
    pub(super) fn of_same_device(&self) -> Self {
        Self {
            wrapping: Arc::clone(&self.wrapping),
            tenants: RwLock::default(),
            #[cfg(test)]
            is_plain: self.is_plain,
        }
    }

    /// Forgets what it had and takes what is stored: wrapped keys by tenant, and who is being erased.
    ///
    /// # Errors
    /// [`Error::DataKey`] when none of them opens.
    pub(super) fn load(&self, stored: Vec<(String, Vec<u8>)>, erasing: BTreeSet<String>) -> Result<(), Error> {
        let n_stored = stored.len();
        let mut keys = BTreeMap::new();
        for (tenant, wrapped) in stored {
            let held = match self.seal_of(&tenant, &wrapped) {
                Ok(seal) => Held::Opened(Arc::new(seal)),
                Err(error) => {
                    tracing::error!(%error, tenant, "nothing of this tenant can be read");
                    Held::Unreadable
                }
            };
            keys.insert(tenant, held);
        }
        let is_ours = n_stored == 0 || keys.values().any(|held| matches!(held, Held::Opened(_)));
        *self.write() = Tenants { keys, new: Vec::new(), erasing };
        if is_ours { Ok(()) } else { Err(Error::DataKey) }
    }

    /// Can something of this tenant be written?
    ///
    /// # Errors
    /// [`Error::Busy`] while it is erased; [`Error::DataKey`] when its key does not open.
    pub(super) fn admit(&self, tenant: &str) -> Result<(), Error> {
        let tenants = self.read();
        match tenants.keys.get(tenant) {
            _ if tenants.erasing.contains(tenant) => Err(Error::Busy),
            Some(Held::Unreadable) => Err(Error::DataKey),
            Some(Held::Opened(_)) | None => Ok(()),
        }
    }

    /// Is it being erased? Then what is still in its rows is not for anybody.
    pub(super) fn is_erasing(&self, tenant: &str) -> bool {
        self.read().erasing.contains(tenant)
    }

    /// A value of `tenant` as it is stored in `row`. Makes the tenant's key, if it has none: see [`Self::take_new`].
    ///
    /// # Errors
    /// As [`Self::admit`]; [`Error::Storage`] when the system gives no random numbers.
    pub(super) fn seal(&self, tenant: &str, row: Row<'_>, value: &[u8]) -> Result<Vec<u8>, Error> {
        self.of_writer(tenant)?.seal(row, value)
    }

    /// What was sealed for `row` of `tenant`.
    ///
    /// # Errors
    /// [`Sealed`].
    pub(super) fn open(&self, tenant: &str, row: Row<'_>, stored: &[u8]) -> Result<Vec<u8>, Sealed> {
        self.opened(tenant).ok_or(Sealed)?.open(row, stored)
    }

    /// Stands for a name in a key of a row, see [`Seal::name_tag`]. For whoever reads; `None` when the tenant has no key.
    pub(super) fn name_tag(&self, tenant: &str, place: &str, name: &str) -> Option<String> {
        Some(self.opened(tenant)?.name_tag(place, name))
    }

    /// The same for whoever writes. As [`Self::seal`].
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub(super) fn new_name_tag(&self, tenant: &str, place: &str, name: &str) -> Result<String, Error> {
        Ok(self.of_writer(tenant)?.name_tag(place, name))
    }

    /// The keys that were made since the last time, by tenant, wrapped: they must be stored with what was sealed.
    pub(super) fn take_new(&self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.write().new)
    }

    /// Takes a tenant's key away, and nothing of it until [`Self::end_erasing`]. An error later is undone by [`Self::load`].
    pub(super) fn begin_erasing(&self, tenant: &str) {
        let mut tenants = self.write();
        tenants.keys.remove(tenant);
        tenants.new.retain(|(of, _)| of != tenant);
        tenants.erasing.insert(tenant.to_owned());
    }

    /// The tenant may begin again.
    pub(super) fn end_erasing(&self, tenant: &str) {
        self.write().erasing.remove(tenant);
    }

    fn opened(&self, tenant: &str) -> Option<Arc<Seal>> {
        match self.read().keys.get(tenant) {
            Some(Held::Opened(seal)) => Some(Arc::clone(seal)),
            Some(Held::Unreadable) | None => None,
        }
    }

    fn of_writer(&self, tenant: &str) -> Result<Arc<Seal>, Error> {
        if let Some(seal) = self.opened(tenant) {
            return Ok(seal);
        }
        self.admit(tenant)?;
        let wrapped = self.create(tenant)?;
        let seal = Arc::new(self.seal_of(tenant, &wrapped)?);
        let mut tenants = self.write();
        tenants.new.push((tenant.to_owned(), wrapped));
        tenants.keys.insert(tenant.to_owned(), Held::Opened(Arc::clone(&seal)));
        Ok(seal)
    }

    fn read(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tenants> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new data key for `tenant`, wrapped for the store.
    fn create(&self, tenant: &str) -> Result<Vec<u8>, Error> {
        self.wrap(tenant, random()?, &Zeroizing::new(random()?))
    }

    /// A stored data key for another device: its id and the key itself, [`EXPORTED_BYTES`] that nobody may see.
    ///
    /// # Errors
    /// [`Error::DataKey`] when it was not wrapped here for this tenant.
    pub(super) fn export(&self, tenant: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (id, _) = parts(wrapped).ok_or(Error::DataKey)?;
        let data_key = self.data_key(tenant, wrapped)?;
        let mut exported = Zeroizing::new(Vec::with_capacity(EXPORTED_BYTES));
        exported.extend_from_slice(&id);
        exported.extend_from_slice(&*data_key);
        Ok(exported)
    }

    /// Takes over what [`Self::export`] gave on another device, and wraps it for the store.
    ///
    /// # Errors
    /// [`Error::DataKey`] when it is no data key.
    pub(super) fn take_over(&self, tenant: &str, exported: &[u8]) -> Result<Vec<u8>, Error> {
        let (id, key) = exported.split_first_chunk().ok_or(Error::DataKey)?;
        let data_key = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(key).or(Err(Error::DataKey))?);
        let wrapped = self.wrap(tenant, *id, &data_key)?;
        let seal = Arc::new(self.seal_of(tenant, &wrapped)?);
        self.write().keys.insert(tenant.to_owned(), Held::Opened(seal));
        Ok(wrapped)
    }

    /// Can its values be opened?
    pub(super) fn has_key(&self, tenant: &str) -> bool {
        self.opened(tenant).is_some()
    }

    fn wrap(&self, tenant: &str, id: KeyId, data_key: &Key) -> Result<Vec<u8>, Error> {
        let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
        wrapped.push(WRAPPED);
        wrapped.extend_from_slice(&id);
        seal(&self.wrapping, random()?, &key_bound_to(&id, tenant), &**data_key, &mut wrapped)?;
        Ok(wrapped)
    }

    fn data_key(&self, tenant: &str, wrapped: &[u8]) -> Result<Key, Error> {
        let (id, sealed) = parts(wrapped).ok_or(Error::DataKey)?;
        let opened = open(&self.wrapping, &key_bound_to(&id, tenant), sealed).map(Zeroizing::new);
        let data_key = opened.and_then(|key| <[u8; KEY_BYTES]>::try_from(key.as_slice()).ok());
        data_key.map(Zeroizing::new).ok_or(Error::DataKey)
    }

    /// Was this data key wrapped here, for this tenant?
    pub(super) fn opens(&self, tenant: &str, wrapped: &[u8]) -> bool {
        self.data_key(tenant, wrapped).is_ok()
    }

    fn seal_of(&self, tenant: &str, wrapped: &[u8]) -> Result<Seal, Error> {
        let seal = Seal::new(tenant, &self.data_key(tenant, wrapped)?)?;
        #[cfg(test)]
        if self.is_plain {
            return Ok(Seal { values: Cipher::Plain, ..seal });
        }
        Ok(seal)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM_SIV, key);
    key.map(LessSafeKey::new).or(Err(Error::Storage("the cipher cannot be used".into())))
}

/// A key for one purpose, so that none serves two.
fn derive(key: &[u8], purpose: &[u8]) -> Key {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose);
    derived.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    derived
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).or(Err(Error::Storage("there are no random numbers".into())))?;
    Ok(bytes)
}

/// Appends nonce, ciphertext and tag.
fn seal(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    bound_to: &[u8],
    plain: &[u8],
    sealed: &mut Vec<u8>,
) -> Result<(), Error> {
    let failed = || Error::Storage("the value cannot be sealed".into());
    sealed.extend_from_slice(&nonce);
    let n_before = sealed.len();
    sealed.extend_from_slice(plain);
    let text = sealed.get_mut(n_before..).ok_or_else(failed)?;
    let tag = key.seal_in_place_separate_tag(Nonce::from(&nonce), Aad::from(bound_to), text);
    sealed.extend_from_slice(tag.map_err(|_unspecified| failed())?.as_ref());
    Ok(())
}

/// What [`seal`] appended, opened.
fn open(key: &LessSafeKey, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let (text, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut plain = vec![0; text.len()];
    key.open_separate_gather(Nonce::from(nonce), Aad::from(bound_to), text, tag, &mut plain).ok()?;
    Some(plain)
}

/// The id of a wrapped data key, and what is sealed in it.
fn parts(wrapped: &[u8]) -> Option<(KeyId, &[u8])> {
    let (id, sealed) = wrapped.strip_prefix(&[WRAPPED])?.split_first_chunk::<KEY_ID_BYTES>()?;
    Some((*id, sealed))
}

fn key_bound_to(id: &KeyId, tenant: &str) -> Vec<u8> {
    [b"frontdesk data key", id.as_slice(), tenant.as_bytes()].concat()
}

/// In front of a text that others follow, so that the whole can be split in one way only.
fn length(text: &str) -> [u8; 4] {
    // Four bytes hold every length that redb stores.
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEVICE: [u8; 32] = [7; 32];

    fn keyring() -> Keyring {
        Keyring::new(&DEVICE).unwrap()
    }

    /// With a random key.
    fn seal_of(tenant: &str) -> Seal {
        keyring().seal_of(tenant, &keyring().create(tenant).unwrap()).unwrap()
    }

    /// With known keys and nonces.
    fn known(tenant: &str) -> Seal {
        Seal::new(tenant, &Zeroizing::new([9; 32])).unwrap()
    }

    fn row(table: u8, key: &[u8]) -> Row<'_> {
        (table, key)
    }

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes().chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// RFC 8452, appendix C.2.
    #[test]
    fn the_cipher_is_aes_256_gcm_siv() {
        let check = |plain: &str, bound_to: &str, expected: &str| {
            let mut key = Zeroizing::new([0; 32]);
            key[0] = 1;
            let mut nonce = [0; NONCE_LEN];
            nonce[0] = 3;
            let mut sealed = Vec::new();
            seal(&cipher(&key).unwrap(), nonce, &unhex(bound_to), &unhex(plain), &mut sealed).unwrap();
            assert_eq!(sealed[NONCE_LEN..], unhex(expected));
        };
        check("", "", "07f5f4169bbf55a8400cd47ea6fd400f");
        check("0100000000000000", "", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28");
        check("0200000000000000", "01", "1de22967237a813291213f267e3b452f02d01ae33e4ec854");
    }

    // Made with the AESGCMSIV of Python's cryptography, not with this code.
    const GOLDEN_VALUE: &str = "e1000102030405060708090a0b1081089b5cb5358690734afbfd754ec2aa84b6c9";
    const GOLDEN_KEY: &str = "d1101112131415161718191a1b1c1d1e1f202122232425262728292a2b65174f5b2b8e64824d3da8389545b4\
                              ef2586499b78e06ef08f8106ead1d70229a263a2c051f408d2f893e3c2829ed714";
    const GOLDEN_NAME: &str = "d83c87b851f4e492114c43947d3b9ac9";

    /// What was written must be read for ever.
    #[test]
    fn stored_values_and_keys_keep_their_shape() {
        let plain = b"\x01\x02hi";
        let sealed = unhex(GOLDEN_VALUE);
        assert_eq!(known("practice").open(row(6, b"key"), &sealed).unwrap(), plain);
        let wrapped = unhex(GOLDEN_KEY);
        assert_eq!(*keyring().data_key("practice", &wrapped).unwrap(), [9; 32]);
        assert_eq!(keyring().seal_of("practice", &wrapped).unwrap().open(row(6, b"key"), &sealed).unwrap(), plain);
        assert_eq!(known("practice").name_tag("place", "name.md"), GOLDEN_NAME);
        assert_eq!(sealed.len(), plain.len() + Seal::OVERHEAD_BYTES);
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened_in_its_row(
            tenant in ".{0,40}",
            table: u8,
            key in prop::collection::vec(any::<u8>(), 0..200),
            plain in prop::collection::vec(any::<u8>(), 0..5000),
        ) {
            let seal = known(&tenant);
            let stored = seal.seal(row(table, &key), &plain).unwrap();
            prop_assert_eq!(stored.len(), plain.len() + 29);
            prop_assert_eq!(seal.open(row(table, &key), &stored).unwrap(), plain);
        }

        /// Also where the parts of two rows are the same bytes one after the other.
        #[test]
        fn no_two_rows_are_bound_alike(one: (String, u8, Vec<u8>), other: (String, u8, Vec<u8>)) {
            let bound_to = |(tenant, table, key): &(String, u8, Vec<u8>)| known(tenant).bound_to(row(*table, key));
            prop_assert_eq!(bound_to(&one) == bound_to(&other), one == other);
            let split: (String, u8, Vec<u8>) = (String::new(), one.1, [one.0.as_bytes(), &one.2].concat());
            prop_assert_eq!(bound_to(&one) == bound_to(&split), one == split);
        }

        #[test]
        fn what_was_not_sealed_is_refused(stored in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(known("practice").open(row(1, b"key"), &stored).is_err());
            let marked = [&[SEALED], stored.as_slice()].concat();
            prop_assert!(known("practice").open(row(1, b"key"), &marked).is_err());
            prop_assert!(keyring().data_key("practice", &[&[WRAPPED], stored.as_slice()].concat()).is_err());
        }
    }

    #[test]
    fn a_value_with_a_changed_bit_or_length_is_refused() {
        let seal = seal_of("practice");
        let stored = seal.seal(row(6, b"key"), b"words").unwrap();
        for n in 0..stored.len() {
            for bit in 0..8 {
                let mut changed = stored.clone();
                changed[n] ^= 1 << bit;
                assert_eq!(seal.open(row(6, b"key"), &changed), Err(Sealed), "byte {n}, bit {bit}");
            }
            assert!(seal.open(row(6, b"key"), &stored[..n]).is_err(), "cut at {n}");
        }
        assert!(seal.open(row(6, b"key"), &[&*stored, &[0]].concat()).is_err());
    }

    #[test]
    fn a_value_opens_nowhere_else() {
        let stored = known("practice").seal(row(6, b"key"), b"words").unwrap();
        // The same data key under another name, so that it is the row which is refused.
        assert!(known("agency").open(row(6, b"key"), &stored).is_err());
        assert!(known("practice").open(row(7, b"key"), &stored).is_err());
        assert!(known("practice").open(row(6, b"kez"), &stored).is_err());
        assert!(seal_of("practice").open(row(6, b"key"), &stored).is_err(), "another data key");
    }

    #[test]
    fn a_data_key_opens_on_its_device_for_its_tenant_only() {
        let wrapped = keyring().create("practice").unwrap();
        assert_eq!(
            keyring().data_key("practice", &wrapped).unwrap(),
            keyring().data_key("practice", &wrapped).unwrap()
        );
        assert!(matches!(keyring().data_key("agency", &wrapped), Err(Error::DataKey)));
        assert!(matches!(Keyring::new(&[8; 32]).unwrap().data_key("practice", &wrapped), Err(Error::DataKey)));
        for n in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[n] ^= 1;
            assert!(matches!(keyring().data_key("practice", &changed), Err(Error::DataKey)), "byte {n}");
            assert!(keyring().data_key("practice", &wrapped[..n]).is_err(), "cut at {n}");
        }
    }

    const ROW: Row<'_> = (6, b"key");

    /// One that has read these.
    fn loaded(stored: &[(String, Vec<u8>)]) -> Keyring {
        let keyring = keyring();
        keyring.load(stored.to_vec(), BTreeSet::new()).unwrap();
        keyring
    }

    #[test]
    fn the_first_value_of_a_tenant_makes_its_key_which_must_be_stored() {
        let first = keyring();
        assert_eq!(first.open("practice", ROW, b""), Err(Sealed));
        let value = first.seal("practice", ROW, b"words").unwrap();
        let other = first.seal("agency", ROW, b"words").unwrap();
        let again = first.seal("practice", ROW, b"words").unwrap();
        assert_eq!(first.open("practice", ROW, &value).unwrap(), b"words");
        assert_eq!(first.open("agency", ROW, &value), Err(Sealed));
        let stored = first.take_new();
        assert_eq!(stored.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>(), ["practice", "agency"]);
        assert!(first.take_new().is_empty());

        let second = loaded(&stored);
        assert_eq!(second.open("practice", ROW, &value).unwrap(), b"words");
        assert_eq!(second.open("practice", ROW, &again).unwrap(), b"words");
        assert_eq!(second.open("agency", ROW, &other).unwrap(), b"words");
        assert_eq!(second.name_tag("agency", "a", "b"), first.name_tag("agency", "a", "b"));
        second.seal("practice", ROW, b"words").unwrap();
        assert!(second.take_new().is_empty());
    }

    #[test]
    fn a_key_that_was_not_stored_is_forgotten_with_what_failed() {
        let keyring = keyring();
        let lost = keyring.seal("practice", ROW, b"words").unwrap();
        keyring.load(Vec::new(), BTreeSet::new()).unwrap();
        assert_eq!(keyring.open("practice", ROW, &lost), Err(Sealed));
        assert!(keyring.take_new().is_empty());
        keyring.seal("practice", ROW, b"words").unwrap();
        assert_eq!(keyring.take_new().len(), 1);
    }

    #[test]
    fn on_another_device_nothing_opens_and_one_damaged_key_concerns_its_tenant_alone() {
        let first = keyring();
        let (of_practice, of_agency) =
            (first.seal("practice", ROW, b"words").unwrap(), first.seal("agency", ROW, b"words").unwrap());
        let mut stored = first.take_new();
        assert!(matches!(Keyring::new(&[8; 32]).unwrap().load(stored.clone(), BTreeSet::new()), Err(Error::DataKey)));
        stored[0].1[40] ^= 1;
        let damaged = loaded(&stored);
        assert_eq!(damaged.open("practice", ROW, &of_practice), Err(Sealed));
        assert_eq!(damaged.open("agency", ROW, &of_agency).unwrap(), b"words");
        assert!(matches!(damaged.admit("practice"), Err(Error::DataKey)));
        assert!(matches!(damaged.seal("practice", ROW, b"words"), Err(Error::DataKey)));
        assert!(damaged.admit("agency").is_ok() && damaged.admit("another").is_ok());
        assert!(damaged.take_new().is_empty());
    }

    #[test]
    fn an_erased_tenant_begins_again_with_another_key() {
        let keyring = keyring();
        let erased = keyring.seal("practice", ROW, b"words").unwrap();
        let tag = keyring.name_tag("practice", "a", "b").unwrap();
        keyring.begin_erasing("practice");
        assert_eq!(keyring.open("practice", ROW, &erased), Err(Sealed));
        assert!(keyring.is_erasing("practice") && !keyring.is_erasing("agency"));
        assert!(matches!(keyring.admit("practice"), Err(Error::Busy)));
        assert!(matches!(keyring.seal("practice", ROW, b"new"), Err(Error::Busy)));
        assert!(keyring.take_new().is_empty(), "a key that was never stored is not stored any more");
        keyring.load(Vec::new(), BTreeSet::from(["practice".to_owned()])).unwrap();
        assert!(matches!(keyring.seal("practice", ROW, b"new"), Err(Error::Busy)), "after a restart too");
        keyring.end_erasing("practice");
        let new = keyring.seal("practice", ROW, b"new").unwrap();
        assert_eq!(keyring.open("practice", ROW, &new).unwrap(), b"new");
        assert_eq!(keyring.open("practice", ROW, &erased), Err(Sealed));
        assert_ne!(keyring.new_name_tag("practice", "a", "b").unwrap(), tag);
    }

    #[test]
    fn another_device_takes_a_key_over() {
        let (old, new) = (keyring(), Keyring::new(&[8; 32]).unwrap());
        let wrapped = old.create("practice").unwrap();
        let exported = old.export("practice", &wrapped).unwrap();
        assert_eq!(exported.len(), EXPORTED_BYTES);
        assert!(new.export("practice", &wrapped).is_err() && old.export("agency", &wrapped).is_err());
        assert!(!new.has_key("practice"));
        let taken_over = new.take_over("practice", &exported).unwrap();
        assert_eq!(new.data_key("practice", &taken_over).unwrap(), old.data_key("practice", &wrapped).unwrap());
        assert_eq!(new.export("practice", &taken_over).unwrap(), exported, "with its id");
        assert!(old.data_key("practice", &taken_over).is_err());
        let value = old.seal_of("practice", &wrapped).unwrap().seal(ROW, b"words").unwrap();
        assert_eq!(new.open("practice", ROW, &value).unwrap(), b"words");
        assert!(new.take_new().is_empty());
        for n in 0..exported.len() {
            assert!(new.take_over("practice", &exported[..n]).is_err(), "cut at {n}");
        }
        assert!(new.take_over("practice", &[&**exported, &[0]].concat()).is_err());
    }

    #[test]
    fn nothing_random_comes_again() {
        let (seal, keyring) = (known("practice"), keyring());
        let nonces = (0..2000).map(|_| seal.seal(row(6, b"key"), b"words").unwrap()[1..13].to_vec());
        assert_eq!(nonces.collect::<BTreeSet<_>>().len(), 2000);
        let ids = (0..200).map(|_| keyring.create("practice").unwrap()[1..17].to_vec());
        assert_eq!(ids.collect::<BTreeSet<_>>().len(), 200);
        let keys = (0..200).map(|_| *keyring.data_key("practice", &keyring.create("practice").unwrap()).unwrap());
        assert_eq!(keys.collect::<BTreeSet<_>>().len(), 200);
    }

    #[test]
    fn the_tag_of_a_name_is_of_its_tenant_and_place() {
        let tag = known("practice").name_tag("place", "name");
        assert_eq!(tag.len(), 32);
        assert_eq!(tag, known("practice").name_tag("place", "name"));
        for (place, name) in [("place", "names"), ("places", "name"), ("placen", "ame"), ("", "placename")] {
            assert_ne!(tag, known("practice").name_tag(place, name), "{place} {name}");
        }
        assert_ne!(tag, seal_of("practice").name_tag("place", "name"));
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(
            format!("{:?} {:?}", known("practice"), keyring()),
            "Seal { tenant: \"practice\", .. } Keyring { .. }"
        );
    }

    #[test]
    fn values_that_are_stored_as_they_are_are_read_by_nothing_else() {
        let plain = Keyring::plain();
        let stored = plain.seal("practice", ROW, b"words").unwrap();
        assert!(stored.windows(5).any(|window| window == b"words"));
        assert_eq!(plain.open("practice", ROW, &stored).unwrap(), b"words");
        let sealing = Keyring::new(&[0; 32]).unwrap();
        sealing.load(plain.take_new(), BTreeSet::new()).unwrap();
        assert_eq!(sealing.open("practice", ROW, &stored), Err(Sealed));
        let sealed = sealing.seal("practice", ROW, b"words").unwrap();
        assert_eq!(plain.open("practice", ROW, &sealed), Err(Sealed));
    }
}
