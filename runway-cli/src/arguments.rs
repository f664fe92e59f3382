//! What can be asked for.

use clap::{Args, Parser, Subcommand, ValueEnum};
use runway_core::policy::Cidr;
use runway_core::{Code, JobId};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0  all jobs are admitted
  1  at least one job is refused (a malformed one is refused too)
  2  something could not be judged: no such file, a policy that does not load, wrong usage
`diagnose` exits with 0 whatever became of the Jobs.";

const ENVIRONMENT: &str = "\
Environment:
  RUNWAY_USD_PER_CPU_SECOND, RUNWAY_USD_PER_GB_SECOND, RUNWAY_USD_PER_GPU_SECOND
            prices in place of the policy's `rates`; the last one is that of GPUs without a type
  NO_COLOR  no colours, even on a terminal";

/// Checks, prices and renders batch jobs before they are submitted.
#[derive(Debug, Parser)]
#[command(name = "runway", version, after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{ENVIRONMENT}"))]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The policy to judge by [default: the built-in one, see `runway policy show`]
    #[arg(long, global = true, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The tenant that submits; a job that names another one is refused
    #[arg(long, global = true, value_name = "NAME")]
    pub tenant: Option<String>,
    /// For people, or for programs
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
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
pub(crate) enum Command {
    /// Tell whether jobs would be admitted, and if not, what to change
    Check(Files),
    /// Tell what jobs would cost at most
    Quote(Files),
    /// Print the Kubernetes objects that would be created, secrets redacted
    Render {
        /// Files of jobs, each with one or more documents; `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
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
    /// Tell what became of Jobs, and why, from what `kubectl get job,pod,event -o json` prints
    ///
    /// Any Job will do, whoever made it. The exit code tells whether the file could be read, not what became of the Jobs.
    Diagnose {
        /// What kubectl printed; `-` is standard input
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Explain a code that a job was refused with; without one, list them all
    Explain {
        /// The code, such as `cpu-above-max`
        #[arg(value_name = "CODE")]
        code: Option<Code>,
    },
    /// Check, show or describe a policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the JSON Schema of the job file, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Files of jobs, each with one or more documents; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[cfg(target_os = "linux")]
const RUN_EXIT_CODES: &str = "\
Exit codes: that of the job; 128 + n where signal n ended it, 137 out of memory among them; 124 where its timeout was over;
126 or 127 where its program could not be started; 125 where it was refused, or where Runway itself failed.";

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
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
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Tell whether a policy loads, and if not, everything that is wrong with it
    Check {
        /// The policy [default: that of --policy]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the policy in force, loadable again; with --tenant or --class, the bounds that hold and where each comes from
    Show {
        /// The class to resolve [default: the policy's default class]
        #[arg(long, value_name = "NAME")]
        class: Option<String>,
    },
    /// Print the cluster's own guardrails for the policy: Namespaces with Pod Security labels, ResourceQuotas, LimitRanges and
    /// NetworkPolicies
    Render {
        /// Addresses of the cluster's API server, which the network `open` leaves out; needed where the policy allows that
        /// network, once for each range
        #[arg(long, value_name = "CIDR")]
        api_server: Vec<Cidr>,
    },
    /// Print the JSON Schema of the policy file, for editors
    Schema,
}
