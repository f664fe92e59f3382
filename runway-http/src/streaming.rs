//! Marks the responses whose clients may pause while they read.

/// An extension of a response whose body has no end in sight, such as the output of a running job. Its client
/// may read slowly, and may stop reading for minutes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamingResponse;
