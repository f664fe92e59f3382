//! Checks the alerts and the dashboard. Tests cover the thresholds of the rules. Each panel must show data of
//! a real server under load.

mod load;
mod scraper;

use load::Load;
use runway_devcluster::Session;
use runway_steps::{self as steps, Failed, Programs, locate, on_the_system, root, target_folder};
use scraper::Prometheus;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PROGRAMS: &[(&str, &str)] = &[("promtool", "prometheus"), ("prometheus", "prometheus")];
const ADVICE: &str = "install Prometheus with `promtool` and `prometheus`";

/// Maximum time until every panel shows data.
const PATIENCE: Duration = Duration::from_secs(120);

fn folder() -> PathBuf {
    root().join("infra/observability")
}

/// Checks the rules, runs their tests, and parses each query of the dashboard and the runbooks. Installs
/// Prometheus if `may_install` is set. Returns `false` if Prometheus is missing and may not be installed.
///
/// # Errors
/// [`StepError`] if Prometheus cannot be installed, or a rule, a test or a query is wrong.
pub fn check(may_install: bool) -> Result<bool, Failed> {
    if !may_install && PROGRAMS.iter().any(|(program, _)| locate(program).is_none()) {
        return Ok(false);
    }
    let programs = programs()?;
    steps::run("rules and alerts", promtool(&programs).args(["check", "rules"]).args(rules()))?;
    let tests = folder().join("tests/alerts.test.yaml");
    steps::run("tests of the alerts", promtool(&programs).args(["test", "rules"]).arg(tests))?;
    let panels = queries()?.into_iter().map(|query| instant(&query.expression));
    let expressions = panels.chain(queries_of_runbooks()?).enumerate();
    let rules =
        expressions.map(|(number, query)| json!({ "record": format!("query:{number}"), "expr": query }));
    // JSON is valid YAML.
    let group = json!({ "groups": [{ "name": "queries", "rules": rules.collect::<Vec<_>>() }] });
    let file = target_folder().join("dashboard/queries.json");
    write(&file, &group.to_string())?;
    let step = "the queries of the dashboard and the runbooks";
    steps::run(step, promtool(&programs).args(["check", "rules"]).arg(file))?;
    Ok(true)
}

/// Checks the dashboard with the session's cluster.
///
/// # Errors
/// [`StepError`] if the server cannot be built, or a panel stays empty.
pub fn on_a_cluster(session: &mut Session) -> Result<(), Failed> {
    steps::cargo("the server", &["build", "--locked", "-p", "runway-http"])?;
    let program = std::env::current_exe().map_err(|error| not_started("the dashboard", error))?;
    session.run("the dashboard with a server under load", Command::new(program).arg("dashboard"))
}

/// Runs every query of the dashboard on a Prometheus that scrapes a server on the cluster of `KUBECONFIG`,
/// while jobs run.
///
/// # Errors
/// [`StepError`] if Prometheus cannot be installed, a panel stays empty, or a critical alert fires.
pub fn dashboard() -> Result<(), Failed> {
    let programs = programs()?;
    let place = target_folder().join("dashboard");
    let _none = fs::remove_dir_all(&place);
    let load = Load::begin(&place)?;
    let prometheus = Prometheus::start(&programs, &place, load.ops_port(), &rules())?;
    let queries = queries()?;
    let begun = Instant::now();
    loop {
        load.round()?;
        let mut empty = Vec::new();
        for query in &queries {
            if !prometheus.shows(&instant(&query.expression))? {
                empty.push(format!("{}: {}", query.panel, query.expression));
            }
        }
        if empty.is_empty() {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(wrong("the dashboard", format!("panels stay empty:\n  {}", empty.join("\n  "))));
        }
        sleep(Duration::from_secs(1));
    }
    if prometheus.shows(r#"ALERTS{severity="critical",alertstate="firing"}"#)? {
        return Err(wrong("the dashboard", "a critical alert fires although the server works".to_owned()));
    }
    eprintln!("xtask: {} queries have data after {} s", queries.len(), begun.elapsed().as_secs());
    Ok(())
}

fn programs() -> Result<Programs, Failed> {
    on_the_system(PROGRAMS, ADVICE).map_err(|failure| Failed::Tools { failure })
}

fn promtool(programs: &Programs) -> Command {
    Command::new(programs.get("promtool").cloned().unwrap_or_else(|| "promtool".into()))
}

/// The first lines of the rule object.
const OBJECT: &str = "\
# Generated from ../../observability/rules for the Prometheus Operator. To update it, run `cargo xtask references`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: runway
  namespace: runway-system
  labels:
    app.kubernetes.io/name: runway-http
    app.kubernetes.io/part-of: runway
spec:
  groups:
";

/// Renders the rules as an object for the Prometheus Operator. Returns its path and its text.
fn rules_object() -> std::io::Result<(PathBuf, String)> {
    let mut object = OBJECT.to_owned();
    for file in rules() {
        let text = fs::read_to_string(file)?;
        let groups = text.lines().skip_while(|line| *line != "groups:").skip(1);
        for line in groups {
            let indent = if line.is_empty() { "" } else { "  " };
            object.extend([indent, line, "\n"]);
        }
    }
    Ok((root().join("infra/kubernetes/monitoring/prometheusrule.yaml"), object))
}

/// Writes the rule object to its file.
///
/// # Errors
/// [`StepError`] if a file cannot be read or written.
pub fn write_rules_object() -> Result<(), Failed> {
    let (file, object) = rules_object().map_err(|error| not_started("the rules", error))?;
    write(&file, &object)
}

fn rules() -> [PathBuf; 2] {
    ["recording.yaml", "alerts.yaml"].map(|name| folder().join("rules").join(name))
}

/// A query and the title of its panel.
struct Query {
    panel: String,
    expression: String,
}

fn queries() -> Result<Vec<Query>, Failed> {
    let file = folder().join("dashboards/runway.json");
    let text = fs::read_to_string(&file).map_err(|error| not_started("the dashboard", error))?;
    let dashboard: Value =
        serde_json::from_str(&text).map_err(|error| wrong("the dashboard", error.to_string()))?;
    Ok(queries_of(&dashboard))
}

fn queries_of(dashboard: &Value) -> Vec<Query> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut queries = Vec::new();
    for panel in list(dashboard, "panels") {
        for target in list(&panel, "targets") {
            queries.push(Query { panel: text(&panel, "title"), expression: text(&target, "expr") });
        }
    }
    queries
}

/// Returns each line of the PromQL blocks in the runbooks.
fn queries_of_runbooks() -> Result<Vec<String>, Failed> {
    let told = |error| not_started("the runbooks", error);
    let mut queries = Vec::new();
    for page in fs::read_dir(root().join("docs/runbooks")).map_err(told)? {
        let text = fs::read_to_string(page.map_err(told)?.path()).map_err(told)?;
        let blocks = text.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next());
        queries.extend(blocks.flat_map(str::lines).map(str::to_owned));
    }
    Ok(queries)
}

/// Replaces the variables of a query as Grafana does. The interval fits one scrape per second.
fn instant(expression: &str) -> String {
    expression.replace("$__rate_interval", "10s")
}

fn write(file: &PathBuf, text: &str) -> Result<(), Failed> {
    let folder = file.parent().map(PathBuf::from).unwrap_or_default();
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(file, text));
    written.map_err(|error| not_started(&file.display().to_string(), error))
}

fn wrong(step: &str, what: String) -> Failed {
    Failed::Wrong { step: step.to_owned(), what }
}

fn not_started(step: &str, error: std::io::Error) -> Failed {
    Failed::NotStarted { step: step.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::{folder, queries, rules};
    use runway_steps::root;
    use std::collections::BTreeSet;
    use std::fs;

    fn alerts() -> Vec<(String, String)> {
        let text = fs::read_to_string(&rules()[1]).unwrap();
        let after =
            |prefix| text.lines().filter_map(move |line| Some(line.trim().strip_prefix(prefix)?.to_owned()));
        let (names, pages): (Vec<_>, Vec<_>) =
            (after("- alert: ").collect(), after("runbook_url: ").collect());
        assert_eq!(names.len(), pages.len());
        names.into_iter().zip(pages).collect()
    }

    #[test]
    fn every_alert_has_its_page_and_every_page_its_alert() {
        let mut pages = BTreeSet::from(["README.md".to_owned()]);
        let index = fs::read_to_string(root().join("docs/runbooks/README.md")).unwrap();
        for (alert, page) in alerts() {
            assert_eq!(page, format!("docs/runbooks/{alert}.md"));
            let text = fs::read_to_string(root().join(&page)).unwrap();
            assert!(text.starts_with(&format!("# {alert}\n")), "{page}");
            for part in ["**Means.**", "**How bad.**", "**Look.**", "**Do.**", "**Do not**"] {
                assert!(text.contains(part), "{page} lacks {part}");
            }
            assert!(index.contains(&format!("[{alert}]({alert}.md)")), "the index lacks {alert}");
            pages.insert(format!("{alert}.md"));
        }
        let files = fs::read_dir(root().join("docs/runbooks")).unwrap();
        let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, pages);
    }

    #[test]
    fn the_operators_object_has_the_same_rules() {
        let (file, object) = super::rules_object().unwrap();
        let committed = fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == object,
            "infra/kubernetes/monitoring/prometheusrule.yaml: run `cargo xtask references`"
        );
        assert_eq!(object.matches("- alert: ").count(), alerts().len());
    }

    #[test]
    fn every_alert_is_seen_to_fire_and_to_be_silent() {
        let text = fs::read_to_string(folder().join("tests/alerts.test.yaml")).unwrap();
        let tests: Vec<&str> = text.split("  - name: ").skip(1).collect();
        for (alert, _) in alerts() {
            let about = |test: &&&str| {
                test.contains(&format!("alertname: {alert}\n"))
                    || test.contains(&format!("alertname=\"{alert}\""))
            };
            let fires = |test: &&str| test.contains("exp_labels:");
            let (firing, silent): (Vec<&str>, Vec<&str>) =
                tests.iter().filter(about).partition(|test| fires(test));
            assert!(!firing.is_empty() && !silent.is_empty(), "{alert}");
        }
    }

    /// Returns the names of Runway's metrics in a text, without the suffixes of histogram and counter
    /// samples.
    fn metrics(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let ours = words.filter(|word| word.starts_with("runway_"));
        let bare = |word: &str| {
            let suffix = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| word.strip_suffix(suffix));
            suffix.unwrap_or(word).to_owned()
        };
        ours.map(bare).collect()
    }

    #[test]
    fn rules_panels_and_runbooks_name_metrics_that_the_server_documents() {
        let known = metrics(&fs::read_to_string(root().join("docs/server.md")).unwrap());
        let mut used: Vec<String> = rules().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        used.extend(queries().unwrap().into_iter().map(|query| query.expression));
        used.extend(super::queries_of_runbooks().unwrap());
        let used = metrics(&used.join("\n"));
        assert!(used.len() > 15, "{used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_panel_asks_something() {
        let queries = queries().unwrap();
        assert!(queries.len() > 30);
        for query in queries {
            assert!(!query.panel.is_empty() && !query.expression.is_empty());
            assert!(!super::instant(&query.expression).contains('$'), "{}", query.expression);
        }
    }
}
