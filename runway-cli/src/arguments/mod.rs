//! The commands and their options. `server` has the options of the commands that need a server.

mod known_values;
mod leading_options;
mod server;

pub(crate) use server::{OutputArgs, OutputFormat, ServerArgs, ServerUrl, SubmitArgs};

use crate::Exit;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use runway_core::capability::BackendKind;
use runway_core::policy::Cidr;
use runway_core::status::Phase;
use runway_core::units::Timestamp;
use runway_core::{Code, JobId, Tenant};
use std::ffi::OsString;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0    success: jobs are admitted, submitted, or succeeded with --wait
  1    at least one job is refused or malformed, or a request is refused
  2    invalid input: wrong usage, a missing file, or an invalid policy
  3    with --wait or --follow: at least one job failed, was cancelled, or
       disappeared before its result was known
  4    the server is unreachable or fails to answer
  130  interrupted by Ctrl-C; submitted jobs continue
If several codes apply, the highest one is used.
`diagnose` exits with 0 even if a Job failed.";

const ENVIRONMENT: &str = "\
Environment:
  RUNWAY_SERVER, RUNWAY_CERT, RUNWAY_KEY_FILE, RUNWAY_CA
      Defaults for --server, --cert, --key-file and --ca
  RUNWAY_USD_PER_CPU_SECOND, RUNWAY_USD_PER_GB_SECOND,
  RUNWAY_USD_PER_GPU_SECOND
      Override the prices in the policy's `rates`, in commands without a
      server; the last one is the price of GPUs without a type
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
      Proxies for connections to the server
  NO_COLOR
      Disable colours";

/// Check, price, render, submit and follow batch jobs
#[derive(Debug, Parser)]
#[command(name = "runway", version, after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{ENVIRONMENT}"))]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the command line. Options are accepted before or after the command. Prints the help, the
    /// version or a usage error if the command line requests or causes it.
    ///
    /// # Errors
    ///
    /// The exit status of the program, if there is no command to run.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        let root = Self::command();
        let args = leading_options::move_behind_command(args.into_iter().collect(), &root);
        Self::try_parse_from(&args).map_err(|mut error| {
            if let Some(variable) = invalid_variable(&error, &args, &root) {
                let tip = format!("the value comes from the environment variable `{variable}`");
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            }
            // A failure to print the message cannot be reported.
            let _ = error.print();
            match error.exit_code() {
                0 => Exit::Success,
                // `run` exits with 125 after a usage error, because other codes can be those of the job.
                _ if args.get(1).is_some_and(|command| command == "run") => Exit::NOT_RUN,
                _ => Exit::InvalidInput,
            }
        })
    }
}

/// Returns the name of the environment variable that contains the invalid value. Returns `None` if the value
/// comes from the command line.
fn invalid_variable(error: &clap::Error, args: &[OsString], root: &clap::Command) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = option.split(' ').next().unwrap_or_default();
    let is_given = args.iter().any(|arg| arg.to_string_lossy().starts_with(flag));
    let option = leading_options::find_option(root, flag.strip_prefix("--")?)?;
    let variable = option.get_env().filter(|variable| std::env::var_os(variable).is_some() && !is_given);
    variable.map(|variable| variable.to_string_lossy().into_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check jobs against the policy and print what to change
    Check(FileArgs),
    /// Print the maximum cost of jobs
    Quote(FileArgs),
    /// Print the Kubernetes objects for jobs, with secrets redacted
    Render {
        #[command(flatten)]
        files: FileArgs,
        /// Set the job's id: 12 characters of a-z and 0-9
        #[arg(long, value_name = "ID", default_value = "000000000000")]
        id: JobId,
    },
    /// Run a job on this machine and enforce its limits
    ///
    /// Checks the job against the policy and prints its maximum cost first.
    ///
    /// The image is not used: the command runs on this machine's files.
    ///
    /// The job sees these files read-only; /home, /root and /run are empty.
    ///
    /// It starts in an empty directory that is deleted when the job ends.
    ///
    /// The job's standard output and standard error are passed through.
    ///
    /// With `-o json`, standard output has only the result record.
    ///
    /// Ctrl-C cancels the job. A second Ctrl-C kills it.
    #[cfg(target_os = "linux")]
    #[command(after_help = RUN_EXIT_CODES)]
    Run(RunArgs),
    /// Submit jobs to a server
    ///
    /// Prints the id and the maximum cost of each job.
    ///
    /// Secrets with `from_env` get their values from this command's environment.
    #[command(after_help = EXIT_CODES)]
    Submit(SubmitArgs),
    /// Show the status of a job
    Status {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
        /// Select the job with this id
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// List jobs on a server, newest first
    Ls {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
        /// Show only jobs in this phase
        #[arg(long, value_name = "PHASE", value_parser = known_values::phases())]
        phase: Option<Phase>,
        /// Watch the list and print changes
        #[arg(long)]
        watch: bool,
    },
    /// Print the output of a job
    Logs {
        #[command(flatten)]
        server: ServerArgs,
        /// Print new output until the job ends
        ///
        /// Continues if the job is retried.
        #[arg(short, long)]
        follow: bool,
        /// Print only the last N lines of existing output
        #[arg(long, value_name = "N")]
        tail: Option<u32>,
        /// Select the job with this id
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Cancel a job
    ///
    /// The job receives SIGTERM, and SIGKILL after the policy's termination grace.
    Cancel {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
        /// Select the job with this id
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Show the usage and quotas of tenants
    Usage {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
        /// Show only this tenant
        ///
        /// [default: the value of --tenant, or each tenant with a job]
        #[arg(value_name = "TENANT")]
        of_tenant: Option<Tenant>,
    },
    /// Explain the state of Kubernetes Jobs and pods from `kubectl` output
    ///
    /// Reads the output of `kubectl get job,pod,event -o json`.
    ///
    /// The Jobs need not come from Runway. A pod without a Job is explained as well.
    ///
    /// The exit code is 0 if the input is valid, even if a Job failed.
    Diagnose {
        #[command(flatten)]
        output: TextOrJsonArgs,
        /// Show how long each state has lasted at this time
        ///
        /// A time in RFC 3339, such as 2026-11-21T08:00:00Z. Without a value, the current time.
        #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "now",
              value_parser = parse_now)]
        now: Option<Timestamp>,
        /// Read this file; `-` is standard input
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Explain an error code, or list all codes
    Explain {
        #[command(flatten)]
        output: TextOrJsonArgs,
        /// Explain this code, such as `cpu-above-max`
        #[arg(value_name = "CODE", hide_possible_values = true, value_parser = known_values::codes())]
        code: Option<Code>,
    },
    /// Check, show or render a policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the JSON Schema of job files
    Schema {
        #[command(flatten)]
        policy: PolicyFlag,
    },
    /// Print a shell completion script
    Completions {
        /// Print the script for this shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages to a directory
    Man {
        /// Write `runway.1`, `runway-submit.1` and the other pages here
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    #[command(flatten)]
    pub common: EvalArgs,
    /// Check that this backend supports the jobs
    #[arg(long, value_name = "NAME", value_parser = known_values::backends())]
    pub backend: Option<BackendKind>,
    /// Read jobs from these files; `-` is standard input
    ///
    /// A file contains one or more YAML documents.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[cfg(target_os = "linux")]
const RUN_EXIT_CODES: &str = "\
Exit codes:
  N        the exit code of the job's program
  128 + N  signal N ended the job (137: often out of memory), or `run`
           received signal N and cancelled the job
  124      the job exceeded its timeout
  125      the job was refused, or `run` failed or was used incorrectly
  126      the job's program cannot be executed
  127      the job's program does not exist";

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub common: EvalArgs,
    /// Read the job from this file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Run this command in place of the job's own
    ///
    /// It replaces `command` and `args`.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Run the job even if a limit cannot be enforced
    ///
    /// Prints a warning for each such limit.
    #[arg(long)]
    pub best_effort: bool,
    /// Offer only these GPUs to jobs [default: all]
    ///
    /// Takes indexes or UUIDs from `nvidia-smi -L`, separated by commas.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub gpu_devices: Option<Vec<String>>,
    /// Create the job's control group below this one
    ///
    /// The path starts at the root of each hierarchy.
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<PathBuf>,
    /// Keep the files of running jobs in this directory
    ///
    /// [default for root: /var/lib/runway]
    ///
    /// [default for others: $XDG_STATE_HOME/runway or ~/.local/state/runway]
    #[arg(long, alias = "state", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Options of the commands that evaluate jobs without a server.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    pub policy: PolicyFlag,
    /// Submit as this tenant
    ///
    /// A job that names another tenant is refused.
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    #[command(flatten)]
    pub output: TextOrJsonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyFlag {
    /// Use this policy file [default: the built-in policy]
    #[arg(id = "policy", long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TextOrJsonArgs {
    /// Select the output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: TextOrJson,
}

/// The output format of the commands that need no server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextOrJson {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a policy and print all its violations
    Check {
        #[command(flatten)]
        policy: PolicyFlag,
        #[command(flatten)]
        output: TextOrJsonArgs,
        /// Check this policy file [default: the value of --policy]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the policy, or the bounds for one tenant and class
    ///
    /// Without --tenant and --class, the output is a complete policy file.
    ///
    /// Otherwise it lists each bound and the policy path that sets it.
    Show {
        #[command(flatten)]
        common: EvalArgs,
        /// Show the bounds of this class
        ///
        /// [default: the policy's default class]
        #[arg(long, value_name = "NAME")]
        class: Option<String>,
    },
    /// Print the Kubernetes objects that enforce the policy in a cluster
    ///
    /// The objects are Namespaces, ResourceQuotas, LimitRanges, NetworkPolicies and
    /// ValidatingAdmissionPolicies.
    Render {
        #[command(flatten)]
        policy: PolicyFlag,
        #[command(flatten)]
        output: TextOrJsonArgs,
        /// Exclude these API server addresses from the network `open`
        ///
        /// Required if the policy allows the network `open`.
        ///
        /// Repeat the option for each range.
        #[arg(long, value_name = "CIDR")]
        api_server: Vec<Cidr>,
    },
    /// Print the JSON Schema of policy files
    Schema,
}

/// Parses the time of `--now`. The word `now` stands for the current time.
fn parse_now(text: &str) -> Result<Timestamp, String> {
    if text == "now" {
        return Timestamp::try_from(std::time::SystemTime::now()).map_err(|error| error.to_string());
    }
    text.parse().map_err(|_| "expected a time in RFC 3339, such as 2026-11-21T08:00:00Z".to_owned())
}
