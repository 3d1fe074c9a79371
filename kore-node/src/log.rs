//! Container logs as files: the CRI format, written with rotation ([`LogWriter`]).
//!
//! A record is `TIMESTAMP STREAM TAG MESSAGE`, e.g. `2026-01-02T03:04:05.000000006Z stdout F hello`. The tag is `F` for a line
//! that ended in a newline and `P` for a part of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// The longest message of one record, in bytes: a longer line becomes several.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// The size a log file is rotated at, in bytes, unless configured.
pub(crate) const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// How many files a log may have, the current one included, unless configured.
pub(crate) const MAX_FILES: u32 = 5;

/// Which stream a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Appends what a container writes to its log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: File,
    size: u64,
    /// None for what is not a regular file, which is never rotated.
    max_bytes: Option<u64>,
    max_files: u32,
    /// The beginning of a line whose end has not come yet.
    partial: [Vec<u8>; 2],
}

impl LogWriter {
    /// Opens or continues the log at `path`.
    pub(crate) fn open(path: &Path, max_bytes: u64, max_files: u32) -> io::Result<LogWriter> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        Ok(LogWriter {
            path: path.to_owned(),
            file,
            size: metadata.len(),
            max_bytes: metadata.is_file().then_some(max_bytes),
            max_files,
            partial: [vec![], vec![]],
        })
    }

    /// Takes bytes as they come. A log that cannot be written loses them: a full disk must not stop the container.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) {
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        let mut records = Vec::with_capacity(bytes.len() + 64);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = MAX_MESSAGE_BYTES - partial.len();
            let window = &rest[..rest.len().min(room)];
            match window.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    partial.extend_from_slice(&window[..end]);
                    record(&mut records, stream, 'F', &partial, now);
                    partial.clear();
                    rest = &rest[end + 1..];
                }
                None => {
                    partial.extend_from_slice(window);
                    rest = &rest[window.len()..];
                    if partial.len() == MAX_MESSAGE_BYTES {
                        record(&mut records, stream, 'P', &partial, now);
                        partial.clear();
                    }
                }
            }
        }
        self.partial[stream as usize] = partial;
        self.append(&records);
    }

    /// Writes the lines that never ended.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        let mut records = vec![];
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                record(&mut records, stream, 'P', &partial, now);
            }
        }
        self.append(&records);
    }

    fn append(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        if self.max_bytes.is_some_and(|max| self.size > 0 && self.size + records.len() as u64 > max) {
            let _ = self.rotate();
        }
        if self.file.write_all(records).is_ok() {
            self.size += records.len() as u64;
        }
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.max_files.saturating_sub(1)).rev() {
            let _ = fs::rename(numbered(number), numbered(number + 1));
        }
        if self.max_files > 1 {
            fs::rename(&self.path, numbered(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn record(into: &mut Vec<u8>, stream: Stream, tag: char, message: &[u8], now: Timestamp) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let second = now.strftime("%Y-%m-%dT%H:%M:%S");
    let _ = write!(into, "{second}.{:09}Z {stream} {tag} ", now.subsec_nanosecond());
    into.extend_from_slice(message);
    into.push(b'\n');
}

/// One record of a log, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) time: &'a str,
    pub(crate) message: &'a [u8],
    /// The line goes on in the next record.
    pub(crate) partial: bool,
}

impl<'a> Record<'a> {
    /// Takes one line of a log (without its newline) apart; None if it is not a record.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Record<'a>> {
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let _stream = parts.next()?;
        let tag = parts.next()?;
        Some(Record { time, message: parts.next()?, partial: tag == b"P" })
    }
}

/// The end of a log, at most so many bytes and lines of messages; None if there is none.
pub(crate) fn last_lines(path: &Path, max_bytes: usize, max_lines: usize) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    // A record is longer than its message: what is read holds at least `max_bytes` of short lines.
    let window = (max_bytes as u64 + max_lines as u64 * 64).max(64 * 1024);
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(window))).ok()?;
    let mut bytes = vec![];
    file.take(window).read_to_end(&mut bytes).ok()?;
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let records = lines.into_iter().rev().filter_map(Record::parse);
    let mut messages: Vec<&[u8]> = records.take(max_lines).map(|record| record.message).collect();
    messages.reverse();
    let text = messages.join(&b'\n');
    let start = text.len().saturating_sub(max_bytes);
    let text = String::from_utf8_lossy(&text[start..]).into_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05.000000006Z".parse().unwrap()
    }

    #[test]
    fn lines_become_records_and_an_unfinished_line_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path, MAX_BYTES, MAX_FILES).unwrap();
        log.write(Stream::Stdout, b"one\ntw", now());
        log.write(Stream::Stderr, b"oops\n", now());
        log.write(Stream::Stdout, b"o\nthree", now());
        log.finish(now());
        let at = "2026-01-02T03:04:05.000000006Z";
        let expected = format!("{at} stdout F one\n{at} stderr F oops\n{at} stdout F two\n{at} stdout P three\n");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn a_long_line_becomes_several_records_that_join_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path, MAX_BYTES, MAX_FILES).unwrap();
        let mut line = vec![b'x'; 3 * MAX_MESSAGE_BYTES + 7];
        line.push(b'\n');
        line.chunks(1000).for_each(|part| log.write(Stream::Stdout, part, now()));
        let text = fs::read(path).unwrap();
        let records: Vec<Record<'_>> = text.split(|&byte| byte == b'\n').filter_map(Record::parse).collect();
        assert_eq!(records.iter().map(|record| record.partial).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(records.iter().map(|record| record.message.len()).sum::<usize>(), line.len() - 1);
    }

    #[test]
    fn rotation_bounds_files_and_bytes_and_loses_only_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path, 200, 3).unwrap();
        for number in 0..30 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), now());
        }
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 200));
        assert!(fs::read_to_string(&path).unwrap().ends_with("line 29\n"));
    }

    #[test]
    fn what_is_not_a_file_is_never_rotated() {
        let mut log = LogWriter::open(Path::new("/dev/null"), 1, 1).unwrap();
        log.write(Stream::Stdout, b"one\ntwo\n", now());
        log.write(Stream::Stdout, b"three\n", now());
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
