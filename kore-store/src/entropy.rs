//! The randomness that is handed in.

use std::sync::{Arc, Mutex, PoisonError};

/// Randomness for ids and tokens. Clones share one stream.
///
/// [`Entropy::system`] is the kernel's, fit for secrets. [`Entropy::seeded`] repeats itself for a seed, so that a whole
/// cluster can be run twice and compared: never make secrets of it outside a test.
///
/// ```
/// use kore_store::Entropy;
///
/// assert_eq!(Entropy::seeded(7).next_u64(), Entropy::seeded(7).next_u64());
/// assert_eq!(Entropy::system().uuid_v4().len(), 36);
/// ```
#[derive(Clone, Debug)]
pub struct Entropy {
    source: Source,
}

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<Xoshiro>>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::System => "System",
            Source::Seeded(_) => "Seeded",
        })
    }
}

impl Entropy {
    /// The kernel's random source.
    pub fn system() -> Entropy {
        Entropy { source: Source::System }
    }

    /// The same stream for the same seed.
    pub fn seeded(seed: u64) -> Entropy {
        Entropy { source: Source::Seeded(Arc::new(Mutex::new(Xoshiro::new(seed)))) }
    }

    /// Fills the buffer with random bytes.
    pub fn fill(&self, buffer: &mut [u8]) {
        match &self.source {
            Source::System => fill_from_kernel(buffer),
            Source::Seeded(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                for chunk in buffer.chunks_mut(8) {
                    chunk.copy_from_slice(&stream.next().to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    /// A random number.
    pub fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number below `bound`, which is not 0; every one is as likely.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        // Numbers beyond the last whole multiple of the bound would favour the small ones.
        let usable = u64::MAX - u64::MAX % bound;
        loop {
            let number = self.next_u64();
            if number < usable {
                return number % bound;
            }
        }
    }

    /// A random UUID (RFC 9562, version 4), in lower case with hyphens.
    pub fn uuid_v4(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let mut number = u128::from_be_bytes(bytes);
        number = number & !(0xf << 76) | 4 << 76;
        number = number & !(0b11 << 62) | 0b10 << 62;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (number >> 96) as u32,
            (number >> 80) as u16,
            (number >> 64) as u16,
            (number >> 48) as u16,
            number & 0xffff_ffff_ffff
        )
    }
}

fn fill_from_kernel(mut buffer: &mut [u8]) {
    while !buffer.is_empty() {
        match rustix::rand::getrandom(&mut *buffer, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => buffer = &mut buffer[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel has no random source: {error}"),
        }
    }
}

/// xoshiro256++ (Blackman and Vigna, 2018), seeded by splitmix64 as its authors advise.
struct Xoshiro([u64; 4]);

impl Xoshiro {
    fn new(mut seed: u64) -> Xoshiro {
        Xoshiro(std::array::from_fn(|_| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = seed;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_clones_share() {
        let (one, two) = (Entropy::seeded(42), Entropy::seeded(42));
        let shared = one.clone();
        assert_eq!(one.next_u64(), two.next_u64());
        assert_eq!(shared.next_u64(), two.next_u64());
        assert_ne!(Entropy::seeded(1).next_u64(), Entropy::seeded(2).next_u64());
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        // The reference implementation's first outputs from the state 1, 2, 3, 4.
        let mut stream = Xoshiro([1, 2, 3, 4]);
        assert_eq!(stream.next(), 41_943_041);
        assert_eq!(stream.next(), 58_720_359);
    }

    #[test]
    fn uuids_are_version_4_and_unique() {
        let entropy = Entropy::system();
        let (one, two) = (entropy.uuid_v4(), entropy.uuid_v4());
        assert_ne!(one, two);
        for uuid in [one, two] {
            assert_eq!(uuid.len(), 36);
            assert_eq!(uuid.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&uuid.as_bytes()[19]));
            assert_eq!(uuid.matches('-').count(), 4);
        }
    }

    #[test]
    fn odd_lengths_are_filled() {
        let mut bytes = [0; 13];
        Entropy::seeded(3).fill(&mut bytes);
        assert!(bytes[8..].iter().any(|byte| *byte != 0));
        assert!((0..1000).all(|_| Entropy::system().below(7) < 7));
    }
}
