//! Arrivals are where the curve says, to the nanosecond, and shares of them are exactly the whole.

use super::*;
use shakedown_core::Rate;

const S: u64 = 1_000_000_000;

fn hold(seconds: u64, rate: u64) -> Segment {
    Segment { length: Span::secs(seconds), form: Form::Hold(Rate(rate * S)) }
}

fn all(pacer: &mut Pacer) -> Vec<Arrival> {
    std::iter::from_fn(|| pacer.next()).collect()
}

#[test]
fn constant_arrivals_are_where_they_belong() {
    let dues: Vec<u64> = all(&mut Pacer::new(&[hold(1, 10)], None)).iter().map(|a| a.due.0).collect();
    assert_eq!(dues, (0..10).map(|i| i * S / 10).collect::<Vec<_>>());
}

#[test]
fn thirds_do_not_drift() {
    let shape = [Segment { length: Span::secs(3000), form: Form::Hold(Rate(333_333_333_333)) }];
    let arrivals = all(&mut Pacer::new(&shape, None));
    for a in arrivals.iter().step_by(9_999) {
        assert_eq!(u128::from(a.due.0), (u128::from(a.k) * ONE).div_ceil(333_333_333_333));
    }
}

#[test]
fn totals_over_ramps_and_waves_are_exact() {
    let wave = Form::Wave { low: Rate(100 * S), high: Rate(300 * S), period: Span::secs(5) };
    let shape = [
        hold(3, 50),
        Segment { length: Span::secs(10), form: Form::Ramp(Rate(50 * S), Rate(300 * S)) },
        Segment { length: Span::secs(10), form: wave },
        hold(1, 7),
    ];
    let mut pacer = Pacer::new(&shape, None);
    assert!((pacer.expected(Span::ZERO, pacer.end()) - (150.0 + 1750.0 + 2000.0 + 7.0)).abs() < 1e-9);
    let arrivals = all(&mut pacer);
    assert_eq!(arrivals.len(), 150 + 1750 + 2000 + 7);
    assert!(arrivals.windows(2).all(|w| w[0].due < w[1].due && w[0].k + 1 == w[1].k));
}

#[test]
fn dues_are_the_first_nanosecond_that_reaches_k() {
    let form = Form::Ramp(Rate(0), Rate(200 * S));
    let shape = [Segment { length: Span::secs(2), form }];
    for a in all(&mut Pacer::new(&shape, None)).into_iter().skip(1) {
        let area = |t| curve::area(form, 2 * S, t);
        assert!(area(a.due.0) >= u128::from(a.k) * ONE && area(a.due.0 - 1) < u128::from(a.k) * ONE);
    }
}

#[test]
fn the_last_rate_goes_on_only_when_told() {
    let mut pacer = Pacer::new(&[hold(1, 4)], None);
    pacer.go_on(true);
    let seen: Vec<u64> = (0..8).filter_map(|_| pacer.next()).map(|a| a.due.0).collect();
    assert_eq!(seen.last(), Some(&(7 * S / 4)));
    pacer.go_on(false);
    assert_eq!(pacer.next(), None);
    assert!((pacer.expected(Span::ZERO, Span::secs(9)) - 4.0).abs() < 1e-12);
}

#[test]
fn poisson_has_the_right_mean_and_variance_and_repeats() {
    let shape = [hold(1000, 100)];
    let seed = Seed::of(7).and("shoppers");
    let arrivals = all(&mut Pacer::new(&shape, Some(seed)));
    assert_eq!(arrivals, all(&mut Pacer::new(&shape, Some(seed))));
    assert_ne!(arrivals, all(&mut Pacer::new(&shape, Some(Seed::of(8).and("shoppers")))));
    let mut counts = vec![0.0f64; 1000];
    arrivals.iter().for_each(|a| counts[(a.due.0 / S) as usize] += 1.0);
    let mean = counts.iter().sum::<f64>() / 1000.0;
    let variance = counts.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>() / 999.0;
    assert!((mean - 100.0).abs() < 1.2, "{mean}");
    assert!((variance / mean - 1.0).abs() < 0.15, "{variance}");
}

#[test]
fn nothing_comes_of_a_zero_rate() {
    assert_eq!(all(&mut Pacer::new(&[hold(5, 0)], None)), Vec::new());
    let mut pacer = Pacer::new(&[hold(1, 1), hold(1, 0)], None);
    pacer.go_on(true);
    assert_eq!(all(&mut pacer).len(), 1);
}

fn shapes() -> Vec<Vec<Segment>> {
    let span = |ms: u64, form: Form| Segment { length: Span::millis(ms), form };
    let wave = |low: u64, high: u64, ms: u64| Form::Wave { low: Rate(low * S), high: Rate(high * S), period: Span::millis(ms) };
    vec![
        vec![hold(3, 1_000)],
        vec![hold(2, 0), hold(1, 333), hold(1, 0), hold(2, 7)],
        vec![span(1_500, Form::Ramp(Rate(0), Rate(700 * S))), span(2_000, Form::Ramp(Rate(700 * S), Rate(0))), hold(1, 100)],
        vec![span(3_000, wave(0, 500, 1_000)), span(1_700, wave(20, 300, 900)), span(300, wave(50, 50, 10))],
        vec![
            hold(1, 10_007),
            span(10, Form::Ramp(Rate(5 * S), Rate(5 * S))),
            span(0, Form::Hold(Rate(9 * S))),
            span(777, wave(0, 2_000, 777)),
        ],
        vec![span(2_000, Form::Hold(Rate(333_333_333_333))), span(1_000, Form::Ramp(Rate(1), Rate(3)))],
        vec![],
    ]
}

#[test]
fn shares_together_are_exactly_the_whole() {
    for (number, shape) in shapes().iter().enumerate() {
        for poisson in [None, Some(Seed::of(number as u64))] {
            for (of, on) in [(2, false), (3, true), (7, false), (8, true)] {
                let mut whole = Pacer::new(shape, poisson);
                whole.go_on(on);
                let until = whole.end().0 + S;
                let expected: Vec<Arrival> = std::iter::from_fn(|| whole.next()).take_while(|a| a.due.0 < until).collect();
                let mut union = Vec::new();
                for index in 0..of {
                    let mut pacer = Pacer::shared(shape, poisson, Share { index, of });
                    pacer.go_on(on);
                    let own: Vec<Arrival> = std::iter::from_fn(|| pacer.next()).take_while(|a| a.due.0 < until).collect();
                    assert!(own.iter().all(|a| a.k % u64::from(of) == u64::from(index)));
                    union.extend(own);
                }
                union.sort_unstable_by_key(|a| a.k);
                assert_eq!(union, expected, "shape {number}, poisson {}, of {of}", poisson.is_some());
            }
        }
    }
}

#[test]
fn skipping_is_taking_one_by_one() {
    for (number, shape) in shapes().iter().enumerate() {
        for share in [Share::WHOLE, Share { index: 2, of: 3 }] {
            let (mut jumps, mut steps) = (Pacer::shared(shape, None, share), Pacer::shared(shape, None, share));
            let mut now = 0;
            for n in 0..400u64 {
                let on = n % 50 > 30;
                jumps.go_on(on);
                steps.go_on(on);
                // Moments on arrivals, just before them, and anywhere.
                now = match (n % 3, steps.peek()) {
                    (0, Some(next)) => next.due.0,
                    (1, Some(next)) => next.due.0.saturating_sub(1).max(now),
                    _ => now + Seed::of(9).at(n).below(40_000_000),
                };
                let mut taken = 0;
                while steps.peek().is_some_and(|a| a.due.0 <= now) {
                    steps.next();
                    taken += 1;
                }
                assert_eq!(jumps.skip_until(Span(now)), taken, "shape {number}, turn {n}, {now}");
                assert_eq!(jumps.peek(), steps.peek(), "shape {number}, turn {n}, {now}");
            }
        }
    }
}

#[test]
fn skipped_poisson_arrivals_are_as_many_as_expected() {
    for share in [Share::WHOLE, Share { index: 1, of: 4 }] {
        let mut pacer = Pacer::shared(&[hold(100, 1_000_000)], Some(Seed::of(3)), share);
        let (mut skipped, mut before) = (0, 0);
        for second in 1..=100 {
            skipped += pacer.skip_until(Span(Span::secs(second).0 - 1));
            let next = pacer.peek();
            assert!(next.is_none_or(|a| a.due >= Span(Span::secs(second).0 - 1) && a.k > before), "{next:?}");
            before = next.map_or(before, |a| a.k);
        }
        let expected = 100_000_000 / u64::from(share.of);
        assert!(skipped.abs_diff(expected) < 300, "{skipped} of {expected}");
    }
}

#[test]
fn three_days_end_on_the_exact_nanosecond() {
    let (hours, rate) = (72 * 3_600, 30_000u64);
    for nano in [rate * S, rate * S - 1, rate * S + 333_333_333] {
        let shape = [Segment { length: Span::secs(hours), form: Form::Hold(Rate(nano)) }];
        let due = |k: u64| u64::try_from((u128::from(k) * ONE).div_ceil(u128::from(nano))).unwrap();
        let total = u64::try_from((u128::from(nano) * u128::from(hours * S)).div_ceil(ONE)).unwrap();
        // In strides over all three days: half a million additions.
        let share = Share { index: 11, of: 16_001 };
        let last = Pacer::shared(&shape, None, share).last().unwrap();
        assert_eq!(last.k, (total - 1 - 11) / 16_001 * 16_001 + 11);
        assert_eq!(last.due.0, due(last.k));
        // One by one over the last ten seconds.
        let mut pacer = Pacer::new(&shape, None);
        pacer.skip_until(Span::secs(hours - 10));
        let last = pacer.last().unwrap();
        assert_eq!((last.k, last.due.0), (total - 1, due(total - 1)));
    }
}

#[test]
fn the_fastest_and_the_slowest_are_fine() {
    let mut fast = Pacer::new(&[hold(1, 10_000_000)], None);
    assert_eq!(fast.skip_until(Span::millis(500)), 5_000_001);
    assert_eq!(fast.by_ref().count(), 4_999_999);
    let day = Segment { length: Span::secs(86_400), form: Form::Hold(Rate(1)) };
    assert_eq!(all(&mut Pacer::new(&[day], None)).len(), 1);
    let mut slow = Pacer::shared(&[day], None, Share { index: 1, of: 2 });
    slow.go_on(true);
    assert_eq!(slow.next(), Some(Arrival { k: 1, due: Span(S * S) }));
    assert_eq!(slow.next(), Some(Arrival { k: 3, due: Span(3 * S * S) }));
    assert!(slow.take(100).all(|a| a.due.0 > 3 * S * S));
    let down = Segment { length: Span::secs(10), form: Form::Ramp(Rate(100 * S), Rate(0)) };
    let arrivals = all(&mut Pacer::new(&[down], None));
    assert_eq!((arrivals.len(), arrivals.last().unwrap().due.0 < 10 * S), (500, true));
}
