//! One operation of the API: where it is, who may ask for it, what it takes and what it gives. The router, the
//! description and the table that tests walk are all made from these.
//!
//! What an operation takes and gives is read off the types of its handler, so the description cannot say anything else.

use std::collections::BTreeSet;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Query as UrlQuery, RawPathParams, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

use super::Again;
use super::error::{Error, answer};
use super::openapi::Description;
use super::reach::Reached;
use crate::account::{Reach, Role, Who};
use crate::gateway::Gateway;

/// How long a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Who may ask for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The least that they must be allowed to do.
    pub role: Role,
    /// What it is about.
    pub scope: Scope,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Tenants: whoever is bound to one may ask, and hears of that one.
    Tenants,
    /// The gateway itself: only for those who reach everything.
    Gateway,
}

/// To look at what belongs to tenants.
pub(super) const READ: Rule = Rule { role: Role::Support, scope: Scope::Tenants };
/// To change what belongs to tenants, or to read what lets somebody in.
pub(super) const CHANGE: Rule = Rule { role: Role::Admin, scope: Scope::Tenants };
/// To look at the gateway itself.
pub(super) const INSPECT: Rule = Rule { role: Role::Support, scope: Scope::Gateway };
/// To change the gateway itself, or to read what says how it is set up.
pub(super) const MANAGE: Rule = Rule { role: Role::Admin, scope: Scope::Gateway };

impl Rule {
    /// May they?
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(super) fn check(self, who: &Who) -> Result<(), Error> {
        if who.role < self.role {
            return Err(Error::Forbidden("you may look and not change anything here; ask an admin"));
        }
        match (self.scope, &who.reach) {
            (Scope::Gateway, Reach::Tenant(_)) => {
                Err(Error::Forbidden("this is about the gateway itself, which is for whoever runs it"))
            }
            _ => Ok(()),
        }
    }
}

/// An operation as the table lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Method.
    pub method: Method,
    /// Path, with `{name}` for what is not fixed.
    pub path: &'static str,
    /// Who may ask for it.
    pub rule: Rule,
}

/// One operation.
pub(super) struct Operation {
    pub(super) listed: Listed,
    /// What it does, in one line.
    pub(super) summary: &'static str,
    describe: fn() -> Description,
    pub(super) serve: MethodRouter<Gateway>,
}

/// The constructors, one for each method.
macro_rules! declare {
    ($($name:ident $method:ident;)*) => { $(
        pub(super) fn $name<I: Input, O: Output, F>(
            path: &'static str,
            rule: Rule,
            summary: &'static str,
            handler: impl Fn(Reached, I) -> F + Clone + Send + Sync + 'static,
        ) -> Self
        where
            F: Future<Output = Result<O, Error>> + Send + 'static,
        {
            Self::new(Method::$method, MethodFilter::$method, path, rule, summary, handler)
        }
    )* };
}

impl Operation {
    /// What it takes and gives. Made when it is asked for, which is seldom.
    pub(super) fn description(&self) -> Description {
        (self.describe)()
    }

    declare! { get GET; post POST; put PUT; patch PATCH; delete DELETE; }

    fn new<I: Input, O: Output, F>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        rule: Rule,
        summary: &'static str,
        handler: impl Fn(Reached, I) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<O, Error>> + Send + 'static,
    {
        let mut taken = Description::default();
        I::describe(&mut taken);
        let known: Arc<BTreeSet<String>> = Arc::new(taken.query_names().map(str::to_owned).collect());
        let serve = move |State(gateway): State<Gateway>,
                          Extension(who): Extension<Who>,
                          Extension(again): Extension<Again>,
                          path: RawPathParams,
                          uri: Uri,
                          body: HttpBody| {
            let (handler, known, heard_by) = (handler.clone(), Arc::clone(&known), who.clone());
            async move {
                let answer = async {
                    rule.check(&who)?;
                    check_names(&uri, &known)?;
                    let parts = path.iter().map(|(_, value)| value.to_owned()).collect();
                    let body = match I::MAX_BODY_BYTES {
                        0 => Bytes::new(),
                        max => read_body(body, max).await?,
                    };
                    let input = I::read(&Asked { uri, parts, body })?;
                    handler(Reached::asked(gateway, who, again), input).await
                };
                match answer.await {
                    Ok(answer) => answer.into_response(),
                    Err(error) => error.heard_by(&heard_by).into_response(),
                }
            }
        };
        Self { listed: Listed { method, path, rule }, summary, describe: description::<I, O>, serve: on(filter, serve) }
    }
}

fn description<I: Input, O: Output>() -> Description {
    let mut description = Description::default();
    I::describe(&mut description);
    O::describe(&mut description);
    description
}

/// Whoever sends slowly is not waited for.
async fn read_body(body: HttpBody, max: usize) -> Result<Bytes, Error> {
    let body = tokio::time::timeout(READ_TIMEOUT, axum::body::to_bytes(body, max)).await;
    body.map_err(|_elapsed| Error::TooSlow)?.map_err(|_error| Error::TooLong(max))
}

/// A name that nobody reads is a slip, and its value would be missed.
fn check_names(uri: &Uri, known: &BTreeSet<String>) -> Result<(), Error> {
    let pairs = UrlQuery::<Vec<(String, String)>>::try_from_uri(uri);
    let UrlQuery(pairs) = pairs.map_err(|error| Error::Query(error.body_text()))?;
    match pairs.into_iter().find(|(name, _)| !known.contains(name)) {
        None => Ok(()),
        Some((name, _)) if known.is_empty() => {
            Err(Error::Query(format!("there is no parameter {name:?} here; this takes none")))
        }
        Some((name, _)) => {
            let known = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(Error::Query(format!("there is no parameter {name:?} here; there are {known}")))
        }
    }
}

/// A request, as far as operations read it.
#[derive(Debug)]
pub(super) struct Asked {
    uri: Uri,
    /// What stands in the path for `{number}`, `{name}` and what follows them.
    parts: Vec<String>,
    body: Bytes,
}

/// What a handler takes.
pub(super) trait Input: Sized + Send + 'static {
    /// Longest body that is read; 0: none.
    const MAX_BODY_BYTES: usize = 0;

    fn read(asked: &Asked) -> Result<Self, Error>;

    fn describe(description: &mut Description);
}

impl Input for () {
    fn read(_asked: &Asked) -> Result<Self, Error> {
        Ok(())
    }

    fn describe(_description: &mut Description) {}
}

impl<A: Input, B: Input> Input for (A, B) {
    const MAX_BODY_BYTES: usize =
        if A::MAX_BODY_BYTES > B::MAX_BODY_BYTES { A::MAX_BODY_BYTES } else { B::MAX_BODY_BYTES };

    fn read(asked: &Asked) -> Result<Self, Error> {
        Ok((A::read(asked)?, B::read(asked)?))
    }

    fn describe(description: &mut Description) {
        A::describe(description);
        B::describe(description);
    }
}

/// From the query of the address.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned + IntoParams + Send + 'static> Input for Query<T> {
    fn read(asked: &Asked) -> Result<Self, Error> {
        let query = UrlQuery::<T>::try_from_uri(&asked.uri);
        query.map(|UrlQuery(query)| Self(query)).map_err(|error| Error::Query(error.body_text()))
    }

    fn describe(description: &mut Description) {
        description.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
    }
}

/// The `{number}` in the path.
#[derive(Debug)]
pub(crate) struct Number(pub(crate) u32);

impl Input for Number {
    fn read(asked: &Asked) -> Result<Self, Error> {
        let number = asked.parts.first().and_then(|number| number.parse().ok());
        number.map(Self).ok_or_else(|| Error::Query("the number in the path is none".to_owned()))
    }

    fn describe(description: &mut Description) {
        description.path::<u32>("number");
    }
}

/// The `{name}` in the path.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl Input for Name {
    fn read(asked: &Asked) -> Result<Self, Error> {
        asked.parts.first().cloned().map(Self).ok_or_else(|| Error::Query("the path lacks a name".to_owned()))
    }

    fn describe(description: &mut Description) {
        description.path::<String>("name");
    }
}

/// The `{name}` and the `{file}` in the path.
#[derive(Debug)]
pub(crate) struct NameAndFile(pub(crate) String, pub(crate) String);

impl Input for NameAndFile {
    fn read(asked: &Asked) -> Result<Self, Error> {
        match asked.parts.as_slice() {
            [name, file] => Ok(Self(name.clone(), file.clone())),
            _ => Err(Error::Query("the path lacks a name".to_owned())),
        }
    }

    fn describe(description: &mut Description) {
        description.path::<String>("name");
        description.path::<String>("file");
    }
}

/// The `{name}` and the `{id}` in the path.
#[derive(Debug)]
pub(crate) struct NameAndId(pub(crate) String, pub(crate) String);

impl Input for NameAndId {
    fn read(asked: &Asked) -> Result<Self, Error> {
        match asked.parts.as_slice() {
            [name, id] => Ok(Self(name.clone(), id.clone())),
            _ => Err(Error::Query("the path lacks a name".to_owned())),
        }
    }

    fn describe(description: &mut Description) {
        description.path::<String>("name");
        description.path::<String>("id");
    }
}

/// What may be sent in a body, as JSON.
pub(super) trait Sent: DeserializeOwned + ToSchema + Send + 'static {
    /// Longest one.
    const MAX_BYTES: usize = 64 * 1024;
}

/// A body that must be there.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: Sent> Input for Body<T> {
    const MAX_BODY_BYTES: usize = T::MAX_BYTES;

    fn read(asked: &Asked) -> Result<Self, Error> {
        json(&asked.body).map(Self)
    }

    fn describe(description: &mut Description) {
        description.body::<T>(true);
    }
}

/// A body that may be left out.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

impl<T: Sent> Input for OptionalBody<T> {
    const MAX_BODY_BYTES: usize = T::MAX_BYTES;

    fn read(asked: &Asked) -> Result<Self, Error> {
        if asked.body.is_empty() { Ok(Self(None)) } else { json(&asked.body).map(Some).map(Self) }
    }

    fn describe(description: &mut Description) {
        description.body::<T>(false);
    }
}

/// The parser's own words may repeat what was sent: a code, a secret, words of a conversation.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // A list would be taken for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::Query("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::Query(format!("the body is not the JSON that this wants: see line {line}, column {column}"))
    })
}

/// What a handler gives.
pub(super) trait Output {
    fn describe(description: &mut Description);

    fn into_response(self) -> Response;
}

impl<T: Serialize + ToSchema> Output for T {
    fn describe(description: &mut Description) {
        description.answer::<T>();
    }

    fn into_response(self) -> Response {
        answer(StatusCode::OK, &self)
    }
}

/// One JSON object a line, as they come.
pub(crate) struct Lines<T> {
    body: HttpBody,
    line: PhantomData<fn() -> T>,
}

impl<T> Lines<T> {
    /// Of a body that is so.
    pub(super) fn new(body: HttpBody) -> Self {
        Self { body, line: PhantomData }
    }
}

impl<T: ToSchema> Output for Lines<T> {
    fn describe(description: &mut Description) {
        description.lines::<T>();
    }

    fn into_response(self) -> Response {
        (StatusCode::OK, [(header::CONTENT_TYPE, LINES)], self.body).into_response()
    }
}

/// Media type of [`Lines`].
pub(super) const LINES: &str = "application/x-ndjson";

/// A file that is taken out as it is.
pub(crate) struct SealedFile {
    /// Letters, digits, `-` and `.` only.
    pub(super) name: String,
    pub(super) body: HttpBody,
}

impl Output for SealedFile {
    fn describe(description: &mut Description) {
        description.text([BYTES]);
    }

    fn into_response(self) -> Response {
        let shown = format!("attachment; filename=\"{}\"", self.name);
        let headers = [(header::CONTENT_TYPE, BYTES.to_owned()), (header::CONTENT_DISPOSITION, shown)];
        (StatusCode::OK, headers, self.body).into_response()
    }
}

/// Media type of [`SealedFile`].
const BYTES: &str = "application/octet-stream";

/// A text in the format of `OpenMetrics`.
pub(crate) struct Text(pub(super) String);

impl Output for Text {
    fn describe(description: &mut Description) {
        description.text([super::metrics::MEDIA_TYPE]);
    }

    fn into_response(self) -> Response {
        (StatusCode::OK, [(header::CONTENT_TYPE, super::metrics::MEDIA_TYPE)], self.0).into_response()
    }
}

/// A text in one of several media types, as it is written.
pub(crate) struct Document {
    pub(super) media_type: &'static str,
    pub(super) body: HttpBody,
}

impl Output for Document {
    fn describe(description: &mut Description) {
        description.text(super::export::Format::CHOICES.map(|(_, format)| format.media_type()));
    }

    fn into_response(self) -> Response {
        (StatusCode::OK, [(header::CONTENT_TYPE, self.media_type)], self.body).into_response()
    }
}
