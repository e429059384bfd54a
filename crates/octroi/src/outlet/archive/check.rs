//! A look at an archive's directory: is it there, may we write, is there room.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use octroi_policy::text;
use rustix::fs::{Access, access, statvfs};

use super::store::{Step, StoreError, fail};
use crate::outlet::check::Checked;

/// Below so much room an archive is about to stop.
const ROOM_LEAST: u64 = 1 << 30;

/// Looks at an archive's directory as the user who runs this sees it; writes nothing.
#[must_use]
pub fn check(directory: &Path) -> Checked {
    let mut checked = Checked { reached: true, ..Checked::default() };
    checked.fact("directory", directory.display().to_string());
    if let Err(error) = look(directory, &mut checked) {
        let unknown = || {
            text!(
                "look at the directory as the hub's user",
                "examinez le répertoire en tant qu'utilisateur du hub"
            )
        };
        checked.missing(error.reason(), error.mend().unwrap_or_else(unknown));
    }
    checked
}

fn look(directory: &Path, checked: &mut Checked) -> Result<(), StoreError> {
    let metadata = fs::metadata(directory).map_err(fail(Step::Open, directory))?;
    if !metadata.is_dir() {
        return Err(fail(Step::Open, directory)(ErrorKind::NotADirectory.into()));
    }
    let writable = access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from);
    writable.map_err(fail(Step::Write, directory))?;
    let room = statvfs(directory).map_err(io::Error::from).map_err(fail(Step::Read, directory))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    checked.fact("free_bytes", free.to_string());
    if free < ROOM_LEAST {
        return Err(fail(Step::Write, directory)(ErrorKind::StorageFull.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_there_has_its_room_told_and_one_that_is_not_is_missing_with_its_command() {
        let directory = tempfile::tempdir().unwrap();
        let found = check(directory.path());
        assert!(found.facts.iter().any(|(name, _)| *name == "free_bytes"), "{found:?}");
        let gone = check(&directory.path().join("mount"));
        assert!(gone.is_missing_something());
        assert!(gone.findings[0].mend.en.contains("install -d"), "{gone:?}");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check(&file).findings[0].mend.fr.contains("un répertoire y est attendu"));
    }
}
