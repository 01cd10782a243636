### What to do about rights on Traffic that Landing does not give.

access-remedy-foreign-rights = run `leadbridge migrate`, or on the { $side } DB: { $statement }
access-remedy-migrate-or-run = run `leadbridge migrate --api-access`, or on the { $side } DB: { $closing }
access-remedy-refused = if this is meant, set accept = ["{ $entry }"] under [privacy] in the configuration; otherwise { $close }
access-remedy-accepted = accepted by [privacy] accept; to close it, take "{ $entry }" out and { $close }
access-remedy-servers = { $role } is the school's own servers: nothing need be done; to close it: { $closing }
access-remedy-on-landing = decide whether this is meant; to close it, { $close }
