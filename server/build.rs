//! Has the program built anew when the browser client that it embeds was.

fn main() {
    let built = "../client-web/dist";
    // A folder that is not there would be looked at again, and all built anew, each time. Where
    // it cannot be made, that is the price.
    let _ = std::fs::create_dir_all(built);
    println!("cargo:rerun-if-changed={built}");
}
