//! The commands and their options. Those of the commands that need a server are in `server`.

mod server;

pub(crate) use server::{Form, Server, ServerUrl, Submit, View};

use crate::Exit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use runway_core::capability::BackendKind;
use runway_core::policy::Cidr;
use runway_core::status::Phase;
use runway_core::{Code, JobId, Tenant};
use std::ffi::OsString;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well: jobs are admitted, submitted, or with --wait succeeded
  1  refused: at least one job (a malformed one too), or what was asked of the server
  2  something could not be judged or sent: no such file, a policy that does not load, wrong usage
  3  with --wait or --follow, at least one job failed, was cancelled, or left before its end was seen
  4  the server cannot be reached, or cannot answer
Of several the highest counts. Ctrl-C ends with 130; jobs that were submitted go on.
`diagnose` exits with 0 whatever became of the Jobs.";

const ENVIRONMENT: &str = "\
Environment:
  RUNWAY_SERVER, RUNWAY_CERT, RUNWAY_KEY_FILE, RUNWAY_CA
            stand in for --server, --cert, --key-file and --ca
  RUNWAY_USD_PER_CPU_SECOND, RUNWAY_USD_PER_GB_SECOND, RUNWAY_USD_PER_GPU_SECOND
            prices in place of the policy's `rates`, where no server is asked; the last one is that of GPUs without a type
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
            the way to the server
  NO_COLOR  no colours, even on a terminal";

/// Checks, prices and renders batch jobs, submits them, and follows what becomes of them.
#[derive(Debug, Parser)]
#[command(name = "runway", version, after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{ENVIRONMENT}"))]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads what the program was called with. Where there is nothing to do but to print something, it does that, and tells how to
    /// end.
    ///
    /// # Errors
    /// How the program ends.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        let words: Vec<_> = words.into_iter().collect();
        Self::try_parse_from(&words).map_err(|told| {
            // There is nobody to tell that this cannot be printed.
            let _ = told.print();
            match told.exit_code() {
                0 => Exit::Fine,
                // Its other exit codes are its job's.
                _ if words.get(1).is_some_and(|command| command == "run") => Exit::NOT_RUN,
                _ => Exit::NotJudged,
            }
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell whether jobs would be admitted, and if not, what to change
    Check(Files),
    /// Tell what jobs would cost at most
    Quote(Files),
    /// Print the Kubernetes objects that would be created, secrets redacted
    Render {
        #[command(flatten)]
        files: Files,
        /// The job's id: 12 characters of a-z and 0-9
        #[arg(long, value_name = "ID", default_value = "000000000000")]
        id: JobId,
    },
    /// Run a job on this machine, under the limits that it asks for
    ///
    /// The job is checked and priced first. It runs on this machine's own files, which it sees read-only, with a `/tmp` and a
    /// working folder of its own; its image is not used. What it prints to standard output comes out there, all else on standard
    /// error; with `-o json` standard output has the record of the job alone. Ctrl-C stops the job, a second one kills it.
    #[cfg(target_os = "linux")]
    #[command(after_help = RUN_EXIT_CODES)]
    Run(RunArguments),
    /// Submit jobs to a server
    ///
    /// Prints the id of each job and what it may cost at most. Variables that secrets come `from_env` are read here.
    #[command(after_help = EXIT_CODES)]
    Submit(Submit),
    /// Tell how a job is
    Status {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: View,
        /// The job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// List the jobs that a server knows, newest first
    Ls {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: View,
        /// Those in one phase
        #[arg(long, value_name = "PHASE", value_parser = phase)]
        phase: Option<Phase>,
        /// Go on, and show what changes
        #[arg(long)]
        watch: bool,
    },
    /// Print what a job prints, as it was written
    Logs {
        #[command(flatten)]
        server: Server,
        /// Go on as more comes, over retries too, until the job ends
        #[arg(short, long)]
        follow: bool,
        /// Only the last so many lines of what there is
        #[arg(long, value_name = "N")]
        tail: Option<u32>,
        /// The job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Cancel a job
    ///
    /// It is sent SIGTERM, and SIGKILL after the policy's termination grace.
    Cancel {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: View,
        /// The job
        #[arg(value_name = "ID")]
        id: JobId,
    },
    /// Tell what tenants use of what they may
    Usage {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: View,
        /// The tenant [default: that of --tenant, or every one that has a job]
        #[arg(value_name = "TENANT")]
        of: Option<Tenant>,
    },
    /// Tell what became of Jobs, and why, from what `kubectl get job,pod,event -o json` prints
    ///
    /// Any Job will do, whoever made it. The exit code tells whether the file could be read, not what became of the Jobs.
    Diagnose {
        #[command(flatten)]
        output: Output,
        /// What kubectl printed; `-` is standard input
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Explain a code that a job was refused with; without one, list them all
    Explain {
        #[command(flatten)]
        output: Output,
        /// The code, such as `cpu-above-max`
        #[arg(value_name = "CODE")]
        code: Option<Code>,
    },
    /// Check, show or describe a policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the JSON Schema of the job file, for editors
    Schema {
        #[command(flatten)]
        policy: PolicyFlag,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// The folder to write `runway.1`, `runway-submit.1` and the others to
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    #[command(flatten)]
    pub common: Common,
    /// Check the features of a backend, too: `kubernetes` or `local`
    #[arg(long, value_name = "NAME")]
    pub backend: Option<BackendKind>,
    /// Files of jobs, each with one or more documents; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[cfg(target_os = "linux")]
const RUN_EXIT_CODES: &str = "\
Exit codes:
  that of the job, where its program ran to its end
  128 + n  signal n ended the job (137: out of memory, among others), or ended `run` before it
  124      its timeout was over
  125      it was refused, could not be judged, or `run` was called wrongly or failed itself
  126      its program could not be executed
  127      its program is not there";

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub common: Common,
    /// The file of the job; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Run this in the place of the job's `command` and `args`
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Run the job though a limit of it cannot be enforced here, and tell which
    #[arg(long)]
    pub best_effort: bool,
    /// The GPUs that jobs may have: numbers, or the unique ids of `nvidia-smi -L` [default: all that there are]
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub gpu_devices: Option<Vec<String>>,
    /// The control group below which that of the job is made, from the root of each hierarchy
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<PathBuf>,
    /// Where jobs are kept while they run [default: /var/lib/runway for root, otherwise below the home]
    #[arg(long, alias = "state", value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,
}

/// How jobs are judged where no server is asked.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub policy: PolicyFlag,
    /// The tenant that submits; a job that names another one is refused
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyFlag {
    /// The policy to judge by [default: the built-in one, see `runway policy show`]
    #[arg(id = "policy", long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// For people, or for programs
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Who reads the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Tell whether a policy loads, and if not, everything that is wrong with it
    Check {
        #[command(flatten)]
        policy: PolicyFlag,
        #[command(flatten)]
        output: Output,
        /// The policy [default: that of --policy]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the policy in force, loadable again; with --tenant or --class, the bounds that hold and where each comes from
    Show {
        #[command(flatten)]
        common: Common,
        /// The class to resolve [default: the policy's default class]
        #[arg(long, value_name = "NAME")]
        class: Option<String>,
    },
    /// Print the cluster's own guardrails for the policy: Namespaces with Pod Security labels, ResourceQuotas, LimitRanges and
    /// NetworkPolicies
    Render {
        #[command(flatten)]
        policy: PolicyFlag,
        #[command(flatten)]
        output: Output,
        /// Addresses of the cluster's API server, which the network `open` leaves out; needed where the policy allows that
        /// network, once for each range
        #[arg(long, value_name = "CIDR")]
        api_server: Vec<Cidr>,
    },
    /// Print the JSON Schema of the policy file, for editors
    Schema,
}

fn phase(text: &str) -> Result<Phase, String> {
    let known = Phase::ALL.into_iter().find(|phase| phase.as_str() == text);
    known.ok_or_else(|| format!("the phases are {}", Phase::ALL.map(Phase::as_str).join(", ")))
}
