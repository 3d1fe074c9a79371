//! An ordered set of plugins under a scheduler name.

use std::sync::Arc;

use super::erased::{Adapter, Entry};
use super::*;

/// Which plugins decide over the pods of one `spec.schedulerName`, in which order and with which weights.
///
/// [`Profile::default`] is upstream's default set, as far as this version has it; [`Profile::empty`] begins from nothing.
///
/// ```
/// use kore_sched::{Ctx, NodeRef, Plugin, Profile, Score};
///
/// struct Quiet;
/// impl Plugin for Quiet {
///     type State = ();
///     fn name(&self) -> &'static str { "Quiet" }
/// }
/// impl Score for Quiet {
///     fn score(&self, _: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
///         100 - (node.pods().len() as i64).min(100)
///     }
/// }
///
/// # fn main() -> Result<(), kore_sched::ProfileError> {
/// let profile = Profile::default()
///     .named("quiet")                          // for pods with `schedulerName: quiet`
///     .plugin(Quiet, |at| at.score(5))?        // one more opinion, with weight 5
///     .without("NodePorts")?
///     .weight("TaintToleration", 1)?;
/// assert_eq!(profile.plugins().last(), Some("Quiet"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Profile {
    name: Arc<str>,
    entries: Vec<Arc<Entry>>,
}

/// What can be wrong with a profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// Two plugins of one name.
    #[error("profile {profile:?}: plugin {plugin:?} is there twice")]
    Twice {
        /// The profile.
        profile: String,
        /// The plugin's name.
        plugin: String,
    },
    /// A plugin that is not there.
    #[error("profile {profile:?}: there is no plugin {plugin:?}")]
    Unknown {
        /// The profile.
        profile: String,
        /// The plugin's name.
        plugin: String,
    },
    /// A plugin that does not score was given a weight, or one that does a weight out of range.
    #[error("profile {profile:?}: plugin {plugin:?} cannot have the weight {weight}: {reason}")]
    Weight {
        /// The profile.
        profile: String,
        /// The plugin's name.
        plugin: String,
        /// The weight.
        weight: i64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A point that needs exactly one plugin has none, or several.
    #[error("profile {profile:?}: {point} needs exactly one plugin and has {found}")]
    NotOne {
        /// The profile.
        profile: String,
        /// The point.
        point: &'static str,
        /// How many it has.
        found: usize,
    },
    /// Nothing binds the pods of a profile.
    #[error("profile {profile:?}: no plugin is registered at Bind")]
    NoBind {
        /// The profile.
        profile: String,
    },
    /// Two profiles for one scheduler name.
    #[error("there are two profiles for schedulerName {profile:?}")]
    SameName {
        /// The name.
        profile: String,
    },
    /// There is no profile at all.
    #[error("a scheduler needs at least one profile")]
    None,
}

impl Profile {
    /// A profile without plugins, for pods of that `schedulerName`.
    pub fn empty(name: &str) -> Profile {
        Profile { name: name.into(), entries: Vec::new() }
    }

    /// The same plugins for another `schedulerName`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Profile {
        self.name = name.into();
        self
    }

    /// The `schedulerName` of the pods this profile is for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the plugins, in order.
    pub fn plugins(&self) -> impl DoubleEndedIterator<Item = &'static str> + '_ {
        self.entries.iter().map(|entry| entry.name)
    }

    /// Adds a plugin after the others, at the points that `at` names.
    ///
    /// # Errors
    /// When there is a plugin of that name, or a weight is out of range.
    pub fn plugin<P: Plugin>(
        mut self,
        plugin: P,
        at: impl FnOnce(Points<P>) -> Points<P>,
    ) -> Result<Profile, ProfileError> {
        let entry = Entry::new(&plugin);
        if self.find(entry.name).is_ok() {
            return Err(ProfileError::Twice { profile: self.name.to_string(), plugin: entry.name.to_owned() });
        }
        let plugin = Arc::new(plugin);
        let points = at(Points { plugin, entry });
        if let Some((weight, _)) = &points.entry.score {
            self.check_weight(points.entry.name, *weight)?;
        }
        self.entries.push(Arc::new(points.entry));
        Ok(self)
    }

    /// Takes a plugin out.
    ///
    /// # Errors
    /// When it is not there.
    pub fn without(mut self, plugin: &str) -> Result<Profile, ProfileError> {
        let at = self.find(plugin)?;
        self.entries.remove(at);
        Ok(self)
    }

    /// Gives a scoring plugin another weight: 1 to 1,000.
    ///
    /// # Errors
    /// When it is not there, does not score, or the weight is out of range.
    pub fn weight(mut self, plugin: &str, weight: i64) -> Result<Profile, ProfileError> {
        let at = self.find(plugin)?;
        self.check_weight(plugin, weight)?;
        let mut entry = Entry::clone(&self.entries[at]);
        match &mut entry.score {
            Some((known, _)) => *known = weight,
            None => return Err(self.bad_weight(plugin, weight, "it does not score")),
        }
        self.entries[at] = Arc::new(entry);
        Ok(self)
    }

    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Whether something binds its pods.
    pub(crate) fn check_bind(&self) -> Result<(), ProfileError> {
        match self.entries.iter().any(|entry| entry.bind.is_some()) {
            true => Ok(()),
            false => Err(ProfileError::NoBind { profile: self.name.to_string() }),
        }
    }

    /// Whether exactly one plugin orders the queue.
    pub(crate) fn check(&self) -> Result<(), ProfileError> {
        let sorting = self.entries.iter().filter(|entry| entry.queue_sort.is_some());
        match sorting.count() {
            1 => Ok(()),
            found => Err(ProfileError::NotOne { profile: self.name.to_string(), point: "QueueSort", found }),
        }
    }

    fn find(&self, plugin: &str) -> Result<usize, ProfileError> {
        let found = self.entries.iter().position(|entry| entry.name == plugin);
        found.ok_or_else(|| ProfileError::Unknown { profile: self.name.to_string(), plugin: plugin.to_owned() })
    }

    fn check_weight(&self, plugin: &str, weight: i64) -> Result<(), ProfileError> {
        match weight {
            1..=1000 => Ok(()),
            _ => Err(self.bad_weight(plugin, weight, "1 to 1000")),
        }
    }

    fn bad_weight(&self, plugin: &str, weight: i64, reason: &'static str) -> ProfileError {
        ProfileError::Weight { profile: self.name.to_string(), plugin: plugin.to_owned(), weight, reason }
    }
}

/// The points one plugin is to be registered at; see [`Profile::plugin`].
pub struct Points<P> {
    plugin: Arc<P>,
    entry: Entry,
}

impl<P: Plugin> Points<P> {
    fn adapter(&self) -> Arc<Adapter<P>> {
        Arc::new(Adapter(self.plugin.clone()))
    }

    /// At [`PreEnqueue`].
    #[must_use]
    pub fn pre_enqueue(mut self) -> Self
    where
        P: PreEnqueue,
    {
        self.entry.pre_enqueue = Some(self.adapter());
        self
    }

    /// At [`QueueSort`].
    #[must_use]
    pub fn queue_sort(mut self) -> Self
    where
        P: QueueSort,
    {
        self.entry.queue_sort = Some(self.adapter());
        self
    }

    /// With the events of [`Enqueue`]; without, every event wakes the pods it refused.
    #[must_use]
    pub fn enqueue(mut self) -> Self
    where
        P: Enqueue,
    {
        self.entry.enqueue = Some(self.adapter());
        self
    }

    /// At [`PreFilter`].
    #[must_use]
    pub fn pre_filter(mut self) -> Self
    where
        P: PreFilter,
    {
        self.entry.pre_filter = Some(self.adapter());
        self
    }

    /// At [`Filter`].
    #[must_use]
    pub fn filter(mut self) -> Self
    where
        P: Filter,
    {
        self.entry.filter = Some(self.adapter());
        self
    }

    /// At [`PostFilter`].
    #[must_use]
    pub fn post_filter(mut self) -> Self
    where
        P: PostFilter,
    {
        self.entry.post_filter = Some(self.adapter());
        self
    }

    /// At [`PreScore`].
    #[must_use]
    pub fn pre_score(mut self) -> Self
    where
        P: PreScore,
    {
        self.entry.pre_score = Some(self.adapter());
        self
    }

    /// At [`Score`], with that weight: 1 to 1,000.
    #[must_use]
    pub fn score(mut self, weight: i64) -> Self
    where
        P: Score,
    {
        self.entry.score = Some((weight, self.adapter()));
        self
    }

    /// At [`Reserve`].
    #[must_use]
    pub fn reserve(mut self) -> Self
    where
        P: Reserve,
    {
        self.entry.reserve = Some(self.adapter());
        self
    }

    /// At [`Permit`].
    #[must_use]
    pub fn permit(mut self) -> Self
    where
        P: Permit,
    {
        self.entry.permit = Some(self.adapter());
        self
    }

    /// At [`PreBind`].
    #[must_use]
    pub fn pre_bind(mut self) -> Self
    where
        P: PreBind,
    {
        self.entry.pre_bind = Some(self.adapter());
        self
    }

    /// At [`Bind`].
    #[must_use]
    pub fn bind(mut self) -> Self
    where
        P: Bind,
    {
        self.entry.bind = Some(self.adapter());
        self
    }

    /// At [`PostBind`].
    #[must_use]
    pub fn post_bind(mut self) -> Self
    where
        P: PostBind,
    {
        self.entry.post_bind = Some(self.adapter());
        self
    }
}
