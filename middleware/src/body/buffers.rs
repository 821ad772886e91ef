//! Memory for chunks, used again: a chunk that has been sent leaves its memory to the next one, filled already, so it
//! is neither asked for nor cleared each time.

use bytes::Bytes;
use parking_lot::Mutex;

/// Memory that waits for its next chunk, of all bodies together, in bytes.
const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;

static SPARE: Mutex<Spare> = Mutex::new(Spare { buffers: Vec::new(), bytes: 0 });

struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop()?;
        self.bytes -= buffer.len();
        Some(buffer)
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if self.bytes + buffer.len() <= SPARE_BYTES_MAX {
            self.bytes += buffer.len();
            self.buffers.push(buffer);
        }
    }
}

/// Memory of one chunk. Its first bytes are the chunk; what lies behind is some earlier chunk's, and is never shown.
pub(crate) struct Buffer {
    memory: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// Of so many bytes, with anything in them.
    pub(crate) fn new(length: usize) -> Self {
        let memory = SPARE.lock().take().filter(|memory| memory.len() >= length);
        Self { memory: memory.unwrap_or_else(|| vec![0; length]), length }
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }

    /// The first `length` bytes, which have been filled. The memory comes back when all of them are done with.
    pub(crate) fn filled(mut self, length: usize) -> Bytes {
        self.length = length.min(self.length);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        SPARE.lock().give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_what_was_filled_and_nothing_of_an_earlier_one() {
        let mut first = Buffer::new(10);
        first.as_mut().fill(b'a');
        let first = first.filled(10);
        assert_eq!(first, [b'a'; 10].as_slice());
        drop(first);
        for length in [4, 10, 20] {
            let mut next = Buffer::new(length);
            assert_eq!(next.as_mut().len(), length);
            next.as_mut()[..2].fill(b'b');
            assert_eq!(next.filled(2), b"bb".as_slice(), "{length}");
        }
    }

    #[test]
    fn no_more_is_kept_than_its_bound() {
        let mut spare = Spare { buffers: Vec::new(), bytes: 0 };
        for _ in 0..10 {
            spare.give_back(vec![0; SPARE_BYTES_MAX / 4]);
        }
        assert_eq!((spare.buffers.len(), spare.bytes), (4, SPARE_BYTES_MAX));
        assert_eq!(spare.take().map(|buffer| buffer.len()), Some(SPARE_BYTES_MAX / 4));
        assert_eq!(spare.bytes, SPARE_BYTES_MAX / 4 * 3);
    }
}
