//! The router's admin API: read and set the canary's weight. Must not route.

use crate::server::{Answer, body_of, json, text};
use crate::weights::{Refused, Weights};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use shakedown_core::Ppm;
use std::sync::Arc;

/// The admin endpoint.
pub(crate) struct Admin {
    service: String,
    weights: Arc<Weights>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    canary_ppm: u32,
    #[serde(default)]
    owner: Option<String>,
}

impl Admin {
    /// Of the router of this service.
    pub(crate) fn new(service: &str, weights: Arc<Weights>) -> Admin {
        Admin { service: service.to_owned(), weights }
    }

    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/weight") => self.report(),
            (&Method::PUT, "/weight") => match body_of(body).await {
                Ok(body) => self.set(&body),
                Err(answer) => answer,
            },
            (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "ok\n"),
            _ => text(StatusCode::NOT_FOUND, "the admin endpoint knows GET /weight, PUT /weight and GET /healthz\n"),
        }
    }

    fn set(&self, body: &[u8]) -> Answer {
        let wanted: Wanted = match serde_json::from_slice(body) {
            Ok(wanted) => wanted,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("the weight is not as expected: {error}\n")),
        };
        if wanted.canary_ppm > Ppm::ONE.0 {
            return text(StatusCode::BAD_REQUEST, format!("canary_ppm is {}, but at most {}\n", wanted.canary_ppm, Ppm::ONE.0));
        }
        match self.weights.ask(Ppm(wanted.canary_ppm), wanted.owner) {
            Ok(()) => self.report(),
            Err(Refused(why)) => text(StatusCode::CONFLICT, format!("{why}\n")),
        }
    }

    fn report(&self) -> Answer {
        let report = self.weights.report();
        let [control, canary] = report.requests;
        let body = json!({
            "service": self.service,
            "canary_ppm": report.canary.0,
            "requests": {"control": control, "canary": canary},
            "owner": report.owner,
        });
        json(StatusCode::OK, &body)
    }
}
