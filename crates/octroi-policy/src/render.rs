//! A finding as a compiler would print it: place, line, caret, why, mend,
//! witness. For machines there is [`Finding::plain`].
//!
//! INVARIANT: nothing that a policy holds reaches a terminal as a control
//! character or turns the direction of text; it is shown escaped.

use std::fmt::Write;

use crate::{Finding, Lang, Severity, SourceFile};

/// How much of a long line is shown around the place, in characters.
const BEFORE: usize = 60;
const SHOWN: usize = 100;

/// One finding, ending with a newline. `colour`: with ANSI sequences.
#[must_use]
pub fn render(finding: &Finding, files: &[SourceFile], lang: Lang, colour: bool) -> String {
    let paint = Paint { colour };
    let Finding { code, severity, location, message, why, fix, witness } = finding;
    let (word, tint) = match severity {
        Severity::Error => (lang.pick("erreur", "error"), "1;31"),
        Severity::Warning => (lang.pick("avertissement", "warning"), "1;33"),
        Severity::Info => (lang.pick("remarque", "note"), "1;36"),
    };
    let colon = lang.colon();
    let mut out = String::new();
    let head = paint.in_colour(tint, &format!("{word}[{code}]"));
    line(&mut out, &format!("{head}{colon} {}", paint.in_colour("1", &shown(message.of(lang)))));

    let number = if location.line == 0 { String::new() } else { location.line.to_string() };
    let margin = " ".repeat(number.len().max(1));
    let arrow = paint.in_colour("1;34", "-->");
    if location.line == 0 {
        line(&mut out, &format!("{margin}{arrow} {}", shown(&location.file)));
    } else {
        line(&mut out, &format!("{margin}{arrow} {}", shown(&location.to_string())));
    }
    let bar = paint.in_colour("1;34", "|");
    if let Some((text, caret)) = excerpt(finding, files) {
        line(&mut out, &format!("{margin} {bar}"));
        line(&mut out, &format!("{} {bar} {text}", paint.in_colour("1;34", &number)));
        line(&mut out, &format!("{margin} {bar} {}", paint.in_colour(tint, &caret)));
    }
    let mut note = |name: &str, text: &str| {
        if !text.is_empty() {
            line(&mut out, &format!("{margin} = {}{colon} {}", paint.in_colour("1", name), shown(text)));
        }
    };
    note(lang.pick("pourquoi", "why"), why.of(lang));
    let accepted = *severity == Severity::Info;
    note(if accepted { "note" } else { lang.pick("remède", "fix") }, fix.of(lang));
    if let Some(witness) = witness {
        note(lang.pick("témoin", "witness"), witness.text.of(lang));
        note(lang.pick("à rejouer", "replay"), &witness.as_test().unwrap_or_default());
    }
    out
}

/// All of them, a blank line between, and a line that counts them.
#[must_use]
pub fn render_all(findings: &[Finding], files: &[SourceFile], lang: Lang, colour: bool) -> String {
    let mut out: String =
        findings.iter().map(|finding| render(finding, files, lang, colour) + "\n").collect();
    let verdict = if findings.iter().any(|finding| finding.severity == Severity::Error) {
        lang.pick("refusée", "refused")
    } else {
        lang.pick("aucune erreur", "no error")
    };
    line(&mut out, &format!("{verdict}{} {}", lang.colon(), counts(findings, lang)));
    out
}

/// How many of each severity: `1 error, 0 warnings, 2 notes`.
#[must_use]
pub fn counts(findings: &[Finding], lang: Lang) -> String {
    let count = |severity, fr: &'static str, en: &'static str| {
        let n = findings.iter().filter(|finding| finding.severity == severity).count();
        // Zero is plural in English and singular in French.
        let plural = if lang == Lang::Fr { n > 1 } else { n != 1 };
        format!("{n} {}{}", lang.pick(fr, en), if plural { "s" } else { "" })
    };
    [
        count(Severity::Error, "erreur", "error"),
        count(Severity::Warning, "avertissement", "warning"),
        count(Severity::Info, "remarque", "note"),
    ]
    .join(", ")
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn in_colour(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

/// The part of the source line around the place, and the caret below it.
fn excerpt(finding: &Finding, files: &[SourceFile]) -> Option<(String, String)> {
    let location = &finding.location;
    let file = files.iter().find(|file| file.name == location.file)?;
    let index = usize::try_from(location.line).ok()?.checked_sub(1)?;
    let text: Vec<char> = veiled(file.text.split('\n').nth(index)?.trim_end()).chars().collect();
    let column = usize::try_from(location.column).ok()?.checked_sub(1)?.min(text.len());
    let first = column.saturating_sub(BEFORE).min(text.len().saturating_sub(SHOWN));
    let last = (first + SHOWN).min(text.len());
    let part =
        |from: usize, to: usize| shown(&text.get(from..to).unwrap_or_default().iter().collect::<String>());
    let end = (column + width(text.get(column..).unwrap_or_default())).min(last);
    let (before, after) = (if first > 0 { "…" } else { "" }, if last < text.len() { "…" } else { "" });
    let head = format!("{before}{}", part(first, column));
    let caret = "^".repeat(part(column, end).chars().count().max(1));
    let padding = " ".repeat(head.chars().count());
    Some((format!("{head}{}{after}", part(column, last)), format!("{padding}{caret}")))
}

/// A line without the keys that stand in it where a reference should: findings are read in logs.
fn veiled(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("key") {
        out.push_str(before);
        out.push_str("key");
        rest = after;
        let value = after.trim_start_matches(['"', '\'', ' ', '\t']).strip_prefix('=').map(str::trim_start);
        let Some(value) = value else { continue };
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        let Some((_, inner)) = value.split_once(quote) else { continue };
        let secret = inner.split(quote).next().unwrap_or_default();
        if secret.starts_with("file:") || secret.starts_with("env:") {
            continue;
        }
        let skipped = after.len() - inner.len();
        out.push_str(after.get(..skipped).unwrap_or_default());
        out.extend(secret.chars().map(|_| '•'));
        rest = inner.get(secret.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// How many characters the value or word at the head takes.
fn width(text: &[char]) -> usize {
    match text.first() {
        Some('"') => text.iter().skip(1).position(|c| *c == '"').map_or(1, |at| at + 2),
        Some('[') => text.iter().take_while(|c| **c == '[').count(),
        _ => text.iter().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).count().max(1),
    }
}

/// Text that cannot steer a terminal: controls, and marks of direction, escaped; tabs as a space.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
        if c == '\t' {
            out.push(' ');
        } else if c.is_control() || turns {
            // Writing to a string cannot fail.
            write!(out, "{}", c.escape_unicode()).unwrap_or_default();
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::text::text;
    use crate::{Code, Location, Text};

    fn check(text: &str, line: u32, column: u32, message: &str, expected: &Expect) {
        let files = [SourceFile { name: "p.toml".into(), text: text.into() }];
        let finding = Finding {
            code: Code::C03,
            severity: Severity::Error,
            location: Location { file: "p.toml".into(), line, column },
            message: text!("{message}", "{message}"),
            why: text!("a reference to nothing matches nothing", "une référence à rien"),
            fix: text!("write `dc-rennes`", "écrire `dc-rennes`"),
            witness: Some(text!("Rennes (35238)", "Rennes (35238)").into()),
        };
        expected.assert_eq(&render(&finding, &files, Lang::En, false));
    }

    #[test]
    fn a_finding_shows_its_line_and_its_place() {
        check(
            "[[space]]\nid = \"é\"\ntarget = \"dc-renes\"  # ici\n",
            3,
            10,
            "`dc-renes` is no `target`",
            &expect![[r#"
                error[C03]: `dc-renes` is no `target`
                 --> p.toml:3:10
                  |
                3 | target = "dc-renes"  # ici
                  |          ^^^^^^^^^^
                  = why: a reference to nothing matches nothing
                  = fix: write `dc-rennes`
                  = witness: Rennes (35238)
            "#]],
        );
    }

    #[test]
    fn a_finding_about_the_whole_policy_shows_no_line() {
        check(
            "",
            0,
            0,
            "`schema` is missing",
            &expect![[r#"
                error[C03]: `schema` is missing
                 --> p.toml
                  = why: a reference to nothing matches nothing
                  = fix: write `dc-rennes`
                  = witness: Rennes (35238)
            "#]],
        );
    }

    #[test]
    fn a_long_line_is_shown_around_its_place() {
        let text = format!("when = {{ {}mesure_any = 1{} }}", "a = 1, ".repeat(20), ", b = 2".repeat(20));
        check(
            &text,
            1,
            150,
            "`mesure_any` is no key",
            &expect![[r#"
                error[C03]: `mesure_any` is no key
                 --> p.toml:1:150
                  |
                1 | … 1, a = 1, a = 1, a = 1, a = 1, a = 1, a = 1, a = 1, a = 1, mesure_any = 1, b = 2, b = 2, b = 2, b =…
                  |                                                              ^^^^^^^^^^
                  = why: a reference to nothing matches nothing
                  = fix: write `dc-rennes`
                  = witness: Rennes (35238)
            "#]],
        );
    }

    #[test]
    fn a_key_in_the_file_is_not_shown_and_a_reference_is() {
        for (line, seen) in [
            (r#"{ key = "s3cret", field = "key" }"#, r#"{ key = "••••••", field = "key" }"#),
            (r#"key='s3',key = "x""#, r#"key='••',key = "•""#),
            (r#""key" = "é""#, r#""key" = "•""#),
            (r#"key = "file:pseudo" # key"#, r#"key = "file:pseudo" # key"#),
            (r#"key = "env:K""#, r#"key = "env:K""#),
            (r#"key = "open"#, r#"key = "••••"#),
            ("key", "key"),
        ] {
            assert_eq!(veiled(line), seen);
        }
    }

    #[test]
    fn a_policy_cannot_steer_the_terminal() {
        check(
            "id = \"\u{1b}[2J\u{202e}\"",
            1,
            6,
            "\u{1b}]0;x\u{7} is no id",
            &expect![[r#"
                error[C03]: \u{1b}]0;x\u{7} is no id
                 --> p.toml:1:6
                  |
                1 | id = "\u{1b}[2J\u{202e}"
                  |      ^^^^^^^^^^^^^^^^^^^
                  = why: a reference to nothing matches nothing
                  = fix: write `dc-rennes`
                  = witness: Rennes (35238)
            "#]],
        );
    }

    #[test]
    fn colour_adds_sequences_and_nothing_else() {
        let files = [SourceFile { name: "p".into(), text: "a = 1".into() }];
        let finding = Finding {
            code: Code::C01,
            severity: Severity::Warning,
            location: Location { file: "p".into(), line: 1, column: 9 },
            message: text!("m", "m"),
            why: Text::default(),
            fix: Text::default(),
            witness: None,
        };
        let coloured = render(&finding, &files, Lang::En, true);
        let mut plain = String::new();
        let mut parts = coloured.split('\x1b');
        plain.push_str(parts.next().unwrap());
        parts.for_each(|part| plain.push_str(part.split_once('m').unwrap().1));
        assert_ne!(coloured, plain);
        assert_eq!(plain.replace(' ', ""), render(&finding, &files, Lang::En, false).replace(' ', ""));
        assert!(
            render_all(&[finding], &files, Lang::En, false)
                .ends_with("no error: 0 errors, 1 warning, 0 notes\n")
        );
    }
}
