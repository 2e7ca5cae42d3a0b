//! Everything that somebody may do with accounts, over a home of its own.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::document::Secret;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "seven purple lighthouses";

struct Desk {
    home: TempDir,
    clock: Arc<ManualClock>,
    accounts: Accounts,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000)));
        let accounts = Accounts::open(home.path(), clock.clone()).unwrap();
        Self { home, clock, accounts }
    }

    /// With an administrator called Ada.
    async fn claimed() -> (Self, NewSession) {
        let one = Self::new();
        let code = one.accounts.claim_code().unwrap();
        let session = one.accounts.claim(&code, "Ada", &secret(PASSWORD), near()).await.unwrap();
        (one, session)
    }

    /// As after a power cut.
    fn restart(&mut self) {
        self.accounts = Accounts::open(self.home.path(), self.clock.clone()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    async fn log_in(&self, name: &str, password: &str, from: IpAddr) -> Result<NewSession, LoginError> {
        self.accounts.log_in(name, &secret(password), from).await
    }

    /// Fails to log in as often as it is let, in two minutes.
    async fn storm(&self, name: &str, from: IpAddr) {
        for _ in 0..120 {
            assert!(self.log_in(name, "wrong", from).await.is_err());
            self.clock.advance_ms(1000);
        }
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn near() -> IpAddr {
    "192.168.1.20".parse().unwrap()
}

fn far(n: u8) -> IpAddr {
    [203, 0, 113, n].into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_new_box_is_claimed_once_with_its_code() {
    let mut one = Desk::new();
    assert!(!one.accounts.is_claimed() && one.accounts.is_claimable());
    let code = one.accounts.claim_code().unwrap();
    assert_eq!(fs::read_to_string(one.path("claim.code")).unwrap(), format!("{}\n", code.expose()));
    assert_eq!([mode(&one.path("claim.code")), mode(&one.path("accounts.json"))], [0o600, 0o600]);
    one.restart();
    assert_eq!(one.accounts.claim_code(), Some(code.clone()), "the same until it is used");
    assert!(matches!(
        one.accounts.add_user("Bob", Role::Admin, Reach::All, &secret(PASSWORD)).await,
        Err(Error::Unclaimed)
    ));
    let typed = secret(&code.expose().to_lowercase().replace('-', " "));
    let new = one.accounts.claim(&typed, " Ada ", &secret(PASSWORD), near()).await.unwrap();
    assert_eq!(new.session.who, Who { name: "Ada".into(), role: Role::Admin, reach: Reach::All, from: None });
    assert!(one.accounts.is_claimed() && !one.accounts.is_claimable() && one.accounts.claim_code().is_none());
    assert!(!one.path("claim.code").exists());
    let again = one.accounts.claim(&code, "Eve", &secret(OTHER), near()).await;
    assert!(matches!(again, Err(ClaimError::Claimed)), "{again:?}");
    // One that is left behind by a power cut opens nothing.
    fs::write(one.path("claim.code"), code.expose()).unwrap();
    one.restart();
    assert!(!one.path("claim.code").exists() && one.accounts.is_claimed());
    assert_eq!(one.accounts.session(new.token.expose()).await.unwrap().who.name, "Ada");
}

#[tokio::test]
async fn a_claim_needs_the_network_the_code_and_a_good_password() {
    let one = Desk::new();
    let code = one.accounts.claim_code().unwrap();
    let claim = async |code: &Secret, name: &str, password: &str, from| {
        one.accounts.claim(code, name, &secret(password), from).await.map(|_| ()).unwrap_err()
    };
    assert!(matches!(claim(&code, "Ada", PASSWORD, far(1)).await, ClaimError::NotLocal));
    assert!(matches!(claim(&code, "Ada", "short", near()).await, ClaimError::Account(Error::Weak(Weakness::Short))));
    assert!(matches!(claim(&code, "", PASSWORD, near()).await, ClaimError::Account(Error::Name(NameError::Empty))));
    let wrong = secret("0000-0000-00");
    assert!(matches!(claim(&wrong, "Ada", PASSWORD, near()).await, ClaimError::Wrong));
    let ClaimError::TooMany { retry_after } = claim(&code, "Ada", PASSWORD, near()).await else {
        panic!("the right one, too early")
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    assert!(!one.accounts.is_claimed());
    one.clock.advance_ms(1000);
    one.accounts.claim(&code, "Ada", &secret(PASSWORD), near()).await.unwrap();
}

#[tokio::test]
async fn of_two_who_claim_at_once_one_does() {
    let one = Desk::new();
    let code = one.accounts.claim_code().unwrap();
    let (ada, bob) = (secret(PASSWORD), secret(OTHER));
    let claims = futures_util::future::join(
        one.accounts.claim(&code, "Ada", &ada, near()),
        one.accounts.claim(&code, "Bob", &bob, "10.0.0.1".parse().unwrap()),
    );
    let (first, second) = claims.await;
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(one.accounts.users().len(), 1);
}

#[tokio::test]
async fn nothing_that_opens_something_is_in_the_file() {
    let (one, session) = Desk::claimed().await;
    let new = NewToken { name: "reports".into(), role: Role::Support, reach: Reach::All, expires_at: None };
    let token = one.accounts.create_token(new).await.unwrap();
    one.accounts.recover().await.unwrap();
    let code = one.accounts.claim_code().unwrap();
    let text = fs::read_to_string(one.path("accounts.json")).unwrap();
    let bare = code.expose().replace('-', "");
    for secret in
        [PASSWORD, session.token.expose(), session.session.csrf.expose(), token.expose(), code.expose(), &bare]
    {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(!format!("{:?} {session:?} {code:?}", one.accounts).contains(session.token.expose()));
}

#[tokio::test]
async fn logging_in_gives_a_new_session_each_time_and_one_answer_to_everything_wrong() {
    let (one, first) = Desk::claimed().await;
    let second = one.log_in("ADA", PASSWORD, near()).await.unwrap();
    assert_ne!(first.token, second.token);
    assert_ne!(first.session.csrf, second.session.csrf);
    assert!(first.session.is_csrf(first.session.csrf.expose()));
    assert!(!first.session.is_csrf(second.session.csrf.expose()) && !first.session.is_csrf(""));
    let long = "x".repeat(1 << 16);
    let wrong = [("Ada", "wrong"), ("Eve", PASSWORD), ("", PASSWORD), ("a\nb", ""), ("Ada", &long)];
    for (n, (name, password)) in (0..).zip(wrong) {
        let said = one.log_in(name, password, far(n)).await.unwrap_err();
        assert!(matches!(said, LoginError::Wrong), "{name} {said:?}");
        one.clock.advance_ms(5000);
    }
    assert!(one.accounts.session("").await.is_none() && one.accounts.session("guess").await.is_none());
    one.accounts.log_out(first.token.expose()).await.unwrap();
    assert!(one.accounts.session(first.token.expose()).await.is_none());
    assert!(one.accounts.session(second.token.expose()).await.is_some());
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    let (mut one, session) = Desk::claimed().await;
    let token = session.token.expose();
    for _ in 0..4 {
        one.clock.advance_ms(7 * DAY_MS - 1);
        assert!(one.accounts.session(token).await.is_some());
        one.restart();
    }
    one.clock.advance_ms(2 * DAY_MS);
    assert!(one.accounts.session(token).await.is_some());
    one.clock.advance_ms(4);
    assert!(one.accounts.session(token).await.is_none(), "thirty days");
    let idle = one.log_in("Ada", PASSWORD, near()).await.unwrap();
    one.clock.advance_ms(7 * DAY_MS);
    assert!(one.accounts.session(idle.token.expose()).await.is_none());
    assert!(one.accounts.sessions().is_empty());
}

#[tokio::test]
async fn use_is_noted_at_most_once_an_hour() {
    let (one, session) = Desk::claimed().await;
    let text = || fs::read(one.path("accounts.json")).unwrap();
    let before = text();
    one.clock.advance_ms(HOUR_MS - 1);
    one.accounts.session(session.token.expose()).await.unwrap();
    assert_eq!(text(), before);
    one.clock.advance_ms(1);
    one.accounts.session(session.token.expose()).await.unwrap();
    assert_ne!(text(), before);
    assert_eq!(one.accounts.sessions()[0].used_at, one.clock.now());
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_goes() {
    let (one, first) = Desk::claimed().await;
    one.clock.advance_ms(HOUR_MS);
    let second = one.log_in("Ada", PASSWORD, near()).await.unwrap();
    one.clock.advance_ms(HOUR_MS);
    for _ in 2..20 {
        one.log_in("Ada", PASSWORD, near()).await.unwrap();
    }
    assert!(one.accounts.session(first.token.expose()).await.is_some(), "it is used now");
    one.log_in("Ada", PASSWORD, near()).await.unwrap();
    assert_eq!(one.accounts.sessions().len(), 20);
    assert!(one.accounts.session(first.token.expose()).await.is_some());
    assert!(one.accounts.session(second.token.expose()).await.is_none());
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let (one, first) = Desk::claimed().await;
    one.accounts.add_user("Bob", Role::Support, Reach::All, &secret(OTHER)).await.unwrap();
    let bob = one.log_in("bob", OTHER, "2001:db8::7".parse().unwrap()).await.unwrap();
    let rows = one.accounts.sessions();
    assert_eq!(rows.iter().map(|row| row.user.as_str()).collect::<Vec<_>>(), ["Ada", "Bob"]);
    assert_eq!(rows[1].from, "2001:db8::7".parse::<IpAddr>().unwrap());
    assert_eq!(rows[1].id, bob.session.id);
    one.accounts.revoke_session(&bob.session.id).await.unwrap();
    assert!(one.accounts.session(bob.token.expose()).await.is_none());
    assert!(matches!(one.accounts.revoke_session(&bob.session.id).await, Err(Error::Unknown { .. })));
    let second = one.log_in("Ada", PASSWORD, near()).await.unwrap();
    assert_eq!(one.accounts.revoke_sessions_of("ada").await.unwrap(), 2);
    for token in [first.token, second.token] {
        assert!(one.accounts.session(token.expose()).await.is_none());
    }
    assert!(matches!(one.accounts.revoke_sessions_of("Eve").await, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn another_password_ends_the_other_sessions() {
    let (one, mine) = Desk::claimed().await;
    let other = one.log_in("Ada", PASSWORD, near()).await.unwrap();
    let change = async |current: &str, new: &str| {
        one.accounts.change_password(&mine.session, &secret(current), &secret(new), near()).await
    };
    assert!(matches!(change("wrong", OTHER).await, Err(LoginError::Wrong)));
    one.clock.advance_ms(1000);
    assert!(matches!(change(PASSWORD, "password123").await, Err(LoginError::Account(Error::Weak(Weakness::Common)))));
    change(PASSWORD, OTHER).await.unwrap();
    assert!(one.accounts.session(mine.token.expose()).await.is_some());
    assert!(one.accounts.session(other.token.expose()).await.is_none());
    assert!(matches!(one.log_in("Ada", PASSWORD, near()).await, Err(LoginError::Wrong)));
    one.clock.advance_ms(60_000);
    one.log_in("Ada", OTHER, near()).await.unwrap();
    one.accounts.set_password("ada", &secret(PASSWORD), None).await.unwrap();
    assert!(one.accounts.sessions().is_empty());
    assert!(matches!(one.accounts.set_password("Eve", &secret(OTHER), None).await, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn whoever_knows_the_old_password_does_not_undo_a_reset() {
    let (one, mine) = Desk::claimed().await;
    let (current, new, reset) = (secret(PASSWORD), secret("eleven brass umbrellas"), secret(OTHER));
    // The change compares first, and meanwhile the reset waits for its turn.
    let (changed, set) = futures_util::future::join(
        one.accounts.change_password(&mine.session, &current, &new, near()),
        one.accounts.set_password("Ada", &reset, None),
    )
    .await;
    set.unwrap();
    assert!(one.log_in("Ada", OTHER, far(1)).await.is_ok(), "{changed:?}");
    assert!(matches!(one.log_in("Ada", new.expose(), far(2)).await, Err(LoginError::Wrong)));
}

#[tokio::test]
async fn a_session_that_has_ended_changes_no_password() {
    let (one, mine) = Desk::claimed().await;
    one.accounts.revoke_session(&mine.session.id).await.unwrap();
    let changed = one.accounts.change_password(&mine.session, &secret(PASSWORD), &secret(OTHER), near()).await;
    assert!(matches!(changed, Err(LoginError::Wrong)), "{changed:?}");
    assert!(one.log_in("Ada", PASSWORD, near()).await.is_ok());
}

#[tokio::test]
async fn a_password_that_says_who_has_it_is_weak() {
    let (one, _) = Desk::claimed().await;
    let name = "Zahnarztpraxis Lindenhof";
    let password = secret("zahnarztpraxis lindenhof");
    let set = async |words: &[&str]| {
        one.accounts.set_words(words.iter().map(|word| (*word).to_owned()).collect());
        one.accounts.set_password("Ada", &password, None).await
    };
    assert!(set(&[]).await.is_ok());
    assert!(matches!(set(&[name]).await, Err(Error::Weak(_))));
    one.accounts.set_words(Vec::new());
    assert!(matches!(one.accounts.add_user(name, Role::Support, Reach::All, &password).await, Err(Error::Weak(_))));
}

#[tokio::test]
async fn accounts_are_added_and_removed_and_one_administrator_stays() {
    let (mut one, _) = Desk::claimed().await;
    let tenant = Reach::Tenant(TenantId::new("42").unwrap());
    let add =
        async |one: &Desk, name: &str, role, reach| one.accounts.add_user(name, role, reach, &secret(OTHER)).await;
    add(&one, "Bob", Role::Support, tenant.clone()).await.unwrap();
    add(&one, "Cleo", Role::Admin, tenant.clone()).await.unwrap();
    assert!(matches!(add(&one, "BOB", Role::Admin, Reach::All).await, Err(Error::Taken)));
    assert!(matches!(add(&one, "console", Role::Admin, Reach::All).await, Err(Error::Name(NameError::Reserved))));
    assert!(matches!(one.accounts.remove_user("Ada").await, Err(Error::LastAdmin)), "Cleo is not one of everything");
    one.restart();
    let rows = one.accounts.users();
    let found: Vec<_> =
        rows.iter().map(|row| (row.name.as_str(), row.role, row.reach.clone(), row.n_sessions)).collect();
    assert_eq!(
        found,
        [
            ("Ada", Role::Admin, Reach::All, 1),
            ("Bob", Role::Support, tenant.clone(), 0),
            ("Cleo", Role::Admin, tenant.clone(), 0)
        ]
    );
    let bob = one.log_in("Bob", OTHER, near()).await.unwrap();
    assert_eq!(bob.session.who, Who { name: "Bob".into(), role: Role::Support, reach: tenant, from: None });
    one.accounts.remove_user("bob").await.unwrap();
    assert!(one.accounts.session(bob.token.expose()).await.is_none());
    assert!(matches!(one.accounts.remove_user("bob").await, Err(Error::Unknown { .. })));
    add(&one, "Dora", Role::Admin, Reach::All).await.unwrap();
    one.accounts.remove_user("Ada").await.unwrap();
    assert!(one.accounts.is_claimed());
}

#[tokio::test]
async fn tokens_say_who_uses_them_until_they_end() {
    let (mut one, _) = Desk::claimed().await;
    let tenant = Reach::Tenant(TenantId::new("42").unwrap());
    let expires_at = Some(one.clock.now().plus_ms(DAY_MS));
    let new = NewToken { name: "Reports".into(), role: Role::Support, reach: tenant.clone(), expires_at };
    let text = one.accounts.create_token(new.clone()).await.unwrap();
    assert!(matches!(one.accounts.create_token(new.clone()).await, Err(Error::Taken)));
    let taken = NewToken { name: "ada".into(), ..new.clone() };
    assert!(matches!(one.accounts.create_token(taken).await, Err(Error::Taken)), "in the log they would be one");
    assert!(matches!(
        one.accounts.add_user("REPORTS", Role::Admin, Reach::All, &secret(OTHER)).await,
        Err(Error::Taken)
    ));
    one.restart();
    assert_eq!(one.accounts.tokens()[0].used_at, None);
    let who = one.accounts.token(text.expose()).await.unwrap();
    assert_eq!(who, Who { name: "Reports".into(), role: Role::Support, reach: tenant, from: None });
    assert_eq!(one.accounts.tokens()[0].used_at, Some(one.clock.now()));
    for wrong in ["", "fd_", &text.expose().to_uppercase(), text.expose().trim_start_matches("fd_")] {
        assert!(one.accounts.token(wrong).await.is_none(), "{wrong}");
    }
    one.clock.advance_ms(DAY_MS);
    assert!(one.accounts.token(text.expose()).await.is_none());
    assert!(one.accounts.tokens()[0].is_over);
    one.accounts.revoke_token("reports").await.unwrap();
    assert!(one.accounts.tokens().is_empty());
    assert!(matches!(one.accounts.revoke_token("reports").await, Err(Error::Unknown { .. })));
    let text = one.accounts.create_token(NewToken { expires_at: None, ..new }).await.unwrap();
    one.clock.advance_ms(3650 * DAY_MS);
    assert!(one.accounts.token(text.expose()).await.is_some());
    one.accounts.revoke_token("Reports").await.unwrap();
    assert!(one.accounts.token(text.expose()).await.is_none());
}

#[tokio::test]
async fn who_guesses_waits_and_keeps_nobody_out_who_was_in_before() {
    let (one, _) = Desk::claimed().await;
    one.log_in("Ada", PASSWORD, far(9)).await.unwrap();
    one.storm("Ada", far(1)).await;
    let waits = |outcome: Result<NewSession, LoginError>| matches!(outcome, Err(LoginError::TooMany { .. }));
    assert!(waits(one.log_in("Ada", PASSWORD, far(1)).await), "from where it was guessed");
    assert!(waits(one.log_in("Ada", PASSWORD, far(2)).await), "from a new address");
    assert!(one.log_in("Ada", PASSWORD, far(9)).await.is_ok(), "from one that was in before");
    assert!(one.log_in("Ada", PASSWORD, near()).await.is_ok(), "also when it claimed the box");
    // Who does not exist is answered the same.
    one.storm("Eve", far(3)).await;
    assert!(waits(one.log_in("Eve", PASSWORD, far(4)).await));
    one.clock.advance_ms(15 * 60 * 1000);
    assert!(one.log_in("Ada", PASSWORD, far(2)).await.is_ok(), "it is never for good");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_wrong_password_is_in_the_log_once_a_minute_for_each_address() {
    let (one, _) = Desk::claimed().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let lines = |address: &str| {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("WARN") && line.contains(address));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // Of the sixty seconds in which it fails, and again afterwards.
    for _ in 0..59 {
        assert!(one.log_in("ada", "wrong", far(1)).await.is_err());
        one.clock.advance_ms(1000);
    }
    assert!(one.log_in("a typed secret", "wrong", far(2)).await.is_err());
    let first = lines("203.0.113.1");
    assert!(first.len() == 1 && first[0].contains("user.name=\"Ada\""), "{first:?}");
    let other = lines("203.0.113.2");
    assert!(other.len() == 1 && !other[0].contains("user.name"), "{other:?}");
    assert!(lines("secret").is_empty());
    one.clock.advance_ms(10_000);
    assert!(matches!(one.log_in("ada", "wrong", far(1)).await, Err(LoginError::Wrong)));
    assert_eq!(lines("203.0.113.1").len(), 2);
}

#[tokio::test]
async fn addresses_of_one_network_wait_together() {
    let (one, _) = Desk::claimed().await;
    let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(one.log_in("Eve", "wrong", v6("2001:db8:0:1::1")).await.is_err());
    let same = one.log_in("Ada", PASSWORD, v6("2001:db8:0:1:ffff::2")).await;
    assert!(matches!(same, Err(LoginError::TooMany { .. })), "{same:?}");
    assert!(one.log_in("Ada", PASSWORD, v6("2001:db8:0:2::1")).await.is_ok());
}

#[tokio::test]
async fn many_guesses_at_once_are_one() {
    let (one, _) = Desk::claimed().await;
    let guesses = (0..10).map(|_| one.log_in("Ada", "wrong", far(1)));
    let said = futures_util::future::join_all(guesses).await;
    let n_compared = said.iter().filter(|said| matches!(said, Err(LoginError::Wrong))).count();
    assert_eq!(n_compared, 1, "{said:?}");
}

#[tokio::test]
async fn a_recovery_ends_the_sessions_of_administrators_and_gives_one_a_new_password() {
    let (mut one, ada) = Desk::claimed().await;
    one.accounts.add_user("Bob", Role::Support, Reach::All, &secret(OTHER)).await.unwrap();
    let bob = one.log_in("Bob", OTHER, near()).await.unwrap();
    let code = one.accounts.recover().await.unwrap();
    assert_eq!(one.accounts.claim_code(), Some(code.clone()));
    one.restart();
    assert_eq!(one.accounts.claim_code(), Some(code.clone()));
    assert!(one.accounts.is_claimed() && one.accounts.is_claimable());
    assert!(one.accounts.session(ada.token.expose()).await.is_none());
    assert!(one.accounts.session(bob.token.expose()).await.is_some());
    one.log_in("Ada", PASSWORD, near()).await.unwrap();
    let as_bob = one.accounts.claim(&code, "Bob", &secret("eleven brass umbrellas"), near()).await;
    assert!(matches!(as_bob, Err(ClaimError::Account(Error::Taken))), "nobody becomes more than they were");
    let new = one.accounts.claim(&code, "ada", &secret(OTHER), near()).await.unwrap();
    assert_eq!(new.session.who.name, "Ada");
    assert_eq!(one.accounts.users().len(), 2);
    assert!(matches!(one.log_in("Ada", PASSWORD, far(1)).await, Err(LoginError::Wrong)));
    assert!(one.accounts.claim_code().is_none() && !one.accounts.is_claimable());
}

#[tokio::test]
async fn a_file_in_the_home_lets_its_owner_in_again() {
    let (mut one, ada) = Desk::claimed().await;
    fs::write(one.path("reset-access"), "").unwrap();
    one.restart();
    assert!(!one.path("reset-access").exists());
    assert!(one.accounts.session(ada.token.expose()).await.is_none());
    let code = one.accounts.claim_code().unwrap();
    one.restart();
    assert_eq!(one.accounts.claim_code(), Some(code.clone()));
    one.accounts.claim(&code, "Cleo", &secret(OTHER), near()).await.unwrap();
    assert_eq!(one.accounts.users().len(), 2, "what was there stays");
}

#[tokio::test]
async fn who_has_an_account_gets_in_when_no_code_can_be_made() {
    let (mut one, _) = Desk::claimed().await;
    fs::create_dir_all(one.path(".claim.code.new/x")).unwrap();
    fs::write(one.path("reset-access"), "").unwrap();
    one.restart();
    assert!(one.path("reset-access").exists() && one.accounts.claim_code().is_none());
    assert!(one.log_in("Ada", PASSWORD, near()).await.is_ok());
    fs::remove_dir_all(one.path(".claim.code.new")).unwrap();
    one.restart();
    let first = one.accounts.claim_code().unwrap();
    fs::remove_file(one.path("claim.code")).unwrap();
    fs::create_dir_all(one.path(".claim.code.new/x")).unwrap();
    one.restart();
    assert!(one.accounts.claim_code().is_none());
    assert!(one.log_in("Ada", PASSWORD, near()).await.is_ok());
    fs::remove_dir_all(one.path(".claim.code.new")).unwrap();
    one.restart();
    assert!(one.accounts.claim_code().is_some_and(|second| second != first));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_lets_nobody_in_and_is_not_touched() {
    let (one, session) = Desk::claimed().await;
    let token = NewToken { name: "t".into(), role: Role::Admin, reach: Reach::All, expires_at: None };
    let token = one.accounts.create_token(token).await.unwrap();
    let file = one.path("accounts.json");
    let good = fs::read_to_string(&file).unwrap();
    let open = || Accounts::open(one.home.path(), one.clock.clone());
    let mut wholes = vec![
        String::new(),
        "{}".to_owned(),
        good.replace("\"admin\"", "\"root\""),
        good.replace("\"all\"", "\"everything\""),
        good.replace("\"reach\": \"all\",", ""),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace("\"version\": 1", "\"version\": 3"),
        good.replace("\"version\": 1", "\"version\": 1, \"more\": 1"),
        good.replace("m=19456", "m=4000000"),
        good.replace("$argon2id$", "$plain$"),
        good.replace("\"Ada\"", "\" Ada\""),
        good.replace("\"t\"", "\"Ada\""),
        good.replace("\"role\": \"admin\"", "\"role\": \"support\""),
    ];
    wholes.extend((1..good.trim_end().len()).step_by(97).map(|n| good.get(..n).unwrap().to_owned()));
    for whole in wholes {
        assert_ne!(whole, good);
        fs::write(&file, &whole).unwrap();
        let error = open().unwrap_err();
        let is_newer = whole.contains("\"version\": 3");
        assert!(matches!(error, Error::TooNew { .. }) == is_newer, "{error}");
        assert!(is_newer || matches!(error, Error::Damaged { .. }), "{error}\n{whole}");
        assert_eq!(fs::read_to_string(&file).unwrap(), whole);
        assert!(!one.path("claim.code").exists(), "it is not to be claimed");
    }
    let accounts = Accounts::shut(one.home.path(), one.clock.clone(), &open().unwrap_err());
    assert!(accounts.why_shut().unwrap().contains("is damaged"));
    assert!(accounts.session(session.token.expose()).await.is_none());
    assert!(accounts.token(token.expose()).await.is_none());
    let login = accounts.log_in("Ada", &secret(PASSWORD), near()).await;
    assert!(matches!(login, Err(LoginError::Account(Error::Shut(_)))), "{login:?}");
    let claim = accounts.claim(&secret("0000-0000-00"), "Ada", &secret(PASSWORD), near()).await;
    assert!(matches!(claim, Err(ClaimError::Account(Error::Shut(_)))), "{claim:?}");
    assert!(accounts.to_keep().is_none() && !accounts.is_claimable());
    let code = accounts.recover().await.unwrap();
    assert!(accounts.is_claimable());
    assert!(one.path("accounts.json.damaged").exists());
    assert!(accounts.why_shut().is_none() && accounts.users().is_empty());
    accounts.claim(&code, "Ada", &secret(PASSWORD), near()).await.unwrap();
    assert!(accounts.log_in("Ada", &secret(PASSWORD), near()).await.is_ok());
}

#[tokio::test]
async fn the_file_in_the_home_also_helps_when_accounts_are_damaged() {
    let (mut one, _) = Desk::claimed().await;
    fs::write(one.path("accounts.json"), "{").unwrap();
    fs::write(one.path("reset-access"), "").unwrap();
    one.restart();
    assert!(one.accounts.why_shut().is_none() && one.accounts.users().is_empty());
    let code = one.accounts.claim_code().unwrap();
    one.accounts.claim(&code, "Ada", &secret(PASSWORD), near()).await.unwrap();
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_not_done() {
    let (one, session) = Desk::claimed().await;
    // Where the new file is written first there is a directory with something in it.
    fs::create_dir_all(one.path(".accounts.json.new/x")).unwrap();
    let added = one.accounts.add_user("Bob", Role::Support, Reach::All, &secret(OTHER)).await;
    assert!(matches!(added, Err(Error::File { .. })), "{added:?}");
    assert_eq!(one.accounts.users().len(), 1);
    assert!(one.accounts.log_out(session.token.expose()).await.is_err());
    one.clock.advance_ms(2 * HOUR_MS);
    assert!(one.accounts.session(session.token.expose()).await.is_some(), "it does not end for that");
    assert!(one.accounts.recover().await.is_err());
    assert!(one.accounts.session(session.token.expose()).await.is_some());
    assert!(one.accounts.claim_code().is_none(), "a code that was not kept opens nothing");
}

#[tokio::test]
async fn a_backup_keeps_accounts_and_tokens_and_no_session() {
    assert!(Desk::new().accounts.to_keep().is_none());
    let (one, session) = Desk::claimed().await;
    one.accounts.recover().await.unwrap();
    let (name, bytes) = one.accounts.to_keep().unwrap();
    let other = Desk::new();
    fs::write(other.path(name), bytes).unwrap();
    let restored = Accounts::open(other.home.path(), other.clock.clone()).unwrap();
    assert!(restored.is_claimed() && restored.claim_code().is_none());
    assert!(restored.session(session.token.expose()).await.is_none());
    assert!(restored.log_in("Ada", &secret(PASSWORD), near()).await.is_ok());
}

#[tokio::test]
async fn a_file_that_others_may_read_is_closed() {
    let (mut one, _) = Desk::claimed().await;
    let file = one.path("accounts.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    one.restart();
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test]
async fn a_code_that_was_made_beforehand_claims_a_box_that_is_not_told_it() {
    let (home, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(Timestamp(1_800_000_000_000))));
    let (code, digest) = new_claim_code().unwrap();
    let open = |digest: &str| Accounts::open_with(home.path(), clock.clone(), Some(digest)).unwrap();
    for _ in 0..2 {
        let accounts = open(&digest);
        assert!(accounts.is_claimable() && accounts.claim_code().is_none(), "the box cannot show it");
        assert!(!home.path().join("claim.code").exists());
    }
    let wrong = new_claim_code().unwrap().0;
    let accounts = open(&digest);
    assert!(matches!(accounts.claim(&wrong, "Eve", &secret(PASSWORD), near()).await, Err(ClaimError::Wrong)));
    // A wrong one has to be waited for; a start forgets that.
    open(&digest).claim(&code, "Ada", &secret(PASSWORD), near()).await.unwrap();
    assert!(!open(&digest).is_claimable(), "it works once");
    // After a reset the box makes a code of its own, and the old one does not come back, also if that one is lost.
    let again = open(&digest).recover().await.unwrap();
    assert_ne!(again, code);
    fs::remove_file(home.path().join("claim.code")).unwrap();
    let accounts = open(&digest);
    assert!(matches!(accounts.claim(&code, "Eve", &secret(PASSWORD), near()).await, Err(ClaimError::Wrong)));
}

#[test]
fn what_is_no_digest_makes_a_code_as_usual() {
    for digest in ["", "abc", &"g".repeat(64)] {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000)));
        assert!(Accounts::open_with(home.path(), clock, Some(digest)).unwrap().claim_code().is_some());
    }
}

#[tokio::test]
async fn a_password_is_confirmed_without_a_session_and_wrong_ones_are_counted() {
    let (one, _) = Desk::claimed().await;
    let n_sessions = one.accounts.sessions().len();
    one.accounts.confirm("Ada", &secret(PASSWORD), near()).await.unwrap();
    assert_eq!(one.accounts.sessions().len(), n_sessions);
    assert!(matches!(one.accounts.confirm("Ada", &secret(OTHER), near()).await, Err(LoginError::Wrong)));
    one.storm("Ada", near()).await;
    assert!(matches!(one.accounts.confirm("Ada", &secret(OTHER), near()).await, Err(LoginError::TooMany { .. })));
}
