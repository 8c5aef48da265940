//! Sign-ins that wait because of failures at their account. They take no turn for hashing, and their number is limited.

use crate::frame::room::Room;
use crossfade_core::address::wide_network;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};
use tokio::sync::oneshot::Receiver;

/// Maximum number of waiting sign-ins of one account.
const MOST_OF_ACCOUNT: usize = 64;
/// Maximum number of waiting sign-ins in total.
const MOST: usize = 1024;

/// The waiting sign-ins of each account.
#[derive(Default)]
pub(crate) struct Waits(Mutex<HashMap<String, Room<()>>>);

impl Waits {
    /// Adds a waiting sign-in; `None` if there is no place. `failures_of` counts the failures of a network at this
    /// account. Within an account, a network with many waiting sign-ins or with failures gives way to another network.
    /// If all places are taken, the account with the most places gives way. The channel closes for a sign-in that has
    /// lost its place.
    pub(crate) fn enter(
        &self,
        address: IpAddr,
        account: &str,
        failures_of: &dyn Fn(&str) -> u64,
    ) -> Option<Receiver<()>> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| room.len() > 0);
        let all: usize = rooms.values().map(Room::len).sum();
        let room = rooms.get(account).map_or(0, Room::len);
        if all >= MOST && room < MOST_OF_ACCOUNT {
            let fullest = rooms.values_mut().max_by_key(|room| room.len());
            let fullest = fullest.filter(|fullest| fullest.len() > room + 1)?;
            fullest.displace(&|_| 0);
        }
        let room = rooms.entry(account.to_owned()).or_insert_with(|| Room::new(MOST_OF_ACCOUNT));
        room.enter(&wide_network(address).to_string(), failures_of)
    }
}

impl Waits {
    /// Returns the number of waiting sign-ins.
    pub(crate) fn len(&self) -> usize {
        let rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.values().map(Room::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: fn(&str) -> u64 = |_| 0;

    fn address(number: usize) -> IpAddr {
        IpAddr::from([10, (number / 256) as u8, (number % 256) as u8, 1])
    }

    #[test]
    fn waiting_sign_ins_of_one_account_are_bounded_and_the_owner_finds_a_place() {
        let waits = Waits::default();
        let attack: Vec<_> =
            (0..MOST_OF_ACCOUNT).map(|it| waits.enter(address(it), "ada", &NONE).unwrap()).collect();
        // The networks of the attack have failed since.
        let failures_of = |source: &str| if source == "10.0.101.0" { 1 } else { 10 };
        assert!(waits.enter(address(100), "ada", &failures_of).is_none());
        let owner = waits.enter(address(101), "ada", &failures_of);
        assert!(owner.is_some(), "a network without failures takes the place of one with failures");
        assert!(waits.enter(address(0), "bob", &NONE).is_some(), "another account has places of its own");
        drop(attack);
    }

    #[test]
    fn waiting_sign_ins_are_bounded_in_all_and_the_account_with_most_makes_place() {
        let waits = Waits::default();
        let all: Vec<_> =
            (0..MOST).map(|it| waits.enter(address(it), &(it / 8).to_string(), &NONE).unwrap()).collect();
        let others: Vec<_> = (0..3).map(|it| waits.enter(address(it), "another", &NONE)).collect();
        assert!(others.iter().all(Option::is_some));
        assert_eq!(waits.len(), MOST);
        drop((all, others));
        let all: Vec<_> =
            (0..MOST).map(|it| waits.enter(address(it), &it.to_string(), &NONE).unwrap()).collect();
        assert!(waits.enter(address(0), "another", &NONE).is_none(), "no account has more than one");
        drop(all);
        assert!(waits.enter(address(0), "another", &NONE).is_some());
    }
}
