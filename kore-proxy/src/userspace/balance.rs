//! Which target a connection goes to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

use crate::plan::Entry;

/// How many clients one frontend remembers; at the limit the one that would be forgotten first is.
const MAX_REMEMBERED_CLIENTS: usize = 4_096;

/// Takes targets in turn, and remembers clients where the entry says so.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    next: usize,
    /// The target of each client, and until when it is kept.
    clients: BTreeMap<IpAddr, (SocketAddr, Instant)>,
}

impl Balancer {
    /// The targets of `entry` in the order in which a connection of `client` tries them.
    pub(super) fn order(&mut self, entry: &Entry, client: IpAddr, now: Instant) -> Vec<SocketAddr> {
        let mut targets: Vec<SocketAddr> = entry.targets.iter().map(|target| target.address).collect();
        if targets.is_empty() {
            return targets;
        }
        let known = entry.affinity.and_then(|_| self.clients.get(&client)).filter(|(_, until)| *until > now);
        let first = match known.and_then(|(target, _)| targets.iter().position(|other| other == target)) {
            Some(kept) => kept,
            None => {
                self.next = self.next.wrapping_add(1);
                self.next.wrapping_sub(1) % targets.len()
            }
        };
        targets.rotate_left(first);
        if let Some(kept_for) = entry.affinity {
            self.remember(client, targets[0], now, now + kept_for);
        }
        targets
    }

    fn remember(&mut self, client: IpAddr, target: SocketAddr, now: Instant, until: Instant) {
        if self.clients.len() >= MAX_REMEMBERED_CLIENTS && !self.clients.contains_key(&client) {
            self.clients.retain(|_, (_, until)| *until > now);
            if self.clients.len() >= MAX_REMEMBERED_CLIENTS {
                let soonest = self.clients.iter().min_by_key(|(_, (_, until))| *until).map(|(client, _)| *client);
                soonest.map(|client| self.clients.remove(&client));
            }
        }
        self.clients.insert(client, (target, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests_support::entry;
    use std::time::Duration;

    fn firsts(balancer: &mut Balancer, entry: &Entry, client: &str, now: Instant, times: usize) -> Vec<u16> {
        let client = client.parse().unwrap();
        (0..times).map(|_| balancer.order(entry, client, now)[0].port()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn targets_take_turns_and_the_others_are_fallbacks() {
        let mut balancer = Balancer::default();
        let entry = entry(&[1, 2, 3]);
        let now = Instant::now();
        assert_eq!(firsts(&mut balancer, &entry, "10.0.0.1", now, 4), [1, 2, 3, 1]);
        let order = balancer.order(&entry, "10.0.0.1".parse().unwrap(), now);
        assert_eq!(order.iter().map(SocketAddr::port).collect::<Vec<_>>(), [2, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_keeps_its_target_until_it_stays_away_or_the_target_goes() {
        let mut balancer = Balancer::default();
        let mut sticky = entry(&[1, 2, 3]);
        sticky.affinity = Some(Duration::from_secs(60));
        let now = Instant::now();
        assert_eq!(firsts(&mut balancer, &sticky, "10.0.0.1", now, 3), [1, 1, 1]);
        assert_eq!(firsts(&mut balancer, &sticky, "10.0.0.2", now, 2), [2, 2]);
        let used_again = now + Duration::from_secs(59);
        assert_eq!(firsts(&mut balancer, &sticky, "10.0.0.1", used_again, 1), [1]);
        let still_kept = used_again + Duration::from_secs(59);
        assert_eq!(firsts(&mut balancer, &sticky, "10.0.0.1", still_kept, 1), [1]);
        assert_eq!(firsts(&mut balancer, &sticky, "10.0.0.2", still_kept, 1), [3]);
        sticky.targets = entry(&[2, 3]).targets;
        let gone = firsts(&mut balancer, &sticky, "10.0.0.1", still_kept, 2);
        assert_eq!(gone[0], gone[1]);
    }

    #[tokio::test(start_paused = true)]
    async fn remembered_clients_are_bounded() {
        let mut balancer = Balancer::default();
        let mut sticky = entry(&[1, 2]);
        sticky.affinity = Some(Duration::from_secs(60));
        for client in 0..10_000_u32 {
            balancer.order(&sticky, IpAddr::from(client.to_be_bytes()), Instant::now());
        }
        assert_eq!(balancer.clients.len(), MAX_REMEMBERED_CLIENTS);
    }
}
