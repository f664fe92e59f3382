//! Runs all tests again as an unprivileged user. Requires root.

#[test]
fn everything_as_a_plain_user() {
    let programs = [
        ("RUNWAY_TEST_SUPERVISOR", crate::harness::supervisor()),
        ("RUNWAY_TEST_LAUNCHER", crate::harness::launcher()),
    ];
    runway_testing::delegation::rerun_unprivileged(
        "everything_as_a_plain_user",
        &programs,
        "/".as_ref(),
        &[],
    );
}
