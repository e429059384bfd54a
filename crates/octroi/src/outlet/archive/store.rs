//! The files: a batch's partitions are written aside on the same file system,
//! synced, renamed to where they belong, and the directories synced.
//!
//! INVARIANT: a name ending in `.ndjson.zst` shows a whole, synced file or none;
//! the same batch written again replaces the same files with the same bytes.
//!
//! Files are 0640 and directories 0750, less the process's umask: the
//! datacenter's group reads, nobody else. The archive's own directory is never
//! made: where a mount is missing, its absence is what tells.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use octroi_policy::{Text, text};
use zstd::Encoder;

use super::batch::{Batch, Lines};
use crate::fail_point;
use crate::outlet::Bounds;

/// The relay's thread compresses, and what bounds it bounds the target's rate.
const ZSTD_LEVEL: i32 = 1;
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// Where an archive's files are.
pub(super) struct Store {
    directory: PathBuf,
    aside: PathBuf,
    /// `{hub}-{generation}`, the start of each file's name.
    stem: String,
    /// Whether the aside directory is there and holds nothing.
    clean: bool,
}

/// A step on a path that failed.
#[derive(Debug)]
pub(super) struct StoreError {
    step: Step,
    path: PathBuf,
    source: io::Error,
}

/// What was tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Open,
    Create,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
}

impl Step {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Open => ("open", "d'ouvrir"),
            Self::Create => ("create", "de créer"),
            Self::Read => ("read", "de lire"),
            Self::Write => ("write", "d'écrire"),
            Self::Sync => ("sync", "de synchroniser"),
            Self::Rename => ("rename a finished file to", "de renommer un fichier achevé en"),
            Self::Remove => ("remove the leftover", "de supprimer le reliquat"),
        }
    }
}

impl StoreError {
    /// What failed, and where.
    pub(super) fn reason(&self) -> Text {
        let ((step, pas), path, source) = (self.step.words(), self.path.display(), &self.source);
        text!("failed to {step} `{path}`: {source}", "impossible {pas} `{path}` : {source}")
    }

    /// What an operator must do; `None`: it may pass by itself.
    pub(super) fn mend(&self) -> Option<Text> {
        let path = self.path.display();
        use ErrorKind as Kind;
        let kind = self.source.kind();
        let mend = if kind == Kind::NotFound {
            text!(
                "create the archive's directory (or mount it) and let the hub's user write in it: \
                 `install -d -o octroi -g octroi -m 2750 {path}`",
                "créez le répertoire de l'archive (ou montez-le) et donnez-y le droit d'écriture à l'utilisateur du \
                 hub : `install -d -o octroi -g octroi -m 2750 {path}`"
            )
        } else if kind == Kind::PermissionDenied {
            text!(
                "let the hub's user write there: `chown octroi {path}`, or check its ACLs",
                "donnez-y le droit d'écriture à l'utilisateur du hub : `chown octroi {path}`, ou vérifiez ses ACL"
            )
        } else if kind == Kind::ReadOnlyFilesystem {
            text!(
                "remount the file system of `{path}` read-write",
                "remontez le système de fichiers de `{path}` en lecture-écriture"
            )
        } else if matches!(kind, Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge) {
            text!(
                "make room on the file system of `{path}`, or raise its quota",
                "libérez de la place sur le système de fichiers de `{path}`, ou relevez son quota"
            )
        } else if matches!(kind, Kind::NotADirectory | Kind::AlreadyExists | Kind::IsADirectory) {
            text!(
                "move away what stands at `{path}`: a directory is expected there",
                "déplacez ce qui se trouve en `{path}` : un répertoire y est attendu"
            )
        } else if kind == Kind::InvalidFilename {
            text!("shorten the ids in `{path}`", "raccourcissez les identifiants dans `{path}`")
        } else {
            return None;
        };
        Some(mend)
    }
}

impl Store {
    pub(super) fn new(directory: PathBuf, hub: &str, generation: u64) -> Self {
        let aside = directory.join(".octroi").join(hub);
        let stem = format!("{hub}-{generation:016x}");
        Self { directory, aside, stem, clean: false }
    }

    /// Makes the aside directory, and removes what a crash left in it.
    pub(super) fn prepare(&mut self) -> Result<(), StoreError> {
        if self.clean {
            return Ok(());
        }
        make_directories(&self.directory, &self.aside)?;
        let entries = fs::read_dir(&self.aside).map_err(fail(Step::Read, &self.aside))?;
        for entry in entries {
            let path = entry.map_err(fail(Step::Read, &self.aside))?.path();
            fs::remove_file(&path).map_err(fail(Step::Remove, &path))?;
        }
        self.clean = true;
        Ok(())
    }

    /// Writes the batch's files; they are durable when it returns. After an
    /// error some may be: writing the batch again replaces them.
    pub(super) fn write(&mut self, batch: &Batch, bounds: Bounds) -> Result<(), StoreError> {
        self.prepare()?;
        self.clean = false; // until all is in place
        let mut written = Vec::with_capacity(batch.partitions.len());
        for (n, (partition, lines)) in batch.partitions.iter().enumerate() {
            let aside = self.aside.join(format!("{n}.part"));
            if let Err(error) = Self::write_aside(&aside, lines) {
                // Room for others, at least; what stays is removed by `prepare`.
                drop(fs::remove_file(&aside));
                return Err(error);
            }
            written.push((aside, self.directory.join(partition)));
        }
        let name = format!("{}-{:020}-{:020}.ndjson.zst", self.stem, bounds.first, bounds.last);
        for (aside, partition) in &written {
            make_directories(&self.directory, partition)?;
            let path = partition.join(&name);
            fail_point::reached("archive.before_rename");
            fs::rename(aside, &path).map_err(fail(Step::Rename, &path))?;
            fail_point::reached("archive.after_rename");
        }
        for (_, partition) in &written {
            sync_directory(partition)?;
        }
        fail_point::reached("archive.written");
        self.clean = true;
        Ok(())
    }

    /// One frame a file (some readers stop after the first), with its size and checksum.
    fn write_aside(path: &Path, lines: &Lines) -> Result<(), StoreError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(path)
            .map_err(fail(Step::Create, path))?;
        let file = compress(lines, file).map_err(fail(Step::Write, path))?;
        fail_point::reached("archive.before_file_sync");
        file.sync_all().map_err(fail(Step::Sync, path))
    }
}

fn compress(lines: &Lines, file: File) -> io::Result<File> {
    let mut encoder = Encoder::new(file, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(lines.len() as u64))?;
    for block in lines.blocks() {
        encoder.write_all(block)?;
    }
    encoder.finish()
}

/// Makes `path` below `root`, which must exist, and makes each new entry durable.
fn make_directories(root: &Path, path: &Path) -> Result<(), StoreError> {
    let mut parent = root.to_path_buf();
    let below = path.strip_prefix(root).unwrap_or(path);
    if !root.is_dir() {
        let source = fs::read_dir(root).err().unwrap_or_else(|| ErrorKind::NotADirectory.into());
        return Err(StoreError { step: Step::Open, path: parent, source });
    }
    for component in below.components() {
        let child = parent.join(component);
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&child) {
            Ok(()) => sync_directory(&parent)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && child.is_dir() => {}
            Err(error) => return Err(fail(Step::Create, &child)(error)),
        }
        parent = child;
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(fail(Step::Sync, path))
}

pub(super) fn fail(step: Step, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError { step, path: path.to_path_buf(), source }
}
