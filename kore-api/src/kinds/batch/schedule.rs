//! The syntax of a CronJob's schedule: five fields of a crontab, or a word such as `@hourly`.
//!
//! As upstream reads it: lists, ranges, steps, names of months and of days; `?` is `*`; Sunday is 0, not 7. A time zone before it
//! (`TZ=…`, `CRON_TZ=…`) is passed over; whether there may be one is not decided here.

/// What a field of the schedule may hold.
struct Bounds {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: MONTHS },
    Bounds { least: 0, most: 6, names: DAYS },
];

const WORDS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Whether `text` is a schedule.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut rest = text;
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        let (_, schedule) = text.split_once(' ').ok_or_else(|| format!("provided bad location {text}"))?;
        rest = schedule.trim();
    }
    if rest.starts_with('@') {
        return word(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.iter().zip(&FIELDS) {
        for range in field.split(',').filter(|range| !range.is_empty()) {
            one_range(range, bounds)?;
        }
    }
    Ok(())
}

fn word(text: &str) -> Result<(), String> {
    if WORDS.contains(&text) {
        return Ok(());
    }
    match text.strip_prefix("@every ") {
        Some(every) if is_duration(every) => Ok(()),
        Some(every) => Err(format!("failed to parse duration {text}: time: invalid duration {every:?}")),
        None => Err(format!("unrecognized descriptor: {text}")),
    }
}

fn one_range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let (start, mut end) = match ends[..] {
        ["*" | "?", ..] => (bounds.least, bounds.most),
        [one] => {
            let one = number_or_name(one, bounds.names)?;
            (one, one)
        }
        [first, last] => (number_or_name(first, bounds.names)?, number_or_name(last, bounds.names)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            // From one on, in steps.
            if ends.len() == 1 {
                end = bounds.most;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    let Bounds { least, most, .. } = *bounds;
    if start < least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {text}"));
    }
    if end > most {
        return Err(format!("end of range ({end}) above maximum ({most}): {text}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn number_or_name(text: &str, names: &[&str]) -> Result<u32, String> {
    match names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        // Months count from 1, days from 0.
        Some(index) => Ok(index as u32 + u32::from(names.len() == MONTHS.len())),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(negative @ ..0) => Err(format!("negative number ({negative}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

/// Whether `text` is a duration such as `1h30m` or `1.5s`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut count = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (amount, unit) = rest.split_at(digits);
        let known = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().filter(|known| unit.starts_with(**known));
        let Some(unit_here) = known.max_by_key(|known| known.len()) else { return false };
        if !amount.bytes().any(|c| c.is_ascii_digit()) || amount.matches('.').count() > 1 {
            return false;
        }
        rest = &unit[unit_here.len()..];
        count += 1;
    }
    count > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in [
            "* * * * *",
            "*/5 0-3,5 1 jan-MAR mon",
            "0 3 ? * 0",
            "5/15 * * * *",
            "1-10/2 * * * *",
            "@hourly",
            "@midnight",
            "@every 1h30m",
            "@every 1.5s",
            "TZ=Europe/Berlin 0 3 * * *",
            "CRON_TZ=UTC @daily",
            "0  3 * * *",
            ", * * * *",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, problem) in [
            ("", "expected exactly 5 fields, found 0: []"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("0 * * * * *", "expected exactly 5 fields, found 6: [0 * * * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("* * * mon *", "failed to parse int from mon: strconv.Atoi: parsing \"mon\": invalid syntax"),
            ("@reboot", "unrecognized descriptor: @reboot"),
            ("@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""),
            ("TZ=UTC", "provided bad location TZ=UTC"),
        ] {
            assert_eq!(check(bad), Err(problem.to_owned()), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_stumbled_over(text in "(@every )?[-*/,?0-9a-zA-Z@ .µ]{0,30}") {
            let _ = check(&text);
        }
    }
}
