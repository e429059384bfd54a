//! One way to write a policy's file: `octroi policy fmt`. Spacing, quotes,
//! indentation of lists, blank lines. Blocks and keys keep their order, lines
//! stay lines, and every comment stays where it stands.
//!
//! It works on the tokens of the text: whatever is no white space comes out
//! again, in the same order, so nothing can be lost on the way. Reads and
//! writes no file.
//!
//! INVARIANT: what comes out means the same. Both texts are read, and
//! [`format_file`] refuses where their documents differ, places aside.

use toml_parser::Source;
use toml_parser::lexer::TokenKind as Kind;

use crate::{Finding, Severity, SourceFile, parse};

/// Why a file was not formatted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Its form is faulty: what it means is not known.
    #[error("the file cannot be read as it is: {} finding(s)", findings.len())]
    Unreadable {
        /// The faults.
        findings: Vec<Finding>,
    },
    /// The result would mean something else: a fault of this program.
    #[error("the formatted text would not mean the same: nothing is changed")]
    Meaning,
}

/// The file's text as it should be written; the same text where it is already.
///
/// # Errors
///
/// See [`FormatError`].
pub fn format_file(file: &SourceFile) -> Result<String, FormatError> {
    let before = parse(std::slice::from_ref(file));
    // A file of a directory need not have what the whole policy must: those findings have no line.
    let faults = before.findings.iter().filter(|finding| finding.location.line > 0);
    let findings: Vec<Finding> =
        faults.filter(|finding| finding.severity == Severity::Error).cloned().collect();
    if !findings.is_empty() {
        return Err(FormatError::Unreadable { findings });
    }
    let text = assemble(lines(&tokens(&file.text)));
    let after = parse(&[SourceFile { name: file.name.clone(), text: text.clone() }]);
    let same = before.document.placeless() == after.document.placeless();
    if same { Ok(text) } else { Err(FormatError::Meaning) }
}

/// A token, with what was decided about it looking at its neighbours.
#[derive(Debug)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
    /// The column it starts in, counted in characters from 0.
    column: usize,
    /// White space stands before it on its line.
    spaced: bool,
    /// Of a bracket that opens or closes a value: it is written over several lines.
    broken: bool,
    /// A comma stands behind it that is not in the text.
    comma: bool,
    /// The last comma of a value on one line: left out.
    dropped: bool,
}

/// Everything but white space.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut line_start, mut spaced) = (0, false);
    for token in Source::new(text).lex() {
        let (kind, span) = (token.kind(), token.span());
        let written = text.get(span.start()..span.end()).unwrap_or_default();
        if kind == Kind::Whitespace {
            spaced = true;
        } else if kind != Kind::Eof {
            let column = text.get(line_start..span.start()).map_or(0, |head| head.chars().count());
            let (broken, comma, dropped) = (false, false, false);
            tokens.push(Token { kind, text: written, column, spaced, broken, comma, dropped });
            spaced = false;
        }
        if let Some(last) = written.rfind('\n') {
            line_start = span.start() + last + 1;
        }
    }
    settle(&mut tokens);
    tokens
}

/// An open bracket of a value.
struct Open {
    at: usize,
    broken: bool,
    /// The last token in it that is neither comment nor line end.
    last: Option<usize>,
}

/// Says of each bracket whether it is broken, and of each list where commas are due.
fn settle(tokens: &mut [Token<'_>]) {
    let mut open: Vec<Open> = Vec::new();
    let mut header = false;
    let mut begins = true;
    for at in 0..tokens.len() {
        let Some(kind) = tokens.get(at).map(|token| token.kind) else { continue };
        header = if begins { kind == Kind::LeftSquareBracket } else { header };
        begins = kind == Kind::Newline && open.is_empty();
        if header {
            continue;
        }
        if kind == Kind::Newline {
            open.iter_mut().rev().take(1).for_each(|open| open.broken = true);
        } else if kind != Kind::Comment {
            if is_close(kind)
                && let Some(closed) = open.pop()
            {
                close(tokens, &closed, at);
            }
            open.iter_mut().rev().take(1).for_each(|open| open.last = Some(at));
            if is_open(kind) {
                open.push(Open { at, broken: false, last: None });
            }
        }
    }
}

fn close(tokens: &mut [Token<'_>], closed: &Open, at: usize) {
    let list = tokens.get(closed.at).is_some_and(|token| token.kind == Kind::LeftSquareBracket);
    for end in [closed.at, at] {
        if let Some(token) = tokens.get_mut(end) {
            token.broken = closed.broken;
        }
    }
    let Some(last) = closed.last.and_then(|last| tokens.get_mut(last)) else { return };
    let comma = last.kind == Kind::Comma;
    last.comma = closed.broken && list && !comma;
    last.dropped = !closed.broken && comma;
}

/// A line of the result.
#[derive(Debug, Default)]
struct Line {
    code: String,
    /// The comment, and the column it had.
    comment: Option<(String, usize)>,
    header: bool,
    /// Inside a value: blank lines are not kept there.
    inside: bool,
}

impl Line {
    fn is_blank(&self) -> bool {
        self.code.is_empty() && self.comment.is_none()
    }

    /// A comment that stands alone.
    fn is_remark(&self) -> bool {
        self.code.is_empty() && self.comment.is_some()
    }

    fn written(&self) -> String {
        let Some((comment, column)) = &self.comment else { return self.code.clone() };
        if self.code.trim().is_empty() {
            return format!("{}{comment}", self.code);
        }
        let width = self.code.chars().count();
        // Comments that were aligned stay so.
        let column = if *column > width { *column } else { width + 2 };
        format!("{}{}{comment}", self.code, " ".repeat(column - width))
    }
}

/// Tokens gathered into lines, each with its indentation.
fn lines(tokens: &[Token<'_>]) -> Vec<Line> {
    let mut writer = Writer::default();
    let kept: Vec<&Token<'_>> = tokens.iter().filter(|token| !token.dropped).collect();
    for (n, token) in kept.iter().enumerate() {
        if token.kind == Kind::Newline {
            writer.end();
        } else if token.kind == Kind::Comment {
            writer.comment(token);
        } else {
            writer.token(token, kept.get(n + 1).map(|next| next.kind));
        }
    }
    writer.end();
    writer.lines
}

#[derive(Default)]
struct Writer<'w, 't> {
    lines: Vec<Line>,
    line: Line,
    /// Broken brackets that are open.
    depth: usize,
    /// The token before on this line.
    before: Option<&'w Token<'t>>,
}

impl<'w, 't> Writer<'w, 't> {
    fn end(&mut self) {
        let next = Line { inside: self.depth > 0, ..Line::default() };
        self.lines.push(std::mem::replace(&mut self.line, next));
        self.before = None;
    }

    fn indentation(&self) -> String {
        " ".repeat(2 * self.depth)
    }

    fn comment(&mut self, token: &Token<'_>) {
        if self.line.code.is_empty() {
            self.line.code = self.indentation();
        }
        self.line.comment = Some((token.text.trim_end().to_owned(), token.column));
    }

    fn token(&mut self, token: &'w Token<'t>, next: Option<Kind>) {
        if token.broken && is_close(token.kind) {
            self.depth = self.depth.saturating_sub(1);
            if self.before.is_some() {
                self.end();
            }
        }
        match self.before {
            None => {
                self.line.code = self.indentation();
                self.line.header = self.depth == 0 && token.kind == Kind::LeftSquareBracket;
            }
            Some(before) if !self.line.header && spaced(before, token) => self.line.code.push(' '),
            Some(_) => {}
        }
        self.line.code.push_str(&requoted(token));
        if token.comma {
            self.line.code.push(',');
        }
        self.before = Some(token);
        if token.broken && is_open(token.kind) {
            self.depth += 1;
            if !matches!(next, Some(Kind::Newline | Kind::Comment)) {
                self.end();
            }
        }
    }
}

const fn is_open(kind: Kind) -> bool {
    matches!(kind, Kind::LeftSquareBracket | Kind::LeftCurlyBracket)
}

const fn is_close(kind: Kind) -> bool {
    matches!(kind, Kind::RightSquareBracket | Kind::RightCurlyBracket)
}

/// Whether a space stands between two tokens of one line.
fn spaced(before: &Token<'_>, token: &Token<'_>) -> bool {
    use Kind::{
        Comma, Dot, Equals, LeftCurlyBracket, LeftSquareBracket, RightCurlyBracket, RightSquareBracket,
    };
    let (before, kind) = (before.kind, token.kind);
    let empty = before == LeftCurlyBracket && kind == RightCurlyBracket;
    if empty || matches!(before, LeftSquareBracket | Dot) || matches!(kind, Comma | RightSquareBracket | Dot)
    {
        return false;
    }
    matches!(before, Comma | Equals | LeftCurlyBracket)
        || matches!(kind, Equals | RightCurlyBracket)
        // A date and a time of day.
        || token.spaced
}

/// `'a'` as `"a"`, where that says the same.
fn requoted(token: &Token<'_>) -> String {
    let inner = token.text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    match inner.filter(|_| token.kind == Kind::LiteralString) {
        Some(inner) if !inner.contains(['"', '\\', '\t']) => format!("\"{inner}\""),
        Some(_) | None => token.text.to_owned(),
    }
}

/// One blank line before each block and its remarks, never two in a row, none inside a value.
fn assemble(lines: Vec<Line>) -> String {
    let mut written: Vec<Line> = Vec::new();
    for line in lines {
        let doubled = written.last().is_none_or(|last| last.is_blank() || last.header);
        if line.is_blank() && (doubled || line.inside) {
            continue;
        }
        if line.header {
            let remarks = written.iter().rev().take_while(|line| line.is_remark()).count();
            let at = written.len() - remarks;
            if at > 0 && !written.get(at - 1).is_some_and(Line::is_blank) {
                written.insert(at, Line::default());
            }
        }
        written.push(line);
    }
    while written.last().is_some_and(Line::is_blank) {
        written.pop();
    }
    written.iter().map(|line| line.written() + "\n").collect()
}

#[cfg(test)]
mod tests;
