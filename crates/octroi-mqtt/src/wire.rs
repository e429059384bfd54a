//! Reading one packet's bytes: a cursor that cannot run past the end, MQTT strings, variable byte
//! integers, and the fixed header. It knows no packet type beyond its number and no version's rules;
//! every failure is *malformed* (MQTT 5 section 1.2).

use crate::reason::Fault;

/// The fixed header of a packet that has arrived at least that far (MQTT 5 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FixedHeader {
    /// Packet type and flags.
    pub(crate) byte1: u8,
    /// 2 to 5.
    pub(crate) len: usize,
    /// Bytes after the fixed header.
    pub(crate) remaining: usize,
}

impl FixedHeader {
    /// `Ok(None)`: more bytes are needed. The remaining length has at most four bytes and is minimal.
    #[inline]
    pub(crate) fn read(input: &[u8]) -> Result<Option<Self>, Fault> {
        let Some((&byte1, rest)) = input.split_first() else { return Ok(None) };
        Ok(varint(rest)?.map(|(remaining, len)| Self { byte1, len: len + 1, remaining }))
    }

    pub(crate) fn packet_type(self) -> u8 {
        self.byte1 >> 4
    }

    pub(crate) fn flags(self) -> u8 {
        self.byte1 & 0x0F
    }

    pub(crate) fn frame_len(self) -> usize {
        self.len + self.remaining
    }
}

/// A variable byte integer and its length, minimal and of at most four bytes; `None`: more is needed.
#[inline]
fn varint(input: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut value = 0;
    for (at, &byte) in input.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            if byte == 0 && at > 0 {
                return Err(Fault::malformed("a variable byte integer is longer than it need be"));
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if input.len() < 4 {
        Ok(None)
    } else {
        Err(Fault::malformed("a variable byte integer of more than four bytes"))
    }
}

/// A cursor over the variable header and payload of one packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(Fault::malformed("a field reaches past the end of its packet"));
        };
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Fault::malformed("the packet ends inside a field"));
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<usize, Fault> {
        let Some((value, len)) = varint(self.rest)? else {
            return Err(Fault::malformed("the packet ends inside a variable byte integer"));
        };
        self.take(len)?;
        Ok(value)
    }

    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 encoded string: no surrogates, no overlong forms, no NUL [MQTT-1.5.4-1, -2].
    pub(crate) fn string(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.binary()?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Fault::malformed("a string is not UTF-8"));
        };
        if bytes.contains(&0) {
            return Err(Fault::malformed("a string contains U+0000"));
        }
        Ok(text)
    }

    /// The properties' bytes, after their length.
    pub(crate) fn properties(&mut self) -> Result<Reader<'a>, Fault> {
        let len = self.varint()?;
        self.take(len).map(Reader::new)
    }

    pub(crate) fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.u16()? {
            0 => Err(Fault::malformed("packet identifier 0")),
            id => Ok(id),
        }
    }

    pub(crate) fn end(self) -> Result<(), Fault> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Fault::malformed("bytes after the end of the packet's content"))
        }
    }
}

/// Writes a remaining length or property length. `len` is below 268,435,456.
pub(crate) fn put_varint(out: &mut impl Extend<u8>, len: usize) {
    let mut left = len;
    loop {
        let low = u8::try_from(left & 0x7F).unwrap_or(0);
        left >>= 7;
        out.extend([if left > 0 { low | 0x80 } else { low }]);
        if left == 0 {
            return;
        }
    }
}
