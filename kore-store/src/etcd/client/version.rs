//! Which bugs a member has.

/// A member's version; 0.0.0 when it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Reads `3.4.23` or `3.6.0-rc.1`; what it cannot read is 0.
    pub(super) fn parse(text: &str) -> Version {
        let number = |part: &str| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().unwrap_or(0)
        };
        let mut parts = text.splitn(3, '.').map(number);
        let mut part = || parts.next().unwrap_or(0);
        Version { major: part(), minor: part(), patch: part() }
    }

    /// True when watches can be trusted: requested progress covers no event that is still to be sent (etcd#15220), is told
    /// also for a watch that gets no events (etcd#17507), and a watch that fell behind a compaction is told so although its
    /// queue is full (etcd#17555).
    pub(super) fn has_sound_watches(self) -> bool {
        match (self.major, self.minor) {
            (3, 4) => self.patch >= 31,
            (3, 5) => self.patch >= 13,
            (major, minor) => (major, minor) >= (3, 6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_judged() {
        for (text, sound) in [
            ("3.4.23", false),
            ("3.4.30", false),
            ("3.4.31", true),
            ("3.5.0", false),
            ("3.5.12", false),
            ("3.5.13", true),
            ("3.6.0-rc.1", true),
            ("3.3.99", false),
            ("4.0.0", true),
            ("", false),
            ("newest", false),
        ] {
            assert_eq!(Version::parse(text).has_sound_watches(), sound, "{text}");
        }
        assert_eq!(Version::parse("3.6.0-rc.1"), Version { major: 3, minor: 6, patch: 0 });
    }
}
