//! MQTT topic filters (MQTT 5.0 section 4.7, the same in 3.1.1): whether one is
//! well formed, matches a topic, shares a topic with another.
//!
//! A filter that begins with a wildcard matches no topic that begins with `$`.

use crate::Text;
use crate::text::text;

/// Whether `filter` is a well-formed topic filter; if not, what is wrong with it.
///
/// # Errors
/// What breaks the rule, for an operator to read.
pub fn validate(filter: &str) -> Result<(), Text> {
    if filter.is_empty() {
        return Err(text!("it is empty", "il est vide"));
    }
    if filter.len() > usize::from(u16::MAX) {
        return Err(text!("it is longer than 65,535 bytes", "il dépasse 65 535 octets"));
    }
    if filter.contains('\0') {
        return Err(text!("it holds a null character", "il contient un caractère nul"));
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level == "#" && levels.peek().is_some() {
            return Err(text!("`#` stands only at its end", "`#` ne se place qu'à la fin"));
        }
        if level.len() > 1 && level.contains(['#', '+']) {
            return Err(text!(
                "a wildcard is a whole level, between two `/`",
                "un joker est un niveau entier, entre deux `/`",
            ));
        }
    }
    Ok(())
}

/// Whether `topic`, a topic name, matches `filter`.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    let (mut levels, mut names) = (filter.split('/'), topic.split('/'));
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    loop {
        match (levels.next(), names.next()) {
            // `#` takes what is left, the parent level included.
            (Some("#"), _) | (None, None) => return true,
            (Some(level), Some(name)) if level == "+" || level == name => {}
            _ => return false,
        }
    }
}

/// Whether some topic matches both filters.
#[must_use]
pub fn overlaps(a: &str, b: &str) -> bool {
    let reserved = |literal: &str, other: &str| literal.starts_with('$') && other.starts_with(['#', '+']);
    if reserved(a, b) || reserved(b, a) {
        return false;
    }
    let (mut left, mut right) = (a.split('/'), b.split('/'));
    loop {
        match (left.next(), right.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == "+" || y == "+" || x == y => {}
            _ => return false,
        }
    }
}

/// The filter that matches what both match; `None`: no topic does.
#[must_use]
pub fn common(a: &str, b: &str) -> Option<String> {
    if !overlaps(a, b) {
        return None;
    }
    let (mut left, mut right) = (a.split('/'), b.split('/'));
    let mut levels = Vec::new();
    loop {
        match (left.next(), right.next()) {
            (None, None) | (None, Some("#")) | (Some("#"), None) => break,
            (Some("#"), Some(level)) => {
                levels.push(level);
                levels.extend(right.by_ref());
                break;
            }
            (Some(level), Some("#")) => {
                levels.push(level);
                levels.extend(left.by_ref());
                break;
            }
            (Some("+"), Some(level)) | (Some(level), Some(_)) => levels.push(level),
            (Some(_), None) | (None, Some(_)) => return None,
        }
    }
    Some(levels.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn filters_are_checked_as_the_specification_says() {
        for good in ["#", "+", "a", "/", "a/#", "+/a/+", "a//b", "$SYS/#", "/+", "+/#"] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "#/a", "a+/b", "+a", "a\0", "##"] {
            assert!(validate(bad).is_err(), "{bad}");
        }
        assert!(validate(&"a".repeat(65_536)).is_err());
    }

    #[test]
    fn topics_match_as_the_specification_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/#", "sport/tennis/player1", true),
            ("sport/tennis/#", "sport/tennis", true),
            ("sport/#", "sports", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/load", false),
            ("+/load", "$SYS/load", false),
            ("$SYS/#", "$SYS/load", true),
            ("$SYS/#", "$SYS", true),
            ("a/b", "a/b/c", false),
            ("a/+/c", "a//c", true),
            ("a", "A", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn filters_overlap_where_a_topic_matches_both() {
        for (a, b, expected) in [
            ("ville/mobilite/#", "ville/mobilite/+/count", true),
            ("ville/mobilite/+", "ville/mobilite/+/count", false),
            ("spBv1.0/eau-56/#", "spBv1.0/+/NCMD/#", true),
            ("a/#", "a", true),
            ("a/+", "a", false),
            ("#", "$SYS/#", false),
            ("+/a", "$x/a", false),
            ("#", "+/+", true),
            ("a/b", "a/c", false),
        ] {
            assert_eq!(overlaps(a, b), expected, "{a} {b}");
            assert_eq!(overlaps(b, a), expected, "{b} {a}");
        }
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "+", "", "$s"]);
        (prop::collection::vec(level, 1..4), any::<bool>())
            .prop_map(|(levels, open)| {
                let filter = levels.join("/");
                if open { filter + "/#" } else { filter }
            })
            .prop_filter("a filter is not empty", |filter| !filter.is_empty())
    }

    /// Every topic of at most four levels over an alphabet that the filters use, and one they do not.
    /// The empty one is no topic of MQTT, but a level like another to these functions.
    fn topics() -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut last = vec![String::new()];
        for depth in 0..4 {
            let names = ["a", "b", "", "$s", "z"];
            let join =
                |head: &String, name: &str| if depth == 0 { name.into() } else { format!("{head}/{name}") };
            last = last.iter().flat_map(|head| names.map(|name| join(head, name))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    proptest! {
        #[test]
        fn overlap_agrees_with_trying_every_topic(a in filter(), b in filter()) {
            let tried = topics().iter().any(|topic| matches(&a, topic) && matches(&b, topic));
            prop_assert_eq!(overlaps(&a, &b), tried);
            let both = common(&a, &b);
            for topic in topics() {
                let expected = matches(&a, &topic) && matches(&b, &topic);
                prop_assert_eq!(both.as_ref().is_some_and(|both| matches(both, &topic)), expected);
            }
        }
    }
}
