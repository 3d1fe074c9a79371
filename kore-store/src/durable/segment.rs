//! A segment of the log: a file of frames. Pure: bytes in, bytes out.
//!
//! A segment begins with a header and holds one frame a group of records, each padded to eight bytes. Segments are used
//! again, so behind the last frame lies whatever was there before. What tells a frame from that, and one that was torn by a
//! crash from one that was damaged later:
//!
//! - a frame carries a checksum, and the id and the salt of its segment: nothing that an earlier life of the file left
//!   behind, and nothing that a client stored as a value, passes for a frame (where the header is torn, its salt is not known, and
//!   what looks like a frame is refused rather than cut off);
//! - a frame is written when the one before it is durable: an invalid frame with a valid one behind it was damaged;
//! - a segment says in its header which frame it begins with: frames lost at the end of the one before are noticed.

use std::ops::Range;

use crate::Revision;

/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 64;

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 40;

const MAGIC: &[u8; 8] = b"KORELOG1";

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Grows from segment to segment.
    pub(crate) id: u64,
    /// Drawn for this life of the file.
    pub(crate) salt: u64,
    /// The sequence number of its first frame.
    pub(crate) first_sequence: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..32]);
        bytes[32..36].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER)?;
        let header = Header { id: u64_at(bytes, 8)?, salt: u64_at(bytes, 16)?, first_sequence: u64_at(bytes, 24)? };
        // Every byte counts, the padding too.
        (bytes == header.encode()).then_some(header)
    }
}

/// A frame that was found.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) offset: usize,
    pub(crate) sequence: u64,
    /// The store's revision after its records.
    pub(crate) revision: Revision,
    /// Where its records lie.
    pub(crate) payload: Range<usize>,
}

/// Fills in the header of a frame whose records lie in `buffer` behind [`FRAME_HEADER`] bytes, and pads it.
pub(crate) fn seal(buffer: &mut Vec<u8>, segment: &Header, sequence: u64, revision: Revision) {
    let length = u32::try_from(buffer.len() - FRAME_HEADER).expect("a group is limited to a few MiB");
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&segment.id.to_le_bytes());
    buffer[16..24].copy_from_slice(&segment.salt.to_le_bytes());
    buffer[24..32].copy_from_slice(&sequence.to_le_bytes());
    buffer[32..40].copy_from_slice(&revision.to_le_bytes());
    let checksum = crc32fast::hash(&buffer[4..]);
    buffer[..4].copy_from_slice(&checksum.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(8), 0);
}

/// What a segment holds.
pub(crate) struct Scan {
    /// None: it is not valid.
    pub(crate) header: Option<Header>,
    pub(crate) frames: Vec<Frame>,
    /// Where the next frame goes.
    pub(crate) end: usize,
    /// A valid frame behind the end: something in between was damaged.
    pub(crate) stray: Option<usize>,
}

/// Reads the segment with this id.
pub(crate) fn scan(bytes: &[u8], id: u64) -> Scan {
    let header = Header::decode(bytes).filter(|header| header.id == id);
    let salt = header.map(|header| header.salt);
    let mut frames: Vec<Frame> = Vec::new();
    let mut end = HEADER;
    if header.is_some() {
        while let Some(frame) = frame_at(bytes, end, id, salt) {
            end = frame.payload.end.next_multiple_of(8);
            frames.push(frame);
        }
    }
    let mut behind = (end..bytes.len()).step_by(8);
    let stray = behind.find(|offset| frame_at(bytes, *offset, id, salt).is_some());
    Scan { header, frames, end, stray }
}

fn frame_at(bytes: &[u8], offset: usize, id: u64, salt: Option<u64>) -> Option<Frame> {
    let frame = bytes.get(offset..)?;
    if u64_at(frame, 8)? != id || salt.is_some_and(|salt| u64_at(frame, 16) != Some(salt)) {
        return None;
    }
    let checksum = u32::from_le_bytes(frame.get(..4)?.try_into().ok()?);
    let length = u32::from_le_bytes(frame.get(4..8)?.try_into().ok()?) as usize;
    let whole = frame.get(..FRAME_HEADER + length)?;
    (crc32fast::hash(&whole[4..]) == checksum).then_some(())?;
    Some(Frame {
        offset,
        sequence: u64_at(whole, 24)?,
        revision: u64_at(whole, 32)?,
        payload: offset + FRAME_HEADER..offset + FRAME_HEADER + length,
    })
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Header = Header { id: 3, salt: 0x5a17, first_sequence: 10 };

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = SEGMENT.encode().to_vec();
        for (sequence, payload) in (10..).zip(payloads) {
            let mut frame = vec![0; FRAME_HEADER];
            frame.extend_from_slice(payload);
            seal(&mut frame, &SEGMENT, sequence, 7);
            bytes.extend(frame);
        }
        bytes
    }

    #[test]
    fn frames_are_found_again() {
        let mut bytes = segment(&[b"one", b"", b"three, somewhat longer"]);
        let end = bytes.len();
        bytes.resize(end + 100, 0);
        let scan = scan(&bytes, 3);
        assert_eq!((scan.header, scan.end, scan.stray), (Some(SEGMENT), end, None));
        let found: Vec<_> = scan.frames.iter().map(|frame| (frame.sequence, &bytes[frame.payload.clone()])).collect();
        assert_eq!(found, [(10, &b"one"[..]), (11, b""), (12, b"three, somewhat longer")]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = segment(&[b"one", b"two", b"last"]);
        let last = scan(&bytes, 3).frames[2].offset;
        for at in 0..last {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let scan = scan(&damaged, 3);
                // Padding is nobody's.
                let padding = [HEADER + FRAME_HEADER + 3..HEADER + 48, HEADER + 48 + FRAME_HEADER + 3..HEADER + 96];
                if padding.iter().any(|padding| padding.contains(&at)) {
                    continue;
                }
                assert!(scan.header.is_none() || scan.stray.is_some(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn another_life_of_the_file_is_not_replayed() {
        let bytes = segment(&[b"old"]);
        assert!(scan(&bytes, 4).header.is_none());
        let mut reused = bytes.clone();
        let header = Header { salt: 1, ..SEGMENT };
        reused[..HEADER].copy_from_slice(&header.encode());
        let scan = scan(&reused, 3);
        assert!(scan.frames.is_empty() && scan.stray.is_none());
    }
}
