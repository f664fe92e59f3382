//! Runs the `runway` program in the root directory of the workspace.

pub use runway_testing::paths::workspace_root as root;
use std::io::Write;
use std::process::{Command, Output, Stdio};

pub struct ProgramOutput {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn runway_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runway"));
    command.args(arguments).current_dir(root());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("RUNWAY_") || name.starts_with("CLICOLOR"))
    {
        command.env_remove(name);
    }
    // The test servers are on this machine, so the program must not use a proxy.
    command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
    command
}

pub fn runway(arguments: &[&str]) -> ProgramOutput {
    to_program_output(runway_command(arguments).stdin(Stdio::null()).output().unwrap())
}

pub fn runway_with(arguments: &[&str], stdin: &[u8]) -> ProgramOutput {
    run_with_input(runway_command(arguments), stdin)
}

/// Runs a command with this standard input.
pub fn run_with_input(mut command: Command, stdin: &[u8]) -> ProgramOutput {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // The program may exit without reading its input.
    let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    to_program_output(output)
}

pub fn to_program_output(output: Output) -> ProgramOutput {
    ProgramOutput {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns the files of a directory below `fixtures`, without subdirectories. The paths are relative to the
/// workspace.
pub fn fixtures(dir: &str) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("fixtures").join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| format!("fixtures/{dir}/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    files.sort();
    files
}
