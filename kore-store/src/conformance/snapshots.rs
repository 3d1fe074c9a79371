//! Snapshots: everything, at a revision, while writes go on.

use futures::TryStreamExt;

use super::probe::Probe;
use super::{Outcome, ensure, same};

pub(super) async fn taken(probe: &Probe<'_>) -> Outcome {
    let mut before = 0;
    for number in 0..100 {
        before = probe.put(&format!("{number:02}"), &"v".repeat(number * 10)).await?;
    }
    let mut snapshot = probe.snapshot().await?;
    let revision = snapshot.revision();
    let after = probe.put("later", "v").await?;
    ensure((before..after).contains(&revision), || {
        format!("a snapshot of {revision} was taken between {before} and {after}")
    })?;
    let (mut bytes, mut written) = (0, 0);
    while let Some(chunk) = snapshot.try_next().await? {
        bytes += chunk.len();
        // Writes go on.
        if written < 10 {
            probe.put("meanwhile", &written.to_string()).await?;
            written += 1;
        }
    }
    ensure(bytes > 0, || "a snapshot without a byte".into())?;
    same("the revision", snapshot.revision(), revision)
}
