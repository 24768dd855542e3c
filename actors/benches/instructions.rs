//! Runs a piece of the message path so that its instructions can be counted: `cargo xtask
//! instructions` does so under callgrind, and compares them with `instructions.txt`.
//!
//! ```text
//! list         every piece, and how many times it is run
//! run PIECE    prepares the piece and runs it so many times, within `measured`
//! ```

mod one_thread;

use std::process::ExitCode;

use one_thread::pieces::{PIECES, Piece};

fn main() -> ExitCode {
    // What cargo adds.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => PIECES.iter().for_each(|piece| println!("{} {}", piece.name, piece.times)),
        ["run", name] => match PIECES.iter().find(|piece| piece.name == name) {
            Some(piece) => run(piece),
            None => {
                eprintln!("no piece is named {name:?}: `list` names them");
                return ExitCode::FAILURE;
            }
        },
        // As one of all benches or tests.
        _ => println!("not counted here: `cargo xtask instructions` does it"),
    }
    ExitCode::SUCCESS
}

fn run(piece: &Piece) {
    let mut once = (piece.prepare)();
    // What the first time allocates is no cost of the second one.
    once();
    measured(&mut *once, piece.times);
}

/// What is counted: callgrind is told to look from when this begins to when it ends, on its thread
/// alone.
#[inline(never)]
fn measured(once: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        once();
    }
}
