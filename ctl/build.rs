//! Aligns the segments of `forebay` to huge pages, so that its code can lie on them (forebay_tuning::huge_text).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=0x200000");
}
