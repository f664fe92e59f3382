//! Runs all tests again as an unprivileged user.

#[test]
fn everything_as_a_plain_user() {
    let programs = [
        ("RUNWAY_TEST_SUPERVISOR", crate::bed::supervisor()),
        ("RUNWAY_TEST_LAUNCHER", crate::bed::launcher()),
    ];
    runway_testing::delegation::as_plain_user("everything_as_a_plain_user", &programs, "/".as_ref(), &[]);
}
