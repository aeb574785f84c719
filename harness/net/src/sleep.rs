//! Sleeping tasks. Precise to what the loop's deadline is: nanoseconds asked, some microseconds held.

use crate::reactor::Handle;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

/// A wait for a moment; gone from the loop when dropped.
#[derive(Debug)]
pub struct Sleep {
    handle: Handle,
    at: Instant,
    number: Option<u64>,
}

impl Sleep {
    pub(crate) fn new(handle: Handle, at: Instant) -> Sleep {
        Sleep { handle, at, number: None }
    }
}

impl Handle {
    /// What `work` comes to, or `None` when that takes longer than until `at`; it is dropped then.
    pub async fn before<T>(&self, at: Instant, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut late) = (pin!(work), pin!(self.sleep_until(at)));
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => late.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            if let Some(number) = self.number.take() {
                self.handle.awake(self.at, number);
            }
            return Poll::Ready(());
        }
        let number = self.handle.sleeps(self.at, self.number, cx.waker());
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.handle.awake(self.at, number);
        }
    }
}
