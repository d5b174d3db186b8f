//! Makes the scratch directory and what HTCondor puts into it.
//!
//! Invariant: what is there already is left as it is, except for the two ads, which are always written anew.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use duj_protocol::environment;
use nix::errno::Errno;

/// The file with the job's ad, in the scratch directory.
pub(crate) const JOB_AD: &str = ".job.ad";
/// The file with the machine's.
pub(crate) const MACHINE_AD: &str = ".machine.ad";

/// The variables that carry an ad, and the file each goes to.
const ADS: [(&str, &str); 2] =
    [(environment::JOB_AD, JOB_AD), (environment::MACHINE_AD, MACHINE_AD)];

/// Something below the scratch directory could not be made.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

/// Makes the directory, writes the ads and changes to the scratch directory.
pub(crate) fn prepare(scratch: &Path, ads: &[(&'static str, OsString)]) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        |error| Failure { path, error }
    };
    make(scratch, 0o700).map_err(failed(scratch))?;
    for (name, text) in ads {
        let file = scratch.join(name);
        write_ad(&file, text).map_err(failed(&file))?;
    }
    std::env::set_current_dir(scratch).map_err(failed(scratch))
}

/// The ads among the container's variables, with the file that each goes to.
pub(crate) fn ads(variables: &[(OsString, OsString)]) -> Vec<(&'static str, OsString)> {
    let value = |wanted: &str| variables.iter().find(|(name, _)| name == wanted);
    let ads = ADS.iter().filter_map(|(variable, file)| Some((*file, value(variable)?.1.clone())));
    ads.collect()
}

/// Makes a directory. One that is there is kept with its mode: it may be a volume of its own.
pub(crate) fn make(directory: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => {
            // The umask took its part. What the volume hands down stays: with a pod's `fsGroup` new files get that group.
            let handed_down = fs::metadata(directory)?.permissions().mode() & 0o2000;
            fs::set_permissions(directory, Permissions::from_mode(mode | handed_down))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(directory)?.is_dir() {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(Errno::ENOTDIR as i32))
            }
        }
        Err(error) => Err(error),
    }
}

/// Replaces the file and never follows a link that came with the job's input.
fn write_ad(file: &Path, text: &OsStr) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut ad = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file)?;
    ad.write_all(text.as_bytes())?;
    if text.as_bytes().ends_with(b"\n") { Ok(()) } else { ad.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ad_has_its_file() {
        let variables: Vec<(OsString, OsString)> = vec![
            ("A".into(), "1".into()),
            (environment::MACHINE_AD.into(), "Cpus = 1".into()),
            (environment::JOB_AD.into(), "ClusterId = 5".into()),
        ];
        let expected = [(".job.ad", "ClusterId = 5".into()), (".machine.ad", "Cpus = 1".into())];
        assert_eq!(ads(&variables), expected);
        assert!(ads(&[]).is_empty());
    }
}
