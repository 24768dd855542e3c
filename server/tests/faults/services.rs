//! What is done to brokers and nodes of the store, by the program that started them.

use std::process::{Child, Command, Stdio};

/// How many brokers there are.
pub fn brokers() -> usize {
    std::env::var("RALLY_TEST_AMQP").map_or(1, |urls| urls.split(',').count())
}

/// How many nodes the store has.
pub fn stores() -> usize {
    std::env::var("RALLY_TEST_CASSANDRA").map_or(1, |places| places.split(',').count())
}

/// Names services: `named("rabbitmq", [1, 2])`.
pub fn named(kind: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{kind}-{number}")).collect()
}

/// Does something to services, to all at once, and waits until it is done.
pub async fn each(what: &'static str, names: Vec<String>) {
    let children: Vec<Child> =
        names.iter().map(|name| xtask().args([what, name]).spawn().unwrap()).collect();
    let wait = move || children.into_iter().all(|mut child| child.wait().unwrap().success());
    assert!(tokio::task::spawn_blocking(wait).await.unwrap(), "services {what} {names:?}");
}

/// Asks the first broker by its own tool, and gives the lines that it answers.
pub async fn rabbitmqctl(arguments: &[&str]) -> Vec<String> {
    let mut asked = xtask();
    asked.args(["rabbitmqctl", "rabbitmq-1"]).args(arguments).stderr(Stdio::inherit());
    let answer = tokio::task::spawn_blocking(move || asked.output()).await.unwrap().unwrap();
    assert!(answer.status.success(), "rabbitmqctl {arguments:?}");
    String::from_utf8(answer.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn xtask() -> Command {
    let program = std::env::var("RALLY_TEST_XTASK").expect("the path of xtask's program");
    let mut command = Command::new(program);
    command.arg("services");
    command
}
