//! Schema of `environment`. Must say what `environment`, `services` and `targets` decode.

use super::{any_map, duration, flag, list, map, name, object, rate, share, text, whole, words};
use crate::source::Kinds;
use serde_json::{Value, json};

pub fn schema(kinds: &Kinds) -> Value {
    let limits = [("rate", rate()), ("requests", whole()), ("in_flight", whole()), ("max_weight", share()), ("max_share", share())];
    object(
        &["name"],
        &[
            ("name", name()),
            ("class", words(&["local", "shared", "production"])),
            ("allow", list(text())),
            ("limits", object(&[], &limits)),
            ("services", map(service(kinds))),
            ("targets", map(target())),
            ("proxies", map(proxy())),
        ],
    )
}

fn service(kinds: &Kinds) -> Value {
    let mut flaw = words(kinds.shop_flaws);
    flaw["description"] = json!("a known flaw of the embedded shop");
    let ready = [("http", text()), ("tcp", text()), ("log", text()), ("within", duration())];
    let properties = [
        ("builtin", words(&["shop", "stub"])),
        ("releases", any_map(list(flaw))),
        ("payments", text()),
        ("sticky", object(&[], &[("header", text()), ("cookie", text())])),
        ("answers", text()),
        ("listen", text()),
        ("command", list(text())),
        ("attach", object(&["pid_file"], &[("pid_file", text())])),
        ("env", any_map(text())),
        ("ready", object(&[], &ready)),
        ("stop", object(&[], &[("signal", text()), ("within", duration())])),
        ("restart", words(&["never", "always"])),
    ];
    let mut service = object(&[], &properties);
    service["oneOf"] = json!([{"required": ["builtin"]}, {"required": ["command"]}, {"required": ["attach"]}]);
    service
}

fn target() -> Value {
    let tls =
        [("ca", text()), ("cert", text()), ("key", text()), ("insecure", flag()), ("server_name", text()), ("full_handshakes", flag())];
    let proto = json!({"anyOf": [{"type": "string"}, object(&["file"], &[("file", text()), ("include", list(text()))])]});
    let properties = [
        ("url", text()),
        ("http", json!({"enum": [1.1, 2, "1.1", "2"]})),
        ("tls", object(&[], &tls)),
        ("headers", any_map(text())),
        ("unix", text()),
        ("proxy", text()),
        ("sources", list(text())),
        ("pin", text()),
        ("resolve_every", duration()),
        ("proto", proto),
    ];
    json!({"anyOf": [{"type": "string"}, object(&["url"], &properties)]})
}

fn proxy() -> Value {
    object(&["upstream"], &[("listen", text()), ("upstream", text()), ("protocol", words(&["tcp", "http"]))])
}
