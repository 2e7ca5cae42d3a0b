//! Sends one message by one way. One attempt.

use std::time::Duration;

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::config::{Config, Email, Post, Security};
use super::{Message, Target, words};
use crate::browser::Language;
use crate::clock::Timestamp;

/// How long a server may take for everything.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Why a message did not go through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SendError {
    /// For the operator; without a secret.
    pub reason: String,
    /// The same would come of it again.
    pub is_lasting: bool,
}

impl SendError {
    fn new(reason: &str, is_lasting: bool) -> Self {
        let reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS).collect();
        Self { reason, is_lasting }
    }
}

/// Sends a message; one without news is a test. `business` and `language` are whose it is. `now` is signed.
///
/// # Errors
/// [`SendError`], also when there is no such way any more.
pub async fn send(
    config: &Config,
    target: Target,
    message: &Message,
    (business, language): (Option<&str>, Language),
    http: &reqwest::Client,
    now: Timestamp,
) -> Result<(), SendError> {
    let sending = async {
        match (target, &config.email, &config.post) {
            (Target::Email, Some(email), _) => mail(email, message, business, language).await,
            (Target::Webhook, _, Some(post)) => self::post(post, message, business, http, now).await,
            (Target::Email | Target::Webhook, _, _) => Err(SendError::new("it is not configured any more", true)),
        }
    };
    let elapsed = |_elapsed| Err(SendError::new(&format!("no answer within {} s", TIMEOUT.as_secs()), false));
    tokio::time::timeout(TIMEOUT, sending).await.unwrap_or_else(elapsed)
}

async fn mail(email: &Email, message: &Message, business: Option<&str>, language: Language) -> Result<(), SendError> {
    let (subject, text) = words::email(message, business, language);
    let mut built = lettre::Message::builder()
        .from(Mailbox::new(Some("Frontdesk".to_owned()), email.from.clone()))
        .message_id(Some(format!("<{}@{}>", message.id, email.from.domain())))
        .subject(subject)
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        built = built.to(Mailbox::new(None, to.clone()));
    }
    let built = built.body(text).map_err(|error| SendError::new(&error.to_string(), true))?;
    let parameters = || TlsParameters::new_rustls(email.host.clone());
    let tls = match email.security {
        Security::Tls => parameters().map(Tls::Wrapper),
        Security::StartTls => parameters().map(Tls::Required),
        Security::None => Ok(Tls::None),
    };
    let tls = tls.map_err(|error| SendError::new(&error.to_string(), false))?;
    let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(email.host.clone());
    let mut server = server.port(email.port).tls(tls).timeout(Some(TIMEOUT));
    // The name of the machine is nobody's business.
    server = server.hello_name(ClientId::Domain("localhost".to_owned()));
    if let Some((user, password)) = &email.login {
        server = server.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    server.build().send(built).await.map(drop).map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        // A password that is refused is refused again, and some vendors lock whoever tries on.
        SendError::new(&text, error.is_permanent())
    })
}

async fn post(
    post: &Post,
    message: &Message,
    business: Option<&str>,
    http: &reqwest::Client,
    now: Timestamp,
) -> Result<(), SendError> {
    let body = words::body(message, business).to_string();
    let mut request = http.post(post.url.clone());
    for (name, value) in post.keys.sign(&message.id, now, body.as_bytes()) {
        request = request.header(name, value);
    }
    let sent = request.header(http::header::CONTENT_TYPE, "application/json").body(body).send().await;
    match sent {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            let is_lasting = status == http::StatusCode::GONE;
            Err(SendError::new(&format!("the receiver answered {}", status.as_u16()), is_lasting))
        }
        Err(error) => Err(SendError::new(&error.without_url().to_string(), false)),
    }
}
