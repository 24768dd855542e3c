//! placeholder
fn main() {
    print!("{}", rally_schema::typescript::declarations());
}
