//! Tasks of the loop: futures that never leave their thread. Must not decide when the loop sleeps.

use crate::queue::{Bell, Queue};
use slab::Slab;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task; a later task in the same place has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    index: usize,
    life: u64,
}

struct Task {
    life: u64,
    /// Gone while it is being polled.
    work: Option<Work>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// All tasks of a loop.
#[derive(Default)]
pub(crate) struct Tasks {
    all: Slab<Task>,
    lives: u64,
    /// The loop is gone: nothing runs any more.
    closed: bool,
}

/// A task taken out to be polled without its table being borrowed.
pub(crate) struct Taken {
    id: TaskId,
    work: Work,
    waker: Waker,
}

impl TaskId {
    /// Of a task that never was.
    pub(crate) const NONE: TaskId = TaskId { index: usize::MAX, life: 0 };
}

impl Tasks {
    /// Adds a task; it has to be woken once to begin. Without a loop it comes back, to be dropped outside of the table's
    /// borrow.
    pub(crate) fn add(&mut self, work: Work, queue: &Arc<Queue>) -> Result<(TaskId, Waker), Work> {
        if self.closed {
            return Err(work);
        }
        self.lives += 1;
        let entry = self.all.vacant_entry();
        let id = TaskId { index: entry.key(), life: self.lives };
        let bell = Bell::new(id, Arc::clone(queue));
        let waker = Waker::from(Arc::clone(&bell));
        entry.insert(Task { life: id.life, work: Some(work), bell, waker: waker.clone() });
        Ok((id, waker))
    }

    /// Takes a woken task out; `None` when it has ended.
    pub(crate) fn take(&mut self, id: TaskId) -> Option<Taken> {
        let task = self.all.get_mut(id.index).filter(|t| t.life == id.life)?;
        task.bell.answered();
        Some(Taken { id, work: task.work.take()?, waker: task.waker.clone() })
    }

    /// Puts it back when it goes on; what is returned has to be dropped outside of the table's borrow.
    pub(crate) fn put(&mut self, taken: Taken, ended: bool) -> Option<Taken> {
        let Some(task) = self.all.get_mut(taken.id.index).filter(|t| t.life == taken.id.life) else { return Some(taken) };
        if ended {
            self.all.remove(taken.id.index);
            return Some(taken);
        }
        task.work = Some(taken.work);
        None
    }

    /// Removes a task; what is returned has to be dropped outside of the table's borrow.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Work> {
        self.all.get(id.index).filter(|t| t.life == id.life)?;
        self.all.remove(id.index).work
    }

    /// Takes all out, to be dropped outside of the table's borrow; no more are taken in.
    pub(crate) fn close(&mut self) -> Vec<Work> {
        self.closed = true;
        self.all.drain().filter_map(|t| t.work).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

impl Taken {
    /// Polls it; whether it has ended.
    pub(crate) fn poll(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        matches!(self.work.as_mut().poll(&mut cx), Poll::Ready(()))
    }
}
