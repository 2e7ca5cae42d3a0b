//! Sends spans to a collector: OTLP over HTTP, in protobuf.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use super::{Attempt, Config, Turn};
use crate::clock::Timestamp;

/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end waits for one.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Makes spans and sends them, some at a time, from a thread of its own. What a collector does not take is lost.
pub struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

impl Tracer {
    /// Sends with this client, in the runtime that it is called in. `None`: it cannot be made; the log says why.
    #[must_use]
    pub fn open(config: &Config, http: &reqwest::Client) -> Option<Self> {
        let headers = config.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { http: http.clone(), runtime: Handle::try_current().ok()? })
            .with_endpoint(config.endpoint.as_str())
            .with_timeout(TIMEOUT)
            .with_headers(headers.collect::<HashMap<_, _>>())
            .build();
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(%error, "spans cannot be sent to the collector");
                return None;
            }
        };
        let attributes = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
        let resource = Resource::builder_empty().with_service_name("frontdesk").with_attributes(attributes).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("frontdesk");
        Some(Self { provider, tracer })
    }

    /// Tells of a turn, and of each attempt in it.
    pub fn turn(&self, turn: &Turn<'_>) {
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", turn.agent.to_owned()),
            KeyValue::new("frontdesk.channel.type", turn.channel.to_owned()),
            KeyValue::new("frontdesk.messages", i64::try_from(turn.n_messages).unwrap_or(i64::MAX)),
        ];
        attributes.extend(turn.tenant.map(|tenant| KeyValue::new("frontdesk.tenant", tenant.to_owned())));
        let builder = self.tracer.span_builder("turn").with_kind(SpanKind::Internal).with_attributes(attributes);
        let mut span = builder.with_start_time(system(turn.start)).start_with_context(&self.tracer, &Context::new());
        span.set_status(if turn.is_answered { Status::Ok } else { Status::error("no answer") });
        let parent = Context::new().with_remote_span_context(span.span_context().clone());
        turn.attempts.iter().for_each(|attempt| self.attempt(attempt, &parent));
        span.end_with_timestamp(system(turn.end));
    }

    fn attempt(&self, attempt: &Attempt, parent: &Context) {
        let tokens = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let attributes = [
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", attempt.provider.to_string()),
            KeyValue::new("gen_ai.usage.input_tokens", tokens(attempt.input_tokens)),
            KeyValue::new("gen_ai.usage.output_tokens", tokens(attempt.output_tokens)),
        ];
        let builder = self.tracer.span_builder("chat").with_kind(SpanKind::Client).with_attributes(attributes);
        let mut span = builder.with_start_time(system(attempt.start)).start_with_context(&self.tracer, parent);
        span.set_status(if attempt.failed { Status::error("the provider failed") } else { Status::Ok });
        span.end_with_timestamp(system(attempt.end));
    }

    /// Sends what waits, and no more from then on. Blocks for a moment.
    pub fn close(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_WAIT) {
            tracing::debug!(%error, "the collector did not take the last spans");
        }
    }
}

fn system(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.0)
}

/// The client of everything else. The thread that exports has no runtime, so requests run in that of the gateway.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        #[expect(clippy::disallowed_methods, reason = "whoever exports waits for it; it ends by its timeout")]
        let sent = self.runtime.spawn(async move {
            let asked = async {
                let response = http.execute(request).await?;
                let status = response.status();
                Ok::<_, reqwest::Error>((status, response.bytes().await?))
            };
            tokio::time::timeout(TIMEOUT, asked).await
        });
        let (status, body) = sent.await???;
        Ok(Response::builder().status(status).body(body)?)
    }
}
