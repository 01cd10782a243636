### Changes out of a stream.

capture-remedy-identity-on-traffic = run on Traffic: ALTER TABLE { $name } REPLICA IDENTITY DEFAULT (with a primary key on id); deletes that were made meanwhile are not known
capture-remedy-identity = run on Landing: ALTER TABLE { $name } REPLICA IDENTITY DEFAULT (with a primary key on id). { $meanwhile }
capture-remedy-needed = the mapping needs it: bring it back under this name. { $meanwhile }
capture-remedy-dropped = run `leadbridge resync`, with the column brought back or without it: rows that were written since cannot be translated, and none of them was applied
capture-remedy-type = change its type back. { $meanwhile }
capture-remedy-meanwhile = If the stream was running, run `leadbridge resync` then: rows that were written since cannot be translated, and none of them was applied
capture-remedy-renamed = bring the table back under its name, then run `leadbridge resync`; no row that was written since was applied
