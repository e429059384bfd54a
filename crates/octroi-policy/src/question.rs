//! What is wrong with a question to a policy (`prove --never`, `simulate`), in
//! words: the name that is not known, and the ones that are.

use std::fmt;

use crate::Text;
use crate::parse::nearest;
use crate::text::text;

/// A question that is not understood, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionError(pub Text);

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.en)
    }
}

impl std::error::Error for QuestionError {}

/// What a word names.
pub(crate) fn known<'n, T>(
    word: &str,
    all: impl IntoIterator<Item = (&'n str, T)>,
) -> Result<T, QuestionError> {
    let mut names = Vec::new();
    for (name, value) in all {
        if name == word {
            return Ok(value);
        }
        names.push(name);
    }
    let near = nearest(word, names.iter().copied()).map(str::to_owned);
    let names = near.unwrap_or_else(|| names.join("`, `"));
    Err(QuestionError(text!(
        "`{word}` is not known here: write `{names}`",
        "`{word}` n'est pas connu ici : écrivez `{names}`"
    )))
}
