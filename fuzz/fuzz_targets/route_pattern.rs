//! Eats two routes, an address, and what the `*` of the second stand for.

#![no_main]

mod identity;

use frontdesk::id::AgentId;
use frontdesk::route::{Route, Router};
use frontdesk::session::Address;
use identity::Anybody;
use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Patterns and addresses are lines; the last line may be an identity instead.
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (Ok(first), Ok(second), Ok(filling)) = (str::from_utf8(line()), str::from_utf8(line()), str::from_utf8(line()))
    else {
        return;
    };
    let last = line();
    let (Some(first), Some(second)) = (Pattern::parse(first), Pattern::parse(second)) else { return };
    for pattern in [&first, &second] {
        assert!(pattern.route.shadows(&pattern.route), "{:?} takes all its own messages", pattern.route.as_str());
    }
    let filled = second.filled(filling);
    let typed = [str::from_utf8(last).unwrap_or_default(), filling, &filled];
    let mut addresses: Vec<Address> = typed.into_iter().filter_map(Address::parse).collect();
    if let Ok(Anybody(identity)) = Anybody::arbitrary(&mut Unstructured::new(last)) {
        let address = Address::of(&identity);
        assert_eq!(Address::parse(address.qualified()).as_ref(), Some(&address), "printed and parsed");
        assert_eq!(address.tenant().as_deref(), identity.tenant.as_ref().map(|tenant| tenant.as_str()));
        addresses.push(address);
    }
    for address in &addresses {
        assert_eq!([address.tenant_prefix(), address.plain()].concat(), address.qualified());
        let [is_first, is_second] = [&first, &second].map(|pattern| {
            let is_match = pattern.matches(address);
            assert_eq!(is_match, pattern.should_match(address), "{:?} and {address:?}", pattern.route.as_str());
            is_match
        });
        for (wider, narrower, is_wider, is_narrower) in
            [(&first, &second, is_first, is_second), (&second, &first, is_second, is_first)]
        {
            if wider.route.shadows(&narrower.route) && is_narrower {
                let [wider, narrower] = [wider, narrower].map(|pattern| pattern.route.as_str());
                assert!(is_wider, "{wider:?} is said to take all of {narrower:?}, and does not take {address:?}");
            }
        }
    }
});

struct Pattern {
    route: Route,
    /// What stands in front of `->`, with what ids escape escaped.
    escaped: String,
}

impl Pattern {
    fn parse(pattern: &str) -> Option<Self> {
        let text = format!("{pattern} -> a");
        match Route::parse(&text) {
            Ok(route) => {
                assert_eq!(route.as_str(), text);
                assert_eq!(route.agent().as_str(), "a");
                let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+!@:*%".contains(&byte);
                let escape = |byte| if keep(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
                let escaped: String = pattern.trim().bytes().map(escape).collect();
                // In addresses `-` is never escaped; in keys a tenant's may be.
                Some(Self { route, escaped: escaped.replace("%2D", "-") })
            }
            Err(error) => {
                assert!(pattern.trim().is_empty(), "{pattern:?}: {error}");
                None
            }
        }
    }

    /// One text that the pattern stands for.
    fn filled(&self, filling: &str) -> String {
        let mut fillings = filling.split(' ').cycle();
        let filled = self.escaped.split('*').map(str::to_owned);
        filled.reduce(|front, piece| [&front, fillings.next().unwrap_or_default(), &piece].concat()).unwrap_or_default()
    }

    fn matches(&self, address: &Address) -> bool {
        let default_agent = AgentId::new("default").unwrap();
        let router = Router { routes: vec![self.route.clone()], tenants: Default::default(), default_agent };
        let is_match = router.matching(address).next().is_some();
        assert_eq!(router.route(address, None).route.is_some(), is_match);
        is_match
    }

    /// What the words of the documents say, without a thought for speed.
    fn should_match(&self, address: &Address) -> bool {
        let Some(behind) = self.escaped.strip_prefix("tenant-") else {
            return naive(self.escaped.as_bytes(), address.plain().as_bytes());
        };
        // The first segment, as far as it is literal. Its last `-` ends the tenant: the tag of a channel has none.
        let head = behind.split([':', '*']).next().unwrap_or_default();
        match head.rfind('-') {
            Some(at) => {
                let (tenant, rest) = behind.split_at(at + 1);
                address.tenant_prefix() == format!("tenant-{tenant}")
                    && naive(rest.as_bytes(), address.plain().as_bytes())
            }
            None => naive(self.escaped.as_bytes(), address.qualified().as_bytes()),
        }
    }
}

/// `reached[t]`: the pattern so far can stand for the first `t` bytes of the text.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for byte in pattern {
        if *byte == b'*' {
            let first = reached.iter().position(|is_reached| *is_reached).unwrap_or(reached.len());
            reached[first..].fill(true);
        } else {
            for t in (0..text.len()).rev() {
                reached[t + 1] = reached[t] && text[t] == *byte;
            }
            reached[0] = false;
        }
    }
    reached[text.len()]
}
