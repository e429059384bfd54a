//! The protobuf wire format, strictly: fields one by one, borrowed, no schema.
//!
//! Readers of protobuf keep the last of two scalars, cut a number that is too
//! wide, pass over a field of another type, and differ in which of these they
//! do. Here each is an [`Ambiguity`].
//!
//! INVARIANT: total. Any bytes end, in time proportional to their number.

use crate::facts::Ambiguity;
use crate::json::{reason as json_reason, refuse_noncharacters};

/// Why a protobuf payload is ambiguous: the stable names.
pub(super) mod reason {
    pub(in super::super) const TRUNCATED: &str = "protobuf cut short";
    pub(in super::super) const VARINT: &str = "protobuf varint beyond 64 bits";
    pub(in super::super) const GROUP: &str = "protobuf group";
    pub(in super::super) const TAG: &str = "not a protobuf field";
    pub(in super::super) const TWICE: &str = "protobuf field twice";
    pub(in super::super) const WIRE: &str = "protobuf field of another type";
    pub(in super::super) const WIDE: &str = "protobuf number wider than its field";
}

/// Bytes of the payload, and where they begin in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Span<'a>),
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// Where its tag stands in the payload.
    pub(super) at: usize,
    value: Wire<'a>,
}

impl<'a> Span<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The fields of a message, in their order; none after the first fault.
    pub(super) fn fields(self) -> Fields<'a> {
        Fields { rest: self }
    }

    /// Numbers one after the other, as a packed field has them.
    pub(super) fn varints(mut self) -> impl Iterator<Item = Result<u64, Ambiguity>> {
        std::iter::from_fn(move || {
            let next = (!self.bytes.is_empty()).then(|| self.varint())?;
            if next.is_err() {
                self.bytes = &[];
            }
            Some(next)
        })
    }

    pub(super) fn text(self) -> Result<&'a str, Ambiguity> {
        let text = std::str::from_utf8(self.bytes)
            .map_err(|error| fault(json_reason::UTF8, self.at + error.valid_up_to()))?;
        refuse_noncharacters(text, self.at)?;
        Ok(text)
    }

    fn varint(&mut self) -> Result<u64, Ambiguity> {
        let at = self.at;
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(fault(reason::VARINT, at))
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Ambiguity> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or_else(|| fault(reason::TRUNCATED, self.at))?;
        *self = Self { bytes: rest, at: self.at + N };
        Ok(head)
    }

    fn split(&mut self, length: u64) -> Result<Self, Ambiguity> {
        let split = usize::try_from(length).ok().and_then(|length| self.bytes.split_at_checked(length));
        let (head, rest) = split.ok_or_else(|| fault(reason::TRUNCATED, self.at))?;
        let bytes = Self { bytes: head, at: self.at };
        *self = Self { bytes: rest, at: self.at + head.len() };
        Ok(bytes)
    }

    fn field(&mut self) -> Result<Field<'a>, Ambiguity> {
        let at = self.at;
        let tag = u32::try_from(self.varint()?).map_err(|_| fault(reason::TAG, at))?;
        let number = tag >> 3;
        if number == 0 {
            return Err(fault(reason::TAG, at));
        }
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(*self.take()?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.split(length)?)
            }
            3 | 4 => return Err(fault(reason::GROUP, at)),
            5 => Wire::Fixed32(*self.take()?),
            _ => return Err(fault(reason::TAG, at)),
        };
        Ok(Field { number, at, value })
    }
}

/// See [`Span::fields`].
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: Span<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Ambiguity>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = (!self.rest.bytes.is_empty()).then(|| self.rest.field())?;
        if next.is_err() {
            self.rest.bytes = &[];
        }
        Some(next)
    }
}

impl<'a> Field<'a> {
    pub(super) fn fault(&self, reason: &'static str) -> Ambiguity {
        fault(reason, self.at)
    }

    pub(super) fn uint64(&self) -> Result<u64, Ambiguity> {
        match self.value {
            Wire::Varint(number) => Ok(number),
            Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_) => Err(self.fault(reason::WIRE)),
        }
    }

    pub(super) fn uint32(&self) -> Result<u32, Ambiguity> {
        u32::try_from(self.uint64()?).map_err(|_| self.fault(reason::WIDE))
    }

    pub(super) fn boolean(&self) -> Result<bool, Ambiguity> {
        match self.uint64()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault(reason::WIDE)),
        }
    }

    pub(super) fn float(&self) -> Result<f32, Ambiguity> {
        match self.value {
            Wire::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            Wire::Varint(_) | Wire::Fixed64(_) | Wire::Bytes(_) => Err(self.fault(reason::WIRE)),
        }
    }

    pub(super) fn double(&self) -> Result<f64, Ambiguity> {
        match self.value {
            Wire::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            Wire::Varint(_) | Wire::Fixed32(_) | Wire::Bytes(_) => Err(self.fault(reason::WIRE)),
        }
    }

    pub(super) fn bytes(&self) -> Result<Span<'a>, Ambiguity> {
        match self.value {
            Wire::Bytes(bytes) => Ok(bytes),
            Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) => Err(self.fault(reason::WIRE)),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, Ambiguity> {
        self.bytes()?.text()
    }

    /// The numbers of a repeated field, one or packed.
    pub(super) fn uint32s(&self, numbers: &mut Vec<u32>) -> Result<(), Ambiguity> {
        let Wire::Bytes(packed) = self.value else {
            numbers.push(self.uint32()?);
            return Ok(());
        };
        for number in packed.varints() {
            numbers.push(u32::try_from(number?).map_err(|_| self.fault(reason::WIDE))?);
        }
        Ok(())
    }
}

/// Which fields of a message, of those that stand once, have stood.
#[derive(Debug, Default)]
pub(super) struct Once(u32);

impl Once {
    /// Refuses the second of one number (1 to 31).
    pub(super) fn field(&mut self, field: &Field<'_>) -> Result<(), Ambiguity> {
        let bit = 1_u32.checked_shl(field.number).unwrap_or(0);
        if self.0 & bit != 0 {
            return Err(field.fault(reason::TWICE));
        }
        self.0 |= bit;
        Ok(())
    }
}

pub(super) const fn fault(reason: &'static str, offset: usize) -> Ambiguity {
    Ambiguity { reason, offset }
}
