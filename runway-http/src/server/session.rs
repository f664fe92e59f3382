//! The session of a client with a certificate: one connection, until the certificate expires.

use crate::request::access::Access;
use runway_core::units::Timestamp;
use std::time::Duration;

/// The session of a client with a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientSession {
    access: Access,
    /// The time at which the certificate expires. `None` if the certificate cannot be parsed.
    expires_at: Option<Timestamp>,
}

impl ClientSession {
    pub(super) const fn new(access: Access, expires_at: Option<Timestamp>) -> Self {
        Self { access, expires_at }
    }

    /// Returns the access of the client at this time.
    pub(super) fn access(self, now: Timestamp) -> Access {
        if self.expires_at.is_some_and(|expires_at| expires_at < now) { Access::Expired } else { self.access }
    }

    /// Returns the time until the session must end, which is at most `max_age`.
    pub(super) fn remaining(self, now: Timestamp, max_age: Duration) -> Duration {
        let until_expiry = |expires_at: Timestamp| Duration::from_nanos(expires_at.nanos_since(now));
        self.expires_at.map_or(max_age, until_expiry).min(max_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::access::Role;

    #[test]
    fn session_ends_with_the_certificate_or_at_its_maximum_age() {
        let [before, expiry, after] = [90, 100, 101].map(Timestamp::from_seconds);
        let session = ClientSession::new(Access::Role(Role::Admin), Some(expiry));
        let [short, long] = [5, 60].map(Duration::from_secs);
        assert_eq!(session.remaining(before, long), Duration::from_secs(10));
        assert_eq!(session.remaining(before, short), short);
        assert_eq!(session.remaining(after, long), Duration::ZERO);
        assert_eq!(session.access(expiry), Access::Role(Role::Admin));
        assert_eq!(session.access(after), Access::Expired);
        assert_eq!(ClientSession::new(Access::Expired, None).remaining(after, long), long);
    }
}
