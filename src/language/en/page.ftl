### The status page.

## Figures

page-far = more than 30 d

## The frame

page-skip = Skip to the state
page-languages = Language
page-as-of = as of { $at }
page-footer = This page only reads: nothing on it changes the replication. It holds no names, phones or e-mails of leads. All times are UTC.
page-no-script = Without JavaScript this page does not renew itself: load it again for the present state.
page-lost = The daemon does not answer.
page-lost-old = What stands below is old. This page keeps trying.
page-ended = The daemon was stopped in an orderly way, and does not answer any more.
page-refused = The daemon answers, but sends no news to this page: as many pages are open as it serves, or its token has changed (load this page again then).
page-lost-since = Nothing is known since
page-announce-state = State: { $state }.
page-announce-attention =
    { $count ->
        [one] { $count } state waits for an operator.
       *[other] { $count } states wait for an operator.
    }
page-announce-quarantine = Rows are in quarantine.

## The state

page-state-starting = STARTING
page-state-snapshot = SNAPSHOT
page-state-streaming = STREAMING
page-state-standby = STANDBY
page-state-fenced = FENCED
page-state-drained = DRAINED
page-state-verified = VERIFIED
page-state-switched = SWITCHED
page-state-stopped = STOPPED
page-state-error = ERROR
page-state-finished = FINISHED
page-meaning-starting = The daemon compares its positions.
page-meaning-snapshot = The initial copy is under way.
page-meaning-up-to-date = Traffic is up to date.
page-meaning-streaming = Changes flow from Landing to Traffic.
page-meaning-standby = Another daemon replicates; this daemon takes over when the other one ends.
page-meaning-change = A cutover or a rollback is under way.
page-meaning-switched = Traffic is the system of record now.
page-meaning-stopped = The daemon has ended.
page-meaning-retrying = Nothing flows; the daemon tries again by itself.
page-meaning-error = Nothing flows until an operator acts.
page-meaning-finished = Traffic has all leads since { $at }; nothing is left to replicate.

## What is wrong

page-attention = An operator has to act
page-remedy = What to do:
page-last-error = Last error, { $at }
page-retrying = The daemon tries again by itself.
page-alert-channel = Alerts by { $channel } do not arrive
page-alert-waiting = Messages that wait: { $waiting }; given up: { $failed }.
page-blocked = leadbridge waits for a lock
page-blocked-process = held by process { $pid } on { $side }
page-blocked-prepared = held by a prepared transaction on { $side } (pg_prepared_xacts)
page-blocked-role = role { $role }
page-blocked-transaction = its transaction is open for { $time }

## Figures at a glance

page-lag = Lag
page-lag-none = none
page-over-limit = OVER the limit of { $limit }
page-catch-up = caught up in { $time } at this rate
page-catch-up-never = never caught up at this rate: the lag does not become less
page-rate = Throughput
page-rows-since = { $rows } rows since { $at }
page-survival = Until the slot's limit
page-survival-lost = LOST
page-survival-lost-remedy = WAL that the slot needs is gone: run `leadbridge resync`
page-survival-unreserved = NONE LEFT
page-survival-unreserved-remedy = WAL that the slot needs may be dropped at the next checkpoint: raise max_slot_wal_keep_size, and let the stream catch up
page-survival-no-limit = no limit is set
page-survival-no-limit-note = without max_slot_wal_keep_size the disk is the limit, and no role sees its free space
page-survival-not-filling = not filling
page-survival-left = { $safe } left of { $limit }
page-survival-if-stopped = were replication to stop now, the limit would be reached in { $time }
page-retained = the slot keeps { $wal } of WAL on { $side }
page-quarantine = Quarantine
page-quarantine-empty = empty
page-quarantine-remedy = which ones, and why: `leadbridge quarantine list`
page-quarantine-reverse =
    { $count ->
        [one] { $rows } row waits in leadbridge.reverse_quarantine
       *[other] { $rows } rows wait in leadbridge.reverse_quarantine
    }
page-conversion-notes =
    { $count ->
        [one] { $values } value was changed on the way
       *[other] { $values } values were changed on the way
    }
page-verified = Verified
page-verified-equal = equal
page-verified-differ =
    { $count ->
        [one] { $rows } row differs
       *[other] { $rows } rows differ
    }
page-verified-rests = rests since the switch
page-verified-remedy = which ones: `leadbridge status`, then `leadbridge explain ID`
page-verified-round = the last round compared { $rows } rows and ended at { $at }

## The initial copy

page-snapshot = Initial copy
page-snapshot-rows-of = { $rows } of about { $expected } rows ({ $part } %)
page-snapshot-waits = waits

## Charts

page-charts = Lag and throughput
page-windows = Time that the charts show
page-window-minutes = 10 minutes
page-window-hours = 3 hours
page-window-day = 24 hours
page-chart-lag = lag in time
page-chart-rows = rows a second
page-chart-bytes = lag in bytes
page-chart-max = max { $value }
page-chart-unknown = { $name }, over the last { $window }: not known
page-chart-described = { $name }, over the last { $window }: now { $newest }, at most { $highest } (at { $at })
page-table = The charts as a table
page-table-caption = Each row is { $time }: the highest lag, and the mean of the rows a second. A question mark: not known.
page-table-until = until

## Cutover and rollback

page-cutover = The newest cutover
page-rollback = The newest rollback
page-step-fenced-landing = Landing fenced
page-step-fenced-traffic = Traffic fenced
page-step-next = under way
page-step-later = later
page-step-not-reached = not reached
page-nothing-fenced = No fence is recorded yet
page-landing-fenced = Landing is fenced: writers are refused
page-traffic-fenced = Traffic is fenced: writers are refused
page-decided = Decided after { $time }, at { $at }: { $record }
page-aborted = ABORTED after { $time }, at { $at }: { $record }
page-aborted-reason = Reason:
page-hook-begun = Its hook has begun at { $time } and has not succeeded yet.
page-hook-ended = Its hook has succeeded at { $time }.
page-ready-cutover = Readiness for a cutover
page-ready-rollback = Readiness for a rollback
page-ready-cutover-command = `leadbridge cutover --dry-run` checks everything, and changes nothing.
page-ready-rollback-command = `leadbridge rollback --dry-run` checks everything, and changes nothing.
page-met = met
page-not-met = NOT MET
page-condition-stream = Changes flow
page-condition-lag = The lag is at most { $time } and { $size }
page-condition-quarantine = The quarantine is empty
page-condition-equal = No row is known to differ
page-condition-reverse-slot = Reverse replication has its slot
page-condition-landing-slot = Landing's slot need not be made again
page-condition-publication = Landing's publication is as recorded
page-condition-operator = Nothing waits for an operator

## Details

page-details = Details
page-slot = Slot on Landing
page-slot-active = { $slot }: in use
page-slot-inactive = { $slot }: not in use
page-slot-lost = { $slot }: LOST, Landing has dropped WAL that it needed
page-slot-none = none
page-reverse = Reverse slot on Traffic
page-reverse-lost = { $slot }: LOST, Traffic has dropped WAL that it needed
page-new-slot = New slot on Landing
page-new-slot-since = being made in place of a lost one since { $at }
page-publication = Landing's publication
page-lease = Who replicates
page-lease-process = process { $pid } on Traffic
page-lease-prepared = a prepared transaction on Traffic
page-applied = Applied up to
page-certificate-landing = Landing's certificate
page-certificate-traffic = Traffic's certificate
page-certificate-ends =
    { $days ->
        [one] ends at { $at }, in { $days } day
       *[other] ends at { $at }, in { $days } days
    }
page-certificate-soon = ENDS at { $at }, within a day
page-started = Daemon started
page-version = Version
