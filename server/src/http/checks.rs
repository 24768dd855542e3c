//! The log-ins of those who come back, checked in turn.
//!
//! After a node's death thousands ask at once where to connect, and the store reads twice for each.
//! A client that is not answered within some seconds asks another node, so that without a turn most of
//! what is read would be read in vain. So a check waits for a place among those who catch up, and whose
//! turn does not come soon is told so; who waits with the same token shares it, and the tabs of a browser
//! do. Knows nothing of why somebody asks.

use std::cell::Cell;
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

/// The checks of one thread that have not begun, by the log-in; whether one has is common to all who
/// wait for it.
#[derive(Clone, Default)]
pub struct Checks(Rc<Together<Uuid, Cell<bool>, Result<LoggedIn, TokenError>>>);

impl Checks {
    /// Says who the bearer of a token is, once it is his turn.
    pub async fn check(
        &self,
        tokens: &Tokens,
        admission: &Admission,
        token: &str,
    ) -> Result<LoggedIn, Problem> {
        let claims = tokens.open(token)?;
        let (check, has_begun) = self.0.join(claims.id(), |has_begun, unbegun| {
            let (tokens, admission) = (tokens.clone(), admission.clone());
            async move {
                let _place = admission.enter(Line::Reconnect).await;
                drop(unbegun);
                has_begun.set(true);
                tokens.confirm(claims).await
            }
        });
        let checked = match timeout(LONGEST_WAIT, check.clone()).await {
            Ok(checked) => checked,
            Err(_) if has_begun.get() => check.await,
            Err(_) => {
                let why = "too many come back at once: try again";
                return Err(Problem::new(Kind::Busy, why).retry_after(1));
            }
        };
        Ok(checked?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::ResponseError as _;
    use futures_util::FutureExt as _;
    use rally_cluster::store::{Model, Store, UserRow};

    use super::*;
    use crate::secret::Secret;
    use crate::testing::Hands;

    /// Checks of the tokens of two accounts, of which one at once takes place.
    struct Door {
        tokens: Tokens,
        checks: Checks,
        admission: Admission,
    }

    impl Door {
        async fn check(&self, token: &Secret<String>) -> Result<LoggedIn, Problem> {
            self.checks.check(&self.tokens, &self.admission, token.expose()).await
        }
    }

    async fn door() -> (Door, [Secret<String>; 2]) {
        let store: Arc<dyn Store> = Arc::new(Model::new(Uuid::from_u128(1).into(), [1; 32]));
        let tokens = Tokens::new(store.clone(), Hands::at(1_000_000).clock(), 30);
        let mut issued = Vec::new();
        for user in ["ana", "ben"] {
            let (name, user) = (user.to_owned(), user.parse().unwrap());
            let row = UserRow { user, name, password: None, epoch: 0, hide_presence: false };
            assert!(store.create_user(row.clone()).await.unwrap());
            issued.push(tokens.issue(&row));
        }
        let (checks, admission) = (Checks::default(), Admission::new(1));
        (Door { tokens, checks, admission }, issued.try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_does_not_come_is_told_so_and_leaves_nothing_behind() {
        let (door, [ana, _]) = door().await;
        let place = door.admission.enter(Line::Reconnect).await;
        assert_eq!(door.check(&ana).await.unwrap_err().status_code(), 503);
        drop(place);
        assert_eq!(door.check(&ana).await.unwrap().account.user.as_str(), "ana");
        assert!(door.admission.enter(Line::Doubt).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_with_the_same_token_shares_a_check_and_nobody_else_does() {
        let (door, [ana, ben]) = door().await;
        let place = door.admission.enter(Line::Reconnect).await;
        let mut first = Box::pin(door.check(&ana));
        let mut other = Box::pin(door.check(&ben));
        let mut same = Box::pin(door.check(&ana));
        for waiting in [&mut first, &mut other, &mut same] {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(place);
        // Ben's turn is the second, and he does not take it yet: were the third a check of its own, it
        // would wait for his place until it is told that its turn does not come.
        let (first, same) = tokio::join!(first, same);
        assert_eq!(first.unwrap().account.user.as_str(), "ana");
        assert_eq!(same.unwrap().account.user.as_str(), "ana");
        assert_eq!(other.await.unwrap().account.user.as_str(), "ben");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_in_that_ends_while_its_check_waits_is_over() {
        let (door, [ana, _]) = door().await;
        let who = door.check(&ana).await.unwrap();
        let place = door.admission.enter(Line::Reconnect).await;
        let mut check = Box::pin(door.check(&ana));
        assert!(check.as_mut().now_or_never().is_none());
        door.tokens.log_out(&who).await.unwrap();
        drop(place);
        assert_eq!(check.await.unwrap_err().status_code(), 401);
    }
}
