//! Blocks of memory that are used again: what the allocator gets back from other threads it keeps in pieces.
//!
//! Invariant: a block goes back when the last one who reads its bytes lets go of them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Smaller ones are not worth it.
const LEAST: usize = 1 << 20;

/// Blocks that nobody uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Arc<Mutex<Vec<Vec<u8>>>>);

struct Block {
    bytes: Vec<u8>,
    home: Blocks,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.lock().push(std::mem::take(&mut self.bytes));
    }
}

impl Blocks {
    /// So many bytes, which `fill` writes.
    pub(crate) fn fill<E>(
        &self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        if length < LEAST {
            let mut bytes = vec![0; length];
            return fill(&mut bytes).map(|()| Bytes::from(bytes));
        }
        let used = self.lock().pop();
        let mut bytes = used.unwrap_or_default();
        bytes.resize(length, 0);
        let mut block = Block { bytes, home: self.clone() };
        fill(&mut block.bytes).map(|()| Bytes::from_owner(block))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_when_nobody_reads_it() {
        let blocks = Blocks::default();
        let take = |length, byte| {
            let filled = blocks.fill(length, |bytes| {
                bytes.fill(byte);
                Ok::<_, ()>(())
            });
            filled.unwrap()
        };
        let first = take(LEAST, 1);
        let (slice, place) = (first.slice(..10), first.as_ptr());
        drop(first);
        assert_ne!(take(LEAST, 2).as_ptr(), place, "somebody reads it");
        assert_eq!(slice, [1; 10][..]);
        blocks.lock().clear();
        drop(slice);
        let again = take(LEAST, 3);
        assert_eq!((again.as_ptr(), again.len()), (place, LEAST));
        assert_eq!(take(10, 4), [4; 10][..]);
        assert!(blocks.lock().is_empty(), "small ones are not kept");
    }
}
