### What `leadbridge verify` says.

verify-column-table = table
verify-column-missing = missing
verify-column-extra = extra
verify-column-different = different
verify-column-refused = refused
verify-column-changed = changed on Traffic
verify-column-orphaned = orphaned
verify-column-quarantined = quarantined
verify-missing = { $table } { $id } is missing on Traffic
verify-extra = { $table } { $id } is on Traffic only
verify-different = { $table } { $id } differs in { $columns }
verify-changed = { $table } { $id } was changed on Traffic in { $columns }
verify-leads-of-nobody = leads of nobody: { $landing } on Landing, { $traffic } on Traffic
verify-leads-of = leads of targetologist { $id }: { $landing } on Landing, { $traffic } on Traffic
verify-leads-of-team = leads of targetologist { $id } ({ $team }): { $landing } on Landing, { $traffic } on Traffic
verify-sum = { $quarantined } rows in quarantine, { $notes } values changed on the way; { $seconds } s, { $rate } rows per second.
verify-resumed = A part was compared by an earlier run, which was interrupted; leads are not counted by targetologist.
verify-equal = Equal: Traffic has everything that Landing committed before { $position }.
verify-not-equal = NOT EQUAL.
verify-moving = { $rows } rows change too often to be compared: run the command again at a quieter moment.
verify-on-their-way = The stream did not pass the rows that differ meanwhile, so they may be on their way: does the daemon run (`leadbridge status`)?
verify-repaired = Repaired: { $written } rows written as Landing has them, { $deleted } deleted that it does not have, { $unchanged } found equal by now, { $quarantined } in quarantine. Start the daemon, then run `leadbridge verify` again.
verify-progress = { $rows }/{ $expected } rows, { $rate } per second, { $left } left
