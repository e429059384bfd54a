//! One value of a payload against what a condition asks of it. No matching of
//! names and no doubt: who looks for the value decides what its absence means.
//!
//! INVARIANT: a value of another type satisfies nothing; a number equals an
//! integer of a policy as the 64-bit floats they are.

use crate::Scalar;
use crate::ast::{Comparison, Value};

impl Comparison {
    /// Whether a value satisfies every key but `exists`.
    #[must_use]
    pub fn holds(&self, value: &Scalar<'_>) -> bool {
        let (number, text) = match value {
            Scalar::Number(number, _) => (Some(*number), None),
            Scalar::Text(text) => (None, Some(text.as_ref())),
            Scalar::Empty | Scalar::Boolean(_) => (None, None),
        };
        let bound = |bound: Option<f64>, holds: fn(&f64, &f64) -> bool| {
            bound.is_none_or(|bound| number.is_some_and(|number| holds(&number, &bound)))
        };
        let part = |part: &Option<String>, holds: fn(&str, &str) -> bool| {
            part.as_ref().is_none_or(|part| text.is_some_and(|text| holds(text, part)))
        };
        self.eq.as_ref().is_none_or(|one| one.equals(value))
            && self.one_of.as_ref().is_none_or(|list| list.iter().any(|one| one.equals(value)))
            && bound(self.lt, f64::lt)
            && bound(self.lte, f64::le)
            && bound(self.gt, f64::gt)
            && bound(self.gte, f64::ge)
            && part(&self.starts_with, |text, part| text.starts_with(part))
            && part(&self.contains, |text, part| text.contains(part))
    }
}

impl Value {
    fn equals(&self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Boolean(one), Scalar::Boolean(value)) => one == value,
            (Self::Integer(one), Scalar::Number(value, _)) => *one as f64 == *value,
            (Self::Number(one), Scalar::Number(value, _)) => one == value,
            (Self::Text(one), Scalar::Text(value)) => one == value,
            (Self::Boolean(_) | Self::Integer(_) | Self::Number(_) | Self::Text(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const fn number(number: f64) -> Scalar<'static> {
        Scalar::Number(number, "0")
    }

    const fn text(text: &'static str) -> Scalar<'static> {
        Scalar::Text(Cow::Borrowed(text))
    }

    #[test]
    fn each_key_holds_for_the_values_it_names_and_for_no_other_type() {
        let no = Comparison::default;
        let one_of = vec![Value::Text("a".to_owned()), Value::Integer(2)];
        let (a, all) = ("a".to_owned(), [number(1.0), number(2.0), number(3.0), text("a"), text("ba")]);
        for (comparison, expected) in [
            (Comparison { eq: Some(Value::Integer(2)), ..no() }, "2"),
            (Comparison { eq: Some(Value::Number(2.0)), ..no() }, "2"),
            (Comparison { eq: Some(Value::Text(a.clone())), ..no() }, "a"),
            (Comparison { eq: Some(Value::Text("2".to_owned())), ..no() }, ""),
            (Comparison { one_of: Some(one_of), ..no() }, "2 a"),
            (Comparison { one_of: Some(vec![]), ..no() }, ""),
            (Comparison { lt: Some(2.0), ..no() }, "1"),
            (Comparison { lte: Some(2.0), ..no() }, "1 2"),
            (Comparison { gt: Some(2.0), ..no() }, "3"),
            (Comparison { gte: Some(2.0), ..no() }, "2 3"),
            (Comparison { gte: Some(2.0), lt: Some(3.0), ..no() }, "2"),
            (Comparison { starts_with: Some(a.clone()), ..no() }, "a"),
            (Comparison { contains: Some(a.clone()), ..no() }, "a ba"),
            (Comparison { contains: Some(a), gt: Some(0.0), ..no() }, ""),
            (no(), "1 2 3 a ba"),
        ] {
            let holds = all.iter().filter(|value| comparison.holds(value));
            let shown = holds.map(|value| match value {
                Scalar::Number(number, _) => number.to_string(),
                Scalar::Text(text) => text.to_string(),
                Scalar::Empty | Scalar::Boolean(_) => String::new(),
            });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{comparison:?}");
        }
        let yes = Comparison { eq: Some(Value::Boolean(true)), ..no() };
        assert!(yes.holds(&Scalar::Boolean(true)) && !yes.holds(&Scalar::Boolean(false)));
        assert!(!yes.holds(&Scalar::Empty) && !yes.holds(&text("true")));
    }
}
