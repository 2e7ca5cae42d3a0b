//! Routes: which agent answers a message. Pure.
//!
//! A route is `pattern -> agent`. Patterns are tried in the order of the file against the message's
//! [`Address`]; `*` matches anything, also nothing and also `:`. A pattern that begins with `tenant-<id>-` is
//! for exactly that tenant, however the ids of others begin; with a `*` in place of that, as in `tenant-*`,
//! it is tried against the address with its tenant; any other against the address without. Routing comes
//! after the session key and does not change it. Called by `gateway/`; knows `id` and `session`.

use std::collections::HashMap;

use crate::id::{AgentId, TenantId};
use crate::session::{Address, as_typed};

/// A checked route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    text: Box<str>,
    tenants: Tenants,
    /// What follows the tenant, if that is exact. As written in addresses: what ids escape is escaped here too.
    pattern: Box<str>,
    /// Bytes in front of its first `*`: most routes differ from most addresses there.
    n_literal: usize,
    agent: AgentId,
}

/// Whose messages a route may take.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tenants {
    /// Everybody's, and those of nobody: the pattern is about the address without its tenant.
    Any,
    /// Those of the tenant with this prefix, `tenant-<id>-`; the pattern is about the rest.
    One(Box<str>),
    /// The pattern is about the address with its tenant.
    Like,
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No arrow.
    #[error("{0:?} has no `->`; write a route like \"slack:T09ABC*:* -> reception\"")]
    NoArrow(String),
    /// Nothing in front of the arrow.
    #[error("{0:?} has no pattern in front of `->`; `*` matches every message")]
    NoPattern(String),
    /// What follows the arrow is no name.
    #[error("{text:?}: {source}")]
    Agent {
        /// The route as written.
        text: String,
        /// What is wrong with the name.
        source: crate::id::Error,
    },
}

impl Route {
    /// Checks a route.
    ///
    /// # Errors
    /// When arrow, pattern or agent is missing.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (pattern, agent) = text.rsplit_once("->").ok_or_else(|| Error::NoArrow(text.to_owned()))?;
        let (pattern, agent) = (pattern.trim(), agent.trim());
        if pattern.is_empty() {
            return Err(Error::NoPattern(text.to_owned()));
        }
        let agent = AgentId::new(agent).map_err(|source| Error::Agent { text: text.to_owned(), source })?;
        // A tenant in front of a key may have its `-` escaped; in addresses it has not.
        let pattern = as_typed(pattern).replace("%2D", "-");
        let (tenants, pattern) = Tenants::split(&pattern);
        let n_literal = pattern.find('*').unwrap_or(pattern.len());
        Ok(Self { text: text.into(), tenants, pattern: pattern.into(), n_literal, agent })
    }

    /// As the operator wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Who answers.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// What messages it takes, as the operator wrote it.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.text.rsplit_once("->").map_or("", |(pattern, _)| pattern.trim())
    }

    /// Is it for the tenant of `address` and for nobody else?
    #[must_use]
    pub fn is_only_for_tenant_of(&self, address: &Address) -> bool {
        matches!(&self.tenants, Tenants::One(prefix) if **prefix == *address.tenant_prefix())
    }

    /// Could it take a message of the tenant of `address`, wherever that was written?
    fn is_open_to_tenant_of(&self, address: &Address) -> bool {
        match &self.tenants {
            Tenants::Any => true,
            Tenants::One(prefix) => **prefix == *address.tenant_prefix(),
            Tenants::Like => {
                self.pattern.split_once('*').is_some_and(|(literal, _)| address.tenant_prefix().starts_with(literal))
            }
        }
    }

    fn matches(&self, address: &Address) -> bool {
        let text = match &self.tenants {
            Tenants::Any => address.plain_bytes(),
            Tenants::One(prefix) if *prefix.as_bytes() == *address.tenant_prefix_bytes() => address.plain_bytes(),
            Tenants::One(_) => return false,
            Tenants::Like => address.qualified_bytes(),
        };
        match (self.pattern.as_bytes().split_at_checked(self.n_literal), text.split_at_checked(self.n_literal)) {
            (Some((literal, pattern)), Some((front, rest))) => literal == front && glob(pattern, rest),
            _ => false,
        }
    }

    /// Could it take some message of the channel whose addresses begin with `front`?
    #[must_use]
    pub fn is_open_to(&self, front: &Address) -> bool {
        let text = match &self.tenants {
            Tenants::Any => front.plain(),
            Tenants::One(prefix) if **prefix == *front.tenant_prefix() => front.plain(),
            Tenants::One(_) => return false,
            Tenants::Like => front.qualified(),
        };
        // Every address goes on with `:` and an id, which may be anything.
        let front = format!("{text}:");
        match self.pattern.split_once('*') {
            Some((literal, _)) => literal.starts_with(&front) || front.starts_with(literal),
            None => self.pattern.len() > front.len() && self.pattern.starts_with(&front),
        }
    }

    /// Does this route take every message that `later` could? `false` also when nobody can tell.
    #[must_use]
    pub fn shadows(&self, later: &Self) -> bool {
        // A `*` of the later pattern is taken by a `*` of this one only, so a match covers all that it stands for.
        let covers = |pattern: &str| glob(self.pattern.as_bytes(), pattern.as_bytes());
        match (&self.tenants, &later.tenants) {
            (Tenants::Any, Tenants::Any | Tenants::One(_)) | (Tenants::Like, Tenants::Like) => covers(&later.pattern),
            (Tenants::One(prefix), Tenants::One(other)) => prefix == other && covers(&later.pattern),
            (Tenants::Like, Tenants::One(prefix)) => covers(&[prefix, &*later.pattern].concat()),
            // Where the tenant ends in such a pattern is open, and with it what an unqualified one must match.
            (Tenants::Any, Tenants::Like) => self.pattern.bytes().all(|byte| byte == b'*'),
            (Tenants::One(_) | Tenants::Like, Tenants::Any) | (Tenants::One(_), Tenants::Like) => false,
        }
    }
}

impl Tenants {
    /// Splits a pattern. The tag of a channel has no `-`, so the last one in front of the first `:` or `*` ends
    /// the tenant.
    fn split(pattern: &str) -> (Self, &str) {
        const FRONT: &str = "tenant-";
        if !pattern.starts_with(FRONT) {
            return (Self::Any, pattern);
        }
        let head = pattern.split([':', '*']).next().unwrap_or_default();
        let n_prefix = head.rfind('-').map_or(0, |at| at + 1);
        match pattern.split_at_checked(n_prefix) {
            Some((prefix, rest)) if n_prefix > FRONT.len() => (Self::One(prefix.into()), rest),
            _ => (Self::Like, pattern),
        }
    }
}

/// All routes and what holds without one.
#[derive(Debug, Clone)]
pub struct Router {
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// The default agents of tenants.
    pub tenants: HashMap<TenantId, AgentId>,
    /// Who answers what nobody else does.
    pub default_agent: AgentId,
}

/// Who answers, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed<'r> {
    /// Who.
    pub agent: &'r AgentId,
    /// The route that won; `None`: a default agent.
    pub route: Option<&'r Route>,
}

/// Whose an agent is, as far as routes and default agents say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It may answer the tenant.
    Own,
    /// Nobody names it.
    Shared,
    /// It answers other tenants only.
    Others,
}

impl Router {
    /// Whose `agent` is for `tenant`; `address` is any address of that tenant.
    #[must_use]
    pub fn reach(&self, agent: &AgentId, address: &Address, tenant: &TenantId) -> Reach {
        let default = self.tenants.get(tenant).unwrap_or(&self.default_agent);
        let mut routes = self.routes.iter().filter(|route| route.agent == *agent).peekable();
        let is_named = routes.peek().is_some() || self.tenants.values().any(|default| default == agent);
        if default == agent || routes.any(|route| route.is_open_to_tenant_of(address)) {
            Reach::Own
        } else if is_named {
            Reach::Others
        } else {
            Reach::Shared
        }
    }

    /// Finds the agent for a message.
    #[must_use]
    pub fn route(&self, address: &Address, tenant: Option<&TenantId>) -> Routed<'_> {
        match self.matching(address).next() {
            Some(route) => Routed { agent: &route.agent, route: Some(route) },
            None => Routed { agent: self.default_of(tenant), route: None },
        }
    }

    /// Who answers what no route takes.
    #[must_use]
    pub fn default_of(&self, tenant: Option<&TenantId>) -> &AgentId {
        tenant.and_then(|tenant| self.tenants.get(tenant)).unwrap_or(&self.default_agent)
    }

    /// All routes that match, the winner first.
    pub fn matching<'r, 'a>(&'r self, address: &'a Address) -> impl Iterator<Item = &'r Route> + use<'r, 'a> {
        self.matching_by_number(address).map(|(_, route)| route)
    }

    /// The same, each with its place among all routes, from 0.
    pub fn matching_by_number<'r, 'a>(
        &'r self,
        address: &'a Address,
    ) -> impl Iterator<Item = (usize, &'r Route)> + use<'r, 'a> {
        self.routes.iter().enumerate().filter(|(_, route)| route.matches(address))
    }
}

/// Matches `*` against anything. Linear but for the last `*`, whose try is repeated: no blow-up.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if text.get(t) == Some(byte) => {
                p += 1;
                t += 1;
            }
            _ => match &mut retry {
                Some((after_star, from)) => {
                    *from += 1;
                    (p, t) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChannelType;

    fn check(pattern: &str, address: &str, expected: bool) {
        let route = Route::parse(&format!("{pattern} -> a")).unwrap();
        assert_eq!(route.matches(&Address::parse(address).unwrap()), expected, "{pattern} against {address}");
    }

    #[test]
    fn a_star_matches_anything() {
        check("slack:T09ABC*:*", "slack:T09ABC123:C1:U1", true);
        check("slack:T09ABC*:*", "slack:T09ABD:C1:U1", false);
        check("*", "wa:+1555", true);
        check("webhook:*", "webhook:u", true);
        check("webhook:*", "webchat:u", false);
        check("*:U1", "slack:T:C:U1", true);
        check("a*b*c", "axxbxbc", true);
        check("a*b*c", "axxbxbcd", false);
    }

    #[test]
    fn a_tenant_may_be_named() {
        check("tenant-42-slack:*", "tenant-42-slack:T:C:U", true);
        check("tenant-42-slack:*", "tenant-43-slack:T:C:U", false);
        check("tenant-42-slack:*", "slack:T:C:U", false);
        check("slack:*", "tenant-43-slack:T:C:U", true);
        check("tenant-*", "tenant-acme-dental-slack:T", true);
        check("tenant-*-slack:*", "tenant-acme-dental-slack:T", true);
        check("tenant-*", "slack:T", false);
    }

    #[test]
    fn a_named_tenant_is_not_the_beginning_of_another() {
        check("tenant-acme-*", "tenant-acme-slack:T", true);
        check("tenant-acme-*", "tenant-acme-dental-slack:T", false);
        check("tenant-acme-s*", "tenant-acme-sleep-slack:T", false);
        check("tenant-acme-dental-*", "tenant-acme-dental-slack:T", true);
        check("tenant-acme-dental-*", "tenant-acme-slack:dental-x", false);
        check("tenant-acme-*:dental-x", "tenant-acme-slack:dental-x", true);
        check("tenant-acme*", "tenant-acme-dental-slack:T", true);
        check("tenant-acme-*", "tenant-acme", false);
        check("tenant-acme-slack:T", "tenant-acme-slack:T", true);
    }

    #[test]
    fn ids_with_odd_characters_are_matched_as_keys_write_them() {
        check("irc:#general:*", "irc:%23general:nick", true);
        check("irc:%23general:*", "irc:%23general:nick", true);
        check("matrix:!room_abc:server:*", "matrix:!room_abc:server:@user:server", true);
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        check(&"*a".repeat(40), &"a".repeat(5_000), true);
        check(&format!("{}b", "*a".repeat(40)), &"a".repeat(5_000), false);
    }

    #[test]
    fn a_route_behind_a_wider_one_is_shadowed() {
        let check = |earlier: &str, later: &str, expected: bool| {
            let route = |pattern: &str| Route::parse(&format!("{pattern} -> a")).unwrap();
            assert_eq!(route(earlier).shadows(&route(later)), expected, "{earlier} in front of {later}");
        };
        check("slack:*", "slack:T1:*", true);
        check("*", "slack:*", true);
        check("slack:T1:*", "slack:*", false);
        check("slack:*", "tenant-42-slack:T1:*", true);
        check("slack:T2:*", "tenant-42-slack:T1:*", false);
        check("*", "tenant-*", true);
        check("slack:*", "tenant-*-slack:*", false);
        check("*-slack:*", "tenant-42-slack:*", false);
        check("tenant-42-slack:*", "slack:T1:*", false);
        check("tenant-42-*", "tenant-42-slack:T1:*", true);
        check("tenant-acme-*", "tenant-acme-dental-slack:*", false);
        check("tenant-acme*", "tenant-acme-dental-slack:*", true);
        check("tenant-*", "tenant-42-slack:*", true);
        check("tenant-*", "tenant-a*", true);
        check("tenant-*", "slack:*", false);
    }

    #[test]
    fn a_route_is_open_to_channels_whose_addresses_it_could_match() {
        let check = |pattern: &str, tenant: Option<&str>, expected: bool| {
            let (tenant, channel) = (tenant.map(|id| TenantId::new(id).unwrap()), ChannelType::new("slack").unwrap());
            let route = Route::parse(&format!("{pattern} -> a")).unwrap();
            assert_eq!(route.is_open_to(&Address::front(tenant.as_ref(), &channel)), expected, "{pattern} {tenant:?}");
        };
        check("*", None, true);
        check("slack:*", None, true);
        check("slack:*", Some("42"), true);
        check("sl*", None, true);
        check("*:U1", None, true);
        check("slack:T1:C1:U1", None, true);
        check("slack", None, false);
        check("slack:", None, false);
        check("slak:*", None, false);
        check("slackbot*", None, false);
        check("tenant-42-*", Some("42"), true);
        check("tenant-42-slack:*", Some("42"), true);
        check("tenant-42-slak:*", Some("42"), false);
        check("tenant-42-*", Some("43"), false);
        check("tenant-42-*", None, false);
        check("tenant-*", None, false);
        check("tenant-4*", Some("42"), true);
        check("tenant-*-slack:*", Some("acme"), true);
    }

    fn check_reach(routes: &[&str], expected: Reach) {
        let router = Router {
            routes: routes.iter().map(|pattern| Route::parse(&format!("{pattern} -> a")).unwrap()).collect(),
            tenants: HashMap::new(),
            default_agent: AgentId::new("reception").unwrap(),
        };
        let (address, tenant) = (Address::parse("tenant-4-api:key_crm").unwrap(), TenantId::new("4").unwrap());
        assert_eq!(router.reach(&AgentId::new("a").unwrap(), &address, &tenant), expected, "{routes:?}");
    }

    #[test]
    fn an_agent_that_only_routes_of_other_tenants_name_is_theirs() {
        check_reach(&[], Reach::Shared);
        check_reach(&["tenant-4-slack:*"], Reach::Own);
        check_reach(&["tenant-4-*"], Reach::Own);
        check_reach(&["tenant-*"], Reach::Own);
        check_reach(&["tenant-*:U1"], Reach::Own);
        check_reach(&["slack:T1:*"], Reach::Own);
        check_reach(&["tenant-4*"], Reach::Own);
        check_reach(&["tenant-5-slack:*", "*:U1"], Reach::Own);
        check_reach(&["tenant-5*"], Reach::Others);
        check_reach(&["tenant-5-slack:*"], Reach::Others);
        check_reach(&["tenant-42-*"], Reach::Others);
        check_reach(&["tenant-4-2-slack:*"], Reach::Others);
        check_reach(&["tenant-4"], Reach::Others);
    }

    #[test]
    fn the_default_agent_of_another_tenant_is_theirs() {
        let (own, other) = (TenantId::new("4").unwrap(), TenantId::new("5").unwrap());
        let agent = |name| AgentId::new(name).unwrap();
        let tenants = HashMap::from([(own.clone(), agent("own")), (other, agent("other"))]);
        let router = Router { routes: Vec::new(), tenants, default_agent: agent("reception") };
        let address = Address::parse("tenant-4-api:key_crm").unwrap();
        let reach = |name| router.reach(&agent(name), &address, &own);
        assert_eq!([reach("own"), reach("other"), reach("reception")], [Reach::Own, Reach::Others, Reach::Shared]);
    }

    #[test]
    fn what_is_no_route_says_what_to_write() {
        assert!(Route::parse("slack:*").unwrap_err().to_string().contains("->"));
        assert!(matches!(Route::parse(" -> a"), Err(Error::NoPattern(_))));
        assert!(matches!(Route::parse("* -> "), Err(Error::Agent { .. })));
    }
}
