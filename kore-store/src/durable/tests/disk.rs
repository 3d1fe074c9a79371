//! A file system in memory that loses power, runs full, and fails.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::Entropy;
use crate::durable::files::{File, Files, Lock};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// A disk: what the system holds, and what of it is durable.
#[derive(Clone, Default)]
pub(super) struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    contents: BTreeMap<u64, Content>,
    next_content: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since the directory was last made durable.
    renames: Vec<NameChange>,
    locked: bool,
    /// Writes, flushes and changes of names so far.
    operations: usize,
    syncs: usize,
    /// The power fails before this operation.
    crash_at: Option<usize>,
    /// This flush fails.
    fail_sync_at: Option<usize>,
    /// How many bytes fit.
    capacity: Option<u64>,
    /// Flushes wait until it opens.
    gate: Option<Arc<Gate>>,
    /// Is told of every operation, before it is done.
    witness: Option<Witness>,
}

/// Is handed the disk as it is when the power fails there and then.
type Witness = Arc<dyn Fn(SimDisk) + Send + Sync>;

/// Holds up flushes.
#[derive(Default)]
pub(super) struct Gate {
    /// Says that a flush waits.
    pub(super) reached: tokio::sync::Notify,
    open: Mutex<bool>,
    opened: Condvar,
}

/// Opens the gate when it is dropped, at the latest.
pub(super) struct Keeper(pub(super) Arc<Gate>);

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap() = true;
        self.0.opened.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        self.reached.notify_one();
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

#[derive(Clone)]
enum NameChange {
    Made(PathBuf, u64),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

/// Cheap to clone: a disk is kept as it was before each of many operations.
#[derive(Clone, Default)]
struct Content {
    now: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Places written since the last flush: offset and length.
    dirty: Vec<(usize, usize)>,
}

/// What of the writes that were not flushed a crash leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Power {
    /// All of them: only the process died.
    Kept,
    /// None.
    Lost,
    /// Some sectors, by this seed, in no order.
    Torn(u64),
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub(super) fn crash_at(self, operation: usize) -> SimDisk {
        self.state().crash_at = Some(operation);
        self
    }

    pub(super) fn fail_sync_at(&self, sync: usize) {
        self.state().fail_sync_at = Some(sync);
    }

    pub(super) fn capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// From now on `witness` sees the disk as it is before every operation.
    pub(super) fn witnessed(&self, witness: impl Fn(SimDisk) + Send + Sync + 'static) {
        self.state().witness = Some(Arc::new(witness));
    }

    /// From now on flushes wait at a gate.
    pub(super) fn gate(&self) -> Keeper {
        Keeper(self.state().gate.insert(Arc::default()).clone())
    }

    /// The disk as another process finds it after this one died: what was not flushed is still there, and still not durable.
    pub(super) fn after_kill(&self) -> SimDisk {
        let before = self.state();
        let after = State {
            contents: before.contents.clone(),
            next_content: before.next_content,
            names: before.names.clone(),
            durable_names: before.durable_names.clone(),
            renames: before.renames.clone(),
            ..State::default()
        };
        SimDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// The disk as it is found after the crash.
    pub(super) fn after(&self, power: Power) -> SimDisk {
        let before = self.state();
        let mut after =
            State { contents: before.contents.clone(), next_content: before.next_content, ..State::default() };
        let dice = match power {
            Power::Torn(seed) => Entropy::seeded(seed),
            Power::Kept | Power::Lost => Entropy::seeded(0),
        };
        let survives = |dice: &Entropy| match power {
            Power::Kept => true,
            Power::Lost => false,
            Power::Torn(_) => dice.below(2) == 0,
        };
        for content in after.contents.values_mut() {
            for (offset, length) in std::mem::take(&mut content.dirty) {
                let end = offset + length;
                let mut at = offset;
                while at < end {
                    let sector_end = ((at / SECTOR + 1) * SECTOR).min(end);
                    if survives(&dice) {
                        let durable = Arc::make_mut(&mut content.durable);
                        durable.resize(durable.len().max(sector_end), 0);
                        durable[at..sector_end].copy_from_slice(&content.now[at..sector_end]);
                    }
                    at = sector_end;
                }
            }
            content.now = content.durable.clone();
        }
        // Nothing promises that names change in order.
        let mut names = before.durable_names.clone();
        for change in &before.renames {
            if survives(&dice) {
                change.apply(&mut names);
            }
        }
        after.names = names.clone();
        after.durable_names = names;
        SimDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// The names that are there.
    pub(super) fn names(&self) -> Vec<String> {
        let state = self.state();
        let names = state.names.keys().filter_map(|path| path.file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// Changes a file behind the store's back.
    pub(super) fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let named = |path: &&PathBuf| path.file_name().is_some_and(|found| found == name);
        let path = state.names.keys().find(named).expect("the file is there").clone();
        let id = state.names[&path];
        let content = state.contents.get_mut(&id).unwrap();
        damage(Arc::make_mut(&mut content.now));
        content.durable = content.now.clone();
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Made(path, id) => drop(names.insert(path.clone(), *id)),
            NameChange::Removed(path) => drop(names.remove(path)),
            NameChange::Renamed(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
}

impl State {
    /// Something that a crash may come before.
    fn operate(&mut self) -> io::Result<()> {
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        if let Some(witness) = &self.witness {
            let state = State { witness: None, gate: None, locked: false, ..self.clone() };
            witness(SimDisk { state: Arc::new(Mutex::new(state)) });
        }
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.renames.push(change);
    }
}

impl Files for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_name(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        let id = match state.names.get(path) {
            Some(id) => *id,
            None => {
                state.operate()?;
                let id = state.next_content;
                state.next_content += 1;
                state.contents.insert(id, Content::default());
                state.change(NameChange::Made(path.to_owned(), id));
                id
            }
        };
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        assert!(state.names.contains_key(from), "{} is there", from.display());
        state.change(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.change(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.renames.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock(self.clone()))))
    }
}

struct SimLock(SimDisk);

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().contents[&self.id].now.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let content = &state.contents[&self.id].now;
        let start = content.len().min(offset as usize);
        let end = content.len().min(start + buffer.len());
        buffer[..end - start].copy_from_slice(&content[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        let used: u64 = state.contents.values().map(|content| content.now.len() as u64).sum();
        let capacity = state.capacity;
        let content = state.contents.get_mut(&self.id).unwrap();
        let offset = offset as usize;
        let end = offset + bytes.len();
        let growth = end.saturating_sub(content.now.len()) as u64;
        if capacity.is_some_and(|capacity| used + growth > capacity) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let now = Arc::make_mut(&mut content.now);
        now.resize(now.len().max(end), 0);
        now[offset..end].copy_from_slice(bytes);
        content.dirty.push((offset, bytes.len()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let gate = self.disk.state().gate.clone();
        if let Some(gate) = gate {
            gate.pass();
        }
        let mut state = self.disk.state();
        state.operate()?;
        state.syncs += 1;
        let fails = state.fail_sync_at == Some(state.syncs);
        let content = state.contents.get_mut(&self.id).unwrap();
        if fails {
            // As Linux does it: what could not be written counts as written from now on.
            content.dirty.clear();
            return Err(io::Error::other("the disk is failing"));
        }
        content.dirty.clear();
        content.durable = content.now.clone();
        Ok(())
    }
}
