### Findings of every room.

report-server-log = see the server's log
report-migrate = run `leadbridge migrate`
report-migrate-or-print = run `leadbridge migrate`, or have a DBA run what `leadbridge migrate --print` shows
report-see-doctor = see `leadbridge doctor`
