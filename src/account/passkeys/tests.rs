//! Logging in with passkeys, over a home of its own, with an authenticator in software.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::account::{Reach, Role, UserRow};
use crate::clock::{Clock as _, ManualClock};
use crate::testing::{Answer, Authenticator};

const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "seven purple lighthouses";

struct Desk {
    home: TempDir,
    clock: Arc<ManualClock>,
    accounts: Accounts,
    ada: NewSession,
}

fn here() -> IpAddr {
    "192.168.1.20".parse().unwrap()
}

fn site() -> Site {
    Site::of_host("desk.example.com").unwrap()
}

fn device() -> Authenticator {
    Authenticator::new("https://desk.example.com", "desk.example.com")
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn form(answer: Answer) -> UsedPasskey {
    let Answer { credential, handle, client_data, authenticator_data, signature } = answer;
    UsedPasskey { credential, handle: Some(handle), client_data, authenticator_data, signature }
}

fn refusal(result: Result<NewSession, PasskeyError>) -> Refusal {
    match result {
        Err(PasskeyError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

impl Desk {
    async fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000)));
        let accounts = Accounts::open(home.path(), clock.clone()).unwrap();
        let code = accounts.claim_code().unwrap();
        let ada = accounts.claim(&code, "Ada", &secret(PASSWORD), here()).await.unwrap();
        Self { home, clock, accounts, ada }
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.home.path().join("accounts.json")).unwrap()
    }

    fn restart(&mut self) {
        self.accounts = Accounts::open(self.home.path(), self.clock.clone()).unwrap();
    }

    async fn bob(&self) -> NewSession {
        self.accounts.add_user("Bob", Role::Support, Reach::All, &secret(OTHER)).await.unwrap();
        self.accounts.log_in("Bob", &secret(OTHER), here()).await.unwrap()
    }

    async fn begin(&self, session: &NewSession, password: &str) -> ToMake {
        self.accounts.begin_passkey(&session.session, "Phone", &secret(password), here()).await.unwrap()
    }

    async fn finish(&self, session: &NewSession, made: &Answer) -> Result<(), PasskeyError> {
        let Answer { client_data, authenticator_data, .. } = made.clone();
        let new = NewPasskey { client_data, authenticator_data };
        self.accounts.add_passkey(&session.session, &site(), &new, here()).await
    }

    async fn add(&self, session: &NewSession, password: &str, device: &mut Authenticator) {
        let asked = self.begin(session, password).await;
        let made = device.make(&asked.challenge, &asked.handle);
        self.finish(session, &made).await.unwrap();
    }

    fn ask(&self, attempt: Option<&str>) -> ToUse {
        // Each after the waits of those before.
        if attempt.is_none() {
            self.clock.advance_ms(60 * 60 * 1000);
        }
        self.accounts.ask_for_passkey(attempt, &site(), here()).unwrap()
    }

    async fn enter(&self, attempt: &str, used: UsedPasskey) -> Result<NewSession, PasskeyError> {
        self.clock.advance_ms(2000);
        self.accounts.log_in_with_passkey(attempt, &site(), &used, here()).await
    }

    /// Begins to log in with nothing but a passkey, and answers.
    async fn log_in(&self, device: &mut Authenticator) -> Result<NewSession, PasskeyError> {
        let asked = self.ask(None);
        let used = form(device.used(&asked.challenge));
        self.enter(asked.attempt.unwrap().expose(), used).await
    }

    fn only(&self, name: &str) -> PasskeyRow {
        let [row] = self.accounts.passkeys(name).unwrap().try_into().unwrap();
        row
    }

    fn user(&self, name: &str) -> UserRow {
        self.accounts.users().into_iter().find(|user| user.name == name).unwrap()
    }
}

#[tokio::test]
async fn a_passkey_is_added_used_and_removed() {
    let mut desk = Desk::open().await;
    assert!(desk.file().contains("\"version\": 1"));
    let mut phone = device();
    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    assert!(desk.file().contains("\"version\": 2"));
    desk.restart();
    let row = desk.only("ada");
    assert_eq!((row.name.as_str(), row.site.as_str(), row.used_at), ("Phone", "desk.example.com", None));
    let new = desk.log_in(&mut phone).await.unwrap();
    assert_eq!(new.session.who.name, "Ada");
    assert_eq!(desk.only("ada").used_at, Some(desk.clock.now()));
    desk.restart();
    assert!(desk.accounts.session(new.token.expose()).await.is_some());

    let remove = async |password| {
        let who = &desk.ada.session.who;
        desk.accounts.remove_own_passkey(who, &secret(password), &row.id, None, here()).await
    };
    assert!(matches!(remove(OTHER).await, Err(LoginError::Wrong)), "whoever sits at an open page removes none");
    desk.clock.advance_ms(60_000);
    assert_eq!(remove(PASSWORD).await.unwrap(), "Phone");
    assert!(desk.accounts.session(new.token.expose()).await.is_none(), "what began with it has ended");
    assert!(desk.accounts.session(desk.ada.token.expose()).await.is_some());
    assert!(desk.file().contains("\"version\": 1"), "an earlier release reads it again");
    assert_eq!(refusal(desk.log_in(&mut phone).await), Refusal::Unknown);
}

#[tokio::test]
async fn the_session_that_removes_the_passkey_it_began_with_stays() {
    let desk = Desk::open().await;
    let mut phone = device();
    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    let (one, other) = (desk.log_in(&mut phone).await.unwrap(), desk.log_in(&mut phone).await.unwrap());
    let (id, keep) = (desk.only("Ada").id, Some(one.session.id.as_str()));
    desk.accounts.remove_own_passkey(&one.session.who, &secret(PASSWORD), &id, keep, here()).await.unwrap();
    assert!(desk.accounts.session(one.token.expose()).await.is_some());
    assert!(desk.accounts.session(other.token.expose()).await.is_none());
    assert!(desk.file().contains("\"version\": 1"));
}

#[tokio::test]
async fn a_challenge_is_answered_once_in_time_and_by_the_browser_that_asked() {
    let desk = Desk::open().await;
    let mut phone = device();
    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    let asked = desk.ask(None);
    let attempt = asked.attempt.unwrap();
    let used = form(phone.used(&asked.challenge));
    desk.enter(attempt.expose(), used.clone()).await.unwrap();
    let again = desk.enter(attempt.expose(), used.clone()).await;
    assert!(matches!(again, Err(PasskeyError::Over)), "{again:?}");
    // Another browser has another challenge.
    let other = desk.ask(None).attempt.unwrap();
    assert_eq!(refusal(desk.enter(other.expose(), used).await), Refusal::Challenge);
    let late = desk.ask(None);
    desk.clock.advance_ms(CHALLENGE_MS);
    let late = desk.enter(late.attempt.unwrap().expose(), form(phone.used(&late.challenge))).await;
    assert!(matches!(late, Err(PasskeyError::Over)), "{late:?}");
    for attempt in ["", "made up", &desk.ada.session.id, desk.ada.token.expose()] {
        let asked = desk.ask(None);
        let nobody = desk.enter(attempt, form(phone.used(&asked.challenge))).await;
        assert!(matches!(nobody, Err(PasskeyError::Over)), "{nobody:?}");
    }
}

#[tokio::test]
async fn what_an_attacker_bends_lets_nobody_in() {
    let desk = Desk::open().await;
    let mut phone = device();
    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    let (challenge, attempt) = (|| desk.ask(None), |asked: &ToUse| asked.attempt.clone().unwrap());
    let check = async |expected: Refusal, answer: &mut dyn FnMut(&mut Authenticator, &str) -> UsedPasskey| {
        let (asked, mut stranger) = (challenge(), device());
        let used = answer(&mut stranger, &asked.challenge);
        assert_eq!(refusal(desk.enter(attempt(&asked).expose(), used).await), expected);
    };
    let handle = phone.handle.clone();
    let mut used = |bend: &dyn Fn(&mut Authenticator), challenge: &str| {
        bend(&mut phone);
        let used = form(phone.used(challenge));
        (phone.origin, phone.site, phone.flags) = ("https://desk.example.com".into(), "desk.example.com".into(), 0b101);
        phone.handle.clone_from(&handle);
        used
    };
    check(Refusal::Origin, &mut |_, c| used(&|one| one.origin = "https://evil.example".into(), c)).await;
    check(Refusal::Site, &mut |_, c| used(&|one| one.site = "evil.example".into(), c)).await;
    check(Refusal::NotVerified, &mut |_, c| used(&|one| one.flags = 0b001, c)).await;
    check(Refusal::NotPresent, &mut |_, c| used(&|one| one.flags = 0b100, c)).await;
    // It could not be copied when it was made.
    check(Refusal::Backup, &mut |_, c| used(&|one| one.flags = 0b1101, c)).await;
    check(Refusal::Unknown, &mut |_, c| used(&|one| one.handle = to_text(&[1; 32]), c)).await;
    check(Refusal::Unknown, &mut |_, c| UsedPasskey { handle: None, ..used(&|_| {}, c) }).await;
    check(Refusal::Unknown, &mut |stranger, c| form(stranger.used(c))).await;
    check(Refusal::Form, &mut |_, c| UsedPasskey { signature: "!".into(), ..used(&|_| {}, c) }).await;
    check(Refusal::Signature, &mut |_, c| UsedPasskey { signature: String::new(), ..used(&|_| {}, c) }).await;
    // Another's signature under this passkey's name.
    check(Refusal::Signature, &mut |stranger, c| UsedPasskey {
        signature: form(stranger.used(c)).signature,
        ..used(&|_| {}, c)
    })
    .await;
    assert!(desk.log_in(&mut phone).await.is_ok(), "and it still works");
}

#[tokio::test]
async fn a_passkey_that_counts_back_is_refused_and_its_owner_named() {
    let mut desk = Desk::open().await;
    let mut key = device();
    key.count = 5;
    desk.add(&desk.ada, PASSWORD, &mut key).await;
    for (count, is_in) in [(6, true), (6, false), (5, false), (0, false), (7, true), (1000, true), (8, false)] {
        key.count = count;
        match desk.log_in(&mut key).await {
            Ok(_) => assert!(is_in, "{count}"),
            Err(PasskeyError::Copied { user }) => assert!(!is_in && user == "Ada", "{count}"),
            other => panic!("{count}: {other:?}"),
        }
        desk.restart();
    }
}

#[tokio::test]
async fn a_passkey_is_asked_for_after_the_password() {
    let desk = Desk::open().await;
    let (mut phone, mut bobs, bob) = (device(), device(), desk.bob().await);
    let asks = async |asks| {
        let (who, keep) = (&desk.ada.session.who, Some(desk.ada.session.id.as_str()));
        desk.accounts.set_asks_for_passkey(who, &secret(PASSWORD), asks, keep, here()).await
    };
    let elsewhere = desk.accounts.log_in("Ada", &secret(PASSWORD), here()).await.unwrap();
    assert!(matches!(asks(true).await, Err(LoginError::Account(Error::NoPasskey))));
    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    desk.add(&bob, OTHER, &mut bobs).await;
    asks(true).await.unwrap();
    assert!(desk.user("Ada").asks_for_passkey && !desk.user("Bob").asks_for_passkey);
    assert!(desk.accounts.session(desk.ada.token.expose()).await.is_some());
    assert!(desk.accounts.session(elsewhere.token.expose()).await.is_none(), "with the password alone");

    let password = async || {
        desk.clock.advance_ms(60 * 60 * 1000);
        match desk.accounts.log_in("Ada", &secret(PASSWORD), here()).await {
            Err(LoginError::PasskeyWanted { attempt }) => attempt,
            other => panic!("{other:?}"),
        }
    };
    let attempt = password().await;
    assert!(desk.accounts.session(attempt.expose()).await.is_none(), "it opens nothing");
    assert_eq!(desk.accounts.sites_of_attempt(attempt.expose()).unwrap(), ["desk.example.com"]);
    let asked = desk.ask(Some(attempt.expose()));
    assert!(asked.attempt.is_none() && !asked.is_alone && asked.credentials.len() == 1);
    // Whose passkey it is counts, and not that it is one.
    let other = form(bobs.used(&asked.challenge));
    assert_eq!(refusal(desk.enter(attempt.expose(), other).await), Refusal::Unknown);
    assert!(desk.accounts.sites_of_attempt(attempt.expose()).is_none(), "the password is asked for again");

    let attempt = password().await;
    let asked = desk.ask(Some(attempt.expose()));
    phone.flags = 0b001;
    let touched = form(phone.used(&asked.challenge));
    let new = desk.enter(attempt.expose(), UsedPasskey { handle: None, ..touched }).await.unwrap();
    assert_eq!(new.session.who.name, "Ada");

    // A password that was changed meanwhile does not count.
    let attempt = password().await;
    let asked = desk.ask(Some(attempt.expose()));
    desk.accounts.set_password("Ada", &secret("eleven brass umbrellas"), None).await.unwrap();
    let late = desk.enter(attempt.expose(), form(phone.used(&asked.challenge))).await;
    assert!(matches!(late, Err(PasskeyError::Over)), "{late:?}");
}

#[tokio::test]
async fn without_the_last_passkey_the_password_is_enough_and_a_new_code_takes_them_all() {
    let desk = Desk::open().await;
    let (mut phone, mut key) = (device(), device());
    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    desk.add(&desk.ada, PASSWORD, &mut key).await;
    let asks = async || {
        let who = &desk.ada.session.who;
        desk.accounts.set_asks_for_passkey(who, &secret(PASSWORD), true, None, here()).await.unwrap();
    };
    asks().await;
    let [one, other] = desk.accounts.passkeys("Ada").unwrap().try_into().unwrap();
    desk.accounts.remove_passkey("Ada", &one.id).await.unwrap();
    assert!(desk.user("Ada").asks_for_passkey);
    assert!(matches!(desk.accounts.remove_passkey("Ada", &one.id).await, Err(Error::Unknown { .. })));
    desk.accounts.remove_passkey("Ada", &other.id).await.unwrap();
    assert!(desk.accounts.log_in("Ada", &secret(PASSWORD), here()).await.is_ok());

    desk.add(&desk.ada, PASSWORD, &mut phone).await;
    asks().await;
    let code = desk.accounts.recover().await.unwrap();
    desk.accounts.claim(&code, "Ada", &secret(OTHER), here()).await.unwrap();
    assert!(desk.accounts.passkeys("Ada").unwrap().is_empty());
    assert!(desk.accounts.log_in("Ada", &secret(OTHER), here()).await.is_ok());
    assert_eq!(refusal(desk.log_in(&mut phone).await), Refusal::Unknown);
}

#[tokio::test]
async fn a_passkey_is_made_for_the_session_and_the_password_that_asked() {
    let desk = Desk::open().await;
    let (bob, mut phone) = (desk.bob().await, device());
    let begin =
        async |password: &str| desk.accounts.begin_passkey(&desk.ada.session, "Phone", &secret(password), here()).await;
    assert!(matches!(begin(OTHER).await, Err(LoginError::Wrong)));
    desk.clock.advance_ms(60_000);
    let nameless = desk.accounts.begin_passkey(&desk.ada.session, " ", &secret(PASSWORD), here()).await;
    assert!(matches!(nameless, Err(LoginError::Account(Error::Name(_)))));

    let asked = begin(PASSWORD).await.unwrap();
    let made = phone.make(&asked.challenge, &asked.handle);
    assert!(matches!(desk.finish(&bob, &made).await, Err(PasskeyError::Over)), "another session");
    desk.begin(&bob, OTHER).await;
    let other = desk.finish(&bob, &made).await;
    assert!(matches!(other, Err(PasskeyError::Refused { refusal: Refusal::Challenge, .. })), "{other:?}");
    desk.finish(&desk.ada, &made).await.unwrap();
    assert!(matches!(desk.finish(&desk.ada, &made).await, Err(PasskeyError::Over)), "once");

    // Nobody takes over what another has.
    let asked = desk.begin(&bob, OTHER).await;
    let made = phone.make(&asked.challenge, &asked.handle);
    assert!(matches!(desk.finish(&bob, &made).await, Err(PasskeyError::Known)));
    let asked = desk.begin(&desk.ada, PASSWORD).await;
    assert_eq!(asked.known.len(), 1);
    // What was signed to get in is no new passkey, and the other way round.
    let used = phone.answered("webauthn.get", &asked.challenge);
    assert!(matches!(desk.finish(&desk.ada, &used).await, Err(PasskeyError::Refused { refusal: Refusal::Kind, .. })));
    let asked = desk.begin(&desk.ada, PASSWORD).await;
    let late = device().make(&asked.challenge, &asked.handle);
    desk.accounts.revoke_session(&desk.ada.session.id).await.unwrap();
    assert!(matches!(desk.finish(&desk.ada, &late).await, Err(PasskeyError::Over)), "the session has ended");
}

#[tokio::test]
async fn guessing_with_passkeys_gets_slower_like_guessing_with_passwords() {
    let desk = Desk::open().await;
    let far: IpAddr = [203, 0, 113, 9].into();
    let enter = async || {
        let asked = desk.accounts.ask_for_passkey(None, &site(), far).unwrap();
        let used = form(device().used(&asked.challenge));
        desk.accounts.log_in_with_passkey(asked.attempt.unwrap().expose(), &site(), &used, far).await
    };
    assert_eq!(refusal(enter().await), Refusal::Unknown);
    assert!(matches!(enter().await, Err(PasskeyError::TooMany { .. })));
    assert!(matches!(desk.accounts.log_in("Ada", &secret(PASSWORD), far).await, Err(LoginError::TooMany { .. })));
}

#[tokio::test]
async fn an_account_has_twenty_and_a_file_that_lies_of_them_lets_nobody_in() {
    let desk = Desk::open().await;
    for _ in 0..MAX_PASSKEYS {
        desk.add(&desk.ada, PASSWORD, &mut device()).await;
    }
    let more = desk.accounts.begin_passkey(&desk.ada.session, "More", &secret(PASSWORD), here()).await;
    assert!(matches!(more, Err(LoginError::Account(Error::TooMany(MAX_PASSKEYS)))));
    let file = desk.file();
    let check = |from: &str, to: &str| {
        assert!(file.contains(from), "{from}");
        std::fs::write(desk.home.path().join("accounts.json"), file.replacen(from, to, 1)).unwrap();
        let opened = Accounts::open(desk.home.path(), desk.clock.clone());
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{from}: {opened:?}");
    };
    check("\"version\": 2", "\"version\": 1");
    check("\"asked_for\": false,", "");
    check("\"count\": 0", "\"count\": -1");
    check("\"key\": \"pQECAy", "\"key\": \"pQECAz");
    check("\"site\"", "\"more\": 1, \"site\"");
}
