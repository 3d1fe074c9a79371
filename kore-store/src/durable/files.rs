//! The file layer: everything the store asks of an operating system. Tests put one in its place that loses power.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// A file system, as far as the store needs one.
pub(crate) trait Files: Send + Sync + 'static {
    /// Makes a directory and those above it.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing, and makes it if it is not there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Gives a file another name, in place of what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory's own name durable.
    fn sync_name(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes a lock that ends with what is returned, or with the process; None: somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;
}

/// A lock that is held until it is dropped.
pub(crate) trait Lock: Send + Sync {}

/// An open file.
pub(crate) trait File: Send {
    /// Its length, in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills the buffer from this place on, as far as the file goes; answers how far.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of it at this place.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// From now on what is written is whole pages, and need not be kept in the system's memory.
    fn write_past_cache(&self) {}
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's. What it makes is for the process's user alone: a store holds secrets.
pub(crate) struct OsFiles;

impl Files for OsFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let made: Vec<&Path> = dir.ancestors().take_while(|above| !is_here(above)).collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        made.iter().rev().try_for_each(|dir| self.sync_dir(above(dir)))
    }

    fn sync_name(&self, dir: &Path) -> io::Result<()> {
        match self.sync_dir(above(dir)) {
            // Whose directory it is in is not ours to read; it was there before us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
        let names: io::Result<Vec<_>> = names.collect();
        Ok(names?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Ok(Box::new(OsFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        match rustix::fs::flock(&file, exclusive) {
            Ok(()) => Ok(Some(Box::new(OsLock(file)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_here(dir: &Path) -> bool {
    dir.as_os_str().is_empty() || dir.is_dir()
}

/// The directory that a path's last name is in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Closing the file ends the lock.
struct OsLock(#[expect(dead_code, reason = "held, not read")] fs::File);

impl Lock for OsLock {}

struct OsFile(fs::File);

impl OsFile {
    /// Lets what is written go past the system's cache, or not any more; false: it does so already, or cannot.
    #[cfg(target_os = "linux")]
    fn set_direct(&self, direct: bool) -> bool {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let Ok(flags) = fcntl_getfl(&self.0) else { return false };
        let mut wanted = flags;
        wanted.set(OFlags::DIRECT, direct);
        wanted != flags && fcntl_setfl(&self.0, wanted).is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn set_direct(&self, _direct: bool) -> bool {
        false
    }
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.0.write_all_at(bytes, offset) {
            // How a file system says that pages of this size do not go past its cache.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.set_direct(false) => {
                self.0.write_all_at(bytes, offset)
            }
            written => written,
        }
    }

    fn write_past_cache(&self) {
        self.set_direct(true);
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
