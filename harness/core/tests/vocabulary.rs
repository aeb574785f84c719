//! The written forms of units, and what must stay exact: rates, shares, allow lists, templates, canonical JSON, buckets.

use shakedown_core::sparse::{HIGHEST, Sparse, bucket, bucket_top};
use shakedown_core::template::{Part, Template};
use shakedown_core::units::parse_size;
use shakedown_core::{AllowList, Ppm, Quantile, Rate, Secrets, Span};

fn check<T: std::fmt::Debug + PartialEq>(read: impl Fn(&str) -> Result<T, String>, text: &str, expect: Result<T, &str>) {
    match (read(text), expect) {
        (Ok(value), Ok(wanted)) => assert_eq!(value, wanted, "{text}"),
        (Err(why), Err(word)) => assert!(why.contains(word), "{text}: {why}"),
        (got, wanted) => panic!("{text}: {got:?}, expected {wanted:?}"),
    }
}

#[test]
fn durations() {
    check(Span::parse, "250ms", Ok(Span::millis(250)));
    check(Span::parse, "1.5s", Ok(Span::millis(1500)));
    check(Span::parse, "2m", Ok(Span::secs(120)));
    check(Span::parse, "100us", Ok(Span(100_000)));
    check(Span::parse, "5", Err("no unit"));
    check(Span::parse, "-5s", Err("not a duration"));
    check(Span::parse, "5 parsecs", Err("not a duration"));
    check(Span::parse, "1e9h", Err("not a duration"));
    for span in [Span::ZERO, Span(1), Span::millis(250), Span::secs(90), Span::secs(7200)] {
        assert_eq!(Span::parse(&span.to_string()), Ok(span), "{span}");
    }
}

#[test]
fn rates_shares_quantiles_sizes() {
    check(Rate::parse, "30/m", Ok(Rate(500_000_000)));
    check(Rate::parse, "200/s", Ok(Rate(200_000_000_000)));
    check(Rate::parse, "200", Err("write `200/s`"));
    check(Rate::parse, "200/d", Err("not a rate"));
    check(Rate::parse, "1000000000/s", Err("out of range"));
    check(Ppm::parse, "0.5%", Ok(Ppm(5000)));
    check(Ppm::parse, "0.05", Err("did you mean `5%`"));
    check(Ppm::parse, "5", Err("did you mean `5%`"));
    check(Ppm::parse, "101%", Err("out of range"));
    check(Quantile::parse, "p99.9", Ok(Quantile(999_000)));
    check(Quantile::parse, "p100", Err("not a quantile"));
    check(parse_size, "64KiB", Ok(65_536));
    check(parse_size, "64", Err("not a size"));
}

#[test]
fn allow_lists_cover_blocks_and_mapped_addresses() {
    let list = |entries: &[&str]| AllowList::parse(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>());
    let local = list(&["127.0.0.0/8", "::1"]).unwrap();
    for (addr, ok) in [
        ("127.0.0.1:80", true),
        ("127.255.0.1:80", true),
        ("[::1]:80", true),
        ("[::ffff:127.0.0.1]:80", true),
        ("128.0.0.1:80", false),
        ("[::2]:80", false),
        ("0.0.0.0:80", false),
    ] {
        assert_eq!(local.check(addr.parse().unwrap()).is_ok(), ok, "{addr}");
    }
    assert!(list(&["0.0.0.0/0"]).unwrap().check("10.1.2.3:1".parse().unwrap()).is_ok());
    assert!(list(&[]).unwrap().check("127.0.0.1:1".parse().unwrap()).is_err(), "an empty list allows nothing");
    for wrong in ["localhost", "127.0.0.1/33", "::1/129", "127.0.0.0/", ""] {
        assert!(list(&[wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn templates() {
    let part = |feed: &str, column: &str| Part::Feed { feed: feed.into(), column: column.into() };
    assert_eq!(
        Template::parse("/p/{{ a.b }}?x={{c}}").unwrap().0,
        [Part::Text("/p/".into()), part("a", "b"), Part::Text("?x=".into()), Part::Capture("c".into())]
    );
    assert_eq!(Template::parse("{{{{ literal").unwrap().as_text(), Some("{{ literal"));
    assert_eq!(Template::parse("Bearer ${secret:T}").unwrap().0[1], Part::Secret("T".into()));
    for wrong in ["{{ open", "{{ }}", "{{ a b }}", "${secret:T"] {
        assert!(Template::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn canonical_json_sorts_keys() {
    let value: serde_json::Value = serde_json::from_str(r#"{"b": [1, {"d": null, "c": "\u0001"}], "a": 1.5}"#).unwrap();
    assert_eq!(shakedown_core::canonical::to_canonical(&value), r#"{"a":1.5,"b":[1,{"c":"\u0001","d":null}]}"#);
}

#[test]
fn buckets_are_narrow_and_merging_is_exact() {
    for value in [0, 1, 2047, 2048, 4095, 1_000_000, 123_456_789, HIGHEST] {
        assert!(bucket(value) <= value && value <= bucket_top(value));
        assert!((bucket_top(value) - bucket(value)) as f64 <= value as f64 / 1000.0);
    }
    let (mut a, mut b, mut whole) = (Sparse::default(), Sparse::default(), Sparse::default());
    for k in 0..10_000_u64 {
        let value = k * k * 37;
        whole.record(value);
        if k % 3 == 0 { a.record(value) } else { b.record(value) }
    }
    a.merge(&b);
    assert_eq!(a, whole);
    assert_eq!((whole.count(), whole.quantile(0.0).is_some()), (10_000, true));
    let median = whole.quantile(0.5).unwrap() as f64;
    assert!((median / (4999.0 * 4999.0 * 37.0) - 1.0).abs() < 1e-3, "{median}");
    whole.record(HIGHEST + 1);
    assert_eq!(whole.clipped, 1);
    assert_eq!(Sparse::default().quantile(0.5), None);
}

#[test]
fn secrets_are_redacted_wherever_they_stand() {
    let mut secrets = Secrets::default();
    secrets.insert("TOKEN", "hunter2");
    assert_eq!(secrets.redact("x=hunter2&y=hunter2"), "x=${secret:TOKEN}&y=${secret:TOKEN}");
    assert_eq!(secrets.resolve("a ${secret:TOKEN} ${secret:OTHER}"), "a hunter2 ${secret:OTHER}");
    assert!(!format!("{secrets:?}").contains("hunter2"));
}
