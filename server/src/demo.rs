//! The five users of the demo.
//!
//! Made at every start with `--demo`; those that exist stay as they are.

use std::sync::Arc;

use rally_cluster::store::{Store, StoreError, UserRow};

use crate::passwords;
use crate::secret::Secret;

/// Their ids and names.
pub const USERS: [(&str, &str); 5] = [
    ("rafa", "Rafa"),
    ("roger", "Roger"),
    ("carlos", "Carlos"),
    ("novak", "Novak"),
    ("andy", "Andy"),
];

/// The password of them all; public, as is everything in a demo.
pub const PASSWORD: &str = "rally-demo";

/// Makes those of the users that do not exist; says how many are new.
pub async fn make_users(store: &Arc<dyn Store>) -> Result<u64, StoreError> {
    let mut missing = Vec::new();
    for (user, name) in USERS {
        let user = user.parse().expect("the table has valid ids: a test reads them");
        if store.user(user).await?.is_none() {
            missing.push((user, name.to_owned()));
        }
    }
    if missing.is_empty() {
        return Ok(0);
    }
    let hash = passwords::hash_now(&Secret::new(PASSWORD.to_owned()));
    let row = |(user, name)| UserRow {
        user,
        name,
        password: Some(hash.clone()),
        epoch: 0,
        hide_presence: false,
    };
    store.import_users(missing.into_iter().map(row).collect()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rally_cluster::store::Model;

    #[tokio::test]
    async fn the_users_are_made_once() {
        let id = uuid::Uuid::from_u128(1).into();
        let store: Arc<dyn Store> = Arc::new(Model::new(id, [1; 32]));
        assert_eq!(make_users(&store).await, Ok(5));
        assert_eq!(make_users(&store).await, Ok(0));
    }
}
