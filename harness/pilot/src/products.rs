//! The catalogue: every product follows from its ID, so that it needs no memory. Must not read state.

use crate::draw::hash;
use serde_json::{Value, json};

/// Products `GET /products` lists.
const LISTED: u32 = 20;

/// Longest product, order and cart ID.
pub(crate) const MAX_ID: usize = 64;

const ADJECTIVES: [&str; 8] = ["Blue", "Folding", "Quiet", "Heavy", "Solar", "Round", "Pocket", "Alpine"];
const NOUNS: [&str; 8] = ["Lamp", "Chair", "Kettle", "Radio", "Backpack", "Clock", "Notebook", "Tent"];

/// Letters, digits, `-`, `_` and `.`; 1 to [`MAX_ID`] characters.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The product with this ID.
pub(crate) fn product(id: &str) -> Value {
    let hash = hash(id.as_bytes());
    let name = format!("{} {}", ADJECTIVES[(hash % 8) as usize], NOUNS[((hash >> 8) % 8) as usize]);
    let description =
        format!("{name}, made to be looked at, put into a cart and ordered. Ships within two days from the nearest warehouse.");
    json!({
        "id": id,
        "name": name,
        "description": description,
        "price": {"cents": 100 + (hash >> 16) % 20_000, "currency": "EUR"},
        "stock": (hash >> 32) % 500,
    })
}

/// What `GET /products` lists.
pub(crate) fn list() -> Value {
    let entry = |n: u32| json!({"id": n.to_string(), "name": product(&n.to_string())["name"]});
    json!({"products": (1..=LISTED).map(entry).collect::<Vec<_>>()})
}
