//! Doubly linked lists through the entries of a slab: taking out of the middle costs no search and no memory. Must not
//! know what is listed.

use slab::Slab;

/// No entry.
pub const NONE: u32 = u32::MAX;

/// An entry's neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    before: u32,
    after: u32,
    listed: bool,
}

impl Default for Links {
    fn default() -> Links {
        Links { before: NONE, after: NONE, listed: false }
    }
}

/// An entry that can be in list number `N`, one at a time.
pub trait Linked<const N: usize> {
    /// Its neighbours.
    fn links(&mut self) -> &mut Links;
}

/// A list; the number names which of an entry's links it uses.
#[derive(Clone, Copy, Debug)]
pub struct List<const N: usize> {
    first: u32,
    last: u32,
}

impl<const N: usize> Default for List<N> {
    fn default() -> Self {
        List { first: NONE, last: NONE }
    }
}

impl<const N: usize> List<N> {
    /// The first entry.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Lists an entry first.
    pub fn push_front<T: Linked<N>>(&mut self, all: &mut Slab<T>, entry: u32) {
        self.insert_between(all, NONE, self.first, entry);
    }

    /// Lists an entry last.
    pub fn push_back<T: Linked<N>>(&mut self, all: &mut Slab<T>, entry: u32) {
        self.insert_between(all, self.last, NONE, entry);
    }

    /// Lists an entry behind the last one that `key` puts no later: cheap when entries come almost in order.
    pub fn insert_sorted<T: Linked<N>>(&mut self, all: &mut Slab<T>, entry: u32, key: impl Fn(&T) -> i64) {
        let own = key(&all[entry as usize]);
        let mut before = self.last;
        while before != NONE && key(&all[before as usize]) > own {
            before = all[before as usize].links().before;
        }
        let after = if before == NONE { self.first } else { all[before as usize].links().after };
        self.insert_between(all, before, after, entry);
    }

    /// Takes the first entry out.
    pub fn pop_front<T: Linked<N>>(&mut self, all: &mut Slab<T>) -> Option<u32> {
        let first = self.first()?;
        self.remove(all, first);
        Some(first)
    }

    /// Takes an entry out; one that is not listed is left alone.
    pub fn remove<T: Linked<N>>(&mut self, all: &mut Slab<T>, entry: u32) {
        let Links { before, after, listed } = std::mem::take(all[entry as usize].links());
        if !listed {
            return;
        }
        if before == NONE {
            self.first = after
        } else {
            all[before as usize].links().after = after
        }
        if after == NONE { self.last = before } else { all[after as usize].links().before = before }
    }

    fn insert_between<T: Linked<N>>(&mut self, all: &mut Slab<T>, before: u32, after: u32, entry: u32) {
        *all[entry as usize].links() = Links { before, after, listed: true };
        if before == NONE {
            self.first = entry
        } else {
            all[before as usize].links().after = entry
        }
        if after == NONE { self.last = entry } else { all[after as usize].links().before = entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(Links, i64);

    impl Linked<0> for Entry {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn order(list: &mut List<0>, all: &mut Slab<Entry>) -> Vec<i64> {
        std::iter::from_fn(|| list.pop_front(all).map(|i| all[i as usize].1)).collect()
    }

    #[test]
    fn entries_come_out_in_order_and_from_the_middle() {
        let (mut all, mut list) = (Slab::new(), List::<0>::default());
        let ids: Vec<u32> = [5, 1, 3, 3, 9].iter().map(|&at| all.insert(Entry(Links::default(), at)) as u32).collect();
        for &id in &ids {
            list.insert_sorted(&mut all, id, |e| e.1);
        }
        list.remove(&mut all, ids[2]);
        list.remove(&mut all, ids[2]);
        assert_eq!(list.last(), Some(ids[4]));
        assert_eq!(order(&mut list, &mut all), [1, 3, 5, 9]);
        list.push_front(&mut all, ids[0]);
        list.push_front(&mut all, ids[1]);
        list.push_back(&mut all, ids[4]);
        assert_eq!(order(&mut list, &mut all), [1, 5, 9]);
        assert!(list.is_empty());
    }
}
