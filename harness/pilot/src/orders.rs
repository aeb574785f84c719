//! The orders both releases share, as a common database would be: bounded, the oldest dropped first. Must not wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Orders kept; beyond it the oldest is dropped (about 20 MiB in all).
pub(crate) const MAX_ORDERS: usize = 100_000;

/// How many orders `recent` gives.
pub(crate) const RECENT: usize = 20;

/// The shared state.
#[derive(Default)]
pub(crate) struct Orders {
    table: Mutex<Table>,
    carts: AtomicU64,
}

#[derive(Default)]
struct Table {
    carts: HashMap<String, String>,
    oldest_first: VecDeque<String>,
}

impl Orders {
    /// Stores an order; the first one with an ID stays.
    pub(crate) fn store(&self, id: &str, cart: &str) {
        let mut table = self.table.lock().expect("no holder panics");
        if table.carts.contains_key(id) {
            return;
        }
        if table.oldest_first.len() >= MAX_ORDERS {
            let oldest = table.oldest_first.pop_front().expect("the queue is full");
            table.carts.remove(&oldest);
        }
        table.oldest_first.push_back(id.to_owned());
        table.carts.insert(id.to_owned(), cart.to_owned());
    }

    /// The cart of an order.
    pub(crate) fn cart(&self, id: &str) -> Option<String> {
        self.table.lock().expect("no holder panics").carts.get(id).cloned()
    }

    /// The newest orders' IDs, newest first.
    pub(crate) fn recent(&self) -> Vec<String> {
        self.table.lock().expect("no holder panics").oldest_first.iter().rev().take(RECENT).cloned().collect()
    }

    /// A number for a new cart.
    pub(crate) fn next_cart(&self) -> u64 {
        self.carts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Forgets every order.
    pub(crate) fn clear(&self) {
        *self.table.lock().expect("no holder panics") = Table::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_dropped_and_the_first_of_an_id_stays() {
        let orders = Orders::default();
        orders.store("a", "c-1");
        orders.store("a", "c-2");
        assert_eq!(orders.cart("a").as_deref(), Some("c-1"));
        for k in 0..MAX_ORDERS {
            orders.store(&format!("o-{k}"), "c");
        }
        assert_eq!(orders.cart("a"), None);
        assert!(orders.cart("o-0").is_some());
        assert_eq!(orders.recent()[0], format!("o-{}", MAX_ORDERS - 1));
        assert_eq!(orders.table.lock().expect("test").carts.len(), MAX_ORDERS);
    }
}
