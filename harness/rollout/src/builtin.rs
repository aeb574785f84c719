//! The router of the embedded pilot, driven over its admin endpoint (`GET` and `PUT /weight`). Must not know the shop.

use crate::http_client::{CallError, Client};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shakedown_core::seams::{Boxed, Cx, Driver, DriverKind, Endpoints, Fail, Found, Kind, Undo, UndoRecord, UndoState};
use shakedown_core::tree::{Node, Problems};
use shakedown_core::{AllowList, Ppm};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Kind of the undo records.
const UNDO_KIND: &str = "driver-builtin";

/// Characters of a router's refusal that are quoted.
const QUOTED: usize = 200;

/// `driver: {builtin: SERVICE}`.
pub struct Builtin;

/// Restores the weight of a router whose harness is gone.
pub struct BuiltinUndo;

/// Canonical parameters.
#[derive(Deserialize)]
struct Params {
    service: String,
}

/// What restoring needs; also the data of the undo record.
#[derive(Serialize, Deserialize)]
struct Restore {
    admin: SocketAddr,
    canary_ppm: Ppm,
    service: String,
}

/// What the router says of itself.
#[derive(Deserialize)]
struct Weight {
    service: String,
    canary_ppm: u32,
    owner: Option<String>,
}

struct BuiltinDriver {
    service: String,
    run: String,
    endpoints: Endpoints,
    allow: AllowList,
    client: Mutex<Option<Arc<Client>>>,
}

// === impl Builtin ===

impl Kind for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }
    fn about(&self) -> &'static str {
        "the weighted router of the embedded pilot, by its service name"
    }
    fn schema(&self) -> Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$", "description": "service whose builtin router splits the traffic"})
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        let service = node.string("`builtin` (a service)", problems)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if service.bytes().next().is_some_and(plain) && service.bytes().all(|b| plain(b) || b == b'-') {
            return Some(json!({"service": service}));
        }
        problems.hint(&node.span, format!("`{service}` is not a service name"), "name a service with `builtin: shop`, such as `pilot`");
        None
    }
}

impl DriverKind for Builtin {
    fn connect<'a>(&'a self, params: &'a Value, cx: &'a Cx) -> Boxed<'a, Result<Arc<dyn Driver>, Fail>> {
        Box::pin(async move {
            let params = Params::deserialize(params).map_err(|error| Fail::new(format!("the driver's parameters are broken: {error}")))?;
            let driver = BuiltinDriver {
                service: params.service,
                run: cx.owner.run.clone(),
                endpoints: cx.endpoints.clone(),
                allow: cx.allow.clone(),
                client: Mutex::new(None),
            };
            driver.weight().await?;
            Ok(Arc::new(driver) as Arc<dyn Driver>)
        })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

// === impl BuiltinDriver ===

impl BuiltinDriver {
    /// The client of the router's present address: a restarted service may have moved.
    async fn client(&self) -> Result<Arc<Client>, Fail> {
        let endpoint = format!("{}.admin", self.service);
        let missing = || Fail::new(format!("there is no endpoint {endpoint}; `builtin` needs a running service with `builtin: shop`"));
        let addr = self.allow.check(self.endpoints.get(&endpoint).ok_or_else(missing)?)?.addr();
        let mut client = self.client.lock().await;
        Ok(match &*client {
            Some(client) if client.addr() == addr => client.clone(),
            _ => client.insert(Arc::new(Client::new(addr))).clone(),
        })
    }

    async fn weight(&self) -> Result<(SocketAddr, Weight), Fail> {
        let client = self.client().await?;
        let weight = get(&client, &self.service).await.map_err(|error| unreachable(&self.service, &error))??;
        if weight.service != self.service {
            return Err(Fail::new(format!("{} is the router of {}, not of {}", client.addr(), weight.service, self.service)));
        }
        Ok((client.addr(), weight))
    }

    async fn put(&self, canary: Ppm, owner: Option<&str>) -> Result<(), Fail> {
        let client = self.client().await?;
        put(&client, &self.service, canary, owner).await
    }
}

impl Driver for BuiltinDriver {
    fn found(&self) -> Boxed<'_, Result<Found, Fail>> {
        Box::pin(async {
            let (admin, weight) = self.weight().await?;
            let canary = Ppm(weight.canary_ppm);
            let data = Restore { admin, canary_ppm: canary, service: self.service.clone() };
            Ok(Found { canary, data: serde_json::to_value(data).expect("it is plain data") })
        })
    }

    fn set(&self, canary: Ppm) -> Boxed<'_, Result<(), Fail>> {
        Box::pin(self.put(canary, Some(&self.run)))
    }

    fn read(&self) -> Boxed<'_, Result<Ppm, Fail>> {
        Box::pin(async { Ok(Ppm(self.weight().await?.1.canary_ppm)) })
    }

    /// Gives up ownership too, so that a later undo of this run leaves the router alone.
    fn restore<'a>(&'a self, found: &'a Found) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(self.put(found.canary, None))
    }

    fn undo(&self, found: &Found) -> (String, String, Value) {
        let words = format!("canary weight of {}'s router, back to {}", self.service, found.canary);
        (UNDO_KIND.to_owned(), words, found.data.clone())
    }
}

// === impl BuiltinUndo ===

impl Undo for BuiltinUndo {
    fn kind(&self) -> &'static str {
        UNDO_KIND
    }

    fn undo<'a>(&'a self, record: &'a UndoRecord) -> Boxed<'a, Result<UndoState, Fail>> {
        Box::pin(async move {
            let to = Restore::deserialize(&record.data)
                .map_err(|error| Fail::new(format!("undo record {} ({}) is broken: {error}", record.id, record.what)))?;
            let client = Client::new(to.admin);
            let weight = match get(&client, &to.service).await {
                Ok(weight) => weight?,
                // The router ended with its run, and its weight with it.
                Err(CallError::Refused(_)) => return Ok(UndoState::Already),
                Err(error) => return Err(unreachable(&to.service, &error)),
            };
            if weight.service != to.service {
                return Ok(UndoState::NotOurs);
            }
            match weight.owner {
                Some(owner) if owner == record.owner.run => {}
                Some(_) => return Ok(UndoState::NotOurs),
                None if weight.canary_ppm == to.canary_ppm.0 => return Ok(UndoState::Already),
                None => return Ok(UndoState::NotOurs),
            }
            put(&client, &to.service, to.canary_ppm, None).await?;
            let now = get(&client, &to.service).await.map_err(|error| unreachable(&to.service, &error))??.canary_ppm;
            if now == to.canary_ppm.0 {
                Ok(UndoState::Undone)
            } else {
                Err(Fail::new(format!("router {} was set back to {}, but reports {}", to.service, to.canary_ppm, Ppm(now))))
            }
        })
    }
}

// === the admin endpoint ===

/// The outer error is the connection's, the inner one the answer's.
async fn get(client: &Client, service: &str) -> Result<Result<Weight, Fail>, CallError> {
    let (status, body) = client.call(Method::GET, "/weight", "").await?;
    if status != StatusCode::OK {
        return Ok(Err(Fail::new(format!("router {service} answered {} to GET /weight: {}", status.as_u16(), quote(&body)))));
    }
    let weight = serde_json::from_slice::<Weight>(&body).map_err(|error| error.to_string());
    let weight = weight.and_then(|weight| match weight.canary_ppm {
        ppm if ppm <= Ppm::ONE.0 => Ok(weight),
        ppm => Err(format!("canary_ppm is {ppm}, but at most {}", Ppm::ONE.0)),
    });
    Ok(weight.map_err(|why| Fail::new(format!("the weight that router {service} reports cannot be read: {why}"))))
}

async fn put(client: &Client, service: &str, canary: Ppm, owner: Option<&str>) -> Result<(), Fail> {
    let body = json!({"canary_ppm": canary.0, "owner": owner}).to_string();
    let (status, body) = client.call(Method::PUT, "/weight", &body).await.map_err(|error| unreachable(service, &error))?;
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::CONFLICT => Err(Fail::new(format!("router {service} refused weight {canary} (409): {}", quote(&body)))),
        _ => Err(Fail::new(format!("router {service} answered {} to weight {canary}: {}", status.as_u16(), quote(&body)))),
    }
}

fn unreachable(service: &str, error: &CallError) -> Fail {
    Fail::new(format!("router {service} cannot be driven: {error}"))
}

fn quote(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(QUOTED).collect()
}
