//! The holder of the lease, for the status.

use crate::postgres::advisory::Holder;
use crate::telemetry::LeaseHolder;

pub(crate) fn reported(holder: &Holder) -> LeaseHolder {
    let Holder { pid, role, application, client, since, .. } = holder.clone();
    let is_leadbridge = holder.is_ours();
    LeaseHolder { pid, role, application_name: application, client_address: client, since, is_leadbridge }
}
