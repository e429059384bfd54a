//! `octroi explain --given`: what `octroi policy check` shows as a witness,
//! decided again, so that a finding can be seen and not only believed.

use octroi_policy::ast::Given;
use octroi_policy::{Date, Explanation, Policy};
use serde::Deserialize;
use serde_json::Value;

use super::{no_source, usage};
use crate::cmd::{Context, print_json};
use crate::exit::{Exit, Failure};
use crate::words::Lang;

/// A message to decide again.
#[derive(Debug, Deserialize, PartialEq)]
struct Message {
    given: Given,
    at: Option<Date>,
    /// The finding it is of: code, place and what it says.
    #[serde(skip)]
    of: Option<String>,
}

pub(super) fn run(
    policy: &Policy,
    json: &[u8],
    date: Option<Date>,
    context: &Context,
) -> Result<Exit, Failure> {
    let value: Value =
        serde_json::from_slice(json).map_err(|error| usage(&format!("the witness is no JSON: {error}")))?;
    let single = !value.is_array();
    let (messages, silent) = messages(value).map_err(|error| usage(&error))?;
    let explain = |message: &Message| {
        let first = policy.document().policy.valid_from;
        let received = date.or(message.at).map_or(first, Date::start);
        let explanation = policy.explain_given(&message.given, received);
        explanation.ok_or_else(|| no_source(policy, &message.given.source))
    };
    let explanations: Vec<Explanation> = messages.iter().map(explain).collect::<Result<_, _>>()?;
    if context.json {
        match explanations.first().filter(|_| single) {
            Some(only) => print_json(only)?,
            None => print_json(&explanations)?,
        }
        return Ok(Exit::Ok);
    }
    for (message, explanation) in messages.iter().zip(&explanations) {
        if let Some(of) = &message.of {
            println!("{of}");
        }
        println!("{}\n", explanation.in_words(context.lang));
    }
    if silent > 0 {
        match context.lang {
            Lang::En => println!("{silent} finding(s) that no message shows"),
            Lang::Fr => println!("{silent} constat(s) qu'aucun message ne montre"),
        }
    }
    Ok(Exit::Ok)
}

/// The messages of a `given`, of a witness, of a finding or of a list of them; and how many have none.
fn messages(value: Value) -> Result<(Vec<Message>, usize), String> {
    let items = if let Value::Array(items) = value { items } else { vec![value] };
    let all = items.len();
    let found: Vec<Message> =
        items.into_iter().filter_map(|item| message(item).transpose()).collect::<Result<_, _>>()?;
    let silent = all - found.len();
    Ok((found, silent))
}

fn message(value: Value) -> Result<Option<Message>, String> {
    let what =
        "a witness is a test's `given`, a finding of `octroi policy check --output json`, or a list of them";
    let wrong = |error: serde_json::Error| format!("{what}: {error}");
    if let Some(witness) = value.get("witness") {
        if witness.get("given").is_none_or(Value::is_null) {
            return Ok(None);
        }
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let line = value.get("line").and_then(Value::as_u64).unwrap_or_default();
        let of = format!("{} {}:{line} {}", text("code"), text("file"), text("message"));
        let message = Message::deserialize(witness).map_err(wrong)?;
        return Ok(Some(Message { of: Some(of), ..message }));
    }
    if value.get("given").is_some() {
        return Message::deserialize(value).map(Some).map_err(wrong);
    }
    let given = Given::deserialize(value).map_err(wrong)?;
    Ok(Some(Message { given, at: None, of: None }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_given_a_witness_a_finding_and_a_list_are_read_alike() {
        let given = json!({ "source": "s", "topic": "t/x", "fields": ["plate"] });
        let read = |value: &Value| messages(value.clone()).unwrap();
        let (alone, none) = read(&given);
        assert_eq!((alone[0].given.topic.as_str(), alone[0].at, none), ("t/x", None, 0));
        let witness = json!({ "text": "…", "given": given, "at": "2027-01-31" });
        assert_eq!(read(&witness).0[0].at, Date::parse("2027-01-31"));
        let finding =
            json!({ "code": "C10", "file": "p.toml", "line": 3, "message": "m", "witness": witness });
        let spoken = json!({ "code": "C03", "witness": { "text": "…" } });
        let (listed, silent) = read(&json!([finding, spoken, { "code": "C04", "witness": null }]));
        assert_eq!((listed.len(), silent), (1, 2));
        assert_eq!(listed[0].of.as_deref(), Some("C10 p.toml:3 m"));
        assert_eq!(listed[0].given, alone[0].given);
    }

    #[test]
    fn what_is_no_witness_is_refused_with_what_one_is() {
        for bad in [json!(3), json!({}), json!({ "source": "s", "topic": "t", "nonsense": 1 })] {
            assert!(messages(bad.clone()).unwrap_err().starts_with("a witness is"), "{bad}");
        }
    }
}
