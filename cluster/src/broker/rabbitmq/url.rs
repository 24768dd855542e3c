//! Where a RabbitMQ is, and as whom to go there; the password is never shown.

use std::fmt;
use std::str::FromStr;

use lapin::uri::{AMQPScheme, AMQPUri};
use thiserror::Error;

/// An AMQP URL, `amqp://user:password@host:port/vhost`.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl(pub(super) AMQPUri);

/// Why a text is no AMQP URL. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// It cannot be read. The library says why, and may repeat the text: it is left out.
    #[error("not an AMQP URL: write amqp://user:password@host:port/vhost")]
    Unreadable,
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
        ] {
            let error = bad.parse::<AmqpUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
