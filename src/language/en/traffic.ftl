### Rows on Traffic.

traffic-remedy-index = a row on Traffic does not fit into an index that the snapshot left out: change it, or take the index out of { $deferred }, then start again
traffic-remedy-verify = run `leadbridge verify`
traffic-remedy-truncate = nothing was applied; to delete the rows that came from Landing on Traffic too, set on_truncate = "apply" and start again
traffic-remedy-truncate-in-part = nothing was applied; run `leadbridge resync`: what has lost its lead waits in quarantine then
traffic-remedy-not-a-row = nothing of its transaction was applied; remove what forbids it on Traffic, then start again
traffic-remedy-not-replicated = set scheduled_notifications = true, run `leadbridge migrate`, or take the table out of the publication
traffic-remedy-snapshot = try again when `leadbridge status` says `streaming`
traffic-remedy-retry-switched = a retry would bring back Landing's older row: nothing was done; discard what still waits
