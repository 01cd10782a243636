### Figures, and words that the commands and the status page share.

figures-seconds = { $seconds } s
figures-minutes = { $minutes } min { $seconds } s
figures-hours = { $hours } h { $minutes } min
figures-days = { $days } d { $hours } h
figures-not-known = not known
figures-rising = rising by { $time } a minute
figures-falling = falling by { $time } a minute
figures-steady = steady
figures-rows-per-second = { $rows } rows/s
figures-left = about { $time } left
figures-wal-per-second = { $source } writes { $wal } of WAL a second
figures-rows = { $rows ->
        [one] { $rows } row
       *[other] { $rows } rows
    }
figures-done = { $what }, done
figures-indexes =
    { $count ->
        [one] then { $count } index
       *[other] then { $count } indexes
    }
figures-no-answer = NO ANSWER
figures-on = on { $side }
figures-since = since { $since }
