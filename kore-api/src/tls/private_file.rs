//! Files that nobody else may read, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Puts a file of mode 0600 in place of whatever there is, durably; its directory is made if it is missing.
pub(crate) async fn write(path: &Path, content: Vec<u8>) -> io::Result<()> {
    let path = path.to_owned();
    in_background(move || write_now(&path, &content)).await
}

/// Reads a file that nobody else may read.
pub(crate) async fn read(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    in_background(move || {
        let file = File::open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            let problem = "others may read this file: chmod 600 it, and consider what it holds known to them";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        io::read_to_string(file)
    })
    .await
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn write_now(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&directory)?;
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let temporary = directory.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        // Left behind by a process of the same id that was killed.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(&directory)?.sync_all()
    })();
    if written.is_err() {
        // What matters is the error that is returned.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
