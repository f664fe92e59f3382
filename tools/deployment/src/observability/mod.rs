//! Checks the alerts and the dashboard. Tests cover the thresholds of the rules. Each panel must show data of
//! a real server under load.

mod load;
mod scraper;

use load::TestLoad;
use runway_devcluster::Session;
use runway_steps::{
    self as steps, ProgramPaths, StepError, find_or_install, locate, target_dir, workspace_root,
};
use scraper::Prometheus;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PROGRAMS: &[(&str, &str)] = &[("promtool", "prometheus"), ("prometheus", "prometheus")];
const INSTALL_HINT: &str = "install Prometheus with `promtool` and `prometheus`";

/// Maximum time until every panel shows data.
const TIMEOUT: Duration = Duration::from_secs(120);

fn observability_dir() -> PathBuf {
    workspace_root().join("infra/observability")
}

/// Checks the rules, runs their tests, and parses each query of the dashboard and the runbooks. Installs
/// Prometheus if `may_install` is set. Returns `false` if Prometheus is missing and may not be installed.
///
/// # Errors
/// [`StepError`] if Prometheus cannot be installed, or a rule, a test or a query is wrong.
pub fn check(may_install: bool) -> Result<bool, StepError> {
    if !may_install && PROGRAMS.iter().any(|(program, _)| locate(program).is_none()) {
        return Ok(false);
    }
    let programs = programs()?;
    steps::run_step("rules and alerts", promtool(&programs).args(["check", "rules"]).args(rule_files()))?;
    let tests = observability_dir().join("tests/alerts.test.yaml");
    steps::run_step("tests of the alerts", promtool(&programs).args(["test", "rules"]).arg(tests))?;
    let panels = dashboard_queries()?.into_iter().map(|query| expand_rate_interval(&query.expression));
    let expressions = panels.chain(runbook_queries()?).enumerate();
    let rules =
        expressions.map(|(number, query)| json!({ "record": format!("query:{number}"), "expr": query }));
    // JSON is valid YAML.
    let group = json!({ "groups": [{ "name": "queries", "rules": rules.collect::<Vec<_>>() }] });
    let file = target_dir().join("dashboard/queries.json");
    write_file(&file, &group.to_string())?;
    let step = "the queries of the dashboard and the runbooks";
    steps::run_step(step, promtool(&programs).args(["check", "rules"]).arg(file))?;
    Ok(true)
}

/// Checks the dashboard and the critical alerts with a server on the session's cluster.
///
/// # Errors
/// [`StepError`] if the server cannot be built, a panel stays empty, or a critical alert fires.
pub fn check_on_cluster(session: &mut Session) -> Result<(), StepError> {
    steps::run_cargo("the server", &["build", "--locked", "-p", "runway-http"])?;
    let program = std::env::current_exe().map_err(StepError::io("the dashboard"))?;
    session.run("the dashboard with a server under load", Command::new(program).arg("dashboard"))
}

/// Runs every query of the dashboard on a Prometheus that scrapes a server on the cluster of `KUBECONFIG`,
/// while jobs run.
///
/// # Errors
/// [`StepError`] if Prometheus or the server cannot be started, a panel stays empty, or a critical alert
/// fires.
pub fn check_dashboard() -> Result<(), StepError> {
    let programs = programs()?;
    let work_dir = target_dir().join("dashboard");
    let _none = fs::remove_dir_all(&work_dir);
    let load = TestLoad::start(&work_dir)?;
    let prometheus = Prometheus::start(&programs, &work_dir, load.ops_port(), &rule_files())?;
    let queries = dashboard_queries()?;
    let started_at = Instant::now();
    loop {
        load.send_requests()?;
        let mut empty = Vec::new();
        for query in &queries {
            if !prometheus.has_value(&expand_rate_interval(&query.expression))? {
                empty.push(format!("{}: {}", query.panel, query.expression));
            }
        }
        if empty.is_empty() {
            break;
        }
        if started_at.elapsed() > TIMEOUT {
            return Err(StepError::check_failed(
                "the dashboard",
                format!("panels stay empty:\n  {}", empty.join("\n  ")),
            ));
        }
        sleep(Duration::from_secs(1));
    }
    if prometheus.has_value(r#"ALERTS{severity="critical",alertstate="firing"}"#)? {
        return Err(StepError::check_failed(
            "the dashboard",
            "a critical alert fires although the server works".to_owned(),
        ));
    }
    eprintln!("xtask: {} queries have data after {} s", queries.len(), started_at.elapsed().as_secs());
    Ok(())
}

fn programs() -> Result<ProgramPaths, StepError> {
    find_or_install(PROGRAMS, INSTALL_HINT).map_err(|failure| StepError::MissingTool { failure })
}

fn promtool(programs: &ProgramPaths) -> Command {
    Command::new(programs.get("promtool").cloned().unwrap_or_else(|| "promtool".into()))
}

/// The first lines of the PrometheusRule object, up to its groups.
const RULE_OBJECT_HEADER: &str = "\
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
fn render_rule_object() -> std::io::Result<(PathBuf, String)> {
    let mut object = RULE_OBJECT_HEADER.to_owned();
    for file in rule_files() {
        let text = fs::read_to_string(file)?;
        let groups = text.lines().skip_while(|line| *line != "groups:").skip(1);
        for line in groups {
            let indent = if line.is_empty() { "" } else { "  " };
            object.extend([indent, line, "\n"]);
        }
    }
    Ok((workspace_root().join("infra/kubernetes/monitoring/prometheusrule.yaml"), object))
}

/// Writes the rule object to its file.
///
/// # Errors
/// [`StepError`] if a file cannot be read or written.
pub fn write_rule_object() -> Result<(), StepError> {
    let (file, object) = render_rule_object().map_err(StepError::io("the rules"))?;
    write_file(&file, &object)
}

fn rule_files() -> [PathBuf; 2] {
    ["recording.yaml", "alerts.yaml"].map(|name| observability_dir().join("rules").join(name))
}

/// A query and the title of its panel.
struct Query {
    panel: String,
    expression: String,
}

fn dashboard_queries() -> Result<Vec<Query>, StepError> {
    let file = observability_dir().join("dashboards/runway.json");
    let text = fs::read_to_string(&file).map_err(StepError::io("the dashboard"))?;
    let dashboard: Value = serde_json::from_str(&text)
        .map_err(|error| StepError::check_failed("the dashboard", error.to_string()))?;
    Ok(parse_queries(&dashboard))
}

fn parse_queries(dashboard: &Value) -> Vec<Query> {
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
fn runbook_queries() -> Result<Vec<String>, StepError> {
    let read_error = || StepError::io("the runbooks");
    let mut queries = Vec::new();
    for page in fs::read_dir(workspace_root().join("docs/runbooks")).map_err(read_error())? {
        let text = fs::read_to_string(page.map_err(read_error())?.path()).map_err(read_error())?;
        let blocks = text.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next());
        queries.extend(blocks.flat_map(str::lines).map(str::to_owned));
    }
    Ok(queries)
}

/// Replaces Grafana's variable `$__rate_interval` with ten seconds, which fits one scrape per second.
fn expand_rate_interval(expression: &str) -> String {
    expression.replace("$__rate_interval", "10s")
}

fn write_file(file: &PathBuf, text: &str) -> Result<(), StepError> {
    let dir = file.parent().map(PathBuf::from).unwrap_or_default();
    let result = fs::create_dir_all(dir).and_then(|()| fs::write(file, text));
    result.map_err(StepError::io(file.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::{dashboard_queries, observability_dir, rule_files};
    use runway_steps::workspace_root;
    use std::collections::BTreeSet;
    use std::fs;

    fn alerts() -> Vec<(String, String)> {
        let text = fs::read_to_string(&rule_files()[1]).unwrap();
        let after =
            |prefix| text.lines().filter_map(move |line| Some(line.trim().strip_prefix(prefix)?.to_owned()));
        let (names, pages): (Vec<_>, Vec<_>) =
            (after("- alert: ").collect(), after("runbook_url: ").collect());
        assert_eq!(names.len(), pages.len());
        names.into_iter().zip(pages).collect()
    }

    #[test]
    fn every_alert_has_one_runbook() {
        let mut pages = BTreeSet::from(["README.md".to_owned()]);
        let index = fs::read_to_string(workspace_root().join("docs/runbooks/README.md")).unwrap();
        for (alert, page) in alerts() {
            assert_eq!(page, format!("docs/runbooks/{alert}.md"));
            let text = fs::read_to_string(workspace_root().join(&page)).unwrap();
            assert!(text.starts_with(&format!("# {alert}\n")), "{page}");
            for part in ["**Means.**", "**How bad.**", "**Look.**", "**Do.**", "**Do not**"] {
                assert!(text.contains(part), "{page} lacks {part}");
            }
            assert!(index.contains(&format!("[{alert}]({alert}.md)")), "the index lacks {alert}");
            pages.insert(format!("{alert}.md"));
        }
        let files = fs::read_dir(workspace_root().join("docs/runbooks")).unwrap();
        let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, pages);
    }

    #[test]
    fn rule_object_matches_the_rule_files() {
        let (file, object) = super::render_rule_object().unwrap();
        let committed = fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == object,
            "infra/kubernetes/monitoring/prometheusrule.yaml: run `cargo xtask references`"
        );
        assert_eq!(object.matches("- alert: ").count(), alerts().len());
    }

    #[test]
    fn every_alert_has_a_firing_and_a_silent_test() {
        let text = fs::read_to_string(observability_dir().join("tests/alerts.test.yaml")).unwrap();
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

    /// Returns the names of Runway's metrics in a text, without the suffixes of histogram samples, such as
    /// `_bucket`.
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
    fn queries_use_documented_metrics_only() {
        let known = metrics(&fs::read_to_string(workspace_root().join("docs/server.md")).unwrap());
        let mut used: Vec<String> =
            rule_files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        used.extend(dashboard_queries().unwrap().into_iter().map(|query| query.expression));
        used.extend(super::runbook_queries().unwrap());
        let used = metrics(&used.join("\n"));
        assert!(used.len() > 15, "{used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_panel_has_a_query() {
        let queries = dashboard_queries().unwrap();
        assert!(queries.len() > 30);
        for query in queries {
            assert!(!query.panel.is_empty() && !query.expression.is_empty());
            assert!(!super::expand_rate_interval(&query.expression).contains('$'), "{}", query.expression);
        }
    }
}
