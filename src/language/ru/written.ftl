### Величины и время.

written-seconds = { $seconds } с
written-minutes = { $minutes } мин { $seconds } с
written-hours = { $hours } ч { $minutes } мин
written-days = { $days } д { $hours } ч
