//! How much is written, and where: what the command line says, and why that cannot be meant.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use rally_schema::limits::{CATCH_UP_CONVERSATION, CATCH_UP_MESSAGES};
use thiserror::Error;

use super::world::{PAGE, Shape};

/// The most messages that one model is given: their places alone are gigabytes beyond.
const MOST: usize = 50_000_000;

/// The least of the long conversation: a page on the screen, and one before it.
const LEAST_LONG: u64 = 2 * PAGE as u64;

/// Why flags cannot be meant together, or one alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadFlags {
    /// No address.
    #[error("{0:?} is no HOST:PORT, as in 127.0.0.1:9042")]
    Address(String),
    /// More than fits.
    #[error(
        "{conversations} conversations of {messages} messages are more than {MOST} messages: ask \
         for fewer by --conversations or --messages"
    )]
    TooMuch {
        /// How many conversations.
        conversations: usize,
        /// How many messages of each.
        messages: usize,
    },
    /// A server reads something else then.
    #[error(
        "--news {news} in {conversations} conversations are over {CATCH_UP_CONVERSATION} in one: a \
         server shows only the newest page of that; ask for fewer, or for more --news-in"
    )]
    CutShort {
        /// How many are new.
        news: usize,
        /// In how many conversations.
        conversations: usize,
    },
}

/// Where a database answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Gives it as drivers take it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = BadFlags;

    fn from_str(text: &str) -> Result<Self, BadFlags> {
        let bad = || BadFlags::Address(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        match port.parse::<u16>() {
            Ok(1..) if !host.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(bad()),
        }
    }
}

/// How much is written.
#[derive(Debug, Clone, Args)]
pub struct Numbers {
    /// Conversations of the user; each number is measured on its own.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000], value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    conversations: Vec<u32>,
    /// Messages of each conversation.
    #[arg(long, default_value_t = 10, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    messages: u32,
    /// Messages of the long one, whose older page is read.
    #[arg(long, default_value_t = 200, value_name = "N",
        value_parser = clap::value_parser!(u32).range(LEAST_LONG as i64..=1_000_000))]
    long: u32,
    /// Messages after the moment at which a catch-up begins.
    #[arg(long, default_value_t = 20, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=CATCH_UP_MESSAGES as i64))]
    news: u32,
    /// Conversations that these are spread over, or all where there are fewer.
    #[arg(long, default_value_t = 5, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    news_in: u32,
}

impl Numbers {
    /// Gives what is written for each number of conversations.
    pub fn shapes(&self) -> Result<Vec<Shape>, BadFlags> {
        self.conversations.iter().map(|conversations| self.shape(*conversations as usize)).collect()
    }

    fn shape(&self, conversations: usize) -> Result<Shape, BadFlags> {
        let (messages, news) = (self.messages as usize, self.news as usize);
        if conversations * messages > MOST {
            return Err(BadFlags::TooMuch { conversations, messages });
        }
        let news_in = conversations.min(self.news_in as usize);
        if news.div_ceil(news_in) > CATCH_UP_CONVERSATION {
            return Err(BadFlags::CutShort { news, conversations: news_in });
        }
        Ok(Shape { conversations, messages, long: self.long as usize, news, news_in })
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages a conversation, one of {}, {} new ones in {} conversations",
            self.messages, self.long, self.news, self.news_in
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        numbers: Numbers,
    }

    fn parse(flags: &[&str]) -> Result<Numbers, String> {
        let line = ["storage"].iter().chain(flags);
        Line::try_parse_from(line).map(|line| line.numbers).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bad_flag_is_refused_with_its_value() {
        for (flag, value) in [
            ("--conversations", "10,0"),
            ("--conversations", "many"),
            ("--messages", "0"),
            ("--long", "99"),
            ("--news", "2001"),
            ("--news-in", "0"),
        ] {
            let error = parse(&[flag, value]).unwrap_err();
            let named = value.rsplit(',').next().unwrap();
            assert!(error.contains(&format!("'{named}' for '{flag}")), "{error}");
        }
        for bad in ["", "localhost", "localhost:", ":9042", "localhost:cql", "localhost:0"] {
            assert_eq!(bad.parse::<Address>(), Err(BadFlags::Address(bad.to_owned())));
        }
        assert_eq!("::1:9042".parse::<Address>().unwrap().as_str(), "::1:9042");
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_both() {
        let numbers = parse(&["--conversations=1000000", "--messages=1000"]).unwrap();
        let (conversations, messages) = (1_000_000, 1_000);
        assert_eq!(numbers.shapes(), Err(BadFlags::TooMuch { conversations, messages }));
        let numbers = parse(&["--conversations=2,9", "--news=500"]).unwrap();
        assert_eq!(numbers.shapes(), Err(BadFlags::CutShort { news: 500, conversations: 2 }));
    }

    #[test]
    fn where_there_are_fewer_conversations_what_is_new_is_in_all_of_them() {
        let shapes = parse(&["--conversations=3,50"]).unwrap().shapes().unwrap();
        assert_eq!(shapes.iter().map(|shape| shape.news_in).collect::<Vec<_>>(), [3, 5]);
    }
}
