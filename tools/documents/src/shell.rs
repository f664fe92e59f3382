//! The shell of one page: one bash process with its own directory.

use runway_devcluster::Kubectl;
use runway_steps::{target_dir, workspace_root};
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

/// Maximum time for one call of [`Shell::run`]. A background command must print the expected output within a
/// fifth of this time.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Maximum time for background processes to exit after SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// The server's address on the pages. Another program may use this port on the test machine, so blocks run
/// with another address.
const DOCUMENTED_ADDRESS: &str = "127.0.0.1:8080";

/// A replacement for the `cargo` of the pages. It runs the programs and the `xtask` that were already built,
/// instead of building them. It passes all other commands to the real `cargo`.
const CARGO_WRAPPER: &str = r#"#!/bin/sh
if [ "$1 $2 $3 $5" = "run --release --bin --" ]; then program=$4; shift 5; exec "$program" "$@"; fi
if [ "$1" = xtask ]; then shift; exec "$XTASK" "$@"; fi
cd "$PROJECT" && exec "$CARGO" "$@"
"#;

/// The shell commands for one block. `NUMBER` is replaced by the path of the block's files without extension.
const BLOCK_SCRIPT: &str = "FAILED=0; trap 'FAILED=$?' ERR; . NUMBER.sh > NUMBER.out 2>&1 < /dev/null; trap - ERR; echo \"$FAILED\"\n";

/// The shell commands for a block in the background.
const BACKGROUND_SCRIPT: &str = "{ . NUMBER.sh; } > NUMBER.out 2>&1 < /dev/null & echo 0\n";

/// A running shell and its directories.
pub(super) struct Shell {
    bash: Child,
    input: Option<ChildStdin>,
    exit_codes: Receiver<String>,
    /// The directory with the scripts of the blocks and their output.
    block_dir: PathBuf,
    /// The working directory of the shell. It contains links to the project's files, and files that the
    /// blocks create.
    reader_dir: PathBuf,
    address: String,
    blocks: usize,
}

/// The result of a block's commands.
pub(super) struct CommandResult {
    /// The exit code of the last command that failed, or 0.
    pub(super) code: i32,
    /// The output of the commands.
    pub(super) output: String,
}

impl Shell {
    pub(super) fn open(on_cluster: bool) -> Result<Self, String> {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("runway-documents-{}-{number}", std::process::id()));
        let _none = fs::remove_dir_all(&base);
        let io_error = |error| format!("{}: {error}", base.display());
        let [block_dir, reader_dir, programs] = ["notes", "reader", "programs"].map(|name| base.join(name));
        for dir in [&block_dir, &reader_dir, &programs] {
            fs::create_dir_all(dir).map_err(io_error)?;
        }
        link_project(&reader_dir).map_err(io_error)?;
        let cargo = programs.join("cargo");
        fs::write(&cargo, CARGO_WRAPPER).map_err(io_error)?;
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).map_err(io_error)?;
        if on_cluster {
            let kubectl = Kubectl::new().map_err(|failed| failed.to_string())?;
            symlink(kubectl.path(), programs.join("kubectl")).map_err(io_error)?;
        }
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(io_error)?;
        let mut bash =
            bash_command(&programs, &address.to_string(), on_cluster).map_err(|what| what.to_string())?;
        bash.env("RUNWAY_STATE_DIR", base.join("state"));
        let mut bash = bash.current_dir(&reader_dir).spawn().map_err(|error| format!("bash: {error}"))?;
        let (send, exit_codes) = channel();
        if let Some(stdout) = bash.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _nobody_waits = send.send(line);
                }
            });
        }
        let input = bash.stdin.take();
        Ok(Self { bash, input, exit_codes, block_dir, reader_dir, address: address.to_string(), blocks: 0 })
    }

    /// Writes a file to the working directory.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.reader_dir.join(name), self.with_address(text))
            .map_err(|error| format!("{name}: {error}"))
    }

    /// Runs commands and waits until they have finished.
    pub(super) fn run(&mut self, commands: &str) -> Result<CommandResult, String> {
        let output = self.send(BLOCK_SCRIPT, commands)?;
        let code = match self.exit_codes.recv_timeout(TIMEOUT) {
            Ok(code) => code.parse().map_err(|_| format!("unexpected exit code `{code}`"))?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!(
                    "the block takes longer than {TIMEOUT:?}:\n{}",
                    self.read_output(&output)
                ));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the block ended the shell".to_owned()),
        };
        Ok(CommandResult { code, output: self.read_output(&output) })
    }

    /// Runs a command in the background and waits until `is_ready` accepts its output.
    pub(super) fn run_background(
        &mut self,
        command: &str,
        is_ready: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let output = self.send(BACKGROUND_SCRIPT, command)?;
        let started_at = Instant::now();
        loop {
            let printed = self.read_output(&output);
            if is_ready(&printed) {
                break;
            }
            if started_at.elapsed() > TIMEOUT / 5 {
                return Err(format!("time-out; output so far:\n{printed}"));
            }
            sleep(Duration::from_millis(50));
        }
        self.exit_codes.recv().map(drop).map_err(|_| "the block ended the shell".to_owned())
    }

    fn send(&mut self, script: &str, commands: &str) -> Result<PathBuf, String> {
        self.blocks += 1;
        let name = self.block_dir.join(self.blocks.to_string());
        let io_error = |error| format!("{}: {error}", name.display());
        fs::write(name.with_extension("sh"), self.with_address(commands)).map_err(io_error)?;
        let output = name.with_extension("out");
        File::create(&output).map_err(io_error)?;
        let call = script.replace("NUMBER", &name.display().to_string());
        let Some(input) = &mut self.input else { return Err("the shell has no input".to_owned()) };
        input.write_all(call.as_bytes()).map_err(io_error)?;
        Ok(output)
    }

    fn read_output(&self, output: &Path) -> String {
        let bytes = fs::read(output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace(&self.address, DOCUMENTED_ADDRESS)
    }

    fn with_address(&self, text: &str) -> String {
        text.replace(DOCUMENTED_ADDRESS, &self.address)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        // Every process that the shell started belongs to its process group, and may take a while to exit.
        if let Some(group) = i32::try_from(self.bash.id()).ok().and_then(Pid::from_raw) {
            let _none_left = kill_process_group(group, Signal::TERM);
            let _ended = self.bash.wait();
            let term_sent_at = Instant::now();
            while test_kill_process_group(group).is_ok() {
                if term_sent_at.elapsed() > SHUTDOWN_TIMEOUT {
                    let _none_left = kill_process_group(group, Signal::KILL);
                }
                sleep(Duration::from_millis(50));
            }
        }
        if let Some(base) = self.block_dir.parent() {
            let _stays = fs::remove_dir_all(base);
        }
    }
}

/// Returns a call of bash without startup files and without the caller's `RUNWAY_*` variables. KUBECONFIG is
/// passed only if the page is run on a cluster.
fn bash_command(programs: &Path, address: &str, on_cluster: bool) -> std::io::Result<Command> {
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc"]).process_group(0);
    bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RUNWAY_") || (name == "KUBECONFIG" && !on_cluster) {
            bash.env_remove(name);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs.to_owned(), target_dir().join("debug")];
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)));
    bash.env("PATH", path.map_err(std::io::Error::other)?);
    bash.env("PROJECT", workspace_root()).env("XTASK", std::env::current_exe()?);
    bash.env("CARGO", std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    bash.env("RUNWAY_LISTEN", address).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
    Ok(bash)
}

/// Links the project's files and directories, except `target` and hidden ones, into a directory. So commands
/// can read them, and write new files next to the links.
fn link_project(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(workspace_root())? {
        let entry = entry?;
        let name = entry.file_name();
        if name != "target" && !name.to_string_lossy().starts_with('.') {
            symlink(entry.path(), dir.join(name))?;
        }
    }
    Ok(())
}
