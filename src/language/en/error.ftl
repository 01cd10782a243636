### Remedies of errors that every room has.

error-what-to-do = what to do: { $remedy }
error-server-log = look into that server's log: it has the message, which may hold a person's data
error-remedy-login = check user and password in the database URL, and the server's pg_hba.conf
error-remedy-database-name = check the database's name in the URL
error-remedy-privilege = grant what is missing: `leadbridge doctor` names it, `leadbridge migrate --print --role ROLE` has it ready to run
error-remedy-object-missing = run `leadbridge migrate`, and check the schema names in the configuration
error-remedy-column-type = a column was given another type, or is generated now: put it back as `leadbridge migrate` made it, then start again
error-remedy-read-only = is the server a standby, its disk full, or default_transaction_read_only set? `leadbridge doctor` says which; the daemon continues by itself
error-remedy-disk-full = free disk space on that server; the daemon continues by itself
error-remedy-too-many-connections = raise the role's or the database's CONNECTION LIMIT where there is one, or else max_connections, or close idle sessions; the daemon continues by itself
error-remedy-tls = check sslmode and sslrootcert in the database URL, and the server's certificate
error-remedy-resync = run `leadbridge resync`
error-remedy-forward-slot-foreign = find out who made it; once it is dropped or has another name, the daemon makes its own
error-missed-in-function = it was missed inside a trigger or function of that database ({ $name }), which runs under an empty search_path: qualify the names in it, or ALTER FUNCTION { $name } SET search_path = public; then start again
error-remedy-more-time = try again with a longer --timeout or a faster --hook
error-remedy-commit-waits = does a commit there wait for a synchronous standby? Try again, or with a longer --timeout
error-remedy-held-nothing-changed = wait for that transaction to end, or end it, then try again; nothing was changed
error-remedy-export-again = export again into another directory
error-remedy-export-with-this-version = export again with this version of leadbridge
error-remedy-migrate-and-run = run `leadbridge migrate`, then `leadbridge run`
error-remedy-run-on = run on the { $side } DB: { $sql }
