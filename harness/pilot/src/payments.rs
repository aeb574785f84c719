//! The payments service the shop depends on: `POST /charge/{order}`. Must not fail on its own: faults do that.

use crate::server::{Answer, json, text};
use http::{Method, Request, StatusCode};
use serde_json::json;
use std::time::Duration;

/// How long a charge takes.
const SERVICE_TIME: Duration = Duration::from_millis(1);

/// Answers one request; bodies are not looked at.
pub(crate) async fn answer<B>(request: Request<B>) -> Answer {
    let path = request.uri().path();
    match (request.method(), path.strip_prefix("/charge/")) {
        (&Method::POST, Some(order)) if !order.is_empty() => {
            let charged = json(StatusCode::OK, &json!({"order": order, "state": "charged"}));
            tokio::time::sleep(SERVICE_TIME).await;
            charged
        }
        (&Method::GET | &Method::HEAD, _) if path == "/healthz" => text(StatusCode::OK, "ok\n"),
        _ => text(StatusCode::NOT_FOUND, "payments knows POST /charge/{order} and GET /healthz\n"),
    }
}
