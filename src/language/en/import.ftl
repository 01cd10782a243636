### Remedies of `leadbridge import`.

import-remedy-no-export = name the directory of `leadbridge export`; an interrupted export is to be run again
import-remedy-read-with-psql = read the files with psql, into empty tables of Traffic:
import-remedy-other-first = import { $from } to its end first; or begin with the first row of this export, over what is there: --restart
import-remedy-older = import the newest export; or write these older values over the newer ones: --restart
import-remedy-same-id = set [snapshot] same_id = "landing": the export's values win, and Traffic's different values are kept in { $notes }; or delete these leads on Traffic; see docs/imports.md
import-remedy-no-notifications = export again with scheduled_notifications = true, or import with the setting off
import-remedy-no-place = run `leadbridge migrate` with a Landing that has the column, which makes the place; or leave the column out: [columns.{ $table }] skip = ["{ $column }"]
import-remedy-column-missing = the mapping needs it: export again from a Landing that has the column
import-remedy-column-type = change the type on Landing, and export again
import-remedy-daemon-runs = stop it, and every other that stands by, then run `leadbridge import` again
import-remedy-unresolved = run `leadbridge { $direction }` again, which completes or undoes it
import-remedy-being-copied = start the daemon again, which copies everything that Landing has
import-remedy-switched = an import would bring back Landing's older rows: import into another Traffic
import-remedy-replicated = to copy Landing again, run `leadbridge resync`; to import all the same, import into another Traffic
