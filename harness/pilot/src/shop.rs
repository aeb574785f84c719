//! One release of the shop: its API, its service times and its flaws. Must not know the router or the other release;
//! they share only the orders.

use crate::client::{CallError, Pool};
use crate::draw::{Draw, Draws, hash};
use crate::flaws::{Flaw, Flaws};
use crate::orders::Orders;
use crate::products::{is_id, list, product};
use crate::server::{Answer, body_of, empty, json, text};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Names the release in every answer.
pub(crate) const RELEASE_HEADER: &str = "x-release";

/// Median and shape of the service time (p95 1.9 medians, p99 2.5).
const MEDIAN: Duration = Duration::from_micros(2_200);
const SIGMA: f64 = 0.4;

/// A charge not answered within this is a 504.
const PAYMENTS_TIMEOUT: Duration = Duration::from_secs(1);

/// `no-retry-budget`: further tries of a failed charge.
const WILD_RETRIES: u32 = 3;

/// `errors`: share of requests answered with 500.
const ERROR_SHARE: f64 = 0.05;

/// `slow-tail`: share of slow requests, and what they take longer.
const TAIL_SHARE: f64 = 0.15;
const TAIL_MIN: Duration = Duration::from_millis(60);
const TAIL_MAX: Duration = Duration::from_millis(150);

/// `drops-writes`: one order in this many.
const DROPPED_ONE_IN: u64 = 20;

/// A release.
pub(crate) struct Shop {
    release: HeaderValue,
    flaws: Flaws,
    draws: Draws,
    orders: Arc<Orders>,
    payments: Arc<Pool>,
    payments_host: HeaderValue,
}

#[derive(Deserialize)]
struct NewCart {
    sku: Value,
}

#[derive(Deserialize)]
struct NewOrder {
    id: String,
    cart: String,
}

impl Shop {
    /// A release by name; the name is known to fit into a header.
    pub(crate) fn new(release: &str, flaws: Flaws, seed: u64, orders: Arc<Orders>, payments: (Arc<Pool>, SocketAddr)) -> Shop {
        let header = |text: &str| HeaderValue::from_str(text).expect("the configuration was checked");
        let (pool, addr) = payments;
        let draws = Draws::new(seed, release);
        Shop { release: header(release), flaws, draws, orders, payments: pool, payments_host: header(&addr.to_string()) }
    }

    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let mut answer = if let Some(answer) = self.without_service_time(&request) {
            answer
        } else {
            let mut draw = self.draws.next();
            let fails = self.flaws.has(Flaw::Errors) && draw.unit() < ERROR_SHARE;
            tokio::time::sleep(self.service_time(&mut draw)).await;
            if fails { text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n") } else { self.serve(request).await }
        };
        if self.flaws.has(Flaw::EmptyBody) {
            answer = empty(StatusCode::OK);
        }
        answer.headers_mut().insert(RELEASE_HEADER, self.release.clone());
        answer
    }

    /// Probes and administration are not slowed and never fail.
    fn without_service_time(&self, request: &Request<Incoming>) -> Option<Answer> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => Some(text(StatusCode::OK, "ok\n")),
            (&Method::POST, "/admin/seed") => {
                self.orders.clear();
                Some(empty(StatusCode::NO_CONTENT))
            }
            _ => None,
        }
    }

    fn service_time(&self, draw: &mut Draw) -> Duration {
        let mut time = draw.lognormal(MEDIAN, SIGMA);
        if self.flaws.has(Flaw::Slow) {
            time *= 2;
        }
        if self.flaws.has(Flaw::SlowTail) && draw.unit() < TAIL_SHARE {
            time += TAIL_MIN + (TAIL_MAX - TAIL_MIN).mul_f64(draw.unit());
        }
        time
    }

    async fn serve(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut segments = parts.uri.path().split('/').skip(1);
        let path = (segments.next(), segments.next(), segments.next());
        match (&parts.method, path) {
            (&Method::GET | &Method::HEAD, (Some("products"), None, None)) => json(StatusCode::OK, &list()),
            (&Method::GET | &Method::HEAD, (Some("products"), Some(id), None)) if is_id(id) => json(StatusCode::OK, &product(id)),
            (&Method::GET | &Method::HEAD, (Some("orders"), Some("recent"), None)) => self.recent(),
            (&Method::GET | &Method::HEAD, (Some("orders"), Some(id), None)) => self.order(id),
            (&Method::POST, (Some("cart"), None, None)) => self.new_cart(body).await,
            (&Method::POST, (Some("orders"), None, None)) => self.new_order(body).await,
            _ => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }

    fn recent(&self) -> Answer {
        let entry = |id| json!({"id": id, "state": "accepted"});
        json(StatusCode::OK, &json!({"orders": self.orders.recent().into_iter().map(entry).collect::<Vec<_>>()}))
    }

    fn order(&self, id: &str) -> Answer {
        match self.orders.cart(id) {
            Some(cart) => json(StatusCode::OK, &json!({"id": id, "cart": cart, "state": "accepted", "copies": 1})),
            None => json(StatusCode::NOT_FOUND, &json!({"id": id, "error": "no such order"})),
        }
    }

    async fn new_cart(&self, body: Incoming) -> Answer {
        let cart: NewCart = match read(body).await {
            Ok(cart) => cart,
            Err(answer) => return answer,
        };
        let id = format!("c-{}", self.orders.next_cart());
        json(StatusCode::CREATED, &json!({"id": id, "state": "open", "items": [{"sku": cart.sku, "count": 1}]}))
    }

    /// Idempotent: an order that is there is acknowledged again and not charged again.
    async fn new_order(&self, body: Incoming) -> Answer {
        let order: NewOrder = match read(body).await {
            Ok(order) => order,
            Err(answer) => return answer,
        };
        if !is_id(&order.id) || !is_id(&order.cart) {
            return text(StatusCode::BAD_REQUEST, "an order needs an id and a cart: letters, digits, - _ . and at most 64 characters\n");
        }
        if self.orders.cart(&order.id).is_none() {
            if let Err(answer) = self.charge(&order.id).await {
                return answer;
            }
            if !(self.flaws.has(Flaw::DropsWrites) && hash(order.id.as_bytes()).is_multiple_of(DROPPED_ONE_IN)) {
                self.orders.store(&order.id, &order.cart);
            }
        }
        json(StatusCode::CREATED, &json!({"id": order.id, "state": "accepted"}))
    }

    async fn charge(&self, order: &str) -> Result<(), Answer> {
        let tries = if self.flaws.has(Flaw::NoRetryBudget) { 1 + WILD_RETRIES } else { 1 };
        let mut failed = self.charge_once(order).await;
        for _ in 1..tries {
            if failed.is_ok() {
                break;
            }
            failed = self.charge_once(order).await;
        }
        failed
    }

    async fn charge_once(&self, order: &str) -> Result<(), Answer> {
        let request = Request::post(format!("/charge/{order}"))
            .header(HOST, self.payments_host.clone())
            .header(CONTENT_LENGTH, 0)
            .body(Full::<Bytes>::default())
            .expect("an order id fits into a path");
        match self.payments.call(request, PAYMENTS_TIMEOUT).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(text(StatusCode::BAD_GATEWAY, format!("payments answered {}\n", answer.status().as_u16()))),
            Err(error @ CallError::Timeout(..)) => Err(text(StatusCode::GATEWAY_TIMEOUT, format!("payments: {error}\n"))),
            Err(error) => Err(text(StatusCode::BAD_GATEWAY, format!("payments: {error}\n"))),
        }
    }
}

async fn read<T: for<'a> Deserialize<'a>>(body: Incoming) -> Result<T, Answer> {
    let body = body_of(body).await?;
    serde_json::from_slice(&body).map_err(|error| text(StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}\n")))
}
