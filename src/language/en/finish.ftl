### The end of a move: what `leadbridge finish` is going to do, and its certificate.

finish-object = { $kind ->
        [slot] slot
        [publication] publication
        [functions] functions
        [rights] rights
       *[function] function
    } { $name } on the { $side } DB

finish-plan-end = This is the end of reverse replication to { $landing }.
finish-plan-continues = An earlier run was interrupted: this run continues.
finish-plan-read-back = the backup in { $directory } is read back
finish-plan-written = { $tables } of { $landing } are written to { $directory } and read back
finish-plan-dropped = { $objects }: dropped
finish-plan-taken-away = { $objects }: taken away
finish-plan-left-to-owner = { $objects }: left, since another role owns it; the SQL is shown at the end
finish-plan-left-to-others = { $objects }: left, since this role may not take them away; the SQL is shown at the end
finish-plan-copies = { $copies } are deleted on Traffic: no deletion of a person would reach them any more
finish-plan-notes = (the notes hold what the mapping had to change, { $table }; keep them with --keep-notes, or save them first)
finish-plan-tables-stay = Landing's tables stay, and stay closed to writers; Traffic is not touched otherwise.

finish-copies-notes = { $count } conversion notes
finish-copies-quarantine = { $count } discarded rows of the quarantine
finish-copies-left = { $count } rows that an aborted cutover has left

finish-done = The move is finished ({ $at }, by { $operator }).
finish-backup = Backup of { $database } on { $host }, as of { $at } at { $position }:
finish-backup-file = { $file }: { $rows } rows, { $bytes } bytes, SHA-256 { $sha }
finish-backup-generated = without { $column }, which is generated
finish-backup-lacks = It may lack { $count } transactions that Traffic committed after { $position }: Traffic has them.
finish-backup-may-lack = It may lack what Traffic committed after { $position }: Traffic has them.
finish-restore = To restore it, in psql:
finish-dropped = Dropped, or taken away:
finish-drop-tables =
    Landing's tables are still there, and so is the fence around them: writers are refused as before. When nobody
    needs the tables any more, their owner runs on Landing:
finish-persons = Persons: nothing follows a deletion on Traffic any more.
finish-persons-deleted = Deleted from leadbridge's tables on Traffic: { $copies }.
finish-persons-notes =
    { $notes } conversion notes stay on Traffic: for each lead that is deleted later, delete the rows with its row_id
    in leadbridge's table conversion_notes as well, or all at once when nobody needs them.
finish-persons-backup =
    The backup in { $directory } and Landing's tables hold every person as of now. A file cannot follow a deletion:
    delete the backup and drop Landing's tables once nobody needs them, and until then delete a person there too.
finish-left =
    Left for the owner, since our role may not drop it or take it away. A role with REPLICATION may still read the
    changes of every table of its server:
finish-left-object = on the { $side } DB, as { $owner }
finish-left-superuser = a superuser

finish-remedy-other-version = use the version of leadbridge that began it
finish-remedy-backup-elsewhere = run `leadbridge finish` where it is, or name another directory with --backup: it is taken again, Landing has not changed since
finish-remedy-other-directory = name another one
finish-remedy-may-lack = Traffic has it all: if the backup of Landing may lack it, say so with --max-behind
finish-remedy-behind = start the daemon until it has brought them, stop it and run `leadbridge finish` at once; where Traffic is never quiet for so long, --max-behind 1m lets the backup lack the last minute
finish-remedy-slot-in-use = stop the daemon, or whoever streams from that slot, and run it again
finish-remedy-foreign-slot = find out whose it is and drop it there, or check [names] slot in the configuration
finish-remedy-may-not-drop-slot = run there as a superuser: ALTER ROLE … REPLICATION, then run it again
finish-remedy-no-move = check TRAFFIC_DATABASE_URL and [names] in the configuration
finish-remedy-cutover-first = `leadbridge finish` is for after a cutover: run `leadbridge cutover` first
finish-remedy-no-reverse = it is written by the cutover itself: was Traffic restored from a backup since?
finish-remedy-other-landing = check LANDING_DATABASE_URL
finish-remedy-open-fence = find out who opened it and what was written since ({ $table } on Landing), then close it again with close_fence
finish-remedy-undecided = let it end, or run `leadbridge { $direction }` again, which completes or undoes it
finish-remedy-quarantined = see { $table } on Traffic: fix what its messages name and let the daemon apply the rows, or delete there what the backup may lack
finish-remedy-daemon-runs = stop it, and every other that stands by, then run `leadbridge finish` at once
