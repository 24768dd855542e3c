//! Settings: where each value comes from, and what is refused.
//!
//! Flag before environment before file before default. A key that nobody knows and a value
//! that is not allowed are refused, naming key, value and what is allowed. This is the only
//! place that is handed the environment; `settings.rs` has the table.

mod settings;
mod table;
pub mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use rally_cluster::broker::rabbitmq::AmqpUrls;
use rally_cluster::roles::Role;
use thiserror::Error;

use value::{BrokerKind, StoreKind};

pub use settings::{
    Accounts, Cluster, Limits, Network, Node, Sessions, Settings, Store, TABLE, Telemetry,
};
pub use table::Setting;

/// The variable that names the file, as `--config` does.
const CONFIG_VARIABLE: &str = "RALLY_CONFIG";

/// Says what an operator wrote that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The value is not allowed.
    #[error("{given}: {value:?} is not allowed: expected {allowed}")]
    BadValue {
        /// The setting, as it was written: a flag, a variable, or a key in a file.
        given: String,
        /// What stood there; `***` for a secret.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The file has a key that is no setting.
    #[error("{}: unknown key {key:?}: the keys are {}", file.display(), keys())]
    UnknownKey {
        /// Which file.
        file: PathBuf,
        /// Which key.
        key: String,
    },
    /// A variable begins with `RALLY_` and is no setting.
    #[error(
        "unknown variable {name:?}: a variable is RALLY_ and one of the keys in capitals: config {}",
        keys()
    )]
    UnknownVariable {
        /// Which variable.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings in {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not TOML: {error}", file.display())]
    NotToml {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

/// Lists the keys, for messages.
fn keys() -> String {
    TABLE.iter().map(|setting| setting.key).collect::<Vec<_>>().join(" ")
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// The file.
    File(PathBuf),
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl Source {
    /// Names the setting as it is written there.
    fn name_of(&self, setting: &Setting) -> String {
        match self {
            Self::Default => format!("default of {}", setting.key),
            Self::File(file) => format!("{}: key {}", file.display(), setting.key),
            Self::Environment => setting.variable(),
            Self::Flag => format!("--{}", setting.flag()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) => write!(f, "file {}", file.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One setting with the value that holds.
#[derive(Debug)]
pub struct Effective {
    /// Which setting.
    pub setting: &'static Setting,
    /// The value in its usual spelling; `***` for a secret.
    pub shown: String,
    /// Where it came from.
    pub source: Source,
}

/// What was given on the command line: keys and texts, and the file.
#[derive(Debug, Default)]
pub struct Flags {
    /// Values by key.
    pub values: BTreeMap<&'static str, String>,
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
}

/// The settings that hold, and where each came from.
#[derive(Debug)]
pub struct Config {
    /// The values, typed.
    pub settings: Settings,
    /// The same as text, in the order of [`TABLE`].
    pub effective: Vec<Effective>,
}

impl Config {
    /// Puts together flags, environment, file and defaults.
    pub fn load(
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut variables = read_environment(environment)?;
        let file = flags.file.or(variables.remove(CONFIG_VARIABLE).map(PathBuf::from));
        let in_file = file.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let mut texts = BTreeMap::new();
        let mut effective = Vec::with_capacity(TABLE.len());
        for setting in TABLE {
            let (text, source) = if let Some(text) = flags.values.get(setting.key) {
                (text.clone(), Source::Flag)
            } else if let Some(text) = variables.remove(&setting.variable()) {
                (text, Source::Environment)
            } else if let (Some(text), Some(file)) = (in_file.get(setting.key), &file) {
                (text.clone(), Source::File(file.clone()))
            } else {
                (setting.default.to_owned(), Source::Default)
            };
            let shown = canonical(setting, &text, &source)?;
            texts.insert(setting.key, text);
            effective.push(Effective { setting, shown, source });
        }
        let settings = Settings::read(|key| texts.get(key).cloned().unwrap_or_default())
            .expect("each text was read once above, with the same rules");
        settings.check()?;
        Ok(Self { settings, effective })
    }

    /// Gives the defaults alone.
    pub fn defaults() -> Self {
        Self::load(Flags::default(), []).expect("the defaults are allowed: a test reads them")
    }
}

/// Gives the usual spelling of a text, or says why it is not allowed.
fn canonical(setting: &Setting, text: &str, source: &Source) -> Result<String, ConfigError> {
    match (setting.canonical)(text) {
        // What everybody can read here is no secret.
        Some(_) if setting.secret && *source != Source::Default => Ok("***".to_owned()),
        Some(shown) => Ok(shown),
        None => Err(ConfigError::BadValue {
            given: source.name_of(setting),
            value: if setting.secret { "***".to_owned() } else { text.to_owned() },
            allowed: (setting.allowed)(),
        }),
    }
}

/// Takes the variables that begin with `RALLY_`; each must be known and be text.
fn read_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut known: Vec<String> = TABLE.iter().map(Setting::variable).collect();
    known.push(CONFIG_VARIABLE.to_owned());
    let mut variables = BTreeMap::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with("RALLY_") {
            continue;
        }
        if !known.contains(&name) {
            return Err(ConfigError::UnknownVariable { name });
        }
        let value = value.into_string().map_err(|raw| ConfigError::BadValue {
            given: name.clone(),
            value: raw.to_string_lossy().into_owned(),
            allowed: "text in UTF-8".to_owned(),
        })?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// Reads the file: flat keys, each a setting.
fn read_file(file: &Path) -> Result<BTreeMap<&'static str, String>, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
    let table: toml::Table = text
        .parse()
        .map_err(|error| ConfigError::NotToml { file: file.to_owned(), error: Box::new(error) })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let setting = TABLE
            .iter()
            .find(|setting| setting.key == key)
            .ok_or_else(|| ConfigError::UnknownKey { file: file.to_owned(), key: key.clone() })?;
        let text = flat(&value).ok_or_else(|| ConfigError::BadValue {
            given: Source::File(file.to_owned()).name_of(setting),
            value: if setting.secret { "***".to_owned() } else { value.to_string() },
            allowed: (setting.allowed)(),
        })?;
        values.insert(setting.key, text);
    }
    Ok(values)
}

/// Gives a value of the file as the text that a flag would have; `None` for what no flag can say.
fn flat(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        toml::Value::Array(values) if values.is_empty() => Some("none".to_owned()),
        toml::Value::Array(values) => {
            let flat: Option<Vec<String>> = values.iter().map(flat).collect();
            flat.map(|texts| texts.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

impl Settings {
    /// Refuses values that are allowed each by itself and make no sense together.
    fn check(&self) -> Result<(), ConfigError> {
        let sessions = &self.sessions;
        if sessions.silence_ms < 2 * sessions.ping_interval_ms {
            return Err(ConfigError::Contradiction(format!(
                "silence_ms {} is less than two pings of ping_interval_ms {}: a single lost pong would \
                 end a session; raise the first or lower the second",
                sessions.silence_ms, sessions.ping_interval_ms
            )));
        }
        let store = &self.store;
        if store.commit_give_up_ms < store.commit_timeout_ms {
            return Err(ConfigError::Contradiction(format!(
                "commit_give_up_ms {} is less than commit_timeout_ms {}: a write would be given up \
                 within its first attempt; raise the first or lower the second",
                store.commit_give_up_ms, store.commit_timeout_ms
            )));
        }
        if let Some(collector) = self.telemetry.otlp_endpoint.as_ref().filter(|to| to.secure) {
            return Err(ConfigError::Contradiction(format!(
                "otlp_endpoint {collector} asks for TLS, which traces are not sent by: name a collector \
                 beside the node, by http, that sends them on"
            )));
        }
        self.check_cluster()?;
        self.check_cookie()
    }

    /// A browser keeps a cookie only of a domain that the page is below.
    fn check_cookie(&self) -> Result<(), ConfigError> {
        let Network { cookie_domain: Some(domain), public_url, .. } = &self.network else {
            return Ok(());
        };
        let domain = &domain.0;
        let Some(url) = public_url else {
            return Err(ConfigError::Contradiction(format!(
                "cookie_domain {domain} says below which domain the node is, and nothing says under \
                 which address: set public_url"
            )));
        };
        let host = &url.authority.host;
        if host == domain || host.ends_with(&format!(".{domain}")) {
            return Ok(());
        }
        Err(ConfigError::Contradiction(format!(
            "cookie_domain {domain} is not above the host {host} of public_url: browsers would \
             refuse the cookie"
        )))
    }

    fn check_cluster(&self) -> Result<(), ConfigError> {
        let Self { network, node, store, cluster, .. } = self;
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        if !node.roles.has(Role::Chat) {
            // Another process could read what this one has only where both share all.
            let alone = match (store.store, cluster.broker) {
                (StoreKind::Embedded, _) => {
                    Some("store embedded is a folder of its own, so no other process has data")
                }
                (StoreKind::Cassandra, BrokerKind::Local) => {
                    Some("broker local reaches no other process")
                }
                (StoreKind::Cassandra, BrokerKind::Rabbitmq) => None,
            };
            if let Some(why) = alone {
                return contradiction(format!(
                    "roles {} leave chat to another process, and {why}: name chat too, or set store \
                     to cassandra and broker to rabbitmq",
                    node.roles
                ));
            }
        }
        if cluster.broker == BrokerKind::Local {
            return match cluster.seeds.is_empty() {
                true => Ok(()),
                false => contradiction(
                    "seeds name other nodes, and broker local reaches none: set broker to rabbitmq"
                        .to_owned(),
                ),
            };
        }
        if let Err(error) = cluster.amqp_url.expose().parse::<AmqpUrls>() {
            return contradiction(format!("amqp_url: {error}"));
        }
        if store.store == StoreKind::Embedded {
            return contradiction(
                "broker rabbitmq makes this one node of several, and store embedded is a folder of \
                 its own: set store to cassandra"
                    .to_owned(),
            );
        }
        if network.public_url.is_none() {
            return contradiction(
                "broker rabbitmq makes this one node of several: name the address under which \
                 clients reach this one with public_url"
                    .to_owned(),
            );
        }
        if cluster.gossip_address.unwrap_or(cluster.gossip_listen).ip().is_unspecified() {
            return contradiction(format!(
                "gossip_listen {} says nothing about where other nodes reach it: set gossip_address",
                cluster.gossip_listen
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
