//! The committed pages of `docs/reference/` match the program.

use runway_testing::generated::assert_generated;

#[test]
fn reference_pages_are_up_to_date() {
    for (name, page) in runway_cli::reference::pages() {
        assert_generated(&format!("docs/reference/{name}"), &page);
    }
}
