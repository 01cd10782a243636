### Figures and times.

written-seconds = { $seconds } s
written-minutes = { $minutes } min { $seconds } s
written-hours = { $hours } h { $minutes } min
written-days = { $days } d { $hours } h
