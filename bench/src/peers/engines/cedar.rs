//! The admission rules in Cedar, as the conditions of one `permit` policy.

use super::JobInputs;
use crate::timing::{BenchResult, Benchmark};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

const RULES: &str = r#"
permit(principal, action == Action::"submit", resource)
when {
    context.cpu >= 10 &&
    context.cpu <= 4000 &&
    context.memory >= 16777216 &&
    context.memory <= 8589934592 &&
    context.gpu <= 0 &&
    context.timeout >= 1 &&
    context.timeout <= 900 &&
    context.retries <= 3 &&
    ["none", "internal"].contains(context.network) &&
    context.image like "registry.internal/*"
};
"#;

pub(crate) fn benchmark(operations: usize) -> BenchResult<Benchmark> {
    let policies: PolicySet = RULES.parse()?;
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    super::benchmark(operations, request, move |request| {
        let response = authorizer.is_authorized(request, &policies, &entities);
        Ok(response.decision() == Decision::Allow)
    })
}

fn request(facts: &JobInputs) -> BenchResult<Request> {
    let numbers =
        facts.numbers().map(|(name, number)| (name.to_owned(), RestrictedExpression::new_long(number)));
    let texts = facts
        .texts()
        .map(|(name, text)| (name.to_owned(), RestrictedExpression::new_string(text.to_owned())));
    let uid = |text: &str| BenchResult::<EntityUid>::Ok(text.parse()?);
    Ok(Request::new(
        uid(r#"Tenant::"search""#)?,
        uid(r#"Action::"submit""#)?,
        uid(r#"Job::"embed-docs""#)?,
        Context::from_pairs(numbers.into_iter().chain(texts))?,
        None,
    )?)
}
