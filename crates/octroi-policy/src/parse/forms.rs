//! The small languages inside a policy's text: ids, versions, countries,
//! origins in a message, ways to satisfy a requirement. Each says
//! whether a text is well formed; what it means is for others.

pub(super) fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 64
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || byte == b'-')
}

pub(super) fn is_name(text: &str) -> bool {
    is_id(&text.to_ascii_lowercase().replace('_', "-"))
        && text.bytes().next().is_some_and(|byte| byte != b'_')
}

pub(super) fn is_version(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// `tag:insee`, `topic:2`, `field:a.b`
pub(super) fn is_origin(text: &str, kinds: &[&str]) -> bool {
    let Some((kind, name)) = text.split_once(':') else { return false };
    kinds.contains(&kind) && !name.is_empty() && (kind != "topic" || name.parse::<u8>().is_ok())
}

pub(super) fn example_of(kind: Option<&&str>) -> &'static str {
    match kind {
        Some(&"tag") => "tag:insee",
        Some(&"topic") => "topic:1",
        _ => "field:device.id",
    }
}

/// `operator:public`, `operator:public+homologation`, `secnumcloud>=3.2`
pub(super) fn is_way(text: &str) -> bool {
    text.split('+').all(|part| match (part.split_once(">="), part.split_once(':')) {
        (Some((scheme, version)), _) => is_id(scheme) && is_version(version),
        (None, Some((kind, nature))) => kind == "operator" && matches!(nature, "public" | "private"),
        (None, None) => is_id(part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_versions_and_origins_have_their_form() {
        assert!(is_id("dc-rennes") && is_id("2rennes") && is_id(&"a".repeat(64)));
        assert!(!is_id("") && !is_id("-a") && !is_id("A") && !is_id("é") && !is_id(&"a".repeat(65)));
        assert!(is_version("2026.11.2") && !is_version("3.") && !is_version("v3"));
        assert!(
            is_origin("topic:2", &["topic"])
                && !is_origin("topic:x", &["topic"])
                && !is_origin("tag:", &["tag"])
        );
        assert!(
            is_way("operator:public+homologation")
                && is_way("secnumcloud>=3.2")
                && !is_way("secnumcloud>3.2")
        );
    }
}
