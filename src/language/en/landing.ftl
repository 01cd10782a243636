### Tables and columns of Landing.

landing-left-out-skipped = { $table }.{ $column } (skipped by the configuration)
landing-left-out-generated = { $table }.{ $column } (computed by PostgreSQL)
landing-left-out-not-copied = { $table }.{ $column } (not copied yet)
