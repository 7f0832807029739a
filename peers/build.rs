//! Builds the carrier over boost::interprocess::message_queue where Boost's headers and a C++ compiler are
//! found; elsewhere that carrier refuses.

const SOURCE: &str = "src/links/boost_queue.cpp";
const VERSION: &str = "src/links/boost_version.hpp";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed={VERSION}");
    println!("cargo::rustc-check-cfg=cfg(boost)");
    let version = boost_version();
    println!("cargo::rustc-env=BOOST_VERSION={}", version.as_deref().unwrap_or("-"));
    if version.is_some() {
        cc::Build::new().cpp(true).std("c++14").file(SOURCE).compile("boost_queue");
        // Where the C library keeps shm_open apart.
        println!("cargo::rustc-link-lib=rt");
        println!("cargo::rustc-cfg=boost");
    }
}

/// The version that Boost's own header states, such as "1.74".
fn boost_version() -> Option<String> {
    let expanded = cc::Build::new().cpp(true).cargo_warnings(false).file(VERSION).try_expand().ok()?;
    let text = String::from_utf8(expanded).ok()?;
    // The compiler may put the string on a line of its own, behind a line marker.
    let (_, stated) = text.rsplit_once("boost_version_is")?;
    let version = stated.lines().find_map(|line| line.trim().strip_prefix('"')?.strip_suffix('"'))?;
    Some(version.replace('_', "."))
}
