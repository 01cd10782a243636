//! Every run comes to an end: the graph of the states has no circle. So a run that goes on as long as some step is
//! possible ends in a state without a next step, and the property `WAY_OUT` judges that state.

use std::collections::HashMap;

use stateright::Model as _;

use super::Protocol;
use super::state::State;

/// A state from which steps lead back to the same state.
pub fn circle(protocol: &Protocol) -> Option<State> {
    // Whether the state is on the path from the first state to the one in hand.
    let mut is_on_path = HashMap::new();
    for first in protocol.init_states() {
        is_on_path.insert(first, true);
        let mut path = vec![(first, protocol.next_states(&first))];
        while let Some((state, following)) = path.last_mut() {
            let Some(next) = following.pop() else {
                is_on_path.insert(*state, false);
                path.pop();
                continue;
            };
            match is_on_path.get(&next) {
                Some(true) => return Some(next),
                Some(false) => {}
                None => {
                    is_on_path.insert(next, true);
                    path.push((next, protocol.next_states(&next)));
                }
            }
        }
    }
    None
}
