//! Phones and e-mail addresses of leads on Traffic, and which of the leads Landing has too; no I/O.

use std::collections::HashMap;

use uuid::Uuid;

use crate::mapping::values::normalized_phone;

/// Leads by what tells that two leads are the same person.
#[derive(Default)]
pub(super) struct Contacts {
    leads: Vec<Contact>,
    /// Positions in `leads`.
    by_phone: HashMap<String, Vec<usize>>,
    by_email: HashMap<String, Vec<usize>>,
}

struct Contact {
    id: Uuid,
    is_known: bool,
}

impl Contacts {
    pub(super) fn len(&self) -> usize {
        self.leads.len()
    }

    pub(super) fn add(&mut self, id: Uuid, phone: Option<&str>, email: Option<&str>) {
        let at = self.leads.len();
        self.leads.push(Contact { id, is_known: false });
        if let Some(phone) = phone.and_then(comparable) {
            self.by_phone.entry(phone).or_default().push(at);
        }
        if let Some(email) = email.filter(|email| !email.is_empty()) {
            self.by_email.entry(email.to_owned()).or_default().push(at);
        }
    }

    /// Whether no lead has anything to be recognised by.
    pub(super) fn are_unknown(&self) -> bool {
        self.by_phone.is_empty() && self.by_email.is_empty()
    }

    /// Takes in a lead of Landing.
    pub(super) fn meet(&mut self, phone: Option<&str>, email: Option<&str>) {
        let phone = phone.and_then(comparable).and_then(|phone| self.by_phone.remove(&phone));
        let email = email.and_then(|email| self.by_email.remove(email));
        for at in [phone, email].into_iter().flatten().flatten() {
            if let Some(lead) = self.leads.get_mut(at) {
                lead.is_known = true;
            }
        }
    }

    /// The leads that Landing has too, in the order in which the leads were added.
    pub(super) fn known(&self) -> impl Iterator<Item = Uuid> {
        self.leads.iter().filter(|lead| lead.is_known).map(|lead| lead.id)
    }
}

/// The normalized phone; `None` for a phone without a digit, which would match strangers.
fn comparable(phone: &str) -> Option<String> {
    let phone = normalized_phone(phone);
    phone.bytes().any(|byte| byte.is_ascii_digit()).then_some(phone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(contacts: &Contacts) -> Vec<u128> {
        contacts.known().map(|id| id.as_u128()).collect()
    }

    #[test]
    fn a_lead_is_known_by_its_normalized_phone_or_its_exact_email() {
        let mut contacts = Contacts::default();
        contacts.add(Uuid::from_u128(1), Some("+7 (701) 1"), Some("a@example"));
        contacts.add(Uuid::from_u128(2), Some("+7701-1"), None);
        contacts.add(Uuid::from_u128(3), None, Some("b@example"));
        contacts.add(Uuid::from_u128(4), Some("7701 1"), Some("B@example"));
        contacts.meet(Some("+77 01 1"), Some("b@example"));
        // Met again: nothing changes.
        contacts.meet(Some("+77011"), None);
        assert_eq!(known(&contacts), [1, 2, 3]);
    }

    #[test]
    fn a_phone_without_a_digit_and_an_empty_email_match_nobody() {
        let mut contacts = Contacts::default();
        contacts.add(Uuid::from_u128(1), Some("+ unknown"), Some(""));
        contacts.add(Uuid::from_u128(2), Some(""), None);
        assert!(contacts.are_unknown());
        contacts.meet(Some("+"), Some(""));
        contacts.meet(Some(""), Some(""));
        contacts.meet(None, None);
        assert!(known(&contacts).is_empty());
    }
}
