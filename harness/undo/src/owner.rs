//! Who made a change: a process named for good by boot, number and start time. Reads only.

use shakedown_core::Fail;
use shakedown_core::seams::Owner;
use shakedown_process::tree;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This process as the owner of a run's changes.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn owner(run: &str) -> Result<Owner, Fail> {
    let pid = std::process::id();
    let me = i32::try_from(pid).ok().and_then(tree::stat).ok_or_else(|| Fail::new("cannot read /proc/self/stat; is /proc mounted?"))?;
    Ok(Owner { run: run.to_owned(), boot: boot()?, pid, started: me.started })
}

/// Whether that very process still runs. `false` after a reboot and for a number that was given to another process.
#[must_use]
pub fn is_alive(owner: &Owner) -> bool {
    let same = |stat: tree::Stat| stat.lives() && stat.started == owner.started;
    boot().is_ok_and(|b| b == owner.boot) && i32::try_from(owner.pid).ok().and_then(tree::stat).is_some_and(same)
}

fn boot() -> Result<String, Fail> {
    let text = std::fs::read_to_string(BOOT_ID).map_err(|e| Fail::new(format!("cannot read {BOOT_ID}: {e}")))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_means_the_same_process_in_the_same_boot() {
        let me = owner("r").unwrap();
        assert!(is_alive(&me));
        assert!(!is_alive(&Owner { started: me.started + 1, ..me.clone() }));
        assert!(!is_alive(&Owner { boot: "another".into(), ..me.clone() }));
        assert!(!is_alive(&Owner { pid: u32::MAX, ..me }));
    }
}
