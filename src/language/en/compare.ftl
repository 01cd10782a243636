### The comparison of both sides.

compare-remedy-repair-switched = a repair would bring back Landing's older rows: nothing was done; `leadbridge status` shows reverse replication
compare-remedy-daemon-runs = stop it, run `leadbridge verify --repair`, then start it again
compare-remedy-verify-switched = `leadbridge status` shows reverse replication; a rollback compares both sides before it switches
compare-remedy-nothing-yet = there is nothing to compare yet: let `leadbridge run` copy the tables first
compare-remedy-again = run `leadbridge verify` without --resume
