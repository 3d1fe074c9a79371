//! Replacing a directory's files all at once, as upstream's atomic writer lays them out:
//!
//! ```text
//! volume/..2026_01_02_03_04_05.000000006/greeting    the files
//! volume/..data -> ..2026_01_02_03_04_05.000000006   swapped by one rename
//! volume/greeting -> ..data/greeting                 what the container opens
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

use crate::shim::disk;

const DATA: &str = "..data";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Makes the files of `dir` exactly these. A reader sees the old ones or the new ones, never a mixture.
pub(super) fn replace(dir: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let old = fs::read_link(dir.join(DATA)).ok();
    if let Some(old) = &old
        && is_same(&dir.join(old), files)?
    {
        // A former life may have ended right here.
        return show(dir, old, files);
    }
    // The name only has to be new; it says when, as upstream's does.
    let now = disk::now();
    let name = format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
    let new = dir.join(&name);
    fs::create_dir(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let path = new.join(path);
        fs::create_dir_all(path.parent().expect("below the volume"))?;
        let mut options = fs::OpenOptions::new();
        let mut written = options.write(true).create_new(true).mode(0o600).open(&path)?;
        written.write_all(&file.bytes)?;
        written.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    let temporary = dir.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, dir.join(DATA))?;
    show(dir, Path::new(&name), files)
}

/// Makes the links to the files, and removes what is neither a link to one nor in the directory that they are in.
fn show(dir: &Path, name: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let first = |path: &String| path.split('/').next().unwrap_or(path).to_owned();
    let visible: BTreeSet<String> = files.keys().map(first).collect();
    for entry in &visible {
        let link = dir.join(entry);
        if !link.is_symlink() {
            symlink(Path::new(DATA).join(entry), link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let known = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if known == DATA || Path::new(&known) == name || visible.contains(&known) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn is_same(dir: &Path, files: &BTreeMap<String, File>) -> io::Result<bool> {
    for (path, file) in files {
        let path = dir.join(path);
        let Ok(metadata) = fs::metadata(&path) else {
            return Ok(false);
        };
        let same = metadata.permissions().mode() & 0o777 == file.mode
            && metadata.len() == file.bytes.len() as u64
            && fs::read(&path)? == file.bytes;
        if !same {
            return Ok(false);
        }
    }
    Ok(count(dir)? == files.len())
}

fn count(dir: &Path) -> io::Result<usize> {
    let mut number = 0;
    for entry in fs::read_dir(dir)?.flatten() {
        number += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(number)
}
