//! The last head of a server, to be recognised instead of read: what a head says depends on nothing but its bytes. Must
//! not keep anything of a body.

use super::{Framing, HeadInfo};

/// Longest head that is kept, in bytes.
const LONGEST: usize = 1024;
/// Heads that are not kept after one that never came again, at most: where each differs, keeping them is wasted.
const MOST_SKIPPED: u32 = 256;

/// The head that answered a request last, and what was read in it. Worth the most with one for each request of a
/// scenario and thread, whose answers are alike: 1 KiB, no heap. Serves any answers correctly.
#[derive(Clone, Debug)]
pub struct SeenHead {
    bytes: [u8; LONGEST],
    /// Its `length` says how many bytes are kept; none at 0.
    info: HeadInfo,
    to_head: bool,
    /// It came again since it is kept.
    used: bool,
    /// Heads still not to be kept, and how many of them the last time.
    skip: u32,
    skipped: u32,
}

impl Default for SeenHead {
    fn default() -> SeenHead {
        let info = HeadInfo { length: 0, status: 0, minor: 0, keep_alive: false, framing: Framing::None };
        SeenHead { bytes: [0; LONGEST], info, to_head: false, used: true, skip: 0, skipped: 0 }
    }
}

impl SeenHead {
    /// Do `bytes` begin with the head that is kept?
    #[inline]
    pub(super) fn find(&mut self, bytes: &[u8], to_head: bool) -> Option<HeadInfo> {
        let head = self.bytes.get(..self.info.length)?;
        if head.is_empty() || to_head != self.to_head || !bytes.starts_with(head) {
            return None;
        }
        self.used = true;
        Some(self.info)
    }

    /// Keeps another head, `info.length` bytes of `bytes`, unless the last ones were kept in vain.
    pub(super) fn note(&mut self, bytes: &[u8], info: HeadInfo, to_head: bool) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let (Some(head), Some(place)) = (bytes.get(..info.length), self.bytes.get_mut(..info.length)) else { return };
        place.copy_from_slice(head);
        self.skipped = if self.used { 0 } else { (self.skipped * 2 + 1).min(MOST_SKIPPED) };
        self.skip = self.skipped;
        (self.info, self.to_head, self.used) = (info, to_head, false);
    }
}
