### Tables and columns of Landing.

landing-left-out-skipped = { $table }.{ $column } (skipped by the configuration)
landing-left-out-generated = { $table }.{ $column } (computed by PostgreSQL)
landing-left-out-not-copied = { $table }.{ $column } (not copied yet)

landing-remedy-schema = check LANDING_DATABASE_URL and [names] landing_schema
landing-remedy-changed-keys = run `leadbridge migrate`, and then what `leadbridge migrate --print=landing --role ROLE` shows at its end
