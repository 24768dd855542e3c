//! Where a RabbitMQ is, and as whom to go there; the password is never shown.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use lapin::uri::{AMQPScheme, AMQPUri};
use rand::seq::SliceRandom as _;
use thiserror::Error;

/// An AMQP URL, `amqp://user:password@host:port/vhost`.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl(pub(super) AMQPUri);

/// Why a text is no AMQP URL. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// It cannot be read. The library says why, and may repeat the text: it is left out.
    #[error(
        "not an AMQP URL: write amqp://user:password@host:port/vhost; several with commas between \
         them, and a comma within one as %2c"
    )]
    Unreadable,
    /// One of several, shown without its password, is named twice or has another virtual host.
    #[error("{0}: name each broker of one cluster once, with the same virtual host")]
    OddOne(String),
    /// It asks for TLS.
    #[error("amqps is not built in: use amqp through a tunnel or within a private network")]
    Tls,
}

impl FromStr for AmqpUrl {
    type Err = UrlError;

    fn from_str(value: &str) -> Result<Self, UrlError> {
        let uri: AMQPUri = value.parse().map_err(|_| UrlError::Unreadable)?;
        match uri.scheme {
            AMQPScheme::AMQP => Ok(Self(uri)),
            AMQPScheme::AMQPS => Err(UrlError::Tls),
        }
    }
}

/// The addresses of the brokers of one RabbitMQ cluster, at least one; written with commas between
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpUrls(Vec<AmqpUrl>);

impl AmqpUrls {
    /// Gives how many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives the one at a place, which goes on from the first after the last.
    pub(super) fn nth(&self, place: usize) -> &AmqpUrl {
        &self.0[place % self.len()]
    }

    /// Gives them in an order that is drawn, so that the nodes of a cluster spread over its
    /// brokers.
    pub(super) fn in_own_order(&self) -> Self {
        let mut urls = self.0.clone();
        urls.shuffle(&mut rand::rng());
        Self(urls)
    }
}

impl FromStr for AmqpUrls {
    type Err = UrlError;

    fn from_str(value: &str) -> Result<Self, UrlError> {
        let read = |text: &str| text.trim().parse::<AmqpUrl>();
        let urls: Vec<AmqpUrl> = value.split(',').map(read).collect::<Result<_, _>>()?;
        let mut places = HashSet::new();
        for url in &urls {
            let (authority, vhost) = (&url.0.authority, &url.0.vhost);
            let is_new = places.insert((&authority.host, authority.port));
            if !is_new || *vhost != urls[0].0.vhost {
                return Err(UrlError::OddOne(url.to_string()));
            }
        }
        Ok(Self(urls))
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { authority, vhost, .. } = &self.0;
        let vhost = if vhost == "/" { "%2f" } else { vhost };
        let (user, host, port) = (&authority.userinfo.username, &authority.host, authority.port);
        write!(f, "amqp://{user}:***@{host}:{port}/{vhost}")
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let url: AmqpUrl = "amqp://rally:s3cret@mq.example:5673/%2f".parse().unwrap();
        assert_eq!(url.to_string(), "amqp://rally:***@mq.example:5673/%2f");
        assert_eq!(format!("{url:?}"), url.to_string());
        for bad in [
            "amqp://a:s3cret@host:port/",
            "amqp:a:s3cret@host",
            "s3cret",
            "amqps://a:s3cret@host/",
            "http://a:s3cret@b",
            "amqp://a:s3cret@b,amqp://a:s3c,ret@c",
            "amqp://a:s3cret@b,amqp://a:s3cret@b:5672/%2f",
            "amqp://a:s3cret@b,",
            "",
        ] {
            let error = bad.parse::<AmqpUrls>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn several_are_brokers_of_one_cluster() {
        let urls: AmqpUrls = "amqp://a:b%2cc@one, amqp://a:b@two:5673".parse().unwrap();
        let shown: Vec<String> = (0..3).map(|place| urls.nth(place).to_string()).collect();
        assert_eq!(shown[..2], ["amqp://a:***@one:5672/%2f", "amqp://a:***@two:5673/%2f"]);
        assert_eq!(shown[2], shown[0]);
        let refused = |text: &str| text.parse::<AmqpUrls>().unwrap_err().to_string();
        assert!(refused("amqp://one,amqp://two,amqp://one:5672").contains("@one:5672/"));
        assert!(refused("amqp://one/chat,amqp://two/talk").contains("@two:5672/talk"));
    }
}
