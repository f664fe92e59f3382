//! The shell of one page: one bash process with its own directory.

use runway_devcluster::Kubectl;
use runway_steps::{root, target_folder};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Maximum time for one block.
const PATIENCE: Duration = Duration::from_secs(300);

/// Maximum time for background processes to exit after SIGTERM.
const ENDING: Duration = Duration::from_secs(20);

/// The server's address on the pages. Another program may use this port on the test machine, so blocks run
/// with another address.
const ADDRESS: &str = "127.0.0.1:8080";

/// A replacement for the `cargo` of the pages. It runs the programs that were already built, instead of
/// building them in release mode.
const CARGO: &str = r#"#!/bin/sh
if [ "$1 $2 $3 $5" = "run --release --bin --" ]; then program=$4; shift 5; exec "$program" "$@"; fi
if [ "$1" = xtask ]; then shift; exec "$XTASK" "$@"; fi
cd "$PROJECT" && exec "$CARGO" "$@"
"#;

/// The shell commands for one block. `NUMBER` is replaced by the path of the block's files without extension.
const BLOCK: &str = "FAILED=0; trap 'FAILED=$?' ERR; . NUMBER.sh > NUMBER.out 2>&1 < /dev/null; trap - ERR; echo \"$FAILED\"\n";

/// The shell commands for a block in the background.
const BACKGROUND: &str = "{ . NUMBER.sh; } > NUMBER.out 2>&1 < /dev/null & echo 0\n";

/// A running shell and its directories.
pub(super) struct Shell {
    bash: Child,
    input: Option<ChildStdin>,
    codes: Receiver<String>,
    /// The directory with the scripts of the blocks and their output.
    notes: PathBuf,
    /// The working directory of the shell. It contains links to the project's files, and files that the
    /// blocks create.
    folder: PathBuf,
    address: String,
    blocks: usize,
}

/// The result of a block's commands.
pub(super) struct Ran {
    /// The exit code of the last command that failed, or 0.
    pub(super) code: i32,
    /// The output of the commands.
    pub(super) printed: String,
}

impl Shell {
    pub(super) fn open(on_a_cluster: bool) -> Result<Self, String> {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("runway-documents-{}-{number}", std::process::id()));
        let _none = fs::remove_dir_all(&base);
        let told = |error| format!("{}: {error}", base.display());
        let [notes, folder, programs] = ["notes", "reader", "programs"].map(|name| base.join(name));
        for made in [&notes, &folder, &programs] {
            fs::create_dir_all(made).map_err(told)?;
        }
        link_project(&folder).map_err(told)?;
        let cargo = programs.join("cargo");
        fs::write(&cargo, CARGO).map_err(told)?;
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).map_err(told)?;
        if on_a_cluster {
            let kubectl = Kubectl::new().map_err(|failed| failed.to_string())?;
            symlink(kubectl.path(), programs.join("kubectl")).map_err(told)?;
        }
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(told)?;
        let mut bash =
            command(&programs, &free.to_string(), on_a_cluster).map_err(|what| what.to_string())?;
        bash.env("RUNWAY_STATE_DIR", base.join("state"));
        let mut bash = bash.current_dir(&folder).spawn().map_err(|error| format!("bash: {error}"))?;
        let (send, codes) = channel();
        if let Some(said) = bash.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(said).lines().map_while(Result::ok) {
                    let _nobody_waits = send.send(line);
                }
            });
        }
        let input = bash.stdin.take();
        Ok(Self { bash, input, codes, notes, folder, address: free.to_string(), blocks: 0 })
    }

    /// Writes a file to the working directory.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.folder.join(name), self.with_address(text)).map_err(|error| format!("{name}: {error}"))
    }

    /// Runs commands and waits until they have finished.
    pub(super) fn run(&mut self, commands: &str) -> Result<Ran, String> {
        let output = self.begin(BLOCK, commands)?;
        let code = match self.codes.recv_timeout(PATIENCE) {
            Ok(code) => code.parse().map_err(|_| format!("unexpected exit code `{code}`"))?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the block takes longer than {PATIENCE:?}:\n{}", self.printed(&output)));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the block ended the shell".to_owned()),
        };
        Ok(Ran { code, printed: self.printed(&output) })
    }

    /// Runs a command in the background and waits until `is_ready` accepts its output.
    pub(super) fn run_on(&mut self, command: &str, is_there: impl Fn(&str) -> bool) -> Result<(), String> {
        let output = self.begin(BACKGROUND, command)?;
        let begun = Instant::now();
        loop {
            let printed = self.printed(&output);
            if is_there(&printed) {
                break;
            }
            if begun.elapsed() > PATIENCE / 5 {
                return Err(format!("time-out; output so far:\n{printed}"));
            }
            sleep(Duration::from_millis(50));
        }
        self.codes.recv().map(drop).map_err(|_| "the block ended the shell".to_owned())
    }

    fn begin(&mut self, how: &str, commands: &str) -> Result<PathBuf, String> {
        self.blocks += 1;
        let name = self.notes.join(self.blocks.to_string());
        let told = |error| format!("{}: {error}", name.display());
        fs::write(name.with_extension("sh"), self.with_address(commands)).map_err(told)?;
        let output = name.with_extension("out");
        File::create(&output).map_err(told)?;
        let call = how.replace("NUMBER", &name.display().to_string());
        let Some(input) = &mut self.input else { return Err("the shell has no input".to_owned()) };
        input.write_all(call.as_bytes()).map_err(told)?;
        Ok(output)
    }

    fn printed(&self, output: &Path) -> String {
        let bytes = fs::read(output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace(&self.address, ADDRESS)
    }

    fn with_address(&self, text: &str) -> String {
        text.replace(ADDRESS, &self.address)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        // Every process that the shell started belongs to its process group, and may take a while to exit.
        if let Some(group) = i32::try_from(self.bash.id()).ok().and_then(Pid::from_raw) {
            let _none_left = kill_process_group(group, Signal::TERM);
            let _ended = self.bash.wait();
            let asked = Instant::now();
            while test_kill_process_group(group).is_ok() {
                if asked.elapsed() > ENDING {
                    let _none_left = kill_process_group(group, Signal::KILL);
                }
                sleep(Duration::from_millis(50));
            }
        }
        if let Some(base) = self.notes.parent() {
            let _stays = fs::remove_dir_all(base);
        }
    }
}

/// Returns a call of bash in a clean environment: without startup files and without Runway's variables.
fn command(programs: &Path, address: &str, on_a_cluster: bool) -> std::io::Result<Command> {
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc"]).process_group(0);
    bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RUNWAY_") || (name == "KUBECONFIG" && !on_a_cluster) {
            bash.env_remove(name);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs.to_owned(), target_folder().join("debug")];
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)));
    bash.env("PATH", path.map_err(std::io::Error::other)?);
    bash.env("PROJECT", root()).env("XTASK", std::env::current_exe()?);
    bash.env("CARGO", std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    bash.env("RUNWAY_LISTEN", address).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
    Ok(bash)
}

/// Links the project's files and directories into a directory, so that commands can read them and write next
/// to them.
fn link_project(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(root())? {
        let entry = entry?;
        let name = entry.file_name();
        if name != "target" && !name.to_string_lossy().starts_with('.') {
            symlink(entry.path(), folder.join(name))?;
        }
    }
    Ok(())
}
