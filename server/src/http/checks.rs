//! The log-ins of those who come back, checked in turn.
//!
//! After a node's death thousands ask at once where to connect, and the store reads twice for each.
//! A client that is not answered within some seconds asks another node, so that without a turn most of
//! what is read would be read in vain. So a check waits for a place in the line of those who catch up,
//! a second or two at most; who waits with the same token shares it, and the tabs of a browser do.

use std::rc::Rc;
use std::time::Duration;

use rally_actors::admission::{Admission, Line};
use rally_actors::together::Together;
use tokio::time::timeout;
use uuid::Uuid;

use super::problem::{Kind, Problem};
use crate::tokens::{LoggedIn, TokenError, Tokens};

/// How long a check waits for its turn: half of the time after which clients ask another node.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The checks of one thread that have not begun, by token.
#[derive(Clone, Default)]
pub struct Checks(Rc<Together<Uuid, (), Result<LoggedIn, TokenError>>>);

impl Checks {
    /// Says who the bearer of a token is, once it is his turn.
    pub async fn check(
        &self,
        tokens: &Tokens,
        admission: &Admission,
        token: &str,
    ) -> Result<LoggedIn, Problem> {
        let claims = tokens.open(token)?;
        let (check, _) = self.0.join(claims.id(), |_, unbegun| {
            let (tokens, admission) = (tokens.clone(), admission.clone());
            async move {
                let _place = admission.enter(Line::Reconnect).await;
                drop(unbegun);
                tokens.confirm(claims).await
            }
        });
        let checked = timeout(LONGEST_WAIT, check).await.map_err(|_| {
            Problem::new(Kind::Busy, "too many come back at once: try again").retry_after(1)
        })?;
        Ok(checked?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::ResponseError as _;
    use rally_cluster::store::{Model, Store, UserRow};

    use super::*;
    use crate::testing::Hands;

    #[tokio::test]
    async fn who_would_wait_too_long_for_his_turn_is_told_and_who_is_told_leaves_no_check() {
        let store: Arc<dyn Store> = Arc::new(Model::new(Uuid::from_u128(1).into(), [1; 32]));
        let (user, name) = ("ana".parse().unwrap(), "Ana".to_owned());
        let account = UserRow { user, name, password: None, epoch: 0, hide_presence: false };
        store.create_user(account.clone()).await.unwrap();
        let tokens = Tokens::new(store.clone(), Hands::at(1_000_000).clock(), 30);
        let token = tokens.issue(&account);
        let (checks, admission) = (Checks::default(), Admission::new(1));
        let check = || checks.check(&tokens, &admission, token.expose());

        let place = admission.enter(Line::Reconnect).await;
        let refused = check().await.unwrap_err();
        assert_eq!(refused.status_code(), 503);
        drop(place);
        assert_eq!(check().await.unwrap().account, account);
        let place = admission.enter(Line::Reconnect).await;
        let (one, other, _) = tokio::join!(check(), check(), async { drop(place) });
        assert_eq!(one.unwrap().account, other.unwrap().account);
        assert!(check().await.is_ok());
    }
}
