//! Images of native containers: names the application gives to programs.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;

use crate::runtime::{Credentials, Error, Image, Images, Result};

/// What an image name of the native runtime stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    kind: Kind,
    args: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    ThisBinary,
    File(PathBuf),
    Host,
}

impl Program {
    /// The application's own binary, called with these arguments. A pod's `args` follow them; a pod's `command` replaces
    /// program and arguments.
    pub fn this_binary<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Program {
        Program { kind: Kind::ThisBinary, args: args.into_iter().map(Into::into).collect() }
    }

    /// A program of the machine, called with these arguments; otherwise like [`Program::this_binary`].
    pub fn file<S: Into<String>>(path: impl Into<PathBuf>, args: impl IntoIterator<Item = S>) -> Program {
        Program { kind: Kind::File(path.into()), args: args.into_iter().map(Into::into).collect() }
    }

    /// Whatever command of the machine the pod names: an image without a program of its own, so that `command` is required.
    pub fn host() -> Program {
        Program { kind: Kind::Host, args: vec![] }
    }

    /// What to execute: the arguments, the name of the program first, and the file if it is not to be looked up.
    pub(super) fn resolve(
        &self,
        image: &str,
        command: &[String],
        args: &[String],
        this_binary: &std::path::Path,
    ) -> Result<(Vec<String>, Option<PathBuf>)> {
        if !command.is_empty() {
            return Ok(([command, args].concat(), None));
        }
        let (name, file) = match &self.kind {
            Kind::Host if args.is_empty() => {
                return Err(Error::Invalid(format!("no command specified: image {image:?} has no program of its own")));
            }
            Kind::Host => return Ok((args.to_vec(), None)),
            Kind::ThisBinary => {
                let name = std::env::current_exe().unwrap_or_else(|_| this_binary.to_owned());
                (name.display().to_string(), this_binary.to_owned())
            }
            Kind::File(path) => (path.display().to_string(), path.clone()),
        };
        let argv = std::iter::once(name).chain(self.args.iter().cloned()).chain(args.iter().cloned()).collect();
        Ok((argv, Some(file)))
    }
}

/// The names an application registered. All are present, always.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registered<T> {
    programs: BTreeMap<String, T>,
    user: Option<u32>,
}

impl<T> Registered<T> {
    /// These, which run as this user, if that is known.
    pub(crate) fn new(programs: BTreeMap<String, T>, user: Option<u32>) -> Self {
        Self { programs, user }
    }

    /// The program of an image: registered under exactly this name, or under its name without tag and digest.
    pub(crate) fn get(&self, image: &str) -> Option<&T> {
        self.programs.get(image).or_else(|| self.programs.get(repository(image)))
    }

    /// The image of a registered name. A name always stands for the program the application has: it is its own id.
    pub(crate) fn image(&self, image: &str) -> Option<Image> {
        self.get(image).map(|_| Image { user: self.user, ..Image::new(image, image) })
    }
}

/// An image name without tag and digest. A colon before the last slash is a port.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    name[last..].find(':').map_or(name, |colon| &name[..last + colon])
}

#[async_trait]
impl<T: Send + Sync + 'static> Images for Registered<T> {
    async fn status(&self, image: &str) -> Result<Option<Image>> {
        Ok(self.image(image))
    }

    async fn pull(&self, image: &str, _: Option<&Credentials>) -> Result<Image> {
        self.image(image).ok_or_else(|| Error::not_found("image", image))
    }

    async fn list(&self) -> Result<Vec<Image>> {
        Ok(self.programs.keys().filter_map(|image| self.image(image)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_its_name_or_without_its_tag() {
        let programs = [("kore.dev/hello", 1), ("kore.dev/hello:v2", 2), ("localhost:5000/x", 3)]
            .map(|(name, program)| (name.to_owned(), program));
        let images: Registered<u8> = Registered::new(programs.into(), None);
        for (image, program) in [
            ("kore.dev/hello", Some(1)),
            ("kore.dev/hello:v1", Some(1)),
            ("kore.dev/hello:v2", Some(2)),
            ("kore.dev/hello@sha256:ab", Some(1)),
            ("localhost:5000/x:1", Some(3)),
            ("localhost:5000/y", None),
            ("hello", None),
        ] {
            assert_eq!(images.get(image).copied(), program, "{image}");
        }
    }

    #[test]
    fn command_replaces_the_program_and_args_follow_it() {
        let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let program = Program::file("/bin/serve", ["--fast"]);
        let resolve = |program: &Program, command: &[&str], args: &[&str]| {
            program.resolve("image", &strings(command), &strings(args), "/proc/self/exe".as_ref())
        };
        assert_eq!(resolve(&program, &[], &["x"]).unwrap().0, ["/bin/serve", "--fast", "x"]);
        assert_eq!(resolve(&program, &["sh"], &["-c"]).unwrap(), (strings(&["sh", "-c"]), None));
        let error = resolve(&Program::host(), &[], &[]).unwrap_err();
        assert!(error.to_string().contains("no command specified"), "{error}");
    }
}
