//! Reading container logs: from where, how much, and on as they grow.

use std::{
    io::{self, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    time::sleep,
};

use crate::log::Record;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much is read at a time, in bytes; more than the longest record.
const CHUNK: usize = 64 * 1024;

/// What of a log is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LogOptions {
    pub(super) follow: bool,
    pub(super) previous: bool,
    timestamps: bool,
    tail_lines: Option<u64>,
    since: Option<Timestamp>,
    limit_bytes: Option<u64>,
}

impl LogOptions {
    /// Reads a query string, with the names of upstream's `PodLogOptions`.
    pub(super) fn parse(query: &str, now: Timestamp) -> Result<LogOptions, String> {
        let mut options = LogOptions::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(value);
            let wrong = || format!("{name}: invalid value {value:?}");
            let number = || value.parse::<u64>().map_err(|_| wrong());
            let truth = || match value.as_str() {
                "" | "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(wrong()),
            };
            match name {
                "follow" => options.follow = truth()?,
                "previous" => options.previous = truth()?,
                "timestamps" => options.timestamps = truth()?,
                "tailLines" => options.tail_lines = Some(number()?),
                "limitBytes" => options.limit_bytes = Some(number()?),
                "sinceSeconds" => {
                    let seconds = i64::try_from(number()?).map_err(|_| wrong())?;
                    let since = now.checked_sub(SignedDuration::from_secs(seconds));
                    options.since = Some(since.map_err(|_| wrong())?);
                }
                "sinceTime" => options.since = Some(value.parse().map_err(|_| wrong())?),
                _ => {}
            }
        }
        Ok(options)
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks whether the container may still write.
type Lives = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

struct Reader {
    path: PathBuf,
    options: LogOptions,
    lives: Lives,
    file: Option<File>,
    /// What was read of a record that has not ended yet.
    rest: Vec<u8>,
    left: u64,
    /// The record before ended without a newline.
    within_line: bool,
    /// Nobody writes any more: what is there is read, then it is over.
    last_look: bool,
    opened: bool,
    /// The open file is written no more: when it has been read to its end, the next one is.
    rotated: bool,
}

/// The wanted part of a log as the messages the container wrote.
pub(super) fn read(
    path: PathBuf,
    options: LogOptions,
    lives: impl Fn() -> BoxFuture<'static, bool> + Send + Sync + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let left = options.limit_bytes.unwrap_or(u64::MAX);
    let reader = Reader {
        path,
        options,
        lives: Box::new(lives),
        file: None,
        rest: vec![],
        left,
        within_line: false,
        last_look: false,
        opened: false,
        rotated: false,
    };
    stream::try_unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Ok(bytes.map(|bytes| (bytes, reader)))
    })
}

impl Reader {
    /// The next messages; None at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if self.file.is_none() {
                self.open().await?;
            }
            let mut chunk = vec![0; CHUNK];
            let length = match &mut self.file {
                Some(file) => file.read(&mut chunk).await?,
                None => 0,
            };
            if length > 0 {
                self.rest.extend_from_slice(&chunk[..length]);
                let mut out = self.messages();
                if !out.is_empty() {
                    out.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= out.len() as u64;
                    return Ok(Some(out.into()));
                }
                continue;
            }
            if !self.options.follow {
                return Ok(None);
            }
            if self.rotated {
                (self.file, self.rotated) = (self.successor().await, false);
                continue;
            }
            // What was written between the last read and the rotation is read first.
            self.rotated = self.successor().await.is_some();
            if self.rotated {
                continue;
            }
            if self.last_look {
                return Ok(None);
            }
            self.last_look = !(self.lives)().await;
            if !self.last_look {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Opens the log where the wanted part begins. A log that is not there is empty.
    async fn open(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(lines) = self.options.tail_lines.filter(|_| !self.opened) {
            let at = tail(&mut file, lines).await?;
            file.seek(SeekFrom::Start(at)).await?;
        }
        self.opened = true;
        self.file = Some(file);
        Ok(())
    }

    /// The file that goes on where the open one ends, if it was rotated. Files go by what they are, not by what they are called: a
    /// name is another file with each rotation (see `LogWriter`).
    async fn successor(&self) -> Option<File> {
        let open = self.file.as_ref()?.metadata().await.ok()?.ino();
        let (mut newer, mut free, mut number) = (None, 0, 0);
        // While files are renamed one name is free; two are where they end.
        while free < 2 {
            let path = match number {
                0 => self.path.clone(),
                number => PathBuf::from(format!("{}.{number}", self.path.display())),
            };
            match File::open(&path).await {
                Ok(file) => {
                    if file.metadata().await.ok()?.ino() == open {
                        return newer;
                    }
                    (newer, free) = (Some(file), 0);
                }
                Err(_) => free += 1,
            }
            number += 1;
        }
        // The open one is gone: what is left begins with the oldest.
        newer
    }

    /// Takes whole records off what was read.
    fn messages(&mut self) -> Vec<u8> {
        let mut out = vec![];
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else {
            return out;
        };
        let tail = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, tail);
        let lines = whole.split(|&byte| byte == b'\n');
        for record in lines.filter_map(Record::parse) {
            if let Some(since) = self.options.since
                && record.time.parse::<Timestamp>().is_ok_and(|at| at < since)
            {
                continue;
            }
            if self.options.timestamps && !self.within_line {
                out.extend_from_slice(record.time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(record.message);
            if !record.partial {
                out.push(b'\n');
            }
            self.within_line = record.partial;
        }
        out
    }
}

/// Where the last so many lines begin.
async fn tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.metadata().await?.len();
    if lines == 0 {
        return Ok(length);
    }
    let mut at = length;
    let mut found = 0;
    // Reads backwards; a record's newline is always there, so that the last byte ends the last line.
    while at > 0 {
        let size = at.min(CHUNK as u64);
        let mut chunk = vec![0; size as usize];
        file.seek(SeekFrom::Start(at - size)).await?;
        file.read_exact(&mut chunk).await?;
        for (offset, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let position = at - size + offset as u64;
            if position + 1 == length {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(position + 1);
            }
        }
        at -= size;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use futures::{FutureExt, StreamExt, TryStreamExt};

    use super::*;
    use crate::log::{LogWriter, MAX_BYTES, Stream as Source};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn written(dir: &std::path::Path) -> PathBuf {
        let path = dir.join("0.log");
        let mut log = LogWriter::open(&path, MAX_BYTES, 5).unwrap();
        for number in 1..=9 {
            log.write(Source::Stdout, format!("line {number}\n").as_bytes(), at(number));
        }
        path
    }

    async fn all(path: PathBuf, query: &str) -> String {
        let options = LogOptions::parse(query, at(10)).unwrap();
        let parts: Vec<Bytes> = read(path, options, || async { false }.boxed()).try_collect().await.unwrap();
        String::from_utf8(parts.concat()).unwrap()
    }

    #[tokio::test]
    async fn what_is_wanted_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let cases = [
            ("tailLines=2", "line 8\nline 9\n"),
            ("tailLines=0", ""),
            ("sinceSeconds=2&follow=true", "line 8\nline 9\n"),
            ("sinceTime=1970-01-01T00%3A00%3A09Z", "line 9\n"),
            ("tailLines=1&timestamps=true", "1970-01-01T00:00:09.000000000Z line 9\n"),
            ("limitBytes=9", "line 1\nli"),
            ("tailLines=100&limitBytes=7", "line 1\n"),
        ];
        for (query, expected) in cases {
            assert_eq!(all(path.clone(), query).await, expected, "{query}");
        }
        assert_eq!(all(path.clone(), "").await.lines().count(), 9);
        assert_eq!(all(dir.path().join("none"), "").await, "");
        let mut log = LogWriter::open(&path, MAX_BYTES, 5).unwrap();
        log.write(Source::Stdout, b"unfinished", at(10));
        log.finish(at(10));
        assert_eq!(all(path, "tailLines=1").await, "unfinished");
    }

    #[test]
    fn options_are_checked() {
        for bad in ["tailLines=-1", "tailLines=x", "sinceTime=yesterday", "follow=maybe", "limitBytes="] {
            let error = LogOptions::parse(bad, at(10)).unwrap_err();
            assert!(error.starts_with(bad.split('=').next().unwrap()), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn following_goes_on_until_the_container_ends_through_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogWriter::open(&path, 150, 10).unwrap();
        log.write(Source::Stdout, b"line 0\n", at(0));
        let ended = Arc::new(AtomicBool::new(false));
        let lives = {
            let ended = ended.clone();
            move || std::future::ready(!ended.load(Ordering::SeqCst)).boxed()
        };
        let options = LogOptions::parse("follow=true", at(0)).unwrap();
        let mut stream = std::pin::pin!(read(path, options, lives));
        let mut text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        for number in 1..12 {
            log.write(Source::Stdout, format!("line {number}\n").as_bytes(), at(0));
            text += std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
        }
        // Nobody looks while the file that is open grows and several rotations pass.
        for number in 12..20 {
            log.write(Source::Stdout, format!("line {number}\n").as_bytes(), at(0));
        }
        ended.store(true, Ordering::SeqCst);
        while let Some(part) = stream.next().await {
            text += std::str::from_utf8(&part.unwrap()).unwrap();
        }
        let expected: String = (0..20).map(|number| format!("line {number}\n")).collect();
        assert_eq!(text, expected);
    }
}
