### The full screen of `leadbridge status --watch`.

watch-label-steps = steps
watch-label-ready = ready
watch-label-in-the-way = in the way
watch-label-error = error
watch-label-snapshot = snapshot

watch-head = answers of { $at }, now { $now }
watch-head-asking = now { $now }
watch-legend = q quits   a column of a chart is { $seconds } s   ? not known   all times UTC
watch-more = { $count } more do not fit: make the window larger, or see `leadbridge status`
watch-too-small = window too small: { $needed } needed, this is { $size }

watch-ago = { $at }, { $time } ago
watch-old = OLD, of { $ago }: { $text }
watch-state-asking = NOT KNOWN YET — asking since { $at }, { $time }
watch-state-unknown = NOT KNOWN — no daemon answers here, and Landing does not answer
watch-state-last = the last was { $state }, of { $ago }
watch-silent-daemon = from the daemon { $since }
watch-silent-side = from { $side } { $since }
watch-silent-always = since this watch began at { $at }

watch-over = OVER the maximum of { $limit }
watch-rate-window = { $rows } rows/s in the last { $time }
watch-rate-next = rows/s not known before the daemon's next answer
watch-rate-unknown = rows/s not known
watch-rate-wal = WAL: Landing writes { $written }/s, applied { $applied }/s
watch-rate-since = { $rows } since { $at }

watch-ready-unknown = not known: no daemon answers GET /readyz here
watch-ready-yes = yes, says GET /readyz
watch-ready-no = NO: { $why }
watch-way-clear = of a { $change }: nothing seen here; `{ $change } --dry-run` checks all
watch-way-blocked = of a { $change }: { $what }
watch-way-state = the state is { $state }
watch-way-lag = the lag
watch-way-quarantine = { $rows } rows in quarantine
watch-way-differing = { $rows } rows that differ
watch-way-reverse-slot = reverse replication is impossible
watch-way-landing-slot = Landing's slot is being made again
watch-way-landing-publication = Landing's publication
watch-way-attention = { $count } × ATTENTION below

watch-left-out = { $count } columns of Landing: see `leadbridge status`

watch-copied-of = { $rows } of about { $expected } ({ $percent } %)
watch-copied-table = table
watch-copied-rows = rows
watch-copied-expected = of about
watch-copied-rate = rows/s
watch-copied-left = time left
watch-copied-done = done
watch-copied-waits = waits

watch-chart-lag = lag in time
watch-chart-rows = rows a second
watch-chart-bytes = lag in bytes
watch-chart-max = max { $value }
watch-chart-begin = { $time } ago
watch-chart-now = now

watch-change = { $change ->
        [rollback] rollback
       *[cutover] cutover
    }
watch-hook-begun = its hook has begun at { $after } and has not succeeded
watch-hook-ended = its hook has succeeded at { $after }
watch-undecided = not decided for { $time }; { $fenced }; { $deadline }
watch-fenced-nothing = nothing is fenced yet
watch-fenced = { $side } is fenced
watch-decided = { $what } after { $took }, { $ago } ago: { $record }
watch-aborted = ABORTED
watch-reason = reason: { $reason }
