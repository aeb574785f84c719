//! Reads `/proc`: who is whose child, which threads a process has, when it started. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// State letter: `R S D T t Z X …`.
    pub state: char,
    /// Parent.
    pub parent: i32,
    /// Start time in clock ticks since boot; with the pid it names a process for good.
    pub started: u64,
}

impl Stat {
    /// Still runs (is no zombie).
    #[must_use]
    pub fn lives(self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// A process or thread; `None` when there is none.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// The name may hold spaces and brackets: fields are counted after the last `)`.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started })
}

/// Every process below `root`, zombies left out, `root` itself too.
#[must_use]
pub fn descendants(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in numbers("/proc") {
        if let Some(stat) = stat(pid).filter(|s| s.lives()) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found.into_iter().collect()
}

/// Thread IDs of a process; none when it is gone.
#[must_use]
pub fn threads(pid: i32) -> Vec<i32> {
    numbers(&format!("/proc/{pid}/task"))
}

/// The child of a shim that is init of the service's PID namespace, when there is one.
#[must_use]
pub fn namespace_init(shim: i32) -> Option<i32> {
    let children = numbers("/proc").into_iter().filter(|pid| stat(*pid).is_some_and(|s| s.parent == shim));
    children.into_iter().find(|pid| {
        let inside = status_field(*pid, "NSpid:");
        inside.is_some_and(|ids| ids.split_ascii_whitespace().count() > 1 && ids.split_ascii_whitespace().last() == Some("1"))
    })
}

/// The processes of a service: all below its shim but the namespace's init, which runs nothing of the service.
#[must_use]
pub fn of_service(shim: i32) -> Vec<i32> {
    let init = namespace_init(shim);
    descendants(shim).into_iter().filter(|pid| Some(*pid) != init).collect()
}

/// Thread that traces `tid`; `None` when nobody does.
#[must_use]
pub fn tracer(tid: i32) -> Option<i32> {
    status_field(tid, "TracerPid:")?.trim().parse().ok().filter(|pid| *pid != 0)
}

fn status_field(pid: i32, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/status")).ok()?).into_owned();
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

fn numbers(dir: &str) -> Vec<i32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_spaces_do_not_shift_fields() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3";
        assert_eq!(parse(line), Some(Stat { state: 'S', parent: 7, started: 9876 }));
    }

    #[test]
    fn this_process_is_below_its_parent() {
        let me = i32::try_from(std::process::id()).unwrap();
        let parent = stat(me).unwrap().parent;
        assert!(descendants(parent).contains(&me));
        assert!(!descendants(me).contains(&me));
        assert!(threads(me).contains(&me));
    }

    #[test]
    fn a_process_that_does_not_exist_is_none() {
        assert_eq!(stat(i32::MAX), None);
        assert!(threads(i32::MAX).is_empty());
    }
}
