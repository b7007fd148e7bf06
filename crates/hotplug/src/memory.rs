//! Where the programs take their memory from.
//!
//! musl's allocator gives every page back that falls empty, and asks for it anew a moment later; dlmalloc asks for a few large pieces. Its own
//! lock is a mutex of the C library, which costs as much as the allocation itself. The programs have one thread: a flag that is never found
//! taken is enough, and where there are more threads it still keeps them apart.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::Dlmalloc;

/// How much is asked of the kernel at a time, in bytes: all that a vif program needs, of which the kernel gives only the pages that are used.
const PIECE: usize = 512 * 1024;

/// The allocator of an executable.
pub struct Memory {
    taken: AtomicBool,
    heap: UnsafeCell<Dlmalloc>,
}

// SAFETY: `heap` is used by `Memory::with_heap` alone, which lets one thread in at a time.
#[expect(unsafe_code, reason = "an allocator is shared by all threads, and the compiler cannot see what keeps them apart")]
unsafe impl Sync for Memory {}

impl Memory {
    /// An allocator that has nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        let mut heap = Dlmalloc::new();
        // A power of two is taken.
        let _ = heap.set_granularity(PIECE);
        Self { taken: AtomicBool::new(false), heap: UnsafeCell::new(heap) }
    }

    /// Does something to the heap while no other thread does. dlmalloc neither panics nor calls back.
    #[expect(unsafe_code, reason = "the flag stands for a lock, which the compiler cannot see")]
    fn with_heap<T>(&self, act: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        while self.taken.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        // SAFETY: the flag was ours to set, so that nobody else has this reference until it is taken back below.
        let result = act(unsafe { &mut *self.heap.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: dlmalloc keeps the promises of an allocator, and every pointer goes back to the heap that it came from.
#[expect(unsafe_code, reason = "this is what an allocator is to the compiler")]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is not empty.
        self.with_heap(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller got `place` from this heap, for this layout.
        self.with_heap(|heap| unsafe { heap.free(place, layout.size(), layout.align()) });
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        self.with_heap(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`, and the new size is not 0.
        self.with_heap(|heap| unsafe { heap.realloc(place, layout.size(), layout.align(), size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "the functions of an allocator are")]
    fn threads_get_memory_of_their_own() {
        static MEMORY: Memory = Memory::new();
        let fill = |mark: u8| {
            for size in (1..2000).chain((1..50).map(|pages| pages * 4096)) {
                let (small, large) = (Layout::from_size_align(size, 8).unwrap(), Layout::from_size_align(2 * size, 8).unwrap());
                // SAFETY: every place is used within its layout and given back once.
                unsafe {
                    let place = MEMORY.alloc(small);
                    place.write_bytes(mark, size);
                    let place = MEMORY.realloc(place, small, 2 * size);
                    let zeros = MEMORY.alloc_zeroed(small);
                    assert!(std::slice::from_raw_parts(place, size).iter().all(|byte| *byte == mark));
                    assert!(std::slice::from_raw_parts(zeros, size).iter().all(|byte| *byte == 0));
                    MEMORY.dealloc(place, large);
                    MEMORY.dealloc(zeros, small);
                }
            }
        };
        std::thread::scope(|scope| (1..5).for_each(|mark| drop(scope.spawn(move || fill(mark)))));
    }
}
