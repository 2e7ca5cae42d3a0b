//! Why a request was not answered. The one place where the statuses of refusals are chosen.

use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Problem;
use crate::account::{self, Reach, Who};
use crate::backup::Kind;
use crate::config::{self, EditError, RestoreError, RevisionError, SecretError};
use crate::gateway::{BackupError, ChannelTestError, DeliveryError, ImportError, PairingError, ReloadError, TakeError};
use crate::store;

/// What every refusal says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refusal {
    /// What happened and what to do, for people.
    pub(crate) error: String,
    /// Which kind of refusal it is, in a word that stays the same.
    pub(crate) code: &'static str,
    /// What is wrong with a configuration, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) problems: Option<Vec<Problem>>,
    /// Why a password is not taken, in a word that stays the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) weakness: Option<&'static str>,
}

impl Refusal {
    fn new(code: &'static str, error: impl std::fmt::Display) -> Self {
        Self { error: error.to_string(), code, problems: None, weakness: None }
    }
}

/// Why a request was not answered.
#[derive(Debug)]
pub(crate) enum Error {
    /// Nobody is known to ask.
    Nobody,
    /// They may not.
    Forbidden(&'static str),
    /// The request is wrong.
    Query(String),
    /// Its body is longer than that many bytes.
    TooLong(usize),
    /// Its body does not come.
    TooSlow,
    /// It was sent to a name that is not ours.
    Misdirected,
    /// There is no such path.
    NoPath,
    /// The path has other methods.
    NoMethod,
    /// There is no such thing.
    NotFound(String),
    /// It is asked for too often.
    TooMany(String, Duration),
    /// As things are it cannot be done.
    Conflict(String),
    /// The same, of a kind that has a code.
    State(&'static str, String),
    /// What was sent can be read and not be used.
    Unusable(String),
    /// Not now.
    Unavailable(String),
    /// A configuration is not used, or a backup not made.
    Refused(StatusCode, Refusal),
    /// The store does not give or take it.
    Store(store::Error),
}

impl Error {
    /// As somebody may hear it: what a store says of itself names paths, and commands for who runs the gateway.
    #[must_use]
    pub(crate) fn heard_by(self, who: &Who) -> Self {
        match (self, &who.reach) {
            (Self::Store(error), Reach::Tenant(_)) if !matches!(error, store::Error::Gone { .. }) => {
                tracing::error!(%error, "an admin request failed");
                Self::Unavailable("this cannot be answered now; whoever runs this gateway sees why".to_owned())
            }
            (error, _) => error,
        }
    }
}

impl Error {
    /// Which kind it is.
    fn code(&self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Forbidden(_) => "forbidden",
            Self::Query(_) => "wrong_request",
            Self::TooLong(_) => "too_long",
            Self::TooSlow => "too_slow",
            Self::Misdirected => "misdirected",
            Self::NoPath | Self::NoMethod => "no_path",
            Self::NotFound(_) | Self::Store(store::Error::Gone { .. }) => "not_found",
            Self::TooMany(..) => "too_many",
            Self::Conflict(_) => "conflict",
            Self::State(code, _) => code,
            Self::Unusable(_) => "unusable",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_, refusal) => refusal.code,
            Self::Store(error) if error.is_for_the_disk() => "disk",
            Self::Store(_) => "store",
        }
    }

    /// Its status, and what is said.
    pub(crate) fn told(self) -> (StatusCode, Refusal) {
        let code = self.code();
        let plain = |status: StatusCode, error: String| (status, Refusal::new(code, error));
        match self {
            Self::Nobody => plain(StatusCode::UNAUTHORIZED, "the token is missing or wrong".to_owned()),
            Self::Forbidden(message) => plain(StatusCode::FORBIDDEN, message.to_owned()),
            Self::Query(message) => plain(StatusCode::BAD_REQUEST, message),
            Self::TooLong(max_bytes) => {
                plain(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {max_bytes} bytes"))
            }
            Self::TooSlow => {
                plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time; send it again".to_owned())
            }
            Self::Misdirected => plain(
                StatusCode::MISDIRECTED_REQUEST,
                "ask by an address, by localhost, by a name under .local, or by one of gateway.page_hosts".to_owned(),
            ),
            Self::NoPath => {
                plain(StatusCode::NOT_FOUND, "there is no such path; /api/v1/openapi.json names all".to_owned())
            }
            Self::NoMethod => plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has no such method; /api/v1/openapi.json names those it has".to_owned(),
            ),
            Self::NotFound(message) => plain(StatusCode::NOT_FOUND, message),
            Self::TooMany(message, _) => plain(StatusCode::TOO_MANY_REQUESTS, message),
            Self::Conflict(message) | Self::State(_, message) => plain(StatusCode::CONFLICT, message),
            Self::Unusable(message) => plain(StatusCode::UNPROCESSABLE_ENTITY, message),
            Self::Unavailable(message) => plain(StatusCode::SERVICE_UNAVAILABLE, message),
            Self::Refused(status, refused) => (status, refused),
            Self::Store(error @ store::Error::Gone { .. }) => plain(StatusCode::NOT_FOUND, error.to_string()),
            Self::Store(error @ store::Error::Unusable { .. }) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            Self::Store(error) if error.is_for_the_disk() => {
                let what = "the disk is full or cannot be written; see `gateway status`, and try again when it can";
                tracing::warn!(%error, "an admin request could not be carried out");
                plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}: {what}"))
            }
            Self::Store(error) => {
                tracing::error!(%error, "an admin request failed");
                plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let head = match &self {
            Self::Nobody => Some((header::WWW_AUTHENTICATE, "Bearer".to_owned())),
            Self::TooMany(_, wait) => Some((header::RETRY_AFTER, wait.as_secs().max(1).to_string())),
            _ => None,
        };
        let (status, refused) = self.told();
        match head {
            Some((name, value)) => with_header(name, &value, refusal(status, &refused)),
            None => refusal(status, &refused),
        }
    }
}

fn refusal(status: StatusCode, refusal: &Refusal) -> Response {
    answer(status, refusal)
}

/// An answer in JSON.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => {
            tracing::error!(%error, "an admin request failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn with_header(name: HeaderName, value: &str, response: Response) -> Response {
    ([(name, value.to_owned())], response).into_response()
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<PairingError> for Error {
    fn from(error: PairingError) -> Self {
        match error {
            PairingError::NoChannel { .. } | PairingError::NoCode { .. } | PairingError::NotApproved { .. } => {
                Self::NotFound(error.to_string())
            }
            PairingError::TooManyTries { retry_after, .. } => Self::TooMany(error.to_string(), retry_after),
            PairingError::Store(error) => Self::Store(error),
        }
    }
}

impl From<DeliveryError> for Error {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Unknown { .. } => Self::NotFound(error.to_string()),
            DeliveryError::Store(error) => Self::Store(error),
            _ => Self::Conflict(error.to_string()),
        }
    }
}

impl From<TakeError> for Error {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Empty | TakeError::TooLong => Self::Query(error.to_string()),
            TakeError::Store(error) => Self::Store(error),
            TakeError::Others { .. } => Self::State("taken_by_other", error.to_string()),
            TakeError::NotTaken(_) => Self::State("not_taken", error.to_string()),
            TakeError::NotLive(_) => Self::State("conversation_over", error.to_string()),
            TakeError::Changed => Self::State("conversation_changed", error.to_string()),
            TakeError::NoAddress(_) | TakeError::NoEntry(_) => Self::State("nowhere_to_send", error.to_string()),
            TakeError::SafeMode => Self::State("safe_mode", error.to_string()),
        }
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => Self::Store(error),
            error => Self::Unusable(error.to_string()),
        }
    }
}

/// What refuses a backup.
pub(super) fn of_backup(error: &BackupError) -> StatusCode {
    match error {
        BackupError::Running => StatusCode::SERVICE_UNAVAILABLE,
        BackupError::Order(_) => StatusCode::BAD_REQUEST,
        BackupError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        BackupError::Backup(error) => match error.kind() {
            Kind::Order => StatusCode::BAD_REQUEST,
            Kind::Config => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Later => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        let code = match &error {
            BackupError::Running => "backup_running",
            BackupError::TooMany { .. } => "too_many",
            BackupError::Order(_) => "wrong_request",
            BackupError::Backup(_) => "backup_failed",
        };
        Self::Refused(of_backup(&error), Refusal::new(code, error))
    }
}

impl From<account::Error> for Error {
    fn from(error: account::Error) -> Self {
        let weakness = match &error {
            account::Error::Weak(weakness) => Some(weakness.as_str()),
            _ => None,
        };
        let status = match &error {
            account::Error::Name(_) | account::Error::Weak(_) => StatusCode::BAD_REQUEST,
            account::Error::Unknown { .. } => StatusCode::NOT_FOUND,
            account::Error::Taken
            | account::Error::LastAdmin
            | account::Error::NoPasskey
            | account::Error::Unclaimed
            | account::Error::TooMany(_) => StatusCode::CONFLICT,
            account::Error::Busy
            | account::Error::Shut(_)
            | account::Error::File { .. }
            | account::Error::Damaged { .. }
            | account::Error::TooNew { .. } => StatusCode::SERVICE_UNAVAILABLE,
            account::Error::Random | account::Error::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let code = match &error {
            account::Error::Weak(_) => "weak_password",
            account::Error::Name(_) => "wrong_name",
            account::Error::Taken => "name_taken",
            account::Error::LastAdmin => "last_admin",
            account::Error::NoPasskey => "no_passkey",
            account::Error::Unknown { .. } => "not_found",
            account::Error::TooMany(_) => "too_many_accounts",
            account::Error::Unclaimed => "unclaimed",
            account::Error::Busy => "busy",
            account::Error::Random | account::Error::Interrupted => "unavailable",
            account::Error::Shut(_)
            | account::Error::File { .. }
            | account::Error::Damaged { .. }
            | account::Error::TooNew { .. } => "accounts_unusable",
        };
        Self::Refused(status, Refusal { weakness, ..Refusal::new(code, error) })
    }
}

impl From<ChannelTestError> for Error {
    fn from(error: ChannelTestError) -> Self {
        match error {
            ChannelTestError::Unknown(_) => Self::NotFound(error.to_string()),
            ChannelTestError::TooSlow(_) => {
                Self::Refused(StatusCode::SERVICE_UNAVAILABLE, Refusal::new("test_too_slow", error))
            }
        }
    }
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        let message = error.to_string();
        match error {
            EditError::Path { .. } => Self::Query(message),
            EditError::NoSuch { .. } => Self::NotFound(message),
            EditError::Yaml => Self::State("yaml", message),
            EditError::Syntax { .. } => Self::State("config_invalid", message),
            EditError::Several { .. } | EditError::Other { .. } => Self::Unusable(message),
        }
    }
}

impl From<RestoreError> for Error {
    fn from(error: RestoreError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Disk { .. } => Self::Unavailable(error.to_string()),
            error => Self::Query(error.to_string()),
        }
    }
}

impl From<ReloadError> for Error {
    fn from(error: ReloadError) -> Self {
        let status = match &error {
            ReloadError::Changed => StatusCode::CONFLICT,
            ReloadError::Revision(RevisionError::Unknown(_) | RevisionError::NoneOther) => StatusCode::NOT_FOUND,
            ReloadError::Revision(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let problems = match &error {
            ReloadError::Config(config::Error::Invalid(problems))
            | ReloadError::StillBad { source: config::Error::Invalid(problems), .. } => {
                problems.iter().map(Problem::of).collect()
            }
            _ => Vec::new(),
        };
        let code = match &error {
            ReloadError::Changed => "changed",
            ReloadError::Config(_) | ReloadError::StillBad { .. } => "config_invalid",
            ReloadError::Rebound | ReloadError::StoreMoved => "restart_needed",
            ReloadError::StoreUnusable(_) => "store",
            ReloadError::Listen(_) => "address_unusable",
            ReloadError::FileGone(_) | ReloadError::Revision(_) => "file",
        };
        Self::Refused(status, Refusal { problems: Some(problems), ..Refusal::new(code, error) })
    }
}
