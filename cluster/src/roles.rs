//! What a process does in its cluster: a set of roles.
//!
//! Whatever its roles, every process has accounts, the web client and the checks of a supervisor,
//! gossips, and has a queue. Only those with `chat` have users: they alone are homes, and clients
//! are placed on them. No I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One thing that a process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The WebSocket, and the actors of users.
    Chat,
    /// Inbox and history over HTTP, from the store.
    Messaging,
    /// Who is online, over HTTP.
    Presence,
    /// The way of a client to a process with [`Role::Chat`].
    Discovery,
}

impl Role {
    /// Every role, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Messaging, Self::Presence, Self::Discovery];

    /// Gives its name in settings, and on the card that others read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messaging => "messaging",
            Self::Presence => "presence",
            Self::Discovery => "discovery",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a list of roles.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RolesError {
    /// Nobody knows the role.
    #[error("unknown role {0:?}")]
    Unknown(String),
    /// A process without any would be of no use.
    #[error("no role is named")]
    Empty,
}

/// The roles of one process.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", from = "Vec<String>")]
pub struct Roles(u8);

impl Roles {
    /// Makes the set of these.
    pub fn of(roles: impl IntoIterator<Item = Role>) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | role.bit()))
    }

    /// Makes the set of all.
    pub fn all() -> Self {
        Self::of(Role::ALL)
    }

    /// Tells whether a role is among them.
    pub fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

/// A card of an earlier version names no roles: its process does everything.
impl Default for Roles {
    fn default() -> Self {
        Self::all()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self == Self::all() {
            true => f.write_str("all"),
            false => f.write_str(&self.iter().map(Role::name).collect::<Vec<_>>().join(",")),
        }
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

impl FromStr for Roles {
    type Err = RolesError;

    fn from_str(text: &str) -> Result<Self, RolesError> {
        match text.trim() {
            "all" => return Ok(Self::all()),
            "" => return Err(RolesError::Empty),
            _ => {}
        }
        let named = text.split(',').map(str::trim);
        let known =
            |name: &str| Role::named(name).ok_or_else(|| RolesError::Unknown(name.to_owned()));
        named.map(known).collect::<Result<Vec<_>, _>>().map(Self::of)
    }
}

impl From<Roles> for Vec<String> {
    fn from(roles: Roles) -> Self {
        roles.iter().map(|role| role.name().to_owned()).collect()
    }
}

/// Takes what is known here: a later version may have more.
impl From<Vec<String>> for Roles {
    fn from(names: Vec<String>) -> Self {
        Self::of(names.iter().filter_map(|name| Role::named(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_shown_in_one_order() {
        let roles: Roles = "discovery, chat".parse().unwrap();
        assert_eq!(roles.to_string(), "chat,discovery");
        assert!(roles.has(Role::Chat) && !roles.has(Role::Messaging));
        assert_eq!("all".parse(), Ok(Roles::all()));
        assert_eq!(
            "chat,messaging,presence,discovery".parse::<Roles>().unwrap().to_string(),
            "all"
        );
    }

    #[test]
    fn what_is_no_role_is_refused_by_its_name() {
        let refused = |text: &str| text.parse::<Roles>().unwrap_err().to_string();
        assert_eq!(refused("chat,gardening"), "unknown role \"gardening\"");
        assert_eq!(refused("chat,,presence"), "unknown role \"\"");
        assert_eq!(refused("all,chat"), "unknown role \"all\"");
        assert_eq!(refused(" "), "no role is named");
    }

    #[test]
    fn a_card_of_a_later_version_may_name_roles_that_nobody_knows_here() {
        let read: Roles = serde_json::from_str(r#"["gardening","presence"]"#).unwrap();
        assert_eq!(read, Roles::of([Role::Presence]));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"["presence"]"#);
    }
}
