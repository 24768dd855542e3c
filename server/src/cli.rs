//! The command line: every setting as a flag, and the commands.
//!
//! Made from the table of settings; knows none of them by name.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::value::Kind;
use crate::config::{Flags, Setting, TABLE};
use crate::version::VERSION;

/// What somebody asks the program to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Run a node.
    Serve,
    /// Show the settings that hold.
    ShowConfig,
    /// Create accounts from a file, or from standard input.
    ImportUsers {
        /// Which file; `-` is standard input.
        file: PathBuf,
        /// Whose first line is the password of accounts that have none of their own.
        password_file: Option<PathBuf>,
    },
    /// Ask a running node whether it is ready.
    HealthCheck,
}

/// Reads the command line; ends the process with a message when it cannot be read.
pub fn parse() -> (Task, Flags) {
    read(&command().get_matches())
}

fn read(matches: &ArgMatches) -> (Task, Flags) {
    match matches.subcommand() {
        Some(("config", inner)) => (Task::ShowConfig, flags(inner)),
        Some(("healthcheck", inner)) => (Task::HealthCheck, flags(inner)),
        Some(("users", inner)) => {
            let (_, import) = inner.subcommand().expect("clap requires a subcommand of users");
            let file = import.get_one::<PathBuf>("file").expect("clap requires a file").clone();
            let password_file = import.get_one::<PathBuf>("password-file").cloned();
            (Task::ImportUsers { file, password_file }, flags(import))
        }
        _ => (Task::Serve, flags(matches)),
    }
}

fn flags(matches: &ArgMatches) -> Flags {
    let given = |setting: &'static Setting| {
        let values: Vec<String> = matches.get_many(setting.key)?.cloned().collect();
        Some((setting.key, values.join(",")))
    };
    Flags {
        values: TABLE.iter().filter_map(given).collect(),
        file: matches.get_one::<PathBuf>("config").cloned(),
    }
}

/// Describes the command line.
pub fn command() -> Command {
    let import = Command::new("import")
        .about("Creates accounts, in Cassandra or in the data folder of a node that is stopped")
        .long_about(
            "Creates accounts where the settings say: in Cassandra, also while nodes run, or in the \
             data folder of a node that is stopped. Each line of the file is user,name or a JSON \
             object with user, name and perhaps hash (argon2id in PHC form). Accounts without a hash share the password of --password-file, hashed once. \
             Accounts that exist stay as they are.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .required(true)
                .help("Lines of accounts; - reads standard input"),
        )
        .arg(
            Arg::new("password-file")
                .long("password-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("File whose first line is the password of accounts without one of their own"),
        );
    Command::new("rally-server")
        .version(VERSION.as_str())
        .about("A chat server: one program, one folder of data.")
        .after_help(
            "Each setting is also an environment variable (RALLY_LISTEN) and a key of the file \
             that --config names (listen = \"…\"): flag before variable before file.",
        )
        .args(TABLE.iter().map(setting_arg))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help("TOML file of settings"),
        )
        .subcommand(Command::new("config").about("Shows the settings that hold, and their source"))
        .subcommand(
            Command::new("users")
                .about("Works on accounts")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(import),
        )
        .subcommand(
            Command::new("healthcheck").about("Asks the node at --listen whether it is ready"),
        )
}

fn setting_arg(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .help(format!("{}{default}", setting.help()))
        .help_heading(setting.area)
        .value_parser(value_parser!(String))
        .global(true);
    match setting.kind {
        Kind::One(name) => arg.value_name(name),
        Kind::List(name) => arg.value_name(name).action(ArgAction::Append),
        Kind::Switch => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> (Task, Flags) {
        read(&command().try_get_matches_from(line).unwrap())
    }

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn settings_are_flags_before_and_after_a_command() {
        let (task, flags) = parsed(&["rally-server", "--demo", "--listen", "127.0.0.1:0"]);
        assert_eq!(task, Task::Serve);
        assert_eq!((&*flags.values["demo"], &*flags.values["listen"]), ("true", "127.0.0.1:0"));
        let (task, flags) = parsed(&["rally-server", "config", "--demo=false"]);
        assert_eq!((task, &*flags.values["demo"]), (Task::ShowConfig, "false"));
    }

    #[test]
    fn help_names_every_setting_with_its_default() {
        let help = command().render_long_help().to_string();
        for setting in TABLE {
            assert!(help.contains(&format!("--{}", setting.flag())), "{}", setting.key);
        }
        assert!(help.contains("[default: 127.0.0.1:8080]"), "{help}");
    }
}
