//! How the value of a setting is read from text and shown as text.
//!
//! One trait; a setting's type says everything else (what is allowed, how a flag takes
//! it, whether it may be shown). Knows no setting by name.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use rally_cluster::roles::{Role, Roles};
use rally_schema::NodeId;

use crate::origin::{Authority, Origin};
use crate::secret::Secret;

/// How a flag takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--key VALUE`, at most once.
    One(&'static str),
    /// `--key`, or `--key=false`.
    Switch,
    /// `--key A,B`, or several times.
    List(&'static str),
}

/// A type that a setting may have.
pub trait Value: Sized + Clone {
    /// How a flag takes it.
    const KIND: Kind;
    /// Whether it is never shown.
    const SECRET: bool = false;
    /// What a range of it is made of; [`Unbounded`] where there is none.
    type Bound: PartialOrd + Display;

    /// Says which texts are values.
    fn allowed() -> String;
    /// Reads a text.
    fn parse(text: &str) -> Option<Self>;
    /// Gives a text that [`Value::parse`] reads as the same value.
    fn show(&self) -> String;
    /// Gives what a range is compared with.
    fn bound(&self) -> Option<Self::Bound> {
        None
    }
}

/// The bound of types that have no order.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Unbounded {}

impl Display for Unbounded {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

/// Reads a value and holds it to its range.
pub(super) fn read<T: Value>(text: &str, range: Option<RangeInclusive<T::Bound>>) -> Option<T> {
    let value = T::parse(text)?;
    match (range, value.bound()) {
        (Some(range), Some(bound)) if !range.contains(&bound) => None,
        _ => Some(value),
    }
}

/// Says what [`read`] accepts.
pub(super) fn allowed<T: Value>(range: Option<RangeInclusive<T::Bound>>) -> String {
    match range {
        Some(range) => format!("{} from {} to {}", T::allowed(), range.start(), range.end()),
        None => T::allowed(),
    }
}

macro_rules! number {
    ($($type:ty: $what:literal;)*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::One("N");
            type Bound = $type;
            fn allowed() -> String {
                $what.to_owned()
            }
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn show(&self) -> String {
                self.to_string()
            }
            fn bound(&self) -> Option<$type> {
                Some(*self)
            }
        }
    )*};
}
number! {
    u8: "a whole number";
    u16: "a whole number";
    u32: "a whole number";
    u64: "a whole number";
    usize: "a whole number";
    f64: "a number";
}

macro_rules! plain {
    ($($type:ty: $name:literal, $what:literal, $parse:expr, $show:expr;)*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::One($name);
            type Bound = Unbounded;
            fn allowed() -> String {
                $what.to_owned()
            }
            fn parse(text: &str) -> Option<Self> {
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(text)
            }
            fn show(&self) -> String {
                let show: fn(&Self) -> String = $show;
                show(self)
            }
        }
    )*};
}
plain! {
    SocketAddr: "ADDR:PORT", "an address and port, such as 127.0.0.1:8080 or [::]:8080",
        |text| text.parse().ok(), Self::to_string;
    PathBuf: "PATH", "a path",
        |text| (!text.is_empty()).then(|| text.into()), |path| path.display().to_string();
    NodeId: "NAME", "1 to 32 of a-z 0-9 _ . - beginning with a letter or digit",
        |text| text.parse().ok(), Self::to_string;
    Origin: "URL", "http:// or https://, a host and perhaps a port, and no path",
        |text| text.parse().ok(), Self::to_string;
    Name: "NAME", "1 to 48 of a-z 0-9 _ beginning with a letter",
        Name::checked, |name| name.0.clone();
    Word: "WORD", "1 to 64 letters, digits and _ . -",
        Word::checked, |word| word.0.clone();
    Place: "HOST:PORT", "a host and a port, such as 127.0.0.1:7946 or node-1.example.org:7946",
        Place::checked, |place| place.0.clone();
    Domain: "DOMAIN", "a domain of at least two parts, such as chat.example.org",
        Domain::checked, |domain| domain.0.clone();
    Directives: "FILTER", "directives of tracing, such as info or warn,rally_server=debug",
        Self::checked, |filter| filter.0.clone();
}

impl Value for bool {
    const KIND: Kind = Kind::Switch;
    type Bound = Unbounded;
    fn allowed() -> String {
        "true or false".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const SECRET: bool = T::SECRET;
    type Bound = T::Bound;
    fn allowed() -> String {
        format!("none, or {}", T::allowed())
    }
    fn parse(text: &str) -> Option<Self> {
        if text == "none" { Some(None) } else { T::parse(text).map(Some) }
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::show)
    }
    fn bound(&self) -> Option<T::Bound> {
        self.as_ref().and_then(T::bound)
    }
}

impl<T: Value> Value for Vec<T> {
    const KIND: Kind = match T::KIND {
        Kind::One(name) | Kind::List(name) => Kind::List(name),
        Kind::Switch => Kind::List("VALUE"),
    };
    const SECRET: bool = T::SECRET;
    type Bound = Unbounded;
    fn allowed() -> String {
        format!("none, or values with commas between, each {}", T::allowed())
    }
    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Vec::new());
        }
        text.split(',').map(|one| T::parse(one.trim())).collect()
    }
    fn show(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        self.iter().map(T::show).collect::<Vec<_>>().join(",")
    }
}

impl Value for Roles {
    const KIND: Kind = Kind::List("ROLE");
    type Bound = Unbounded;
    fn allowed() -> String {
        format!("all, or some of {} with commas between", Role::ALL.map(Role::name).join(", "))
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A number that the machine chooses unless somebody gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auto<T>(pub Option<T>);

impl<T: Value> Value for Auto<T> {
    const KIND: Kind = T::KIND;
    type Bound = T::Bound;
    fn allowed() -> String {
        format!("auto, or {}", T::allowed())
    }
    fn parse(text: &str) -> Option<Self> {
        if text == "auto" { Some(Self(None)) } else { T::parse(text).map(|v| Self(Some(v))) }
    }
    fn show(&self) -> String {
        self.0.as_ref().map_or_else(|| "auto".to_owned(), T::show)
    }
    fn bound(&self) -> Option<T::Bound> {
        self.0.as_ref().and_then(T::bound)
    }
}

/// A name that others take as it is: a keyspace, an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

impl Name {
    fn checked(text: &str) -> Option<Self> {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let good = (1..=48).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(word);
        good.then(|| Self(text.to_owned()))
    }
}

/// A word that somebody else chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(pub String);

impl Word {
    fn checked(text: &str) -> Option<Self> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let good = (1..=64).contains(&text.len()) && text.chars().all(part);
        good.then(|| Self(text.to_owned()))
    }
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub String);

impl Place {
    fn checked(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        authority.port.map(|_| Self(text.to_owned()))
    }
}

/// A domain for cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(pub String);

impl Domain {
    fn checked(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let named = !authority.is_literal() && authority.port.is_none();
        (named && authority.host.contains('.')).then_some(Self(authority.host))
    }
}

impl Value for Secret<String> {
    const KIND: Kind = Kind::One("SECRET");
    const SECRET: bool = true;
    type Bound = Unbounded;
    fn allowed() -> String {
        "a text that is not empty".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Secret::new(text.to_owned()))
    }
    fn show(&self) -> String {
        self.expose().clone()
    }
}

/// Which log lines are written, in the syntax of `tracing_subscriber::EnvFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives(pub String);

impl Directives {
    fn checked(text: &str) -> Option<Self> {
        let good = !text.is_empty() && tracing_subscriber::EnvFilter::try_new(text).is_ok();
        good.then(|| Self(text.to_owned()))
    }
}

macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $word_doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $word_doc])+ $variant,)+ }

        impl Value for $name {
            const KIND: Kind = Kind::One("WORD");
            type Bound = Unbounded;
            fn allowed() -> String {
                [$($word),+].join(" or ")
            }
            fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)+ _ => None }
            }
            fn show(&self) -> String {
                match self { $(Self::$variant => $word.to_owned(),)+ }
            }
        }
    };
}
choice! {
    /// When a write counts as durable.
    Durability {
        /// Once the disk has it: survives a power cut.
        Sync = "sync",
        /// Once the operating system has it: survives the death of the process.
        Os = "os",
    }
}
choice! {
    /// Where data is kept.
    StoreKind {
        /// In a folder of this node's.
        Embedded = "embedded",
        /// In Cassandra or ScyllaDB, with other nodes.
        Cassandra = "cassandra",
    }
}
choice! {
    /// What carries envelopes between nodes.
    BrokerKind {
        /// Nothing: this node is alone.
        Local = "local",
        /// RabbitMQ.
        Rabbitmq = "rabbitmq",
    }
}
choice! {
    /// Where clients are placed.
    Placement {
        /// On the user's home, bounded by load.
        Home = "home",
        /// On one node after the other.
        RoundRobin = "round-robin",
    }
}
choice! {
    /// How log lines look.
    LogFormat {
        /// One line for people.
        Text = "text",
        /// One JSON object a line, with trace ids.
        Json = "json",
    }
}
