//! Log-in tokens: what a browser keeps in a cookie and a program in a header.
//!
//! A token is sealed, so that resuming needs no password; it is refused once it has expired,
//! was revoked (log out), or is of an earlier epoch of the account (log out everywhere).
//! Knows nothing of HTTP.

use std::sync::Arc;

use futures_util::future::try_join;
use rally_actors::node::{Admitted, ByLogIn};
use rally_cluster::clock::Clock;
use rally_cluster::store::{Store, StoreError, UserChange, UserRow};
use rally_schema::UserId;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::seal::Sealer;
use crate::secret::Secret;

const DAY_MS: u64 = 86_400_000;

/// Why a token does not say who somebody is.
#[derive(Debug, Clone, Error)]
pub enum TokenError {
    /// Forged, expired, revoked, of an earlier epoch, or its account is gone: one answer for all.
    #[error("the log-in is not valid, or no longer: log in again")]
    Invalid,
    /// The store could not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a token says that is genuine and has not expired.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    id: Uuid,
    user: UserId,
    epoch: u64,
    expires_ms: u64,
}

impl Claims {
    /// Gives what a ticket names of it.
    pub fn admitted(&self) -> Admitted {
        let log_in = ByLogIn { id: self.id, ends_ms: self.expires_ms };
        Admitted { user: self.user, epoch: Some(self.epoch), log_in: Some(log_in) }
    }
}

/// Somebody whose token was checked.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// The account as it stood when the token was checked.
    pub account: UserRow,
    id: Uuid,
    expires_ms: u64,
}

impl LoggedIn {
    /// Gives the log-in by which he asks.
    pub fn by(&self) -> ByLogIn {
        ByLogIn { id: self.id, ends_ms: self.expires_ms }
    }
}

/// Issues, checks and ends log-ins.
#[derive(Clone)]
pub struct Tokens {
    sealer: Sealer,
    store: Arc<dyn Store>,
    clock: Clock,
    days: u64,
}

impl Tokens {
    /// Seals with a key from the store's secret; a token is good for `days`.
    pub fn new(store: Arc<dyn Store>, clock: Clock, days: u64) -> Self {
        Self { sealer: Sealer::new(&store.secret(), "rally token 1"), store, clock, days }
    }

    /// Gives for how long a token is good.
    pub fn lifetime_seconds(&self) -> u64 {
        self.days * DAY_MS / 1000
    }

    /// Makes a token of a new log-in.
    pub fn issue(&self, account: &UserRow) -> Secret<String> {
        Secret::new(self.sealer.seal(&Claims {
            id: Uuid::new_v4(),
            user: account.user,
            epoch: account.epoch,
            expires_ms: self.clock.now_ms() + self.days * DAY_MS,
        }))
    }

    /// Says who the bearer of a token is.
    pub async fn check(&self, token: &str) -> Result<LoggedIn, TokenError> {
        self.confirm(self.open(token)?).await
    }

    /// Reads a token, without a look at the store.
    pub fn open(&self, token: &str) -> Result<Claims, TokenError> {
        let claims: Claims = self.sealer.open(token).ok_or(TokenError::Invalid)?;
        if self.clock.now_ms() >= claims.expires_ms {
            return Err(TokenError::Invalid);
        }
        Ok(claims)
    }

    /// Finds out whether what a token says still holds.
    pub async fn confirm(&self, claims: Claims) -> Result<LoggedIn, TokenError> {
        let reads = try_join(self.store.is_revoked(claims.id), self.store.user(claims.user));
        match reads.await? {
            (false, Some(account)) if account.epoch == claims.epoch => {
                Ok(LoggedIn { account, id: claims.id, expires_ms: claims.expires_ms })
            }
            _ => Err(TokenError::Invalid),
        }
    }

    /// Ends this log-in. What the store did not confirm is looked up, as below: who asks again at
    /// another node may only be told that his log-in is over.
    pub async fn log_out(&self, who: &LoggedIn) -> Result<(), StoreError> {
        match self.store.revoke(who.id, who.expires_ms).await {
            Err(unknown @ StoreError::Unknown(_)) => {
                self.store.is_revoked(who.id).await?.then_some(()).ok_or(unknown)
            }
            answer => answer,
        }
    }

    /// Ends every log-in of the account; gives its epoch from now on, if there is one.
    ///
    /// Whoever asks cannot ask again once it is done: his own log-in is over, too. So what the store
    /// did not confirm is looked up.
    pub async fn log_out_everywhere(&self, account: &UserRow) -> Result<Option<u64>, StoreError> {
        let change = UserChange { raise_epoch: true, ..UserChange::default() };
        let changed = match self.store.change_user(account.user, change).await {
            Err(StoreError::Unknown(why)) => {
                let row = self.store.user(account.user).await?;
                if row.as_ref().is_some_and(|row| row.epoch <= account.epoch) {
                    return Err(StoreError::Unknown(why));
                }
                row
            }
            answer => answer?,
        };
        Ok(changed.map(|row| row.epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Hands;
    use rally_cluster::store::Model;

    struct Place {
        hands: Hands,
        tokens: Tokens,
        account: UserRow,
    }

    async fn place() -> Place {
        let hands = Hands::at(1_000_000);
        let store: Arc<dyn Store> = Arc::new(Model::new(Uuid::from_u128(1).into(), [1; 32]));
        let account = UserRow {
            user: "ana".parse().unwrap(),
            name: "Ana".to_owned(),
            password: None,
            epoch: 0,
            hide_presence: false,
        };
        assert!(store.create_user(account.clone()).await.unwrap());
        let tokens = Tokens::new(store, hands.clock(), 30);
        Place { hands, tokens, account }
    }

    impl Place {
        async fn is_good(&self, token: &Secret<String>) -> bool {
            match self.tokens.check(token.expose()).await {
                Ok(who) => who.account.user == self.account.user,
                Err(TokenError::Invalid) => false,
                Err(TokenError::Store(error)) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_expires() {
        let place = place().await;
        let token = place.tokens.issue(&place.account);
        assert!(place.is_good(&token).await);
        place.hands.pass(30 * DAY_MS - 1);
        assert!(place.is_good(&token).await);
        place.hands.pass(1);
        assert!(!place.is_good(&token).await);
    }

    #[tokio::test]
    async fn logging_out_ends_one_log_in() {
        let place = place().await;
        let (one, other) = (place.tokens.issue(&place.account), place.tokens.issue(&place.account));
        let who = place.tokens.check(one.expose()).await.unwrap();
        place.tokens.log_out(&who).await.unwrap();
        place.tokens.log_out(&who).await.unwrap();
        assert!(!place.is_good(&one).await);
        assert!(place.is_good(&other).await);
    }

    #[tokio::test]
    async fn logging_out_everywhere_ends_all() {
        let place = place().await;
        let (one, other) = (place.tokens.issue(&place.account), place.tokens.issue(&place.account));
        place.tokens.log_out_everywhere(&place.account).await.unwrap();
        assert!(!place.is_good(&one).await && !place.is_good(&other).await);
    }

    #[tokio::test]
    async fn forgeries_and_strangers_are_refused() {
        let place = place().await;
        let ghost = UserRow { user: "ghost".parse().unwrap(), ..place.account.clone() };
        let foreign = Sealer::new(&[2; 32], "rally token 1").seal(&Claims {
            id: Uuid::nil(),
            user: place.account.user,
            epoch: 0,
            expires_ms: u64::MAX,
        });
        for bad in [place.tokens.issue(&ghost).expose().as_str(), &foreign, "", "a.b.c", "\0"] {
            assert!(!place.is_good(&Secret::new(bad.to_owned())).await, "{bad}");
        }
    }
}
