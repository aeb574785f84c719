//! Sleeping tasks. Precise to what the loop's deadline is: nanoseconds asked, some microseconds held.

use crate::reactor::Handle;
use std::future::Future;
use std::pin::Pin;
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

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
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
