//! A certificate that browsers trust, for a box with a domain: ACME (RFC 8555).
//!
//! The authority asks at the domain whether the box is there, in a handshake of its own (`tls-alpn-01`, RFC 8737) or for a page
//! (`http-01`, RFC 8555 §8.3); both come to the one port of the gateway. [`obtain`] does it all once, and nothing here repeats.

use std::io;
use std::path::Path;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::accept::acme_config;
use super::public::Public;
use super::{AcmeConfig, Tls, client};
use crate::document::{read_at_most, write_whole};

/// The name of the file in the home that has the account with its key.
pub const ACCOUNT_FILE: &str = "acme.json";
/// As long as an authority may take to come and look.
const PATIENCE: Duration = Duration::from_secs(120);
/// An account is some hundred bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Why there is no certificate. A sentence without what to do.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority cannot be reached, or answers with something else.
    #[error("the certificate authority cannot be asked: {0}")]
    Ask(instant_acme::Error),
    /// It does not want to.
    #[error("the certificate authority refuses: {0}")]
    Refused(String),
    /// It looked, and did not find the box.
    #[error("the certificate authority looked for this box at {domain} and did not find it: {why}")]
    NotFound {
        /// Where it looked.
        domain: String,
        /// What it says.
        why: String,
    },
    /// It offers other ways only.
    #[error("the certificate authority does not offer {0}")]
    NoChallenge(&'static str),
    /// It took too long.
    #[error("the certificate authority did not look in time")]
    TooSlow,
    /// A certificate for something else, or one that is none.
    #[error("what the certificate authority sent cannot be used")]
    Unusable,
    /// It could not be made.
    #[error("the request cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It cannot be shown.
    #[error("the certificate cannot be used: {0}")]
    Use(#[from] rustls::Error),
    /// The disk refuses.
    #[error("{path} cannot be used: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(problem) => Self::Refused(said(&problem)),
            instant_acme::Error::Timeout(_) => Self::TooSlow,
            error => Self::Ask(error),
        }
    }
}

fn is_unknown_account(problem: &instant_acme::Problem) -> bool {
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

fn said(problem: &instant_acme::Problem) -> String {
    let parts = [problem.detail.as_deref(), problem.r#type.as_deref()];
    parts.into_iter().flatten().next().unwrap_or("it does not say why").to_owned()
}

/// How the box shows that it is at its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// In a handshake, at port 443.
    Handshake,
    /// With a page, at port 80.
    Page,
}

impl Proof {
    /// Another one, for the next try: often only one of the two ports leads to the box.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Handshake => Self::Page,
            Self::Page => Self::Handshake,
        }
    }

    fn challenge(self) -> (ChallengeType, &'static str) {
        match self {
            Self::Handshake => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
            Self::Page => (ChallengeType::Http01, "http-01"),
        }
    }
}

/// An account at an authority, as its file holds it.
#[derive(Serialize, Deserialize)]
struct Held {
    directory: String,
    email: Option<String>,
    credentials: AccountCredentials,
}

/// Gets a certificate for the domains, keeps it and shows it from then on.
///
/// # Errors
/// [`AcmeError`]; what was shown before still is.
pub async fn obtain(tls: &Tls, config: &AcmeConfig, proof: Proof, http: &reqwest::Client) -> Result<(), AcmeError> {
    let account = account(&tls.home.join(ACCOUNT_FILE), config, http).await?;
    let domains: Vec<Identifier> = config.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = match account.new_order(&NewOrder::new(&domains)).await {
        Err(instant_acme::Error::Api(problem)) if is_unknown_account(&problem) => {
            drop(std::fs::remove_file(tls.home.join(ACCOUNT_FILE)));
            return Err(AcmeError::Refused(format!("{}; the next try makes a new account", said(&problem))));
        }
        order => order?,
    };
    // They are taken back whatever comes of it.
    let answers = prove(&mut order, tls, proof).await;
    let ready = match &answers {
        Ok(_) => order.poll_ready(&RetryPolicy::new().timeout(PATIENCE)).await.map_err(AcmeError::from),
        Err(_) => Ok(OrderStatus::Invalid),
    };
    drop(answers?);
    match ready {
        Ok(OrderStatus::Ready) => {}
        // What it says of the domain tells more than what it says of the order.
        Ok(_) => return Err(why(&mut order, "it does not say why").await?),
        Err(AcmeError::Refused(of_order)) => return Err(why(&mut order, &of_order).await?),
        Err(error) => return Err(error),
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(config.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&RetryPolicy::new().timeout(PATIENCE)).await?;
    let pem = format!("{}{chain}", key.serialize_pem());
    let public = Public::parse(pem.as_bytes(), &tls.provider).ok_or(AcmeError::Unusable)?;
    if !public.is_for(&config.domains) {
        return Err(AcmeError::Unusable);
    }
    let file = tls.home.join(super::public::FILE);
    let written = write_whole(&file, pem.as_bytes(), 0o600);
    // Used all the same: what the disk does not take is asked for again at the next start.
    tls.public.store(Some(std::sync::Arc::new(public)));
    written.map_err(|source| failed(&file, source))
}

/// Is the account of this file one at this directory? What another authority gave, perhaps for trial, is not used.
pub(super) fn is_from(file: &Path, directory: &str) -> bool {
    let held = read_at_most(file, MAX_BYTES).ok().and_then(|bytes| serde_json::from_slice::<Held>(&bytes).ok());
    held.is_some_and(|held| held.directory == directory)
}

fn failed(path: &Path, source: io::Error) -> AcmeError {
    AcmeError::File { path: path.display().to_string(), source }
}

/// The account of the file, or a new one.
async fn account(file: &Path, config: &AcmeConfig, http: &reqwest::Client) -> Result<Account, AcmeError> {
    let builder = || Account::builder_with_http(client::boxed(http.clone()));
    let held = match read_at_most(file, MAX_BYTES) {
        Ok(bytes) => serde_json::from_slice::<Held>(&bytes).ok().filter(|held| held.directory == config.directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(failed(file, source)),
    };
    let contact: Vec<String> = config.email.iter().map(|email| format!("mailto:{email}")).collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    if let Some(held) = held {
        let account = builder().from_credentials(held.credentials).await?;
        if held.email != config.email {
            account.update_contacts(&contact).await?;
        }
        return Ok(account);
    }
    // What comes from another authority goes first, so that nobody takes it for one of this.
    drop(std::fs::remove_file(file.with_file_name(super::public::FILE)));
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder().create(&new, config.directory.clone(), None).await?;
    let held = Held { directory: config.directory.clone(), email: config.email.clone(), credentials };
    let text = serde_json::to_vec_pretty(&held).map_err(|error| AcmeError::Ask(error.into()))?;
    write_whole(file, &text, 0o600).map_err(|source| failed(file, source))?;
    Ok(account)
}

/// What the authority finds until this is dropped.
struct Answers<'t> {
    tls: &'t Tls,
    domains: Vec<String>,
    tokens: Vec<String>,
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        self.domains.iter().for_each(|domain| self.tls.forget_handshake(domain));
        self.tokens.iter().for_each(|token| self.tls.forget_page(token));
    }
}

async fn prove<'t>(order: &mut Order, tls: &'t Tls, proof: Proof) -> Result<Answers<'t>, AcmeError> {
    let mut answers = Answers { tls, domains: Vec::new(), tokens: Vec::new() };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let (kind, name) = proof.challenge();
        let mut challenge = authorization.challenge(kind).ok_or(AcmeError::NoChallenge(name))?;
        let (domain, key) = (challenge.identifier().to_string(), challenge.key_authorization());
        match proof {
            Proof::Handshake => {
                let config = handshake(&domain, key.digest().as_ref(), &tls.provider)?;
                tls.answer_handshake(&domain, config);
                answers.domains.push(domain);
            }
            Proof::Page => {
                tls.answer_page(&challenge.token, key.as_str());
                answers.tokens.push(challenge.token.clone());
            }
        }
        challenge.set_ready().await?;
    }
    Ok(answers)
}

/// What the handshake of `tls-alpn-01` shows (RFC 8737 §3).
pub(super) fn handshake(
    domain: &str,
    digest: &[u8],
    provider: &std::sync::Arc<CryptoProvider>,
) -> Result<std::sync::Arc<ServerConfig>, AcmeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(acme_config(certificate.der().clone(), key, provider)?)
}

/// What the authority says of an order that came to nothing.
async fn why(order: &mut Order, of_order: &str) -> Result<AcmeError, AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            let domain = state.identifier().to_string();
            return Ok(AcmeError::NotFound { domain, why: said(problem) });
        }
    }
    Ok(AcmeError::Refused(of_order.to_owned()))
}
