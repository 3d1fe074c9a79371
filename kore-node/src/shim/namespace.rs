//! Mounts for a process without privileges.
//!
//! As root a mount namespace is enough; as an ordinary user it comes with a user namespace in which the user is who they are
//! outside. Inside, the new root is a small tmpfs in which everything the machine's root holds is bound at its own place, so that the
//! process sees the machine as it is, plus its mounts. A mount path that does not exist on the machine needs a directory to
//! stand in: the deepest one that exists is replaced by a tmpfs with the same entries bound into it. Nothing is ever
//! created on the machine itself.
//!
//! Where namespaces are forbidden, [`link`] puts a symbolic link per mount below a directory of the container's own.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::StatVfsMountFlags,
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount as mount_new, mount_bind, mount_bind_recursive,
        mount_change, mount_remount, unmount,
    },
    process::{chroot, fchdir, pivot_root},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use crate::runtime::Mount;

/// Moves this process into a mount namespace of its own, with a user namespace if that takes one. False if the machine does
/// not allow it.
#[allow(unsafe_code)]
pub(super) fn unshare() -> bool {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: the file table is not unshared, which is what can make this call unsound; the process has a single thread.
    if unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.is_ok() {
        return true;
    }
    // SAFETY: as above.
    if unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }.is_err() {
        return false;
    }
    fs::write("/proc/self/setgroups", "deny").is_ok()
        && fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).is_ok()
        && fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).is_ok()
}

/// Makes `root` the root, holding the machine and the mounts. The process is in its own mount namespace.
pub(super) fn mount(mounts: &[Mount], root: &Path) -> Result<(), String> {
    let fail = |doing: &str, error: &dyn std::fmt::Display| format!("{doing}: {error}");
    fs::create_dir_all(root).map_err(|error| fail("making the root", &error))?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|error| fail("making mounts private", &error))?;
    let mut view = View { root: root.to_owned(), ours: BTreeSet::new(), mounted: vec![] };
    view.mirror(Path::new("/")).map_err(|error| fail("mirroring the machine's root", &error))?;
    for mount in mounts {
        view.bind(mount).map_err(|error| fail(&format!("mounting {}", mount.target.display()), &error))?;
    }
    std::env::set_current_dir(root).map_err(|error| fail("entering the root", &error))?;
    // A root that cannot be pivoted away from (an initial ramdisk) is left behind by chroot.
    match pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH),
        Err(_) => chroot("."),
    }
    .map_err(|error| fail("changing the root", &error))?;
    std::env::set_current_dir("/").map_err(|error| fail("entering the root", &error))
}

/// Links each mount below `root`.
pub(super) fn link(mounts: &[Mount], root: &Path) -> Result<(), String> {
    for mount in mounts {
        let at = root.join(mount.target.strip_prefix("/").unwrap_or(&mount.target));
        let parent = at.parent().expect("below the root");
        fs::create_dir_all(parent)
            .and_then(|()| if at.is_symlink() { fs::remove_file(&at) } else { Ok(()) })
            .and_then(|()| symlink(&mount.source, &at))
            .map_err(|error| format!("mounting {}: {error}", mount.target.display()))?;
    }
    Ok(())
}

/// Enters the namespaces of a running container, if it has any of its own.
pub(super) fn join(pid: i32) -> io::Result<()> {
    let other = |name: &str| -> io::Result<Option<File>> {
        let theirs = format!("/proc/{pid}/ns/{name}");
        let same = fs::read_link(&theirs)? == fs::read_link(format!("/proc/self/ns/{name}"))?;
        if same { Ok(None) } else { File::open(theirs).map(Some) }
    };
    let (user, mounts) = (other("user")?, other("mnt")?);
    let Some(mounts) = mounts else { return Ok(()) };
    let root = File::open(format!("/proc/{pid}/root"))?;
    if let Some(user) = user {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&user), Some(LinkNameSpaceType::User))?;
    }
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&mounts), Some(LinkNameSpaceType::Mount))?;
    fchdir(&root)?;
    chroot(".")?;
    std::env::set_current_dir("/")
}

/// The root being built.
struct View {
    root: PathBuf,
    /// Directories that exist only here: something may be created directly in them.
    ours: BTreeSet<PathBuf>,
    /// Mounted already: a mount below one may create its directory in it, as in any container runtime.
    mounted: Vec<PathBuf>,
}

impl View {
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Replaces a directory by one of ours with the same entries. An entry that cannot be bound is left out.
    fn mirror(&mut self, dir: &Path) -> io::Result<()> {
        let new = self.at(dir);
        mount_new("tmpfs", &new, "tmpfs", MountFlags::NOSUID, Some(c"mode=0755"))?;
        for entry in fs::read_dir(dir)?.flatten() {
            let (old, new) = (entry.path(), new.join(entry.file_name()));
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let _ = if kind.is_symlink() {
                fs::read_link(&old).and_then(|target| symlink(target, &new))
            } else if kind.is_dir() {
                fs::create_dir(&new).and_then(|()| Ok(mount_bind_recursive(&old, &new)?))
            } else {
                File::create(&new).and_then(|_| Ok(mount_bind(&old, &new)?))
            };
        }
        self.ours.insert(dir.to_owned());
        Ok(())
    }

    fn bind(&mut self, mount: &Mount) -> io::Result<()> {
        let source = fs::metadata(&mount.source)?;
        let target = self.prepare(&mount.target, source.is_dir())?;
        let at = self.at(&target);
        mount_bind_recursive(&mount.source, &at)?;
        if mount.read_only {
            // A namespace may not take away what the machine's mount forbids: keep those flags.
            let mut flags = MountFlags::BIND | MountFlags::RDONLY;
            let now = rustix::fs::statvfs(&at)?.f_flag;
            for (has, keep) in [
                (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
                (StatVfsMountFlags::NODEV, MountFlags::NODEV),
                (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
                (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
                (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
            ] {
                if now.contains(has) {
                    flags |= keep;
                }
            }
            mount_remount(&at, flags, c"")?;
        }
        self.mounted.push(target);
        Ok(())
    }

    /// Makes sure that the target exists and returns it free of the machine's symbolic links.
    fn prepare(&mut self, target: &Path, directory: bool) -> io::Result<PathBuf> {
        let path = real(target);
        let missing: Vec<PathBuf> =
            path.ancestors().take_while(|path| self.at(path).symlink_metadata().is_err()).map(Path::to_owned).collect();
        for new in missing.iter().rev() {
            let parent = new.parent().expect("the root exists");
            let inside = self.mounted.iter().any(|mounted| parent.starts_with(mounted));
            if !inside && !self.ours.contains(parent) {
                self.mirror(parent)?;
            }
            if *new == path && !directory {
                File::create(self.at(new))?;
            } else {
                fs::create_dir(self.at(new))?;
                if !inside {
                    self.ours.insert(new.clone());
                }
            }
        }
        if self.at(&path).is_dir() != directory {
            let kind = if directory { "is not a directory" } else { "is a directory" };
            return Err(io::Error::other(format!("{} {kind}", target.display())));
        }
        Ok(path)
    }
}

/// The path with symbolic links resolved in as much of it as exists on the machine, and without `.` and `..`.
fn real(path: &Path) -> PathBuf {
    let clean =
        path.components().filter(|part| matches!(part, Component::RootDir | Component::Normal(_))).collect::<PathBuf>();
    let existing = clean.ancestors().find_map(|path| Some((path, path.canonicalize().ok()?)));
    match existing {
        Some((path, real)) => real.join(clean.strip_prefix(path).unwrap_or(Path::new(""))),
        None => clean,
    }
}
