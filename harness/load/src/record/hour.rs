//! Thirty thousand requests a second over three arms in virtual time; one in fifty times out after ten seconds.

use super::*;

const BEAT: u64 = 100_000_000;
const RATE: u64 = 30_000;

fn run(seconds: u64) -> (usize, usize) {
    let mut recorder = Recorder::new(1_000_000_000, 1_000);
    let rows = recorder.rows(0, WHOLE);
    let mut most = (0, 0);
    for beat in 0..seconds * 10 {
        for i in 0..RATE / 10 {
            let k = beat * RATE / 10 + i;
            let roll = crate::seeds::Seed::of(3).at(k).bits();
            let now = beat * BEAT + i * (BEAT / (RATE / 10));
            let late = roll.is_multiple_of(50);
            let took = if late { 10_000_000_000 } else { 200_000 + (roll >> 40) % 5_000_000 };
            let slice = recorder.slice(Offset((now - took.min(now)).cast_signed()));
            let arm = ARMS[1 + (roll >> 20) as usize % 3];
            for arm in [Arm::All, arm] {
                let tally = recorder.at(slice, rows.of(arm));
                tally.due(1);
                if late {
                    tally.failed(shakedown_core::snapshot::Failure::Timeout)
                } else {
                    tally.ok()
                }
                tally.status(200);
                tally.latency(took);
                tally.service(took / 2);
                tally.send(roll >> 48);
            }
        }
        let snapshot = recorder.take(Offset((beat * BEAT).cast_signed()), 0);
        assert!(snapshot.cells.len() <= 16, "{}", snapshot.cells.len());
        let room = recorder.room();
        most = (room.0.max(most.0), room.1.max(most.1));
    }
    most
}

#[test]
fn an_hour_at_thirty_thousand_a_second_takes_constant_memory() {
    let (after_minute, after_hour) = (run(60), run(if cfg!(debug_assertions) { 120 } else { 3_600 }));
    assert_eq!(after_minute.1, after_hour.1, "tallies");
    assert!(after_hour.0 <= after_minute.0 * 3 / 2, "{after_minute:?} {after_hour:?}");
    assert!(after_hour.0 <= 4 << 20, "{after_hour:?}");
}
