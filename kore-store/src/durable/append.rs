//! Appending to a file in whole pages, from memory that begins at a page: so that it can go past the system's own memory. What a
//! store has written it reads again at its next start only; keeping it there takes memory from others and time from every write.

use std::io;
use std::mem;

use super::files::File;

/// Files are written to in multiples of so many bytes.
pub(crate) const PAGE: usize = 4096;

/// Bytes that are kept for the next time.
const KEPT: usize = 512 << 10;

/// A file that is appended to. The rest of the page that its end is in is zeroes.
pub(crate) struct Appender {
    pub(crate) file: Box<dyn File>,
    /// Where the next bytes go.
    end: u64,
    /// How far the file reaches.
    length: u64,
    /// The page that the end is in, up to the end.
    pages: Pages,
    /// By how many bytes it is made to reach further, with zeroes.
    ahead: usize,
    ahead_max: usize,
}

impl Appender {
    /// Appends from the end of what a file begins with.
    pub(crate) fn new(file: Box<dyn File>, begin: &[u8]) -> io::Result<Appender> {
        let length = file.len()?;
        let mut pages = Pages::default();
        pages.put(0, &begin[begin.len() / PAGE * PAGE..], PAGE);
        Ok(Appender { file, end: begin.len() as u64, length, pages, ahead: 0, ahead_max: 0 })
    }

    /// When the file has to reach further, lets it reach further by `first` bytes, and by more from time to time, up to `most`:
    /// what is written into zeroes changes no metadata.
    pub(crate) fn ahead(mut self, first: usize, most: usize) -> Appender {
        (self.ahead, self.ahead_max) = (first, most.max(first));
        self
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes this behind the end, together with what else is in its pages.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let tail = (self.end % PAGE as u64) as usize;
        let page = self.end - tail as u64;
        let end = tail + bytes.len();
        let mut reach = end.next_multiple_of(PAGE);
        if page + reach as u64 > self.length {
            reach = (reach + self.ahead).next_multiple_of(PAGE);
            self.ahead = (2 * self.ahead).min(self.ahead_max);
        }
        self.pages.put(tail, bytes, reach);
        self.file.write_at(page, self.pages.first(reach))?;
        self.end = page + end as u64;
        self.length = self.length.max(page + reach as u64);
        self.pages.keep(end / PAGE * PAGE..end);
        Ok(())
    }
}

/// Memory that begins at a page.
#[derive(Default)]
struct Pages {
    memory: Vec<u8>,
    start: usize,
}

impl Pages {
    /// Puts bytes at this place, and zeroes behind them up to `reach`; what comes before stays.
    fn put(&mut self, at: usize, bytes: &[u8], reach: usize) {
        if self.memory.len() < self.start + reach {
            let grown = vec![0; reach + PAGE];
            let start = grown.as_ptr().align_offset(PAGE);
            let before =
                Pages { memory: mem::replace(&mut self.memory, grown), start: mem::replace(&mut self.start, start) };
            self.memory[start..start + at].copy_from_slice(before.first(at));
        }
        let (place, rest) = self.memory[self.start + at..self.start + reach].split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        rest.fill(0);
    }

    fn first(&self, length: usize) -> &[u8] {
        &self.memory[self.start..self.start + length]
    }

    /// Keeps these bytes, at the beginning.
    fn keep(&mut self, kept: std::ops::Range<usize>) {
        let kept = self.start + kept.start..self.start + kept.end;
        if self.memory.len() > KEPT {
            let last = self.memory[kept].to_vec();
            *self = Pages::default();
            self.put(0, &last, PAGE);
        } else {
            self.memory.copy_within(kept, self.start);
        }
    }
}
