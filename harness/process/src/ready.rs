//! Readiness probes: one question, one answer, bounded. Must not know about services or retries.

use shakedown_core::Fail;
use shakedown_core::plan::Probe;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest one probe may take; the next comes right after.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// Where a probe connects to, `host:port`, for probes that do.
///
/// # Errors
/// For an address that cannot be probed.
pub fn address(probe: &Probe) -> Result<Option<String>, Fail> {
    match probe {
        Probe::Http(url) => split(url).map(|(host, _)| Some(host)),
        Probe::Tcp(addr) => Ok(Some(addr.clone())),
        Probe::Log(_) | Probe::Started => Ok(None),
    }
}

/// Somebody accepts connections there.
pub async fn listens(addr: &str) -> bool {
    matches!(timeout(PROBE_WITHIN, TcpStream::connect(addr)).await, Ok(Ok(_)))
}

/// Why a service at `probe` is not ready; `Ok` when it is. Log and start probes are not answered here.
///
/// # Errors
/// What was seen instead, in words.
pub async fn look(probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Http(url) => {
            let (host, path) = split(url).map_err(|f| f.0)?;
            let status = timeout(PROBE_WITHIN, status(&host, &path)).await;
            match status {
                Err(_) => Err(format!("{url} did not answer within {PROBE_WITHIN:?}")),
                Ok(Err(why)) => Err(format!("{url}: {why}")),
                Ok(Ok(code)) if (200..400).contains(&code) => Ok(()),
                Ok(Ok(code)) => Err(format!("{url} answered {code}")),
            }
        }
        Probe::Tcp(addr) => match timeout(PROBE_WITHIN, TcpStream::connect(addr)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(format!("{addr}: {why}")),
            Err(_) => Err(format!("{addr} did not accept within {PROBE_WITHIN:?}")),
        },
        Probe::Log(_) | Probe::Started => Ok(()),
    }
}

async fn status(host: &str, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    // `HTTP/1.1 204` is all that is needed.
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let code = std::str::from_utf8(&head).ok().filter(|h| h.starts_with("HTTP/1.")).and_then(|h| h[9..].parse().ok());
    code.ok_or_else(|| std::io::Error::other("the answer is not HTTP/1"))
}

fn split(url: &str) -> Result<(String, String), Fail> {
    let wrong = || Fail::new(format!("readiness `{url}` is not an http:// URL; for TLS use a tcp or log probe"));
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if host.is_empty() || host.contains('@') || path.contains(|c: char| c.is_control() || c == ' ') {
        return Err(wrong());
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok((if has_port { host.to_owned() } else { format!("{host}:80") }, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn serve_once(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 256];
            let _ = stream.read(&mut head).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn only_2xx_and_3xx_are_ready() {
        assert_eq!(look(&Probe::Http(serve_once("HTTP/1.1 204 No Content\r\n\r\n").await)).await, Ok(()));
        let not = look(&Probe::Http(serve_once("HTTP/1.1 503 Busy\r\n\r\n").await)).await.unwrap_err();
        assert!(not.ends_with("answered 503"), "{not}");
        assert!(look(&Probe::Http(serve_once("SSH-2.0-x and more\r\n").await)).await.is_err());
    }

    #[test]
    fn hosts_get_a_port() {
        assert_eq!(split("http://localhost").unwrap(), ("localhost:80".into(), "/".into()));
        assert_eq!(split("http://[::1]:8080/a?b").unwrap(), ("[::1]:8080".into(), "/a?b".into()));
        assert_eq!(split("http://[::1]/a").unwrap().0, "[::1]:80");
        assert!(split("https://x/").is_err());
    }
}
