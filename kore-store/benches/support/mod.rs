//! What the benchmarks share: keys and values, closed loops of writers, percentiles, and what the device did.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use mimalloc::MiMalloc;
use tokio::time::Instant;

/// What one thread has made for a request another drops: glibc's allocator lets threads wait for each other then.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Keys that are written, over and over.
pub(crate) const KEYS: u64 = 100_000;

/// A key of 48 bytes.
pub(crate) fn key(number: u64) -> Bytes {
    let key = format!("/registry/pods/namespace-{:04}/pod-{:014x}", number % 1000, scatter(number) >> 8);
    assert_eq!(key.len(), 48, "as long as it is said to be");
    Bytes::copy_from_slice(key.as_bytes())
}

/// A value of `length` bytes that no other write has.
pub(crate) fn value(writer: u64, number: u64, length: usize) -> Bytes {
    let mut value = BytesMut::with_capacity(length);
    let mut seed = scatter(writer << 40 | number);
    value.put_u64(writer);
    value.put_u64(number);
    while value.len() < length {
        seed = scatter(seed);
        let bytes = seed.to_le_bytes();
        value.put_slice(&bytes[..bytes.len().min(length - value.len())]);
    }
    value.freeze()
}

/// Spreads numbers (SplitMix64).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a closed loop of writers did.
pub(crate) struct Load {
    pub(crate) writes: u64,
    pub(crate) elapsed: Duration,
    /// How long each write took, in µs, sorted.
    pub(crate) latencies_us: Vec<u32>,
    /// The last number that each writer wrote.
    pub(crate) last: Vec<u64>,
    /// Flushes of the device meanwhile; None: nobody counts them.
    pub(crate) flushes: Option<u64>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.writes as f64 / self.elapsed.as_secs_f64()
    }

    /// In µs.
    pub(crate) fn percentile(&self, percent: f64) -> u32 {
        percentile(&self.latencies_us, percent)
    }
}

pub(crate) fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let at = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// So many writers, each with one write outstanding at a time, for so long. `write(writer, number)` is one write.
pub(crate) async fn load<F, W>(writers: u64, time: Duration, write: F) -> Load
where
    F: Fn(u64, u64) -> W + Send + Sync + 'static,
    W: Future<Output = ()> + Send,
{
    let write = Arc::new(write);
    let over = Arc::new(AtomicBool::new(false));
    let flushes = device_flushes(Path::new("."));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (write, over) = (write.clone(), over.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    let begin = Instant::now();
                    write(writer, number).await;
                    latencies.push(begin.elapsed().as_micros() as u32);
                }
                (number, latencies)
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let (mut latencies_us, mut last) = (Vec::new(), Vec::new());
    for task in tasks {
        let (number, latencies) = task.await.expect("a writer does not panic");
        latencies_us.extend(latencies);
        last.push(number);
    }
    let elapsed = begin.elapsed();
    let flushes = device_flushes(Path::new(".")).zip(flushes).map(|(after, before)| after - before);
    latencies_us.sort_unstable();
    Load { writes: last.iter().sum(), elapsed, latencies_us, last, flushes }
}

/// Flushes that the device below a path has completed since the machine started. None: the system does not say.
pub(crate) fn device_flushes(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, device & 0xff);
    let stats = std::fs::read_to_string("/proc/diskstats").ok()?;
    stats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.first()?.parse() == Ok(major) && fields.get(1)?.parse() == Ok(minor);
        is_it.then(|| fields.get(18)?.parse().ok()).flatten()
    })
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Counts something from several tasks of one thread.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
