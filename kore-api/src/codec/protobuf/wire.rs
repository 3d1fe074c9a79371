//! The protobuf wire format: varints, keys, fixed and length-delimited fields.

use super::super::CodecError;

/// How a field is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
}

/// Reads one message.
pub(crate) struct Reader<'a> {
    message_type: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message_type: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { message_type, bytes, at: 0 }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> CodecError {
        CodecError::MalformedProtobuf {
            message_type: self.message_type.to_owned(),
            offset: self.at,
            message: message.into(),
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The number and layout of the next field; `None` at the end of the message.
    pub(crate) fn key(&mut self) -> Result<Option<(u32, Wire)>, CodecError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let key = self.raw_varint()?;
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            5 => Wire::Fixed32,
            other => return Err(self.error(format!("wire type {other} is not supported"))),
        };
        match u32::try_from(key >> 3) {
            Ok(number) if number > 0 => Ok(Some((number, wire))),
            _ => Err(self.error(format!("field number {} is not valid", key >> 3))),
        }
    }

    pub(crate) fn varint(&mut self, wire: Wire) -> Result<u64, CodecError> {
        self.expect(wire, Wire::Varint)?;
        self.raw_varint()
    }

    pub(crate) fn raw_varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(self.error("the message ends inside a number"));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a number has more than 64 bits"))
    }

    pub(crate) fn double(&mut self, wire: Wire) -> Result<f64, CodecError> {
        self.expect(wire, Wire::Fixed64)?;
        let bytes = self.take(8)?;
        Ok(f64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    pub(crate) fn bytes(&mut self, wire: Wire) -> Result<&'a [u8], CodecError> {
        self.expect(wire, Wire::Bytes)?;
        let length = self.raw_varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(crate) fn string(&mut self, wire: Wire) -> Result<&'a str, CodecError> {
        let bytes = self.bytes(wire)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("a string is not UTF-8"))
    }

    pub(crate) fn skip(&mut self, wire: Wire) -> Result<(), CodecError> {
        match wire {
            Wire::Varint => self.raw_varint().map(drop),
            Wire::Fixed64 => self.take(8).map(drop),
            Wire::Fixed32 => self.take(4).map(drop),
            Wire::Bytes => self.bytes(wire).map(drop),
        }
    }

    fn expect(&self, found: Wire, wanted: Wire) -> Result<(), CodecError> {
        if found == wanted { Ok(()) } else { Err(self.error(format!("a field is {found:?}, not {wanted:?}"))) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        match self.bytes[self.at..].get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.error("the message ends inside a field")),
        }
    }
}

/// Writes one message.
#[derive(Default)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.buffer
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(crate) fn varint(&mut self, number: u32, value: u64) {
        self.raw_varint(u64::from(number) << 3);
        self.raw_varint(value);
    }

    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.raw_varint(u64::from(number) << 3 | 1);
        self.buffer.extend(value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.raw_varint(u64::from(number) << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.buffer.extend(value);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }
}
