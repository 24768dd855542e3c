//! Apache Cassandra from the jars of Maven Central, without its packages.
//!
//! Node I takes CQL on 127.0.0.I:9042. Its 512 MiB of heap serve tests and measurements on a small
//! machine. Which jars there are stands in `xtask/services/cassandra-pom.xml`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::keep_count;
use crate::checkout::Checkout;
use crate::process::{Process, within};
use crate::service::Service;
use crate::stamp::Stamp;
use crate::{call, debian};

const CQL: u16 = 9_042;
const JMX: u16 = 7_199;

/// Its folder for tables, in that of a node.
const DATA: &str = "data";

/// Fetches the jars where they are missing.
pub fn install(checkout: &Checkout) -> anyhow::Result<()> {
    let (pom, jars) = (checkout.root().join("xtask/services/cassandra-pom.xml"), jars(checkout));
    let stamp = Stamp::new(checkout.kept("cassandra.stamp"), vec![pom.clone()], vec![jars.clone()]);
    if stamp.is_fresh()? {
        return Ok(());
    }
    if debian::which(&["mvn"]).is_none() {
        debian::install(&["maven"]).context("no Maven found")?;
    }
    println!("cassandra: fetching its jars (70 MB)");
    let mut fetch = call::program("mvn", checkout.root());
    fetch.args(["-B", "-q", "-f"]).arg(&pom);
    fetch.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    call::run(fetch.arg(format!("-DoutputDirectory={}", jars.display())))?;
    stamp.set()
}

/// Writes what nodes 1 to `count` need to start.
pub fn set_up(home: &Path, count: u8, quick: bool) -> anyhow::Result<()> {
    keep_count(home, "cassandra", count)?;
    for index in 1..=count {
        let node = node_home(home, index);
        fs::create_dir_all(&node)?;
        fs::write(node.join("cassandra.yaml"), configuration(&node, index, count))?;
        fs::write(node.join("logback.xml"), LOGGING)?;
        let compiler = if quick { "-XX:TieredStopAtLevel=1" } else { "-XX:+TieredCompilation" };
        fs::write(node.join("compiler"), compiler)?;
    }
    Ok(())
}

/// Logs go to the console, and so into the process's log.
const LOGGING: &str = "<configuration>
  <appender name=\"OUT\" class=\"ch.qos.logback.core.ConsoleAppender\">
    <encoder><pattern>%-5level %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level=\"INFO\"><appender-ref ref=\"OUT\"/></root>
</configuration>
";

fn configuration(node: &Path, index: u8, count: u8) -> String {
    // One token a node, evenly spread: the ring is whole from the first start.
    let token = i128::from(i64::MIN) + (i128::from(index) - 1) * (1_i128 << 64) / i128::from(count);
    let seeds: Vec<String> = (1..=count).map(|peer| format!("127.0.0.{peer}:7000")).collect();
    let folder = |name: &str| node.join(name).display().to_string();
    format!(
        "cluster_name: rally
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
num_tokens: 1
initial_token: {token}
auto_bootstrap: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [ {{ seeds: \"{seeds}\" }} ]
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.{index}
rpc_address: 127.0.0.{index}
storage_port: 7000
native_transport_port: {CQL}
start_native_transport: true
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
data_file_directories: [ {data} ]
commitlog_directory: {commitlog}
hints_directory: {hints}
saved_caches_directory: {caches}
cdc_raw_directory: {cdc}
# A write is acknowledged once the disk has it, with all others of 5 ms: else the only copy loses what it
# acknowledged when its process dies. A writer waits for each of them, so there are many.
commitlog_sync: group
commitlog_sync_group_window: 5ms
commitlog_segment_size: 16MiB
# What a killed node reads before it answers again: of an hour under load some minutes otherwise.
commitlog_total_space: 64MiB
disk_optimization_strategy: ssd
concurrent_reads: 8
concurrent_writes: 64
concurrent_counter_writes: 4
memtable_heap_space: 96MiB
memtable_offheap_space: 64MiB
key_cache_size: 16MiB
counter_cache_size: 4MiB
file_cache_size: 48MiB
networking_cache_size: 32MiB
",
        seeds = seeds.join(","),
        data = node.join(DATA).display(),
        commitlog = folder("commitlog"),
        hints = folder("hints"),
        caches = folder("caches"),
        cdc = folder("cdc"),
    )
}

/// Gives node `index` as it was set up.
pub fn service(checkout: &Checkout, home: &Path, index: u8) -> anyhow::Result<Service> {
    let node = node_home(home, index);
    let jars = jars(checkout);
    let mut command = java(checkout, &node)?;
    command.arg(format!("-javaagent:{}", jamm(&jars)?.display()));
    command.args([
        "-ea",
        "-da:net.openhft...",
        "-Xms512M",
        "-Xmx512M",
        "-Xss256k",
        "-XX:+UseG1GC",
        "-XX:MaxDirectMemorySize=256M",
        "-XX:+PerfDisableSharedMem",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.net.preferIPv4Stack=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dcassandra-foreground=yes",
        // Waits that only matter when a node joins a ring that has data.
        "-Dcassandra.ring_delay_ms=2000",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Dcassandra.available_processors=2",
    ]);
    command.arg(fs::read_to_string(node.join("compiler")).unwrap_or_default());
    command.arg(format!("-Dcassandra.triggers_dir={}", node.display()));
    command.arg(format!("-Dcassandra.logdir={}", node.display()));
    command.arg(format!("-Dcassandra.jmx.local.port={}", JMX + u16::from(index) - 1));
    command.arg("-cp").arg(jars.join("*")).arg("org.apache.cassandra.service.CassandraDaemon");
    let answers = SocketAddr::from((Ipv4Addr::new(127, 0, 0, index), CQL));
    Ok(Service { process: Process::of(node), answers, command })
}

/// Where nodes 1 to `count` take connections.
pub fn places(count: u8) -> String {
    (1..=count).map(|index| format!("127.0.0.{index}:9042")).collect::<Vec<_>>().join(",")
}

/// Waits until every node sees every other.
pub fn await_ring(checkout: &Checkout, home: &Path, count: u8) -> anyhow::Result<()> {
    let up = || -> anyhow::Result<usize> {
        let mut status = java(checkout, &node_home(home, 1))?;
        status.args(["-Xmx128M", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars(checkout).join("*"));
        status.args(["org.apache.cassandra.tools.NodeTool", "-h", "127.0.0.1", "-p"]);
        let output = status.arg(JMX.to_string()).arg("status").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter(|line| line.starts_with("UN ")).count())
    };
    up()?;
    match within(Duration::from_secs(120), || up().is_ok_and(|up| up == usize::from(count))) {
        true => Ok(()),
        false => bail!("the nodes of cassandra do not see each other"),
    }
}

fn java(checkout: &Checkout, node: &Path) -> anyhow::Result<Command> {
    let mut command = call::program(find_java()?, checkout.root());
    command.arg("-Djdk.attach.allowAttachSelf=true");
    for packages in EXPORTED {
        command.arg(format!("--add-exports={packages}=ALL-UNNAMED"));
    }
    for packages in OPENED {
        command.arg(format!("--add-opens={packages}=ALL-UNNAMED"));
    }
    command.arg(format!("-Dcassandra.config=file://{}", node.join("cassandra.yaml").display()));
    command.arg(format!("-Dcassandra.storagedir={}", node.display()));
    command.arg(format!("-Dlogback.configurationFile={}", node.join("logback.xml").display()));
    Ok(command)
}

/// What Cassandra 5 reaches into, beyond what a JDK exports.
const EXPORTED: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
];

/// What it reaches into by reflection.
const OPENED: &[&str] = &[
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "jdk.management/com.sun.management.internal",
    "jdk.compiler/com.sun.tools.javac",
];

/// Finds Java 17: Cassandra 5 refuses what is newer.
fn find_java() -> anyhow::Result<PathBuf> {
    let look = || {
        let named = std::env::var_os("JAVA_HOME").map(PathBuf::from);
        let systems = fs::read_dir("/usr/lib/jvm").into_iter().flatten();
        let systems = systems.filter_map(|entry| Some(entry.ok()?.path()));
        let programs = named.into_iter().chain(systems).map(|home| home.join("bin/java"));
        programs.into_iter().find(|program| program.exists() && is_17(program))
    };
    if let Some(java) = look() {
        return Ok(java);
    }
    debian::install(&["openjdk-17-jre-headless"]).context("no Java 17 found")?;
    look().context("Java 17 was installed but is not under /usr/lib/jvm")
}

fn is_17(java: &Path) -> bool {
    let answer = call::ask(call::program(java, Path::new("/")).arg("--version"));
    answer.is_some_and(|line| line.split_whitespace().any(|word| word.starts_with("17.")))
}

/// The agent that tells Cassandra how large its objects are.
fn jamm(jars: &Path) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(jars).with_context(|| format!("no jars in {}", jars.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jamm-"))
        })
        .context("the jar of jamm is missing")
}

fn jars(checkout: &Checkout) -> PathBuf {
    checkout.kept("cassandra")
}

/// Where node `index` keeps its tables.
pub fn data(home: &Path, index: u8) -> PathBuf {
    node_home(home, index).join(DATA)
}

fn node_home(home: &Path, index: u8) -> PathBuf {
    home.join(format!("cassandra-{index}"))
}
