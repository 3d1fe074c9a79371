//! One pod's binding: PreBind, Bind, PostBind.

use std::sync::Arc;

use futures::FutureExt;
use kore_api::client::Client;
use std::panic::AssertUnwindSafe;

use crate::framework::{BindAnswer, Binding};
use crate::{Assignment, BindFailure, Profile};

/// What became of a binding.
pub(super) struct Done {
    pub(super) assignment: Assignment,
    pub(super) failure: Option<BindFailure>,
}

pub(super) async fn bind(client: Client, profiles: Arc<[Profile]>, mut assignment: Assignment) -> Done {
    let profile = &profiles[assignment.profile];
    // A plugin that panics fails this pod's binding and nothing else.
    let bound = AssertUnwindSafe(steps(&client, profile, &mut assignment)).catch_unwind().await;
    let failure = match bound {
        Ok(bound) => bound.err(),
        Err(_) => Some(BindFailure::Failed { message: "a plugin panicked while the pod was being bound".to_owned() }),
    };
    Done { assignment, failure }
}

async fn steps(client: &Client, profile: &Profile, assignment: &mut Assignment) -> Result<(), BindFailure> {
    let Assignment { pod, node, states, .. } = assignment;
    let binding = Binding { pod, node, client };
    for (entry, state) in profile.entries().iter().zip(states.iter_mut()) {
        if let Some(plugin) = &entry.pre_bind {
            let prepared = plugin.pre_bind(&binding, &mut **state).await;
            prepared.map_err(|rejection| BindFailure::Refused { plugin: entry.name, rejection })?;
        }
    }
    let mut bound = false;
    for (entry, state) in profile.entries().iter().zip(states.iter_mut()) {
        if let Some(plugin) = &entry.bind
            && plugin.bind(&binding, &mut **state).await? == BindAnswer::Bound
        {
            bound = true;
            break;
        }
    }
    if !bound {
        return Err(BindFailure::Failed { message: "every Bind plugin left the pod to another one".to_owned() });
    }
    for (entry, state) in profile.entries().iter().zip(states.iter_mut()) {
        if let Some(plugin) = &entry.post_bind {
            plugin.post_bind(&binding, &mut **state).await;
        }
    }
    Ok(())
}
