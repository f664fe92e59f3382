//! The outcome of a submission, as metrics and the audit record name it.

/// The outcome of a submission. The names are stable, because dashboards select by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubmissionOutcome {
    /// The job was created.
    Created,
    /// An earlier submission with the same key had created the job.
    Replayed,
    /// The transport could not read the document.
    Unreadable,
    /// The gate refused the submission.
    Refused,
    /// Another submission with the same key is in flight, or the key belongs to another job.
    KeyConflict,
    /// The tenant has too many submissions in flight.
    TooManySubmissions,
    /// The backend rejected the job.
    Rejected,
    /// The backend is unavailable, or the server is not ready.
    Unavailable,
    /// The job may have been created; the outcome is not known yet.
    Uncertain,
}

impl SubmissionOutcome {
    /// All outcomes.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Replayed,
        Self::Unreadable,
        Self::Refused,
        Self::KeyConflict,
        Self::TooManySubmissions,
        Self::Rejected,
        Self::Unavailable,
        Self::Uncertain,
    ];

    /// Returns the stable name, in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replayed => "replayed",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::KeyConflict => "key-conflict",
            Self::TooManySubmissions => "too-many-submissions",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Uncertain => "uncertain",
        }
    }

    /// Returns `true` if submissions with this outcome can have a violation code.
    #[must_use]
    pub const fn has_code(self) -> bool {
        matches!(self, Self::Unreadable | Self::Refused)
    }
}
