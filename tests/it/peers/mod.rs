//! What a gateway meets, under the test's control: a model's server that answers when and as the test says,
//! and the peer of a webhook entry. And the gateway itself, which can lose its power.
//!
//! Nothing here sleeps. Whoever waits for something waits for exactly that; [`soon`] only ends a test that
//! would hang.

mod gateway;
pub(crate) mod hook;
pub(crate) mod model;

pub(crate) use gateway::{TestGateway, question};
pub(crate) use hook::{Hook, direct, group, thread};
pub(crate) use model::{Model, Question};

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

/// Longer than anything here takes, also on a busy machine.
const GUARD: Duration = Duration::from_secs(60);

/// What `future` brings, which must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.unwrap_or_else(|_elapsed| panic!("it never came: {what}"))
}

/// Serves on a free port of the loopback until the test ends; returns the address with `http://`.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Reaches the loopback whatever proxies the environment names.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}
