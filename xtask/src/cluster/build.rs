//! Kubernetes from Debian's source package, built once into a cache.

use super::binaries::ADVICE;
use super::failure::Failure;
use super::packages::{self, is_debian_12, logged};
use super::process::{APISERVER, CONTROLLER_MANAGER, KUBELET, SCHEDULER, search_path};
use super::sources;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What is built, and under which version it is kept.
const VERSION: &str = "1.20.2";

/// A library that Kubernetes carries along in a version which corrupts memory under this compiler: since Go 1.18 the
/// iteration of maps takes an argument that the old version does not pass. Debian has the version that does.
const REPLACED: (&str, &str, &str) =
    ("golang-github-modern-go-reflect2", "1.0.2", "vendor/github.com/modern-go/reflect2");

const PROGRAMS: &[&str] = &[APISERVER, CONTROLLER_MANAGER, SCHEDULER, KUBELET];

/// Only the build takes these.
const PACKAGES: &[&str] = &["golang-1.19-go", "rsync", "jq", "dpkg-dev", "make"];

/// Where Debian puts that compiler.
const COMPILER: &str = "/usr/lib/go-1.19/bin";

/// How often a long stage says that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The folder of the programs once they are built.
pub(crate) fn cache() -> Result<PathBuf, Failure> {
    Ok(cache_folder()?.join(format!("kubernetes-v{VERSION}")))
}

/// The folder of what is not to be fetched or built each time.
pub(crate) fn cache_folder() -> Result<PathBuf, Failure> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    let caches = caches
        .ok_or_else(|| Failure::Unable { what: "neither XDG_CACHE_HOME nor HOME is set".to_owned() })?;
    Ok(caches.join("runway"))
}

/// Builds the programs beside the cache, and renames the folder when it is complete.
pub(crate) fn build(cache: &Path) -> Result<(), Failure> {
    if !fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian_12(&text)) {
        let what = format!("Kubernetes can be built from source on Debian 12 only: {ADVICE}");
        return Err(Failure::Unable { what });
    }
    let told = |path: &Path| Failure::io(format!("`{}`", path.display()));
    let parent = cache.parent().unwrap_or(cache);
    fs::create_dir_all(parent).map_err(told(parent))?;
    let lock = parent.join("build.lock");
    let lock_file = fs::File::options().create(true).append(true).open(&lock).map_err(told(&lock))?;
    if lock_file.try_lock().is_err() {
        eprintln!("xtask: waiting for another build of Kubernetes");
        lock_file.lock().map_err(told(&lock))?;
    }
    if cache.is_dir() {
        return Ok(());
    }
    let work = parent.join(format!("kubernetes-v{VERSION}.building"));
    let log = parent.join("build.log");
    // What an interrupted build left counts for nothing.
    for old in [&work, &log] {
        remove(old)?;
    }
    let stages = Stages { begun: Instant::now(), log };
    eprintln!(
        "xtask: building Kubernetes {VERSION}, once, in about 7 minutes; log: `{}`",
        stages.log.display()
    );
    stages.run("packages that the build takes", || {
        let programs = [("go", COMPILER), ("rsync", ""), ("jq", ""), ("dpkg-source", ""), ("make", "")];
        let path = search_path();
        let present = |(program, folder): &(&str, &str)| {
            let mut folders = std::env::split_paths(&path).chain([PathBuf::from(folder)]);
            folders.any(|folder| folder.is_absolute() && folder.join(program).exists())
        };
        let missing = programs.iter().filter(|program| !present(program));
        let missing: Vec<String> = missing.map(|(program, _)| (*program).to_owned()).collect();
        if missing.is_empty() { Ok(()) } else { packages::install(PACKAGES, &missing, ADVICE) }
    })?;
    let source = work.join("go/src/k8s.io/kubernetes");
    fs::create_dir_all(&source).map_err(told(&source))?;
    stages.run("Debian's source package", || download(&work, &stages.log))?;
    stages.run("unpacking", || {
        unpack(&archive(&work, "kubernetes", VERSION)?, &source, &stages.log)?;
        let (package, version, folder) = REPLACED;
        let folder = source.join(folder);
        remove(&folder)?;
        fs::create_dir_all(&folder).map_err(told(&folder))?;
        unpack(&archive(&work, package, version)?, &folder, &stages.log)
    })?;
    stages.run("compiling", || compile(&work, &source, &stages.log))?;
    let complete = work.join("programs");
    fs::create_dir(&complete).map_err(told(&complete))?;
    for program in PROGRAMS {
        let built = source.join("_output/local/go/bin").join(program);
        fs::rename(&built, complete.join(program)).map_err(told(&built))?;
    }
    fs::rename(&complete, cache).map_err(told(cache))?;
    remove(&work)?;
    remove(&stages.log)?;
    eprintln!("xtask: Kubernetes {VERSION} is built: `{}`", cache.display());
    Ok(())
}

/// Fetches the source package with the machine's own package sources, and leaves the machine's lists alone.
fn download(work: &Path, log: &Path) -> Result<(), Failure> {
    let told = |error| Failure::Io { what: "the list of package sources".to_owned(), error };
    for folder in ["lists/partial", "archives/archives/partial", "sources"] {
        fs::create_dir_all(work.join(folder)).map_err(told)?;
    }
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.push("/etc/apt/sources.list".into());
    let (mut stanzas, mut lines) = (String::new(), String::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => stanzas.push_str(&sources::deb822(&text)),
            Some("list") => lines.push_str(&sources::one_line(&text)),
            _ => {}
        }
    }
    if stanzas.is_empty() && lines.is_empty() {
        let what = format!("no package source of Debian 12 is listed in `/etc/apt`: {ADVICE}");
        return Err(Failure::Unable { what });
    }
    fs::write(work.join("sources/debian.sources"), stanzas).map_err(told)?;
    fs::write(work.join("sources/debian.list"), lines).map_err(told)?;
    let apt_get = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(work).arg("-oDir::Etc::sourcelist=/dev/null");
        for (option, folder) in
            [("Dir::Etc::sourceparts", "sources"), ("Dir::State::Lists", "lists"), ("Dir::Cache", "archives")]
        {
            command.arg(format!("-o{option}={}", work.join(folder).display()));
        }
        logged(command.args(words), &format!("apt-get {}", words.join(" ")), log)
    };
    apt_get(&["update"])?;
    apt_get(&["source", "--download-only", "kubernetes", REPLACED.0])
}

fn unpack(archive: &Path, folder: &Path, log: &Path) -> Result<(), Failure> {
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(folder).arg("--strip-components=1");
    logged(&mut tar, "tar", log)
}

/// The archive of a source package in the version that is wanted.
fn archive(work: &Path, package: &str, version: &str) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(work).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_archive = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_prefix(package).and_then(|rest| rest.strip_prefix('_'));
        let found = name.and_then(|rest| rest.split_once(".orig.tar."));
        found.is_some_and(|(found, _)| found.ends_with(version))
    };
    entries.into_iter().find(is_archive).ok_or_else(|| Failure::Unable {
        what: format!("Debian's source package {package} is not of version {version}: {ADVICE}"),
    })
}

fn compile(work: &Path, source: &Path, log: &Path) -> Result<(), Failure> {
    let (major, rest) = VERSION.split_once('.').unwrap_or_default();
    let (minor, _) = rest.split_once('.').unwrap_or_default();
    // The path is the log's runner's, so the compiler's place is named to the shell.
    let mut command = Command::new("/bin/sh");
    command.current_dir(source).args(["-c", "PATH=\"$1:$PATH\" exec make \"WHAT=$2\"", "sh", COMPILER]);
    command.arg(PROGRAMS.iter().map(|program| format!("cmd/{program}")).collect::<Vec<_>>().join(" "));
    for name in ["GO111MODULE", "GOFLAGS", "GOROOT", "GOBIN", "MAKEFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    command
        .env("GOPATH", work.join("go"))
        .env("GOCACHE", work.join("compiled"))
        .env("CGO_ENABLED", "0")
        .env("KUBE_GIT_VERSION", format!("v{VERSION}"))
        .env("KUBE_GIT_MAJOR", major)
        .env("KUBE_GIT_MINOR", minor)
        .env("KUBE_GIT_COMMIT", "0000000000000000000000000000000000000000")
        .env("KUBE_GIT_TREE_STATE", "clean");
    logged(&mut command, "make", log)
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<(), Failure> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::Io { what: format!("`{}`", path.display()), error })
        }
        _ => Ok(()),
    }
}

/// Stages of a build, each told of with the time since the start.
struct Stages {
    begun: Instant,
    log: PathBuf,
}

impl Stages {
    fn run(&self, stage: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        self.tell(stage);
        std::thread::scope(|scope| {
            let (done, rest) = channel::<()>();
            scope.spawn(move || {
                while rest.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
                    self.tell(&format!("still {stage}"));
                }
            });
            let result = work();
            drop(done);
            result
        })
    }

    fn tell(&self, stage: &str) {
        let seconds = self.begun.elapsed().as_secs();
        eprintln!("xtask: {:>3}:{:02}  {stage}", seconds / 60, seconds % 60);
    }
}
