//! The admission rules in CEL, as one compiled expression over variables.

use super::JobInputs;
use crate::timing::{BenchResult, Benchmark};
use cel::{Context, Env, Value};
use std::sync::Arc;

const RULES: &str = r#"
cpu >= 10 &&
cpu <= 4000 &&
memory >= 16777216 &&
memory <= 8589934592 &&
gpu <= 0 &&
timeout >= 1 &&
timeout <= 900 &&
retries <= 3 &&
network in ["none", "internal"] &&
image.startsWith("registry.internal/")
"#;

pub(crate) fn benchmark(operations: usize) -> BenchResult<Benchmark> {
    let env = Arc::new(Env::stdlib());
    let program = env.compile(RULES)?;
    super::benchmark(
        operations,
        |facts| context(&env, facts),
        move |context: &Context<'_, '_>| Ok(program.execute(context)? == Value::Bool(true)),
    )
}

/// Returns the context for one input. All contexts share the environment.
fn context(env: &Arc<Env>, facts: &JobInputs) -> BenchResult<Context<'static, 'static>> {
    let mut context = Context::with_env(Arc::clone(env));
    for (name, number) in facts.numbers() {
        context.add_variable_from_value(name, number);
    }
    for (name, text) in facts.texts() {
        context.add_variable_from_value(name, text);
    }
    Ok(context)
}
