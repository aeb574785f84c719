//! SIGTERM ends the shop. Alone in its file: the signal goes to the whole test process.
#![allow(missing_docs)]

mod common;

use common::{Http, config};
use shakedown_pilot::serve_shop;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Tells the test that the announcements are flushed.
struct Out(Vec<u8>, Option<oneshot::Sender<Vec<u8>>>);

impl std::io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        let tell = self.1.take().expect("flushed once");
        tell.send(std::mem::take(&mut self.0)).expect("the test waits");
        Ok(())
    }
}

#[tokio::test]
async fn sigterm_ends_the_shop_within_a_second() {
    let (tell, ready) = oneshot::channel();
    let serving = tokio::spawn(async move { serve_shop(config(&[]), &mut Out(Vec::new(), Some(tell))).await });
    let lines = String::from_utf8(ready.await.expect("announced")).expect("text");
    let router = lines.lines().find_map(|line| line.strip_prefix("SHAKEDOWN-ENDPOINT pilot.router ")).expect("the router is announced");
    let mut http = Http::open(router.parse().expect("an address")).await;
    assert_eq!(http.get("/products/1").await.status, 200);
    let signalled = Instant::now();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).expect("signalled");
    let ended = tokio::time::timeout(Duration::from_secs(1), serving).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?} after {:?}", signalled.elapsed());
    assert!(tokio::net::TcpStream::connect(router).await.is_err(), "nobody listens any more");
}
