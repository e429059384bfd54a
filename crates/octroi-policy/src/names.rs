//! Names are compared so that a hidden field does not slip by: two names are
//! equal when they fold alike.
//!
//! [`fold`] is the UTS 39 confusable skeleton of NFKC_Casefold, without
//! `_ - . :`, white space and default-ignorable characters. It is a key to
//! compare, not text to show. Three things make it coarser than the letter of
//! that definition, so that it can only find more:
//!
//! - case folding is `lowercase(uppercase(c))`, which contains full case
//!   folding (ß = ss, ſ = s, ς = σ, Kelvin sign = k) and also makes the dotless
//!   ı an i;
//! - the skeleton is folded again (`0` has the skeleton `O`: it equals `o`);
//! - the whole is repeated until it changes nothing, eight times at most.
//!
//! Limit: case is folded first, so a foreign capital that resembles a Latin one
//! only as a capital (Cyrillic М, small м) keeps its own key. The readers add
//! what it looks like to the names of the message.
//!
//! The skeleton of `m` is `rn`; the key spells both `m`, so that most names
//! are their own key and need no memory.
//!
//! INVARIANT: the ASCII path gives what the general path gives.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// The key by which names are compared. Borrows when `name` is its own key.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if is_own_key(name.as_bytes()) {
        return Cow::Borrowed(name);
    }
    let mut key = String::with_capacity(name.len());
    fold_into(name, &mut key);
    Cow::Owned(key)
}

/// [`fold`] into a buffer, which is cleared first.
pub fn fold_into(name: &str, key: &mut String) {
    key.clear();
    if name.is_ascii() {
        name.bytes().for_each(|byte| push_ascii(key, byte));
    } else {
        fold_general(name, key);
    }
}

/// Whether two names are equal for a rule.
#[must_use]
pub fn same_name(one: &str, other: &str) -> bool {
    one == other || fold(one) == fold(other)
}

/// The name with its foreign capitals replaced by the Latin capitals they look
/// like; `None` if it has none.
pub(crate) fn latin_capitals(name: &str) -> Option<String> {
    let latin = |character: char| {
        if character.is_ascii() || !character.is_uppercase() {
            return None;
        }
        let mut buffer = [0; 4];
        let mut skeleton = unicode_security::skeleton(character.encode_utf8(&mut buffer));
        skeleton.next().filter(|first| first.is_ascii_uppercase() && skeleton.next().is_none())
    };
    name.chars()
        .any(|character| latin(character).is_some())
        .then(|| name.chars().map(|character| latin(character).unwrap_or(character)).collect())
}

/// Whether the ASCII path would change nothing.
fn is_own_key(name: &[u8]) -> bool {
    let mut before = 0;
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'2'..=b'9' => {}
            _ => return false,
        }
        if before == b'r' && byte == b'n' {
            return false;
        }
        before = byte;
    }
    true
}

fn push_ascii(key: &mut String, byte: u8) {
    match byte {
        b'_' | b'-' | b'.' | b':' | b' ' | b'\t'..=b'\r' => {}
        b'0' => key.push('o'),
        b'1' | b'|' => key.push('l'),
        b'"' => key.push_str("''"),
        b'`' => key.push('\''),
        b'%' => key.push_str("°/o"),
        b'n' | b'N' => push_n(key),
        _ => key.push(char::from(byte.to_ascii_lowercase())),
    }
}

/// `rn` is the skeleton of `m`.
fn push_n(key: &mut String) {
    if key.ends_with('r') {
        key.pop();
        key.push('m');
    } else {
        key.push('n');
    }
}

fn fold_general(name: &str, key: &mut String) {
    let mut input = name.to_owned();
    for _ in 0..8 {
        key.clear();
        fold_once(&input, key);
        if *key == input {
            return;
        }
        input.clone_from(key);
    }
}

fn fold_once(name: &str, key: &mut String) {
    let folded: String = case_folded(name.nfkc()).nfkc().collect();
    for character in case_folded(unicode_security::skeleton(&folded)) {
        match character {
            '_' | '-' | '.' | ':' => {}
            space if space.is_whitespace() => {}
            'n' => push_n(key),
            other => key.push(other),
        }
    }
}

fn case_folded(characters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    characters.flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn general(name: &str) -> String {
        let mut key = String::new();
        fold_general(name, &mut key);
        key
    }

    #[test]
    fn a_name_does_not_hide_behind_its_spelling() {
        for (one, others) in [
            (
                "plate",
                &[
                    "Plate",
                    "PLATE",
                    "ｐｌａｔｅ",
                    "pl\u{200d}ate",
                    "pla\u{ad}te",
                    "рlаte",
                    "p1ate",
                    "𝐩𝐥𝐚𝐭𝐞",
                    "pl ate",
                    "ⓟⓛⓐⓣⓔ",
                ][..],
            ),
            (
                "license_plate",
                &["license-plate", "licensePlate", "license.plate", "LICENSE:PLATE", "License Plate"][..],
            ),
            ("numéro_immatriculation", &["nume\u{301}ro_immatriculation", "NUMÉRO-IMMATRICULATION"][..]),
            ("mac", &["MAC", "rnac", "mас", "ｍac", "m_a_c"][..]),
            ("strasse", &["straße", "STRAẞE", "ſtraſſe"][..]),
            ("id", &["ıd", "İd", "ID"][..]),
            ("kwh", &["\u{212a}Wh", "KWH"][..]),
            ("σος", &["ΣΟΣ", "σοσ"][..]),
        ] {
            for other in others {
                if one == "id" && *other == "İd" {
                    // The dot above stays, in Unicode's full case folding too.
                    assert_ne!(fold(one), fold(other));
                } else {
                    assert_eq!(fold(one), fold(other), "{one} {other}");
                    assert!(same_name(one, other));
                }
            }
        }
        assert_ne!(fold("plate"), fold("plates"));
        assert_ne!(fold("pm10"), fold("pm25"));
    }

    #[test]
    fn a_foreign_capital_is_read_as_what_it_looks_like() {
        assert_eq!(latin_capitals("МАС").as_deref(), Some("MAC"));
        assert_eq!(latin_capitals("ΝО2").as_deref(), Some("NO2"));
        assert_eq!(latin_capitals("Émission"), None);
        assert_eq!(latin_capitals("mac"), None);
    }

    #[test]
    fn most_names_are_their_own_key() {
        for name in ["plate", "temperature", "humidity", "no2", "pm25", "count", "deveui"] {
            assert!(matches!(fold(name), Cow::Borrowed(_)), "{name}");
        }
    }

    #[test]
    fn each_ascii_character_folds_as_in_general() {
        for one in 0..128_u8 {
            for other in 0..128_u8 {
                let name: String = [one, other].map(char::from).iter().collect();
                assert_eq!(fold(&name), general(&name), "{name:?}");
            }
        }
    }

    #[test]
    fn each_character_folds_to_a_fixed_point() {
        for character in '\0'..=char::MAX {
            let name = character.to_string();
            let once = fold(&name).into_owned();
            assert_eq!(fold(&once), once, "{character:?}");
        }
    }

    proptest! {
        #[test]
        fn ascii_names_fold_as_in_general(name in "[ -~\t]{0,40}|[rnmRN_01lI.]{0,24}") {
            prop_assert_eq!(fold(&name).into_owned(), general(&name));
        }

        #[test]
        fn folding_twice_is_folding_once(name in "\\PC{0,24}|[rnmßıＲＮ\u{301}é\u{200d}]{0,12}") {
            let once = fold(&name).into_owned();
            prop_assert_eq!(fold(&once).into_owned(), once);
        }

        #[test]
        fn case_and_separators_are_nothing(name in "[a-z0-9]{1,16}", at in 0..16_usize, separator in "[-_.: ]") {
            let (head, tail) = name.split_at(at.min(name.len()));
            let spelt = format!("{}{separator}{}", head.to_uppercase(), tail);
            prop_assert!(same_name(&name, &spelt));
        }
    }
}
