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
