### One server of either side.

postgres-right-lease = the lease of the daemon
postgres-right-decision = the right to decide a cutover or a rollback
postgres-right-command = the lock of the command of a cutover or a rollback
postgres-right-write-landing = the right to write to Landing
postgres-right-fence = the lock of the fence of cutover { $id }
postgres-right-migration = the lock of `leadbridge migrate`
postgres-holder-process = process { $pid } of role { $role }
postgres-holder-prepared = prepared transaction { $name } of role { $role }
postgres-holder-unknown = (unknown)
postgres-holder-application = application '{ $application }'
postgres-session-address = from { $address }
postgres-session-application = application { $application }
postgres-session-waited = leadbridge has waited for { $time }

postgres-remedy-server-log = look into the server's log; is a proxy or another service listening on that port?
postgres-remedy-no-answer-supabase = check that this machine has IPv6 (the project's direct host has no IPv4 without the add-on), and that the project is not paused
postgres-remedy-no-answer = check host, port, firewall and security groups; connect_timeout in the URL changes the limit
postgres-remedy-no-tls = switch `ssl = on` on the server, or use sslmode=prefer or disable in the URL
postgres-remedy-no-password = put the password of user { $user } into { $variable }
postgres-remedy-authentication = use SCRAM-SHA-256 (password_encryption) for this user on the server
postgres-remedy-no-name = check the host's spelling in { $variable }, this machine's DNS, and that the Supabase project is not paused
postgres-remedy-not-postgresql = check host and port; is a proxy, a firewall or another service in between?
postgres-remedy-wrong-password = correct the password of user { $user } in { $variable }
postgres-remedy-tls-wanted = use sslmode=require or better in { $variable }: the server wants TLS
postgres-remedy-not-admitted = check that user { $user } exists, may log in, and that pg_hba.conf admits it from this machine to database { $database }
postgres-remedy-database-name = correct the database's name in { $variable }
postgres-remedy-replica-role = no cascade of a delete runs under this role's default: run as a superuser ALTER ROLE "{ $user }" RESET session_replication_role (and ALTER ROLE "{ $user }" IN DATABASE "{ $database }" RESET …), or GRANT SET ON PARAMETER session_replication_role TO "{ $user }"
postgres-remedy-connect-right = as an administrator: GRANT CONNECT ON DATABASE "{ $database }" TO "{ $user }"; where the replication connection is refused, ALTER ROLE "{ $user }" REPLICATION
postgres-remedy-wrong-options = correct the options in { $variable }, and the settings of user { $user } on that server
postgres-remedy-turned-away = the server, or a pooler in front of it, turned the connection away: is the pooler full (its pool_size, other clients of its session mode)? Else look into its log, and check user { $user } in { $variable }
postgres-remedy-too-many-of-role = run as an administrator: ALTER ROLE { $user } CONNECTION LIMIT … (`leadbridge doctor` says how many), or close other sessions of that role; the daemon continues by itself
postgres-remedy-too-many-in-database = run as an administrator: ALTER DATABASE { $database } CONNECTION LIMIT …, or close other sessions in that database; the daemon continues by itself
postgres-remedy-too-many = raise max_connections there, or close idle sessions; the daemon continues by itself
postgres-remedy-unknown-ca = name the right CA's file in sslrootcert in { $variable }
postgres-remedy-other-host = use in { $variable } the host name that the certificate holds; sslmode=verify-ca checks the CA only
postgres-remedy-expired = renew the server's certificate, and check this machine's clock
postgres-remedy-clock = check this machine's clock
postgres-remedy-roots-out-of-date = get the CA's new certificate, and check this machine's clock
postgres-remedy-old-form = name the right CA's file in sslrootcert; below an intermediate CA, issue the server's certificate again with a subjectAltName, which makes it a certificate of version 3
postgres-remedy-common-name = issue the server's certificate again with the host's name as its subjectAltName
postgres-remedy-other-purpose = issue the server's certificate again for serverAuth, without critical extensions of other kinds
postgres-remedy-refused = check that the server runs, listens on that address and port (listen_addresses)
postgres-remedy-no-socket = check the directory in the URL's host parameter, the port, and that the server runs
postgres-remedy-socket-closed = check the permissions of the socket's directory (unix_socket_permissions)
postgres-remedy-no-route-supabase = give this machine IPv6, or buy the project's IPv4 add-on: the direct host is IPv6 only
postgres-remedy-no-route = check this machine's network and routes (does the host have an IPv6 address only?)
postgres-remedy-unreachable = check host, port and network

postgres-remedy-variable = unset { $variable } for leadbridge, or state the parameter in the URL: the URL wins over the environment
postgres-remedy-url = write it as postgresql://user:password@host:5432/database?sslmode=verify-full; in a password, escape @ : / ? # % as %40 %3A %2F %3F %23 %25
postgres-remedy-url-parameter = correct the parameter, or leave it out where its default will do; docs/design.md says what leadbridge cannot do
postgres-remedy-tls-versions = allow TLSv1.2 or TLSv1.3, in the URL or in PGSSLMINPROTOCOLVERSION and PGSSLMAXPROTOCOLVERSION
postgres-remedy-verify-full = write sslmode=verify-full, as libpq asks for
postgres-remedy-root-certificate = add &sslrootcert=/path/to/ca.crt to the URL (Supabase: download it from the dashboard, Database Settings), or &sslrootcert=system for a public CA
postgres-remedy-revocations = move the file away, and trust in sslrootcert only a CA whose certificates are all good
postgres-remedy-system-bundle = install ca-certificates, set SSL_CERT_FILE, or name a file in sslrootcert
postgres-remedy-pem-file = name a PEM file with the CA's certificate that the daemon's user may read
postgres-remedy-direct = use the direct connection, db.<project>.supabase.co:5432 (it is IPv6 unless the project has bought the IPv4 add-on)
postgres-remedy-no-pooler = in { $variable }, { $direct }
postgres-remedy-pooler-mode = in { $variable }, use the pooler's session mode, port 5432, or { $direct }
postgres-remedy-standby = promote it, or point { $variable } to the primary; the daemon continues by itself
postgres-remedy-history-gone = whether Landing still has everything that Traffic has cannot be told: put the history file back into pg_wal from the archive, or run `leadbridge resync`
postgres-remedy-history-unreadable = whether Landing still has everything that Traffic has cannot be told: run `leadbridge resync`
postgres-remedy-landing-behind = Landing was restored to an earlier state, or failed over to a standby that lacked WAL which Traffic has: changes on Landing would be skipped, and others never happened there. Check that the URL names the right server, then run `leadbridge resync`

postgres-remedy-end-transaction = end that transaction, or wait: leadbridge retries
postgres-remedy-wal-level = set wal_level = logical on Landing and restart it
postgres-remedy-slots = raise max_replication_slots on Landing, or drop a slot that nobody uses
postgres-remedy-slot-in-use = try again in a moment; if it stays so, find out which process streams from it
postgres-remedy-foreign-slot = find out whose it is, and drop it there with pg_drop_replication_slot if nobody needs it
postgres-remedy-open-transactions = it waits for every transaction that is open there: let long transactions end, then try again
postgres-remedy-oldest-transaction = let it end (pg_stat_activity, pg_prepared_xacts: the oldest), then try again
postgres-remedy-table-lock = wait for that transaction to end, or end it, then try again
postgres-remedy-synchronous = name the standbys that are meant in synchronous_standby_names on the { $side } DB (`*` and "{ $stream_name }" mean leadbridge, too): ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (…)', SELECT pg_reload_conf()
postgres-remedy-foreign-lock = end it on the { $side } DB: { $how }; every role that may connect can take an advisory lock, so if it comes back, take its CONNECT or LOGIN away; leadbridge goes on as soon as the lock is free
postgres-remedy-end-session = SELECT pg_terminate_backend({ $pid }), as { $role }, as a member of pg_signal_backend (for the session of a superuser: as a superuser)
postgres-remedy-rollback-prepared = ROLLBACK PREPARED { $name }, as { $role } or as a superuser
postgres-remedy-rollback-shown = ROLLBACK PREPARED, of the transaction that pg_prepared_xacts shows
postgres-remedy-holder-role = the holder's role
postgres-remedy-past-on-landing = run `leadbridge resync`, which copies the tables again and streams from a new slot behind it
postgres-remedy-past-on-traffic = the later changes cannot be replicated to Landing, so a rollback would lose them: Traffic has everything and stays the system of record; stop the daemon
postgres-remedy-long-row = SELECT { $relation }::regclass names the table: shorten the row there, then { $way_past }
postgres-remedy-long-message = find the program that calls pg_logical_emit_message; then { $way_past }
