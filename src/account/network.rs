//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr};

/// Is it an address of this machine or of the network at home? Then it belongs to somebody who is about there.
///
/// Loopback, private (RFC 1918, RFC 4193) and link-local ones are, also when IPv4 is written as IPv6. What providers share
/// among their customers (100.64.0.0/10) is not.
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// What one person can hardly have more of: an address of IPv4, 64 bits of one of IPv6.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: bool) {
        assert_eq!(is_local(text.parse().unwrap()), expected, "{text}");
    }

    #[test]
    fn the_edges_of_what_is_local() {
        for (inside, outside) in [
            (["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            (["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            (["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            (["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
            (["169.254.0.0", "169.254.255.255"], ["169.253.255.255", "169.255.0.0"]),
            (["fc00::", "fdff:ffff::1"], ["fbff::1", "fe00::"]),
            (["fe80::", "febf::1"], ["fe7f::1", "fec0::"]),
            (["::1", "::ffff:10.1.2.3"], ["::2", "::ffff:8.8.8.8"]),
        ] {
            inside.into_iter().for_each(|text| check(text, true));
            outside.into_iter().for_each(|text| check(text, false));
        }
        for text in ["0.0.0.0", "::", "100.64.0.1", "100.127.255.255", "::10.1.2.3", "255.255.255.255", "2001:db8::1"] {
            check(text, false);
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_local_by_its_first_bytes_in_either_form(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let expected = matches!(
                address.octets(),
                [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..]
            );
            prop_assert_eq!(is_local(address.into()), expected);
            prop_assert_eq!(is_local(address.to_ipv6_mapped().into()), expected);
            prop_assert_eq!(network(address.to_ipv6_mapped().into()), IpAddr::from(address));
        }

        #[test]
        fn an_ipv6_address_is_local_by_its_first_bits(bits: u128) {
            // Seven bits are few enough to come up; the others are made so.
            for bits in [bits, bits >> 8 | 0xfe << 120, bits >> 8 | 0xfd << 120, bits >> 10 | 0xfe80 << 112] {
                let address = Ipv6Addr::from_bits(bits);
                let expected = bits >> 121 == 0b111_1110 || bits >> 118 == 0b11_1111_1010;
                prop_assert_eq!(is_local(address.into()), expected, "{}", address);
                let IpAddr::V6(network) = network(address.into()) else { panic!("{address}") };
                prop_assert_eq!(network.to_bits(), bits >> 64 << 64);
            }
        }
    }
}
