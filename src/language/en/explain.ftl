### One lead, end to end: what `leadbridge explain` says.

explain-verdict-equal = equal
explain-verdict-touched = equal, and touched on Traffic
explain-verdict-changed = changed on Traffic
explain-verdict-traffic-only = on Traffic only
explain-verdict-finished = on Traffic; the move is finished
explain-verdict-different = DIFFERENT
explain-verdict-missing = MISSING
explain-verdict-extra = EXTRA
explain-verdict-quarantined = IN QUARANTINE
explain-verdict-on-its-way = ON ITS WAY
explain-verdict-not-copied = NOT COPIED YET
explain-verdict-gone = GONE from both sides
explain-verdict-unknown = NOT KNOWN

explain-finished-since = nothing is carried to Landing any more, since { $at }
explain-on-landing-only = on Landing, not on Traffic
explain-not-compared = a database does not answer: the sides are not compared
explain-copy-under-way = a copy is under way: rows are compared when it is complete
explain-nothing-copied = nothing has been copied yet: `leadbridge run` copies
explain-waiting = { $table } { $id }: { $why }; { $tries }; `leadbridge quarantine show { $entry }`
explain-waiting-reverse = Landing does not take { $table } { $id }: { $why }; { $tries }
explain-tried-once = once, at { $since }
explain-tried = { $attempts } times since { $since }, last at { $last }
explain-discarded = an operator discarded the lead from quarantine: it arrives with its next change
explain-passed = the stream has passed every change of the lead on { $from }
explain-touched = Traffic's trigger stamped `updated_at`; Landing's next change brings back Landing's
explain-metadata = changed on Traffic: stays until Landing sends metadata again
explain-own-lead = Traffic has a lead of its own under Landing's id: see docs/imports.md
explain-on-one-side = on { $from }, not on { $to }: { $passed }
explain-refused = Traffic's columns cannot hold it
explain-records-only = only leadbridge's records name the lead
explain-made-by-traffic = made by Traffic's own code: it never goes to Landing
explain-made-through-names = born on Traffic through Landing's names: it goes to Landing after a cutover, when it changes
explain-came-from-landing = it came from Landing
explain-later = { $columns }: changed on Traffic since; Landing's values come back with Landing's next change of the lead, or with `leadbridge verify --repair`
explain-differs = { $side } differs in { $columns }
explain-repair = `leadbridge verify --repair`, with the daemon stopped, writes Landing's values
explain-children = { $table }: { $counts } of { $rows } rows
explain-count-missing = { $count } missing
explain-count-extra = { $count } extra
explain-count-different = { $count } different
explain-count-refused = { $count } too long for Traffic
explain-stream-at = at { $position }
explain-stream-nowhere = nowhere yet
explain-source-at = { $side } at { $position }
explain-no-daemon = no daemon streams: start `leadbridge run` (the stream is { $position })
explain-not-applied = a change of { $from } may not have been applied yet (the stream is { $position })

explain-column-quarantined = the lead is in quarantine
explain-column-on-its-way = a change may be on its way
explain-column-no-place = Traffic's value has no place on Landing
explain-column-stamped = stamped by Traffic's trigger
explain-column-meanwhile = changed while the lead was read
explain-column-later = changed on Traffic since
explain-column-differs = not as the mapping makes it, although the stream has passed

explain-no-source = the lead has no utm_source
explain-no-binding = no binding has the lead's utm_source and funnel
explain-inactive = the binding, or its targetologist, is not active

explain-silent = the { $side } DB does not answer
explain-given-up = the search on { $side } took longer than { $seconds } s, because no index serves it: ask by the lead's id
explain-incomplete = incomplete: { $what }

explain-nothing = no lead with this { $kind ->
        [phone] phone
        [email] e-mail
       *[id] id
    }: { $place }
explain-nowhere = not on Landing, not on Traffic, not in quarantine
explain-nowhere-searched = none was found where the search was complete
explain-phones = Phones are compared by their digits and + as typed: 8701… and +7701… are different numbers, so try the other form too.
explain-emails = E-mails are compared by their exact spelling, with the case of letters.
explain-leads = { $count } leads match, the oldest first:
explain-leads-more = more than { $count } leads match, the oldest first:
explain-ask-one = Ask for one of them by its id: `leadbridge explain ID`.
explain-lead = lead { $id }: { $verdict }
explain-cut = … ({ $count } characters; --json shows all)

explain-there = there
explain-yes = yes
explain-no = no
explain-no-answer = does not answer
explain-created = created
explain-last-changed = last changed
explain-committed = committed
explain-from-landing = from Landing
explain-born = born
explain-born-through-names = on Traffic, through Landing's names
explain-born-traffic = on Traffic, by Traffic's own code
explain-writes = writes go to
explain-record = { $side }, the system of record
explain-record-unknown = not known, because Traffic does not answer
explain-stream = stream
explain-ended = ended by `leadbridge finish` at { $at }
explain-no-position = no position yet
explain-applied = applied to { $position }
explain-source = source at { $position }
explain-none-on-its-way = nothing is on its way
explain-no-daemon-streams = no daemon streams

explain-table = { $table }: { $landing } on Landing, { $traffic } on Traffic
explain-more-equal = { $count } more rows are equal
explain-more-not-compared = { $count } more rows were not compared
explain-row-quarantined = in quarantine
explain-row-on-its-way = on its way
explain-row-touched = touched on Traffic
explain-row-own = Traffic's own
explain-row-changed = changed on Traffic: { $columns }
explain-row-differs = differs: { $columns }
explain-row-missing = missing
explain-row-extra = extra
explain-row-refused = too long for Traffic
explain-row-not-compared = not compared

explain-credit = targetologist: { $who }
explain-credit-nobody = nobody: { $reason }
explain-credited = { $id }, { $team }, by { $binding }
explain-no-team = no team
explain-team = team { $team }
explain-binding = the binding of the lead's utm_source and funnel
explain-binding-other-case = a binding of the lead's utm_source in another case, and of its funnel
explain-more-bindings = { $count } more bindings match
explain-credited-values = { $name }, binding { $source }

explain-notes = conversion notes
explain-note = { $column }: { $says }, { $at }
explain-own-value = Traffic's own value, replaced by the first copy: { $reason }
explain-original = original { $value }
explain-quarantine = quarantine
explain-entry = { $id } { $table } { $row }: { $state }; { $message }, { $at }
explain-entry-discarded = discarded by an operator
explain-entry-waits = waits
explain-held-under = Traffic holds it under { $key }
explain-left = left on Traffic by an aborted cutover: write the rows to Landing by hand
explain-left-row = { $table } { $row }, { $at }, cutover { $cutover }
explain-left-deleted = { $table } { $row }, deleted there, { $at }, cutover { $cutover }

explain-columns = columns of traffic_leads: { $what }
explain-columns-equal = { $equal } equal
explain-columns-different = { $different } different, { $equal } equal
explain-no-row = no row on Landing
explain-rule = rule: { $rule }
explain-column-note = note: { $note }
explain-given = mapping gives { $value }
explain-held = Traffic has   { $value }
explain-own-columns = no rule, Traffic's own: { $columns }

explain-remedy-argument = name a lead by its id, its phone as typed in any form, or its e-mail
