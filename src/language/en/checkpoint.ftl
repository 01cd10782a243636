### What is recorded of the positions.

checkpoint-remedy-unknown-slot = if Traffic was restored from a backup, run `leadbridge resync`; if the slot is another installation's, choose another name ([names] slot); if nobody needs it, drop it with pg_drop_replication_slot
checkpoint-remedy-traffic-behind = Traffic was restored from a backup after the cutover: changes that reverse replication applied to Landing are no longer on Traffic. Restore the newest state of Traffic; or, if that loss is accepted, and Landing's newer values with it, empty LEADBRIDGE_STATE_DIR, drop the slot on Landing with pg_drop_replication_slot, and start again: the daemon makes a new slot
checkpoint-remedy-landing-behind = Landing was restored to an earlier state after the cutover: changes of Traffic that reverse replication applied are no longer there. Check that the URL names the right server; bring that Landing back, or do without reverse replication
checkpoint-remedy-gap = the changes in between cannot be read any more: run `leadbridge resync`
checkpoint-remedy-skipped = Traffic was restored from a backup, or the slot was recreated: changes in between would be skipped. Run `leadbridge resync`
checkpoint-remedy-identity = check the URLs, the names in the configuration and LEADBRIDGE_STATE_DIR; if Landing was really replaced, run `leadbridge migrate --replace-installation`, then `leadbridge resync`
checkpoint-remedy-slot-name = choose another name for ours ([names] slot)
checkpoint-remedy-publication = put Landing right (`leadbridge doctor` says whether something is wrong still), then run `leadbridge resync`
checkpoint-remedy-setting = put the setting back; or, while Landing is the system of record, change what is replicated: `leadbridge migrate`, then `leadbridge resync`
checkpoint-remedy-daemon-configuration = give the command the daemon's configuration (LEADBRIDGE_CONFIG); where the daemon's is to change, change it there first, and start the daemon again

checkpoint-remedy-other-traffic = check TRAFFIC_DATABASE_URL; a Traffic that was restored into another cluster has no reverse replication
checkpoint-remedy-foreign-slot = find out who made it; leadbridge never touches it
checkpoint-remedy-traffic-restored = Traffic was restored to an earlier state: restore its newest one; Landing may have newer rows
checkpoint-remedy-reverse-lost = the changes in between can no longer be replicated to Landing, so a rollback would lose them. Traffic has everything and stays the system of record; stop the daemon
checkpoint-remedy-publication-gone = where rows were written while the publication did not exist, the server cannot decode the changes, and reverse replication has ended: Traffic has everything and stays the system of record; else { $accepting }
checkpoint-remedy-publication-partial = put it right: `leadbridge migrate` adds what is missing (ALTER PUBLICATION "{ $publication }" ADD TABLE, DROP TABLE and ADD TABLE for a table with a filter or a column list, SET (publish = 'insert, update, delete, truncate')); then { $accepting }
checkpoint-remedy-accepting = accept the publication as it is now, on Traffic: UPDATE { $reverse } SET published = NULL WHERE slot = '{ $slot }'; start the daemon, write the rows that were written meanwhile once more (UPDATE … SET id = id), and let `leadbridge rollback --dry-run` compare every row

checkpoint-remedy-state-dir-shared = stop the other leadbridge, or give this one its own LEADBRIDGE_STATE_DIR
checkpoint-remedy-state-dir-full = free space on its disk, or let the daemon's user write more there; the daemon continues by itself
checkpoint-remedy-state-dir-failed = check its disk and permissions; its content may be deleted, Traffic has the position too
checkpoint-remedy-state-dir-foreign = point LEADBRIDGE_STATE_DIR elsewhere, or empty the directory: Traffic has the position too
checkpoint-remedy-state-dir-in-use = stop it, or give this one its own LEADBRIDGE_STATE_DIR: it then stands by
checkpoint-remedy-state-dir-closed = make it a directory that this user can write, or point LEADBRIDGE_STATE_DIR elsewhere

checkpoint-remedy-state-unknown = this version does not know it: use the version that wrote it
checkpoint-remedy-settings-newer = use the version that wrote them, or a newer one
checkpoint-remedy-reverse-newer = use the version that wrote it, or a newer one
checkpoint-remedy-passthrough-newer = use the version of leadbridge that migrated Traffic, or a newer one
checkpoint-remedy-import-gone = run `leadbridge import` again: the command says what Traffic has recorded
checkpoint-remedy-import-newer = use the version of leadbridge that began the import, or a newer one
checkpoint-remedy-own-schema = give this installation a schema of its own: `[names] schema` in its configuration, then `leadbridge migrate`; if it is the same installation, and its names or its Landing were changed for good, run `leadbridge migrate --replace-installation`, then `leadbridge resync`
checkpoint-remedy-own-tables = let this installation write to tables of its own: `[names] traffic_schema`, or another database
checkpoint-remedy-finishing = run `leadbridge finish` again: the command continues where it stopped
checkpoint-remedy-finished = switch the daemon off for good (`systemctl disable --now leadbridge`)
checkpoint-remedy-foreign-objects = find out whose they are; drop them, or give them to the owner of the replicated tables (ALTER … OWNER TO), and run `leadbridge migrate`; or choose another name: [names] schema
checkpoint-remedy-schema-differs = run `leadbridge migrate`, which makes again what is its own, and names the rest
checkpoint-remedy-unserved = run there as the owner what `leadbridge migrate --print={ $side } --role { $role }` shows for the role
