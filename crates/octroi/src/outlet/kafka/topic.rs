//! The topic template: `{namespace}`, `{space}`, `{domain}` and `{level}`
//! between characters that a topic name may have.

use octroi_policy::Level;

use crate::outlet::Event;

/// What a broker takes as a topic's name.
const TOPIC_CHARS_MAX: usize = 249;

/// What is wrong with a template, if anything.
pub(super) fn check(template: &str) -> Result<(), &'static str> {
    let mut rest = template;
    let mut names = 0;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { return Err("a `{` is not closed") };
        if !matches!(name, "namespace" | "space" | "domain" | "level") {
            return Err("only `{namespace}`, `{space}`, `{domain}` and `{level}` can be filled in");
        }
        if !literal.chars().all(is_plain) {
            return Err("a topic's name has only `a-z A-Z 0-9 . _ -`");
        }
        names += 1;
        rest = after;
    }
    match (rest.chars().all(is_plain), names) {
        (false, _) => Err("a topic's name has only `a-z A-Z 0-9 . _ -`"),
        (true, 0) if rest.is_empty() => Err("it is empty"),
        (true, _) => Ok(()),
    }
}

/// What a template is filled in with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub(super) namespace: &'a str,
    pub(super) space: &'a str,
    pub(super) domain: &'a str,
    pub(super) level: Level,
}

impl<'a> Names<'a> {
    pub(super) const fn of(event: &Event<'a>) -> Self {
        Self { namespace: event.namespace, space: event.space, domain: event.domain, level: event.level }
    }
}

/// Fills the template in; `false`: what comes out is no topic's name.
pub(super) fn render(template: &str, names: Names<'_>, topic: &mut String) -> bool {
    topic.clear();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        topic.push_str(literal);
        topic.push_str(match name {
            "namespace" => names.namespace,
            "space" => names.space,
            "domain" => names.domain,
            _ => names.level.name(),
        });
        rest = after;
    }
    topic.push_str(rest);
    (1..=TOPIC_CHARS_MAX).contains(&topic.len())
        && topic.chars().all(is_plain)
        && !matches!(topic.as_str(), "." | "..")
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}
