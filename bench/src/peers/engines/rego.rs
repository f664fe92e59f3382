//! The admission rules in Rego, compiled for the register machine of `regorus`. The register machine is the
//! fastest evaluator of that library.

use super::JobInputs;
use crate::timing::{BenchResult, Benchmark};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};

const RULES: &str = r#"
package runway

import rego.v1

default allow := false

allow if {
    input.cpu >= 10
    input.cpu <= 4000
    input.memory >= 16777216
    input.memory <= 8589934592
    input.gpu <= 0
    input.timeout >= 1
    input.timeout <= 900
    input.retries <= 3
    input.network in {"none", "internal"}
    startswith(input.image, "registry.internal/")
}
"#;

const ENTRY: &str = "data.runway.allow";

pub(crate) fn benchmark(operations: usize) -> BenchResult<Benchmark> {
    let mut engine = Engine::new();
    engine.add_policy("runway.rego".to_owned(), RULES.to_owned())?;
    let policy = engine.compile_with_entrypoint(&ENTRY.into())?;
    let mut machine = RegoVM::new();
    machine.load_program(Compiler::compile_from_policy(&policy, &[ENTRY])?);
    super::benchmark(
        operations,
        |facts| Ok(input(facts)),
        move |input: &Value| {
            machine.set_input(input.clone()); // the clone only increments a reference count
            Ok(machine.execute()? == Value::Bool(true))
        },
    )
}

fn input(facts: &JobInputs) -> Value {
    let mut input = Value::new_object();
    if let Ok(object) = input.as_object_mut() {
        object.extend(facts.numbers().map(|(name, number)| (name.into(), number.into())));
        object.extend(facts.texts().map(|(name, text)| (name.into(), text.into())));
    }
    input
}
