//! Lists of completed indexes: `1,3-5`, in rising order.

/// How many indexes are in a list, all of which must be below `completions`.
///
/// # Errors
/// What is wrong with the list.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    Ok(intervals(text, completions)?.iter().map(|(first, last)| last - first + 1).sum())
}

/// Whether two lists have an index in common. Lists that are none have none.
pub(super) fn overlap(one: &str, other: &str, completions: i64) -> bool {
    let (Ok(one), Ok(other)) = (intervals(one, completions), intervals(other, completions)) else {
        return false;
    };
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some((a, b)), Some((c, d))) = (left.peek(), right.peek()) {
        if a <= d && c <= b {
            return true;
        }
        if b < d {
            left.next()
        } else {
            right.next()
        };
    }
    false
}

fn intervals(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    if text.is_empty() {
        return Ok(intervals);
    }
    for interval in text.split(',') {
        let (first, last) = parse(interval, completions)?;
        if let Some((_, previous)) = intervals.last().filter(|(_, previous)| *previous >= first) {
            return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

fn parse(interval: &str, completions: i64) -> Result<(i64, i64), String> {
    let index = |text: &str| {
        let index: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if index >= completions { Err(format!("too large index: {text:?}")) } else { Ok(index) }
    };
    let parts: Vec<&str> = interval.split('-').collect();
    match parts[..] {
        [one] => index(one).map(|one| (one, one)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            if first >= last {
                return Err(format!("non-increasing order, previous: {first}, current: {last}"));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated \
             by '-'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted() {
        for (text, expected) in [
            ("", Ok(0)),
            ("0", Ok(1)),
            ("0,2-4,7", Ok(5)),
            ("3-1", Err("non-increasing order, previous: 3, current: 1")),
            ("3,3", Err("non-increasing order, previous: 3, current: 3")),
            ("8", Err("too large index: \"8\"")),
            ("x", Err("cannot convert string to integer for index: \"x\"")),
            ("", Ok(0)),
        ] {
            assert_eq!(count(text, 8), expected.map_err(str::to_owned), "{text}");
        }
        assert!(count("1-2-3", 8).unwrap_err().starts_with("the fragment \"1-2-3\" violates"));
        assert!(overlap("0,2-4", "1,4", 8));
        assert!(!overlap("0,2-4", "1,5-7", 8));
        assert!(!overlap("", "1", 8));
    }
}
