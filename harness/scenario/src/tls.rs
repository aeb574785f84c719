//! `tls` of a target: roots, client certificate, what is verified, how handshakes are made. PEM files are read and hashed.

use crate::address;
use crate::ask::Ask;
use crate::cx::Cx;
use crate::names;
use shakedown_core::plan::Tls;
use shakedown_core::tree::Node;

/// Largest TLS file.
const MAX_PEM: usize = 4 << 20;

/// Decodes it.
pub fn decode(node: &Node, cx: &mut Cx) -> Tls {
    let mut f = node.fields("tls", &mut cx.p);
    let mut file = |key| {
        let node = f.take(key)?;
        let path = node.string(key, &mut cx.p)?;
        let bytes = cx.read(node, &path, MAX_PEM)?;
        let wanted = if key == "key" { "PRIVATE KEY-----" } else { "-----BEGIN CERTIFICATE-----" };
        if !bytes.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
            let what = if key == "key" { "private key" } else { "certificate" };
            cx.p.hint(&node.span, format!("`{path}` holds no {what}"), "a PEM file is wanted, with -----BEGIN … lines");
        }
        Some(path)
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    let insecure = f.flag("insecure", &mut cx.p).unwrap_or(false);
    let server_name = f.take("server_name").and_then(|n| {
        let text = n.string("server_name", &mut cx.p)?;
        if !address::is_host(&text) {
            cx.p.hint(&n.span, format!("`{text}` is not a server's name"), "write the name in its certificate, like shop.internal");
        }
        Some(text)
    });
    let full_handshakes = f.flag("full_handshakes", &mut cx.p).unwrap_or(false);
    let given = |key| names::child(node, key).is_some();
    if given("cert") != given("key") {
        cx.p.hint(&node.span, "`cert` and `key` are given together or not at all", "a client certificate is of no use without its key");
    }
    if insecure && given("ca") {
        cx.p.hint(&f.key_span("ca"), "`ca` has no meaning with `insecure`", "remove `insecure` to verify the server, or remove `ca`");
    }
    f.finish(&mut cx.p);
    Tls { ca, cert, key, insecure, server_name, full_handshakes }
}
