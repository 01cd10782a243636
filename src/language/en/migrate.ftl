### What `leadbridge migrate` has done, or would do.

migrate-step = { $side }: { $step }: { $effect }
migrate-up-to-date = up to date
migrate-applied = applied
migrate-renewed = renewed
migrate-would-be-applied = would be applied
migrate-would-be-renewed = would be renewed
migrate-note = note: { $note }
migrate-api = Traffic: API roles: { $says }
migrate-ran = ran: { $statement }
migrate-would-run = would run: { $statement }
migrate-left-open = left open: { $what }
migrate-tried = { $side }: writes tried before and after each step, and rolled back, as { $roles }
migrate-tried-as-nobody = no role
migrate-not-tried = not tried, because this session may not, as { $roles }
migrate-replicating = Traffic: the role { $role } has REPLICATION, and may read the changes of every table; before a cutover nothing needs that

migrate-remedy-lock-held = { $lock } is held by { $holder }: run it again when that has ended, or end it: { $end }
migrate-remedy-sessions = run it again when these sessions have ended their transactions, or end them: { $sessions }
migrate-remedy-long-transaction = run it again when no long transaction holds the table
migrate-remedy-step-failed = the step named above has changed nothing, except that an index may be missing; earlier steps stay, and are recorded. Change the object that the message names, or ask its owner, and run `leadbridge migrate` again; the server's log has the whole statement
migrate-remedy-name = use 1 to 63 bytes of letters, digits, underscores and hyphens
migrate-remedy-schema-altered = find out who has made this; as the objects' owner, drop what is not leadbridge's, and give what is altered its form again; then run `leadbridge migrate`. Another schema does too: [names] schema
migrate-remedy-column-name = correct the name in { $place } of the configuration, or take it out
migrate-remedy-column-rename = choose a name in the configuration: [columns.{ $table }] { $rename }; or skip = ["{ $column }"]
migrate-remedy-publication-wide = drop it, or choose another name for leadbridge's publication in the configuration
migrate-remedy-publication-foreign-table = ALTER PUBLICATION … DROP TABLE, or choose another name for leadbridge's publication
migrate-remedy-publication-partial = ALTER PUBLICATION … DROP TABLE it, and run `leadbridge migrate` again
migrate-remedy-public-view = leave --public-view out, or name Landing's view: { $view }
migrate-remedy-writes-would-fail = the step has changed nothing. Give the role the right that the message names, or change the function or trigger that it names so that it takes the change, and run `leadbridge migrate` again
