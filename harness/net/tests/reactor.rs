//! The loop: tasks, wakes, sleeps, deadlines, fairness, its end.
#![allow(clippy::unwrap_used, reason = "test helpers are test code too")]

mod support;

use shakedown_net::{Handle, Reactor, Socket, TaskId};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use support::*;

/// Sets its flag when dropped.
struct Mark(Rc<Cell<bool>>);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

fn look(reactor: &mut Reactor) {
    reactor.turn(Some(Instant::now()), Duration::ZERO, &mut Vec::new()).unwrap();
}

/// Gives way `times` times.
async fn yields(times: u32) {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn tasks_run_in_the_order_they_were_spawned_and_end() {
    let mut reactor = Reactor::new().unwrap();
    let ran = Rc::new(RefCell::new(Vec::new()));
    for n in 0..1000 {
        let ran = Rc::clone(&ran);
        reactor.handle().spawn(async move {
            yields(n % 3).await;
            ran.borrow_mut().push(n);
        });
    }
    assert_eq!(reactor.handle().tasks(), 1000);
    let handle = reactor.handle().clone();
    turn_until(&mut reactor, "all tasks end", |_| handle.tasks() == 0);
    let ran = ran.borrow();
    let at_once: Vec<u32> = ran.iter().copied().filter(|n| n % 3 == 0).collect();
    assert_eq!((ran.len(), at_once.is_sorted()), (1000, true));
}

#[test]
fn cancelled_tasks_are_dropped_wherever_they_stand() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle().clone();
    let spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let dropped = Rc::new(Cell::new(false));
        let mark = Mark(Rc::clone(&dropped));
        let id = handle.spawn(async move {
            let _mark = mark;
            work.await;
        });
        (id, dropped)
    };

    let (unborn, dropped) = spawn(Box::pin(async { panic!("cancelled before it began") }));
    handle.cancel(unborn);
    assert!(dropped.get());

    let own = Rc::new(Cell::new(None::<TaskId>));
    let (cell, inner) = (Rc::clone(&own), handle.clone());
    let (id, dropped) = spawn(Box::pin(async move {
        inner.cancel(cell.get().unwrap());
        pending::<()>().await;
    }));
    own.set(Some(id));
    look(&mut reactor);
    assert!(dropped.get(), "a task that cancels itself goes at its next wait");

    let (victim, dropped) = spawn(Box::pin(pending()));
    look(&mut reactor);
    assert!(!dropped.get());
    let inner = handle.clone();
    handle.spawn(async move { inner.cancel(victim) });
    look(&mut reactor);
    assert!(dropped.get());

    // The next task takes the place, but not the name.
    let (later, dropped) = spawn(Box::pin(pending()));
    handle.cancel(victim);
    handle.cancel(unborn);
    assert!(!dropped.get() && handle.tasks() == 1);
    handle.cancel(later);
    assert!(dropped.get() && handle.tasks() == 0);
    look(&mut reactor);
}

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    let mut reactor = Reactor::new().unwrap();
    let (wakers, woken) = mpsc::channel::<(Waker, Arc<AtomicU64>)>();
    std::thread::spawn(move || {
        for (waker, flag) in woken {
            flag.fetch_add(1, Ordering::SeqCst);
            waker.wake();
        }
    });
    let handle = reactor.handle().clone();
    handle.spawn(async move {
        for _ in 0..200 {
            let flag = Arc::new(AtomicU64::new(0));
            let mut sent = false;
            poll_fn(|cx| {
                if flag.load(Ordering::SeqCst) > 0 {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    wakers.send((cx.waker().clone(), Arc::clone(&flag))).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
    });
    // Without any deadline: a lost wake would hang here.
    while handle.tasks() > 0 {
        reactor.turn(None, Duration::ZERO, &mut Vec::new()).unwrap();
    }
}

#[test]
fn a_storm_of_wakes_from_many_threads_loses_none() {
    const WAKES: u64 = 20_000;
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle().clone();
    let (count, polls) = (Arc::new(AtomicU64::new(0)), Rc::new(Cell::new(0u64)));
    for _ in 0..4 {
        let (count, polls) = (Arc::clone(&count), Rc::clone(&polls));
        handle.spawn(async move {
            let mut began = false;
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                if !std::mem::replace(&mut began, true) {
                    let (waker, count) = (cx.waker().clone(), Arc::clone(&count));
                    std::thread::spawn(move || {
                        for _ in 0..WAKES {
                            count.fetch_add(1, Ordering::SeqCst);
                            waker.wake_by_ref();
                        }
                    });
                }
                if count.load(Ordering::SeqCst) == 4 * WAKES { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            // The others may have seen their own last wake before this one's.
        });
    }
    let end = Instant::now() + SOON;
    while count.load(Ordering::SeqCst) < 4 * WAKES && Instant::now() < end {
        reactor.turn(Some(end), Duration::ZERO, &mut Vec::new()).unwrap();
    }
    look(&mut reactor);
    assert!(polls.get() <= 4 * (WAKES + 1), "never polled more often than woken");
    assert!(handle.tasks() < 4, "whoever was woken last has seen the end");
}

#[test]
fn sleeps_end_in_order_and_never_early() {
    let mut reactor = Reactor::new().unwrap();
    let (handle, ended) = (reactor.handle().clone(), Rc::new(RefCell::new(Vec::new())));
    let begin = Instant::now();
    for n in (0..100u64).rev() {
        let (sleeper, ended) = (handle.clone(), Rc::clone(&ended));
        handle.spawn(async move {
            let at = begin + Duration::from_micros(100 * n + 1000);
            sleeper.sleep_until(at).await;
            assert!(Instant::now() >= at);
            ended.borrow_mut().push(n);
        });
    }
    let given_up = handle.clone();
    handle.spawn(async move {
        let late = given_up.before(Instant::now() + Duration::from_millis(2), pending::<()>()).await;
        assert_eq!(late, None);
        let soon = given_up.before(Instant::now() + SOON, async { 7 }).await;
        assert_eq!(soon, Some(7));
    });
    turn_until(&mut reactor, "all sleeps end", |_| handle.tasks() == 0);
    assert!(ended.borrow().iter().copied().eq(0..100));
}

#[test]
fn a_turn_lasts_until_its_deadline_with_and_without_spin() {
    let mut reactor = Reactor::new().unwrap();
    for spin in [0, 50, 5_000_000] {
        for us in [0, 1, 300, 1500] {
            let deadline = Instant::now() + Duration::from_micros(us);
            reactor.turn(Some(deadline), Duration::from_micros(spin), &mut Vec::new()).unwrap();
            assert!(Instant::now() >= deadline, "{us} µs with a spin of {spin} µs ended early");
        }
    }
}

#[test]
fn deadlines_are_kept_while_tasks_never_rest() {
    let mut reactor = Reactor::new().unwrap();
    for _ in 0..10 {
        reactor.handle().spawn(async {
            loop {
                yields(1).await;
                let end = Instant::now() + Duration::from_micros(20);
                while Instant::now() < end {}
            }
        });
    }
    let mut late: Vec<Duration> = (0..21)
        .map(|_| {
            let deadline = Instant::now() + Duration::from_millis(1);
            while Instant::now() < deadline {
                reactor.turn(Some(deadline), Duration::ZERO, &mut Vec::new()).unwrap();
            }
            deadline.elapsed()
        })
        .collect();
    late.sort();
    // Eight polls of 20 µs, twice; 512 polls without looking at the deadline would be 10 ms.
    assert!(late[10] < Duration::from_millis(4), "median {:?}", late[10]);
}

#[test]
fn a_turn_in_which_a_task_ended_or_asked_does_not_sleep() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle().clone();
    let (later, begin) = (Instant::now() + SOON, Instant::now());
    handle.spawn(async {});
    reactor.turn(Some(later), Duration::ZERO, &mut Vec::new()).unwrap();
    let asking = handle.clone();
    handle.spawn(async move {
        asking.return_soon();
        pending::<()>().await;
    });
    reactor.turn(Some(later), Duration::ZERO, &mut Vec::new()).unwrap();
    let notifier = handle.notifier();
    std::thread::spawn(move || notifier.notify());
    reactor.turn(Some(later), Duration::ZERO, &mut Vec::new()).unwrap();
    assert!(begin.elapsed() < SOON / 2);
}

/// Spawns another task when dropped.
struct Hydra(Handle, Rc<Cell<u32>>);

impl Drop for Hydra {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        let next = Hydra(self.0.clone(), Rc::clone(&self.1));
        if self.1.get() < 3 {
            self.0.spawn(async move {
                let _next = next;
                pending::<()>().await;
            });
        } else {
            std::mem::forget(next);
        }
    }
}

#[test]
fn the_end_of_a_loop_ends_its_tasks_and_closes_their_sockets() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle().clone();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let (socket, sleeper) = (Socket::new(&handle, theirs.into()).unwrap(), handle.clone());
    handle.spawn(async move {
        sleeper.sleep_until(Instant::now() + SOON).await;
        drop(socket);
    });
    let heads = Rc::new(Cell::new(0));
    let hydra = Hydra(handle.clone(), Rc::clone(&heads));
    handle.spawn(async move {
        let _hydra = hydra;
        pending::<()>().await;
    });
    look(&mut reactor);
    drop(reactor);
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "closed");
    assert_eq!((handle.tasks(), heads.get()), (0, 3));
}
