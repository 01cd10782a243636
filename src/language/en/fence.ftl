### Remedies of what stands in the way of a fence.

fence-remedy-lifted = rows written there now reach no other database: find out who lifted the fence, and write these rows to Traffic; the fence is the row of that cutover in leadbridge.fence on Landing
fence-remedy-other-user = let LANDING_DATABASE_URL name the user of the cutover, { $writer }
fence-remedy-damaged = run `leadbridge migrate`, which makes the fence whole; then `leadbridge rollback --dry-run` says whether rows differ, and write such rows to the system of record
fence-remedy-wait-or-other-user = wait until then; or let TRAFFIC_DATABASE_URL name the user of the rollback, { $writer }
fence-remedy-standing = finish or roll back the cutover to which that fence belongs (the names of its triggers hold its id); a fence that is lifted is removed by the daemon of its installation
fence-remedy-does-not-hold = did a session drop or disable a trigger leadbridge_fence_…? Run `leadbridge migrate`, then try again
