//! From byte offsets to file, line and column; and the nearest known word.

use std::ops::Range;

use crate::Location;
use crate::text::text;

/// One file's text with the start of each line.
pub(super) struct Lines<'a> {
    name: &'a str,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, starts }
    }

    pub(super) fn at(&self, offset: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|ix| self.starts.get(ix)).copied().unwrap_or_default();
        let column = self.text.get(start..offset).map_or(offset - start, |head| head.chars().count()) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Location { file: self.name.to_owned(), line: number(line), column: number(column) }
    }

    pub(super) fn slice(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }

    /// The run of letters, digits and `_` around an offset, with where it starts.
    pub(super) fn word_at(&self, offset: usize) -> (usize, &'a str) {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let (head, tail) = self.text.as_bytes().split_at(offset.min(self.text.len()));
        let start = head.len() - head.iter().rev().take_while(|byte| is_word(byte)).count();
        let end = head.len() + tail.iter().take_while(|byte| is_word(byte)).count();
        (start, self.slice(start..end))
    }

    /// What stands before an offset on its line, without spaces at the end.
    pub(super) fn before(&self, offset: usize) -> &'a str {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|ix| self.starts.get(ix)).copied().unwrap_or_default();
        self.slice(start..offset).trim_end()
    }

    /// The line of the last `[header]` at or before that line; 1 where there is none.
    pub(super) fn header_before(&self, line: u32) -> u32 {
        let last = usize::try_from(line).unwrap_or(usize::MAX);
        let found = self.text.lines().take(last).enumerate().filter(|(_, text)| text.starts_with('['));
        found.last().map_or(1, |(ix, _)| u32::try_from(ix + 1).unwrap_or(u32::MAX))
    }
}

/// The candidate that was most likely meant: within a third of its length of edits.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word);
    let near = candidates.into_iter().map(|candidate| (distance(&word, &folded(candidate)), candidate));
    let (edits, candidate) = near.min_by_key(|(edits, _)| *edits)?;
    (edits <= (candidate.chars().count() / 3).max(1)).then_some(candidate)
}

/// `write `x`` where something is near, else all that would be right.
pub(crate) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> crate::Text {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        return text!("write `{near}`", "écrire `{near}`");
    }
    let mut all: Vec<String> = candidates.iter().take(SUGGESTED).map(|word| format!("`{word}`")).collect();
    if candidates.len() > SUGGESTED {
        all.push("…".to_owned());
    }
    let listed = all.join(", ");
    match all.len() {
        0 => text!("define it, or take this away", "le définir, ou retirer ceci"),
        1 => text!("write {listed}", "écrire {listed}"),
        _ => text!("write one of {listed}", "écrire l'un de {listed}"),
    }
}

/// How many words are listed at most.
const SUGGESTED: usize = 24;

/// Words are compared up to a bound, so that a long one costs nothing.
fn folded(word: &str) -> Vec<char> {
    word.chars().take(64).flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect()
}

/// Edit distance with transpositions of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], ix: usize| row.get(ix).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_lines_from_one() {
        let text = Lines::new("p.toml", "a = 1\né = 2\n");
        let place = |offset| text.at(offset).to_string();
        assert_eq!(place(0), "p.toml:1:1");
        assert_eq!(place(6), "p.toml:2:1");
        assert_eq!(place(11), "p.toml:2:5");
        assert_eq!(place(13), "p.toml:3:1");
        assert_eq!(place(999), "p.toml:3:987");
        assert_eq!(text.word_at(12), (11, "2"));
    }

    #[test]
    fn the_nearest_word_is_the_one_that_was_meant() {
        let keys = ["measure_any", "field_any", "field_absent", "topic"];
        assert_eq!(nearest("mesure_any", keys), Some("measure_any"));
        assert_eq!(nearest("field-any", keys), Some("field_any"));
        assert_eq!(nearest("tpoic", keys), Some("topic"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(distance(&folded("ab"), &folded("ba")), 1);
        assert_eq!(distance(&folded(""), &folded("abc")), 3);
    }
}
