//! Values of Sparkplug B: which number, boolean or text a field stands for,
//! given the type that goes with it.
//!
//! INVARIANT: a value that a reader by type and a reader by field would read
//! differently is an ambiguity.

use std::borrow::Cow;

use super::super::protobuf::{Field, fault};
use crate::facts::{Ambiguity, Scalar};
use crate::json::{MAX_INTEGER, reason};

/// Why a value of a metric is ambiguous: the stable names.
pub(super) mod why {
    pub(in super::super) const NOT_OF_TYPE: &str = "Sparkplug value not of its datatype";
    pub(in super::super) const SIGN: &str = "Sparkplug number of unknown sign";
}

/// The codes of data types (Sparkplug 3.0, section 6.4.16).
mod datatype {
    pub(super) const INT8: u32 = 1;
    pub(super) const INT16: u32 = 2;
    pub(super) const INT32: u32 = 3;
    pub(super) const INT64: u32 = 4;
    pub(super) const UINT8: u32 = 5;
    pub(super) const UINT16: u32 = 6;
    pub(super) const UINT32: u32 = 7;
    pub(super) const UINT64: u32 = 8;
    pub(super) const FLOAT: u32 = 9;
    pub(super) const DOUBLE: u32 = 10;
    pub(super) const BOOLEAN: u32 = 11;
    pub(super) const STRING: u32 = 12;
    pub(super) const DATE_TIME: u32 = 13;
    pub(super) const TEXT: u32 = 14;
    pub(super) const UUID: u32 = 15;
    pub(super) const DATA_SET: u32 = 16;
    pub(super) const BYTES: u32 = 17;
    pub(super) const FILE: u32 = 18;
    pub(super) const TEMPLATE: u32 = 19;
    pub(super) const PROPERTY_SET: u32 = 20;
    pub(super) const PROPERTY_SET_LIST: u32 = 21;
    pub(super) const ARRAYS: std::ops::RangeInclusive<u32> = 22..=34;
}
use datatype::{
    ARRAYS, BOOLEAN, BYTES, DATA_SET, DATE_TIME, DOUBLE, FILE, FLOAT, INT8, INT16, INT32, INT64,
    PROPERTY_SET, PROPERTY_SET_LIST, STRING, TEMPLATE, TEXT, UINT8, UINT16, UINT32, UINT64, UUID,
};

/// The type that goes with a value, and where the value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed {
    pub(super) datatype: Option<u32>,
    pub(super) at: usize,
}

/// The fields that every message with a value has, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plain<'a> {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
}

impl<'a> Plain<'a> {
    /// How many of them there are.
    pub(super) const FIELDS: u32 = 6;

    /// Reads the field that is the `slot`-th of them.
    pub(super) fn read(slot: u32, field: &Field<'a>) -> Result<Self, Ambiguity> {
        Ok(match slot {
            0 => Self::Int(field.uint32()?),
            1 => Self::Long(field.uint64()?),
            2 => Self::Float(field.float()?),
            3 => Self::Double(field.double()?),
            4 => Self::Boolean(field.boolean()?),
            _ => Self::Text(field.text()?),
        })
    }

    pub(super) fn scalar(self, typed: Typed) -> Result<Scalar<'a>, Ambiguity> {
        match self {
            Self::Int(bits) => typed.int(bits),
            Self::Long(bits) => typed.long(bits),
            Self::Float(value) => typed.finite(FLOAT, f64::from(value)),
            Self::Double(value) => typed.finite(DOUBLE, value),
            Self::Boolean(value) => {
                typed.expect(&[BOOLEAN])?;
                Ok(Scalar::Boolean(value))
            }
            Self::Text(text) => {
                typed.expect(&[STRING, TEXT, UUID])?;
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
        }
    }
}

impl Typed {
    /// Refuses a type that is none of these; a type left out stands for any.
    pub(super) fn expect(self, datatypes: &[u32]) -> Result<(), Ambiguity> {
        match self.datatype {
            Some(datatype) if !datatypes.contains(&datatype) => Err(self.fault(why::NOT_OF_TYPE)),
            _ => Ok(()),
        }
    }

    pub(super) fn expect_bytes(self) -> Result<(), Ambiguity> {
        match self.datatype {
            Some(datatype) if ARRAYS.contains(&datatype) => Ok(()),
            _ => self.expect(&[BYTES, FILE]),
        }
    }

    pub(super) fn expect_data_set(self) -> Result<(), Ambiguity> {
        self.expect(&[DATA_SET])
    }

    pub(super) fn expect_template(self) -> Result<(), Ambiguity> {
        self.expect(&[TEMPLATE])
    }

    pub(super) fn expect_property_set(self) -> Result<(), Ambiguity> {
        self.expect(&[PROPERTY_SET, PROPERTY_SET_LIST])
    }

    /// Whether a number of this type says when, and not how much.
    pub(super) fn is_time(self) -> bool {
        self.datatype == Some(DATE_TIME)
    }

    /// 32 bits: signed types are two's complement, sign-extended.
    fn int(self, bits: u32) -> Result<Scalar<'static>, Ambiguity> {
        let signed = bits.cast_signed();
        let fits = match self.datatype {
            Some(INT8) => i8::try_from(signed).is_ok(),
            Some(INT16) => i16::try_from(signed).is_ok(),
            Some(INT32) => true,
            Some(UINT8) => u8::try_from(bits).is_ok(),
            Some(UINT16) => u16::try_from(bits).is_ok(),
            Some(UINT32) => true,
            Some(_) => false,
            None if signed < 0 => return Err(self.fault(why::SIGN)),
            None => true,
        };
        let value = if matches!(self.datatype, Some(INT8 | INT16 | INT32)) {
            f64::from(signed)
        } else {
            f64::from(bits)
        };
        if fits { Ok(number(value)) } else { Err(self.fault(why::NOT_OF_TYPE)) }
    }

    /// 64 bits. Some senders put an unsigned 32 bits here, since theirs has no other room for it.
    fn long(self, bits: u64) -> Result<Scalar<'static>, Ambiguity> {
        let signed = bits.cast_signed();
        match self.datatype {
            Some(UINT32) if u32::try_from(bits).is_err() => return Err(self.fault(why::NOT_OF_TYPE)),
            Some(INT64 | UINT64 | UINT32 | DATE_TIME) => {}
            Some(_) => return Err(self.fault(why::NOT_OF_TYPE)),
            None if signed < 0 => return Err(self.fault(why::SIGN)),
            None => {}
        }
        let magnitude = if self.datatype == Some(INT64) { signed.unsigned_abs() } else { bits };
        if magnitude > MAX_INTEGER {
            return Err(self.fault(reason::INTEGER));
        }
        // Exact: within 53 bits.
        let value = magnitude as f64;
        Ok(number(if self.datatype == Some(INT64) && signed < 0 { -value } else { value }))
    }

    fn finite(self, datatype: u32, value: f64) -> Result<Scalar<'static>, Ambiguity> {
        self.expect(&[datatype])?;
        if value.is_finite() { Ok(number(value)) } else { Err(self.fault(reason::NOT_FINITE)) }
    }

    pub(super) fn fault(self, reason: &'static str) -> Ambiguity {
        fault(reason, self.at)
    }
}

/// A number that never stood as text.
const fn number(value: f64) -> Scalar<'static> {
    Scalar::Number(value, "")
}
