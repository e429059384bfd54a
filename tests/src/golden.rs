//! What a page or a session says that a command prints, and what it printed.
//!
//! `[..]` stands for anything within a line; a line `[...]` for any number of
//! lines.

/// `[..]` within a line.
fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether lines are as written: `[...]` between them stands for any number of lines.
#[must_use]
pub fn lines_match(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "[...]" => {
            (0..=lines.len()).any(|skip| lines_match(rest, &lines[skip..]))
        }
        Some((pattern, rest)) => lines
            .split_first()
            .is_some_and(|(line, more)| line_matches(pattern, line) && lines_match(rest, more)),
    }
}

/// A command's words, as a shell without expansion splits them; single quotes keep one together.
#[must_use]
pub fn words(command: &str) -> Vec<String> {
    let quoted = command.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![part.to_owned()],
    });
    quoted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_what_they_say() {
        assert!(line_matches("a [..] c", "a bb c") && line_matches("[..]", "") && line_matches("a", "a"));
        assert!(
            !line_matches("a", "ab") && !line_matches("a[..]c", "ab") && !line_matches("[..]x[..]", "abc")
        );
        let patterns = |text: &[&str]| text.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        assert!(lines_match(&patterns(&["[...]", "b", "[...]"]), &["a", "a", "b"]));
        assert!(!lines_match(&patterns(&["[...]", "b"]), &["b", "c"]));
        assert_eq!(words("octroi explain --topic 'a b' x"), ["octroi", "explain", "--topic", "a b", "x"]);
    }
}
