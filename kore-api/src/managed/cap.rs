//! Keeps the number of managers that updated an object within a bound: the oldest become one.

use super::entry::{Managed, Manager, Operation};

/// How many managers that updated are kept apart, as upstream has it.
pub(crate) const UPDATERS_MAX: usize = 10;
/// The name of the manager that stands for the oldest ones at a version.
const ANCIENT: &str = "ancient-changes";

impl Managed {
    /// Merges the oldest managers that updated into one for each version, until no more than `max` are left, or none of them can be
    /// merged any further.
    pub(crate) fn cap(&mut self, max: usize) {
        let mut updaters: Vec<Manager> =
            self.owners.keys().filter(|manager| manager.operation == Operation::Update).cloned().collect();
        let mut count = updaters.len();
        if count <= max {
            return;
        }
        updaters.sort_by(|left, right| (self.times.get(left), left).cmp(&(self.times.get(right), right)));
        // At each version the first one found, into which the next is merged.
        let mut firsts: Vec<Manager> = Vec::new();
        for manager in updaters {
            if count <= max {
                break;
            }
            let Some(first) = firsts.iter().find(|first| first.version == manager.version) else {
                firsts.push(manager);
                continue;
            };
            let bucket = Manager::new(Operation::Update, ANCIENT, &manager.version, "");
            if !self.owners.contains_key(&bucket)
                && let Some(owned) = self.owners.remove(first)
            {
                self.owners.insert(bucket.clone(), owned);
                self.times.remove(first);
            }
            if manager != bucket
                && let Some(owned) = self.owners.remove(&manager)
                && let Some(ancient) = self.owners.get_mut(&bucket)
            {
                ancient.fields = ancient.fields.union(&owned.fields);
                // The time of what is merged in: it is the more recent one.
                if let Some(time) = self.times.remove(&manager) {
                    self.times.insert(bucket, time);
                }
                count -= 1;
            }
        }
    }
}
