//! Numbers of pods: as a whole number or in percent, and how the numbers in a status fit together.

use serde_json::Value;

use super::field::Field;
use super::names;
use crate::error::FieldError;

/// Must be a number that is not negative, or a percentage.
pub(crate) fn number_or_percent(field: &Field<'_, '_>) -> bool {
    if field.value().is_string() && !names::is_percent(field.text()) {
        field.invalid(
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
             validation is '[0-9]+%')",
        );
        return false;
    }
    field.not_negative()
}

/// A percentage must not be more than all.
pub(crate) fn at_most_all(field: &Field<'_, '_>) {
    if names::is_percent(field.text()) && amount(field) > 100 {
        field.invalid("must not be greater than 100%");
    }
}

/// The number, of pods or of percent.
pub(crate) fn amount(field: &Field<'_, '_>) -> i64 {
    field.int().or_else(|| field.text().trim_end_matches('%').parse().ok()).unwrap_or_default()
}

/// None of the counts may be negative.
pub(crate) fn not_negative(status: &Field<'_, '_>, counts: &[&str]) {
    for count in counts {
        status.get(count).not_negative();
    }
}

/// None of the counts may be greater than the count `most`.
pub(crate) fn not_more(status: &Field<'_, '_>, counts: &[&str], most: &str) {
    let limit = status.get(most).int().unwrap_or_default();
    for count in counts {
        let count = status.get(count);
        if count.int().unwrap_or_default() > limit {
            count.invalid(format!("cannot be greater than status.{most}"));
        }
    }
}

/// `collisionCount` only grows.
pub(crate) fn collisions(status: &Field<'_, '_>, before: &Field<'_, '_>) {
    let (now, was) = (status.get("collisionCount"), before.get("collisionCount"));
    if let Some(was) = was.int()
        && now.int().is_none_or(|now| now < was)
    {
        let shown = if now.is_set() { now.value().clone() } else { Value::from(0) };
        now.report(FieldError::invalid(now.path(), shown, "cannot be decremented"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::json;

    #[test]
    fn numbers_and_percentages() {
        for (value, problems) in
            [(json!(0), 0), (json!(3), 0), (json!(-1), 1), (json!("50%"), 0), (json!("101%"), 1), (json!("x"), 1)]
        {
            let object = json!({"a": value});
            let errors = check(&object, &Value::Null, |root, _| {
                number_or_percent(&root.get("a"));
                at_most_all(&root.get("a"));
            });
            assert_eq!(errors.len(), problems, "{object}: {errors:?}");
        }
    }
}
