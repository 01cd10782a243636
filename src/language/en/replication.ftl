### What the daemon does.

replication-remedy-stopped = run `leadbridge resync` again; a snapshot that had begun is restarted by `leadbridge run`, too
replication-remedy-daemon-runs = stop it, then run `leadbridge resync`
replication-remedy-switched = a resync would bring back Landing's older rows: nothing was done
replication-remedy-threads = raise TasksMax and LimitNOFILE of the unit, or `ulimit -u` and `ulimit -n`
replication-remedy-cut = look into the log of the { $side } DB's server for what ends the walsender: a time limit, a crash while it decodes, a proxy or firewall in between; it is tried again meanwhile
replication-remedy-reverse-unknown = only `leadbridge cutover` may switch: put the checkpoint back, or restore leadbridge.reverse
replication-remedy-traffic-behind = Traffic was restored to an earlier state, or failed over to a standby that lacked changes: restore the Traffic that has them; Landing may have newer rows
replication-remedy-truncate = the TRUNCATE was not applied; to delete on Landing the rows that are no longer on Traffic, set on_truncate = "apply" and start again
