//! An operator's word that a target gets nothing for now, and that it does again.

use octroi_policy::Timestamp;

use super::{Input, RecordError, put_text};

/// The way to a target is paused, or resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause<'a> {
    /// The journal's bit for the target.
    pub target: u8,
    /// `false`: it is resumed.
    pub paused: bool,
    /// Policy time.
    pub at: Timestamp,
    /// Why.
    pub why: &'a str,
}

impl<'a> Pause<'a> {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = vec![self.target, u8::from(self.paused)];
        out.extend_from_slice(&self.at.0.to_le_bytes());
        put_text(&mut out, self.why);
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// The bytes are no such note.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        Ok(Self {
            target: input.u8("target")?,
            paused: input.u8("pause")? != 0,
            at: Timestamp(input.i64("time")?),
            why: input.text("why")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_back_and_cut_anywhere_it_is_none() {
        let pause = Pause { target: 3, paused: true, at: Timestamp(-7), why: "déménagement de la salle" };
        let bytes = pause.to_bytes();
        assert_eq!(Pause::read(&bytes), Ok(pause));
        assert!((0..bytes.len()).all(|end| Pause::read(&bytes[..end]).is_err()));
    }
}
