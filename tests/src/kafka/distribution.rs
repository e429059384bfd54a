//! The jars of Apache Kafka, fetched once by Maven, and its tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::needs;
use crate::process;

/// Must be the version in `tests/kafka/pom.xml`.
const VERSION: &str = "4.3.1";

/// The jars.
#[derive(Clone)]
pub struct Distribution {
    libs: PathBuf,
    pub(super) java: PathBuf,
}

impl Distribution {
    /// The jars from the cache, fetched once; `Err` says what is missing and how to mend it.
    ///
    /// The cache is `OCTROI_TEST_CACHE`, else `target/test-cache` of the repository.
    pub fn obtain() -> Result<Self, String> {
        static FETCH: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one_at_a_time = FETCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let java = needs::find("java")
            .ok_or("`java` is not installed: `apt-get install default-jre-headless` (Java 17 or later)")?;
        let cache = crate::cache();
        let libs = cache.join(format!("kafka-{VERSION}"));
        if !libs.is_dir() {
            fetch(&cache, &libs)?;
        }
        Ok(Self { libs, java })
    }

    pub(super) fn java_arguments(&self, megabytes: u32) -> Vec<String> {
        vec![
            format!("-Xmx{megabytes}m"),
            "-XX:TieredStopAtLevel=1".to_owned(), // starts faster; no throughput of Kafka's own is measured here
            "-XX:+UseSerialGC".to_owned(),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned(),
            "-cp".to_owned(),
            format!("{}/*", self.libs.display()),
        ]
    }

    /// Runs a tool to its end; what it said on stdout, or all it said if it failed.
    pub(super) fn try_tool(&self, class: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.java);
        command.args(self.java_arguments(256)).arg(class).args(arguments);
        let finished = process::run(&mut command, Duration::from_secs(90)).expect("java starts");
        if finished.code == 0 { Ok(finished.out) } else { Err(format!("{}{}", finished.out, finished.err)) }
    }

    #[track_caller]
    pub(super) fn tool(&self, class: &str, arguments: &[&str]) -> String {
        self.try_tool(class, arguments).unwrap_or_else(|said| panic!("{class} {arguments:?}: {said}"))
    }
}

/// Into a directory beside the final one, renamed when it is complete: an interrupted fetch leaves nothing
/// that a later run would take for the whole.
fn fetch(cache: &Path, libs: &Path) -> Result<(), String> {
    let maven = needs::find("mvn").ok_or("`mvn` is not installed: `apt-get install maven`")?;
    fs::create_dir_all(cache).map_err(|error| format!("cannot create `{}`: {error}", cache.display()))?;
    let partial = tempfile::Builder::new().prefix("kafka-partial-").tempdir_in(cache);
    let partial = partial.map_err(|error| format!("cannot write in `{}`: {error}", cache.display()))?;
    let mut command = Command::new(maven);
    command.args(["--batch-mode", "--quiet", "-f"]).arg(crate::root().join("tests/kafka/pom.xml"));
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    command.arg(format!("-DoutputDirectory={}", partial.path().display()));
    let finished = process::run(&mut command, Duration::from_secs(900)).map_err(|error| error.to_string())?;
    if finished.code != 0 {
        let said = format!("{}{}", finished.out, finished.err);
        let first = said.lines().find(|line| line.contains("ERROR")).unwrap_or("it said nothing");
        return Err(format!("Maven could not fetch it (code {}): {first}", finished.code));
    }
    fs::rename(partial.keep(), libs)
        .map_err(|error| format!("cannot rename to `{}`: {error}", libs.display()))
}
