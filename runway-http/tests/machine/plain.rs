//! Runs all other tests again as an unprivileged user. Fails if the user is not root.

#[test]
fn everything_as_a_plain_user() {
    let programs = [("RUNWAY_TEST_SERVER", crate::harness::program())];
    runway_testing::delegation::rerun_unprivileged(
        "everything_as_a_plain_user",
        &programs,
        "/".as_ref(),
        &[],
    );
}
