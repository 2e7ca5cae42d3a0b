//! Keys as backups write them: bytes that compare as the tables compare keys, and that any program can take apart.
//!
//! An element of text is its UTF-8, a NUL in it written `00 ff`, then `00 00`; a number is its bytes, the most
//! significant first. So no key is the beginning of another, and two lists of rows can be merged without knowing what
//! a key means.

use redb::Key;

/// A key of a table.
pub(super) trait PortableKey: Key + 'static {
    /// What it borrows from.
    type Owned;

    /// Appends the key as bytes.
    fn write(key: &Self::SelfType<'_>, out: &mut Vec<u8>);

    /// From such bytes; `None` when nobody wrote them.
    fn read(bytes: &[u8]) -> Option<Self::Owned>;

    /// For the table.
    fn lend(owned: &Self::Owned) -> Self::SelfType<'_>;
}

/// An element of a key.
pub(super) trait Element: Key + 'static {
    type Owned;

    fn write(element: &Self::SelfType<'_>, out: &mut Vec<u8>);

    /// Takes one from the front.
    fn take(rest: &mut &[u8]) -> Option<Self::Owned>;

    fn lend(owned: &Self::Owned) -> Self::SelfType<'_>;
}

impl Element for &'static str {
    type Owned = String;

    fn write(element: &&str, out: &mut Vec<u8>) {
        for byte in element.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
        out.extend([0, 0]);
    }

    fn take(rest: &mut &[u8]) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let (piece, marked) = rest.split_at_checked(rest.iter().position(|byte| *byte == 0)?)?;
            bytes.extend_from_slice(piece);
            match marked {
                [0, 0, after @ ..] => {
                    *rest = after;
                    return String::from_utf8(bytes).ok();
                }
                [0, 0xff, after @ ..] => {
                    bytes.push(0);
                    *rest = after;
                }
                _ => return None,
            }
        }
    }

    fn lend(owned: &String) -> &str {
        owned
    }
}

macro_rules! number {
    ($($number:ty),+) => {
        $(impl Element for $number {
            type Owned = $number;

            fn write(element: &$number, out: &mut Vec<u8>) {
                out.extend(element.to_be_bytes());
            }

            fn take(rest: &mut &[u8]) -> Option<$number> {
                let (bytes, after) = rest.split_first_chunk()?;
                *rest = after;
                Some(<$number>::from_be_bytes(*bytes))
            }

            fn lend(owned: &$number) -> $number {
                *owned
            }
        })+
    };
}

number!(u64, u128);

impl PortableKey for &'static str {
    type Owned = String;

    fn write(key: &&str, out: &mut Vec<u8>) {
        <&'static str as Element>::write(key, out);
    }

    fn read(mut bytes: &[u8]) -> Option<String> {
        let text = <&str as Element>::take(&mut bytes)?;
        bytes.is_empty().then_some(text)
    }

    fn lend(owned: &String) -> &str {
        owned
    }
}

impl PortableKey for u64 {
    type Owned = u64;

    fn write(key: &u64, out: &mut Vec<u8>) {
        <u64 as Element>::write(key, out);
    }

    fn read(mut bytes: &[u8]) -> Option<u64> {
        let number = <u64 as Element>::take(&mut bytes)?;
        bytes.is_empty().then_some(number)
    }

    fn lend(owned: &u64) -> u64 {
        *owned
    }
}

macro_rules! tuple {
    ($($element:ident $place:tt),+) => {
        impl<$($element: Element),+> PortableKey for ($($element,)+) {
            type Owned = ($($element::Owned,)+);

            fn write(key: &Self::SelfType<'_>, out: &mut Vec<u8>) {
                $($element::write(&key.$place, out);)+
            }

            fn read(mut bytes: &[u8]) -> Option<Self::Owned> {
                let owned = ($($element::take(&mut bytes)?,)+);
                bytes.is_empty().then_some(owned)
            }

            fn lend(owned: &Self::Owned) -> Self::SelfType<'_> {
                ($($element::lend(&owned.$place),)+)
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::Value;

    use super::*;

    type Two = (&'static str, &'static str);
    type Three = (&'static str, &'static str, u64);
    type Four = (u64, &'static str, &'static str, &'static str);
    type Wide = (&'static str, &'static str, u128);

    fn written<K: PortableKey>(key: &K::SelfType<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        K::write(key, &mut out);
        out
    }

    fn as_redb<K: PortableKey>(key: &K::SelfType<'_>) -> Vec<u8> {
        <K as Value>::as_bytes(key).as_ref().to_vec()
    }

    /// Both read back, and compare as bytes as the table compares them.
    fn check<K: PortableKey>(one: &K::SelfType<'_>, other: &K::SelfType<'_>) {
        let (bytes, stored) = (written::<K>(one), as_redb::<K>(one));
        assert_eq!(as_redb::<K>(&K::lend(&K::read(&bytes).unwrap())), stored);
        let by_table = K::compare(&stored, &as_redb::<K>(other));
        assert_eq!(bytes.cmp(&written::<K>(other)), by_table);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[\\x00\\x01ab\u{ff}]{0,4}", ".{0,8}"]
    }

    proptest! {
        #[test]
        fn keys_read_back_and_keep_their_order(
            a in text(), b in text(), c in text(), d in text(), e in text(), f in text(), n: u64, m: u64, w: u128, x: u128,
        ) {
            check::<Two>(&(&a, &b), &(&c, &d));
            check::<Two>(&(&a, &b), &(&a, &d));
            check::<Three>(&(&a, &b, n), &(&a, &b, m));
            check::<Three>(&(&a, &b, n), &(&c, &d, m));
            check::<Four>(&(n, &a, &b, &c), &(n, &d, &e, &f));
            check::<Wide>(&(&a, &b, w), &(&a, &b, x));
            check::<&str>(&a.as_str(), &b.as_str());
        }

        #[test]
        fn no_bytes_make_a_key_that_writes_itself_otherwise(bytes in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..40)) {
            if let Some(owned) = Three::read(&bytes) {
                prop_assert_eq!(written::<Three>(&Three::lend(&owned)), bytes);
            }
        }
    }
}
