//! A small file that is there whole, old or new, whatever happens meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::fail_point;

/// Puts `bytes` at `path`, readable by the hub's own user alone; on disk when this returns.
///
/// # Errors
/// The disk. What stood there before stands there still.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_as(path, bytes, 0o600)
}

/// The same, readable by whom `mode` says.
///
/// # Errors
/// The disk. What stood there before stands there still.
pub(crate) fn replace_as(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let aside = path.with_extension("aside");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&aside)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    fail_point::reached("durable.before_rename");
    fs::rename(&aside, path)?;
    fail_point::reached("durable.renamed");
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_the_new_whole_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.state");
        for text in ["longer at first", "short"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("none/a"), b"").is_err());
    }
}
