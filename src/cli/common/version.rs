//! The output of `--version`: everything that must agree between two processes on one ring.

use std::sync::LazyLock;

use crate::LAYOUT_VERSION;
use crate::sys::command::abi;

/// The output of `--version`, after the program's name: version, layout, C library, features.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    &TEXT
}

fn text() -> String {
    let features: Vec<&str> = [("cli", cfg!(feature = "cli")), ("tokio", cfg!(feature = "tokio"))]
        .into_iter()
        .filter_map(|(name, is_on)| is_on.then_some(name))
        .collect();
    format!(
        "{}\nlayout version {LAYOUT_VERSION}; {}\nC library: {}\nfeatures: {}",
        env!("CARGO_PKG_VERSION"),
        abi::Abi(abi::TAG),
        abi::c_library(),
        features.join(", ")
    )
}
