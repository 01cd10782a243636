### Findings of every room.

report-server-log = see the server's log
