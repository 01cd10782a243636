### Conditions and states of a cutover and a rollback.

cutover-sent-again-none = Traffic has every row as Landing gives it
cutover-sent-again = up to { $rows } rows have values on Traffic that Landing does not give; Landing sends them again while writers wait, for about { $milliseconds } ms more
cutover-sent-again-remedy = allow a longer --max-pause

cutover-compared-backward = all { $rows } rows on Landing are as Traffic has them
cutover-compared = all { $rows } rows are equal ({ $seconds } s)
cutover-compared-by-round = round { $round } of background verification, which ended at { $at }, found all rows equal; of the { $rows } rows of now this dry run compared the keys, and the values of { $read } that were written since: equal. A cutover compares every row itself
cutover-compared-but-for-changed = all { $rows } rows are equal, but for { $changed } that were changed on Traffic and stay so ({ $seconds } s)

cutover-differs-backward = { $rows } rows differ, or could not be compared
cutover-differs-backward-remedy = see the daemon's log, and what waits in leadbridge.reverse_quarantine on Traffic
cutover-differs-in-table = { $count } of { $table }
cutover-differs = rows differ, or could not be compared: { $tables }
cutover-differs-remedy = see `leadbridge verify`

cutover-state-streaming = the snapshot is complete, and changes are streamed
cutover-state-switched = it is already switched: Traffic is the system of record
cutover-state-other = it is in state `{ $state }`
cutover-state-other-remedy = let `leadbridge run` get to `streaming`
cutover-state-nothing-copied = nothing was copied yet through slot `{ $slot }`
cutover-state-nothing-copied-remedy = let `leadbridge run` copy the tables first
cutover-state-reverse = Traffic is the system of record, with reverse replication
cutover-state-not-switched = no cutover has switched: Landing is the system of record
cutover-state-not-switched-remedy = nothing to do; `leadbridge rollback` undoes a cutover

cutover-slot-absent = the slot `{ $name }` does not exist
cutover-slot-unused = no session streams from the slot `{ $name }`
cutover-slot-unused-remedy = start the daemon
cutover-slot-losing = the slot `{ $name }` is losing the WAL that it needs
cutover-slot-losing-remedy = raise max_slot_wal_keep_size on { $side } DB, and see `leadbridge doctor`
cutover-slot-in-use = the daemon streams from the slot `{ $name }`
cutover-slot-creation = a slot can be created on Traffic
cutover-slot-creation-slow = creating a slot on Traffic takes longer than { $patience }: it waits for { $blocker }
cutover-slot-creation-slow-remedy = let that transaction end, or end it: the cutover waits for it until --timeout

cutover-forward-slot-foreign = the slot `{ $name }` on Landing is not leadbridge's
cutover-forward-slot-made-again = the slot `{ $name }` on Landing is being made again
cutover-forward-slot-made-again-remedy = wait for the daemon: it records the slot's position, and `leadbridge status` shows it; the creation waits for open transactions on Landing
cutover-forward-slot-lost = the slot `{ $name }` on Landing is gone, or has lost the WAL that it needs
cutover-forward-slot-lost-remedy = let the daemon run: it makes a new slot within seconds, because Landing is fenced
cutover-forward-slot-losing = the slot `{ $name }` on Landing is losing the WAL that it needs
cutover-forward-slot-losing-remedy = the daemon keeps it moving while it runs: see `leadbridge doctor`
cutover-forward-slot-healthy = the slot `{ $name }` on Landing can be streamed from again
cutover-forward-publication-fits = Landing's later changes can be replicated to Traffic
cutover-forward-publication = Landing's publication is as it was before the switch
cutover-forward-publication-altered = { $what }: the stream from Landing would be refused
cutover-forward-publication-altered-remedy = put Landing right with `leadbridge migrate` (`leadbridge doctor` says what is wrong); the daemon records the publication once it is right, because Landing is fenced

cutover-reverse-publication = Traffic's publication is as it was at the switch
cutover-reverse-quarantine-empty = Landing has taken every row of reverse replication
cutover-reverse-quarantine = { $waiting } rows of Traffic are in quarantine: Landing could not take them
cutover-reverse-quarantine-remedy = see { $table } on Traffic, repair the rows there, and the daemon applies them
cutover-reverse-wal-level = Traffic cannot decode its WAL: reverse replication would be impossible
cutover-reverse-wal-level-remedy = set wal_level = logical on Traffic and restart it
cutover-reverse-role = the role { $user } may not replicate from Traffic: reverse replication would be impossible
cutover-reverse-role-remedy = for the cutover alone, run on Traffic as an administrator, because the role cannot give itself REPLICATION: ALTER ROLE "{ $user }" REPLICATION; after a rollback, or if the cutover is put off: ALTER ROLE "{ $user }" NOREPLICATION (on Supabase before PostgreSQL 17 only the role postgres can replicate: let daemon and commands use it on Traffic)
cutover-reverse-no-slot-left = Traffic has no replication slot left
cutover-reverse-no-slot-left-remedy = raise max_replication_slots on Traffic, or drop a slot that nobody uses
cutover-reverse-possible = Traffic's later changes can be replicated to Landing
cutover-reverse-slot-free = no slot on Traffic has the name of reverse replication's slot

cutover-quarantine-empty = quarantine is empty; { $notes } values were changed on the way
cutover-quarantine = { $waiting } rows wait in quarantine: Traffic does not have them
cutover-quarantine-remedy = `leadbridge quarantine list`, then repair, retry or discard them

cutover-fence-absent = the fence is not installed on { $side } DB
cutover-fence-closed-to-role = this role may not close the fence on { $side } DB
cutover-fence-no-record = reverse replication could not record changed keys on Landing: tables or rights are missing
cutover-fence-no-record-remedy = run `leadbridge migrate`, and then { $privileges }
cutover-fence-lacks-owner = the fence on { $side } DB lacks the rights of the owner of { $tables }
cutover-fence-lacks-owner-remedy = run `leadbridge migrate` as the owner of the tables, or as a superuser
cutover-fence-of-others = another installation's fence stands around the tables on { $side } DB: { $others }
cutover-fence-of-others-remedy = finish or roll back the other installation's cutover first; its daemon removes a fence that is lifted
cutover-fence-installed = the fence is installed
cutover-fence-other-tables = the fence was made for tables of other names, and would leave open to writers: { $list }

cutover-held-no-fence = no long transaction holds the tables
cutover-held-no-writers = no long transaction closes the tables to writers
cutover-held-no-readers = no long transaction closes the tables to readers
cutover-held-remedy = let these transactions end, or end them (pg_terminate_backend; COMMIT PREPARED or ROLLBACK PREPARED)
cutover-held-fence = the tables are held, and a fence would have to wait: { $list }
cutover-held-writers = the tables are closed to writers: { $list }
cutover-held-readers = the tables are closed to readers: { $list }

cutover-standbys = no commit on the { $side } DB will wait for the stream

cutover-triggers-kept = reverse replication will not fire Landing's ordinary triggers
cutover-triggers-fire = the role may not set session_replication_role on Landing: Landing's triggers will fire for rows of reverse replication, and set updated_at
cutover-triggers-fire-remedy = run as a superuser on Landing: GRANT SET ON PARAMETER session_replication_role TO the role

cutover-columns-all = Landing has every column
cutover-columns-traffic-owned = Landing lacks the source of { $columns }: these columns are Traffic's own, neither direction writes them

cutover-tables-writable = the tables may be written to in either direction

cutover-pause-every-row = every row is compared
cutover-pause-keys = keys and recent rows are compared
cutover-pause = writers would wait for about { $milliseconds } ms: the drain, and while { $what }
cutover-pause-too-long = { $says }; that is longer than { $budget } s (--max-pause)
cutover-pause-too-long-remedy = try at a quieter moment, or allow a longer --max-pause

cutover-no-other-writers = no write to another table reaches the tables by a foreign key

cutover-other-writers = writes to other tables reach the tables, and will be refused by the fence: { $reached }
cutover-other-writers-remedy = change the applications that write so, or drop the foreign keys' actions before

cutover-lag = { $markers } markers came through: p50 { $p50 } ms, p99 { $p99 } ms
cutover-lag-too-large = a marker did not come through within { $seconds } s (--max-lag-seconds)
cutover-lag-too-large-remedy = wait until `leadbridge status` shows no lag

cutover-stream = a stream from the { $side } DB can be opened
cutover-stream-no-sender = the { $side } DB has no walsender left for a stream (max_wal_senders): { $error }
cutover-stream-no-sender-remedy = raise max_wal_senders on the { $side } DB, or end a replication connection that nobody uses

cutover-publication-remedy = run `leadbridge migrate`, or put the publication back as it was
cutover-publication-absent = the publication `{ $name }` on the { $side } DB does not exist
cutover-publication-operations = the publication `{ $name }` on the { $side } DB does not send every operation
cutover-publication-operations-remedy = run ALTER PUBLICATION "{ $name }" SET (publish = 'insert, update, delete, truncate')
cutover-publication-lacks = the publication `{ $name }` on the { $side } DB does not send all of, or lacks: { $list }

cutover-own-tables = this role has its rights on leadbridge's tables on the { $side } DB
cutover-own-tables-lacks = on the { $side } DB this role lacks: { $list }

cutover-role-same = the daemon and this command are both { $ours } on the { $side } DB
cutover-role-differs = on the { $side } DB the daemon is { $theirs }, and this command is { $ours }: the fence would let { $ours } pass, and the daemon could not write
cutover-role-differs-remedy = run this command with the daemon's { $variable }, as { $theirs }; or restart the daemon with this one, as { $ours }
cutover-role-unknown = the daemon has no session on the { $side } DB at the moment
cutover-role-unknown-remedy = wait until the daemon streams (`leadbridge status`), then try again

cutover-notifications-none = no notification is pending
cutover-notifications-pending = notifications pending on both databases: { $all } (overdue: { $overdue }; { $due }); either database's scheduler would send them
cutover-notifications-soon = due within { $minutes } minutes: { $soon }
cutover-notifications-next = the next at { $at }
cutover-notifications-pending-remedy = stop { $left }'s scheduler before the { $direction }, let its last run end, and start { $taken }'s scheduler afterwards. The fence refuses { $left }'s scheduler the UPDATE to `sent` and nothing else: a scheduler that sends first and marks afterwards would send again at each of its runs, besides { $taken }'s

cutover-attention-log-remedy = see the daemon's log
cutover-attention-abandoned = the { $direction } { $id } is `{ $state }`, and its command has ended
cutover-attention-abandoned-remedy = start the daemon, which resolves it within seconds, or run the command again
cutover-attention-left = { $kept } rows that applications wrote on Traffic because of the hook of the aborted cutover { $id } are not on Landing
cutover-attention-left-remedy = write the rows of { $table } on Traffic to Landing, and delete them there
cutover-attention-hook-undone = the { $direction } { $id } was aborted after its hook had begun: applications may be pointed to { $to }, and { $from } is the system of record
cutover-attention-hook-undone-remedy = run the hook with LEADBRIDGE_EVENT=abort { $variables }; write the rows of leadbridge.left_on_traffic on Traffic to { $from }; then run `leadbridge { $direction } --hook-settled`
cutover-attention-hook-unfinished = the hook of the { $direction } { $id } has not succeeded: applications may still use { $from }
cutover-attention-hook-unfinished-remedy = run the hook with LEADBRIDGE_EVENT=switch { $variables }; then `leadbridge { $direction } --hook-settled`
cutover-attention-orphan = Landing is closed by the fence of cutover { $id }, which Traffic does not know: Traffic was restored to an earlier state
cutover-attention-orphan-remedy = restore Traffic's newest state if there is one; otherwise run `leadbridge resync`, which copies Landing's rows to Traffic, and then `leadbridge rollback`, which opens Landing

cutover-hook = the hook answers to LEADBRIDGE_EVENT=check

cutover-certificate-title = CERTIFICATE OF { $direction ->
        [rollback] ROLLBACK
       *[cutover] CUTOVER
    } { $id }
cutover-certificate-cutover-done = Leads are written to Traffic now; Landing refuses them.
cutover-certificate-rollback-done = Leads are written to Landing now; Traffic refuses them for a while.
cutover-certificate-database = { $database } on { $host }, PostgreSQL { $version }, system { $system }
cutover-certificate-configuration = configuration
cutover-step-started = started
cutover-step-fenced = fenced
cutover-step-drained = drained
cutover-step-verified = verified
cutover-step-switched = switched
cutover-step-rolled-back = rolled back
cutover-certificate-decided = decided
cutover-certificate-write-pause = write pause
cutover-certificate-until-decided = until the decision
cutover-certificate-marker = marker
cutover-certificate-decided-at = decided at
cutover-certificate-changed = values changed on the way
cutover-certificate-traffic-owned = Traffic's, not compared
cutover-certificate-left-out = Landing's, not compared
cutover-certificate-tried = fence tried as
cutover-certificate-without-privilege = lacks a privilege
cutover-certificate-not-tried = and holds, untried, for
cutover-certificate-rows = rows
cutover-certificate-keys = keys
cutover-certificate-contents = contents
cutover-certificate-differences = differences
cutover-certificate-came-through = { $position } in { $from }'s WAL came through
cutover-certificate-position = { $position } in { $to }'s WAL
cutover-certificate-row-counts = { $landing } on Landing, { $traffic } on Traffic
cutover-certificate-hashes = { $landing } and { $traffic }
cutover-certificate-comparing = Keys and recent rows are equal. Every value is still being compared.
cutover-certificate-equal = Every value of every row is equal on both sides.
cutover-certificate-equal-where-replicated = Every value of every row is equal on both sides, in every replicated column.
cutover-certificate-equal-backward = Landing has every value of every row that reverse replication carries.
cutover-certificate-not-equal = NOT EQUAL: see above.
cutover-deadline = the deadline is in { $time }
cutover-deadline-over = THE DEADLINE IS OVER: it cannot be decided any more, and is aborted
cutover-record-traffic = Traffic is the system of record
cutover-record-landing = Landing is the system of record
cutover-record-traffic-still = Traffic is the system of record, as before
cutover-record-landing-still = Landing is the system of record, as before
cutover-fence-lifted = the fence was lifted at { $time }
cutover-fence-not-lifted = THE FENCE IS NOT RECORDED AS LIFTED YET
cutover-remedy-nothing-to-do = nothing to do
cutover-remedy-quieter-moment = try again at a quieter moment
cutover-remedy-longer-pause = try again at a quieter moment, or allow a longer --max-pause
cutover-remedy-decided-elsewhere = another process decided: see `leadbridge status`, then try again
cutover-remedy-see-status = see `leadbridge status`
cutover-remedy-nothing-changed = nothing was changed: see `leadbridge { $look }`
cutover-remedy-hook-failed = run the hook by hand, fix it, and try again; LEADBRIDGE_EVENT tells the hook what to do
cutover-remedy-still-in-use = try again in a moment; `leadbridge status` says what is left
cutover-remedy-command-lives = end it and the processes of its hook, then try again
cutover-remedy-in-the-middle = wait for it to end; if it is hung, end it: what it has begun is aborted then
cutover-remedy-dry-run = try a --dry-run
cutover-remedy-marker-late = does the daemon run, and is its lag small (`leadbridge status`)?
cutover-remedy-certificate-on-traffic = the certificate is on Traffic, in the column certificate of leadbridge.cutover, all the same
