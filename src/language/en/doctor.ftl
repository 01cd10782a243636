### Findings of `leadbridge doctor`.

doctor-access-no-api-role = there is none of the API's roles
doctor-access-fine = { $roles } have no more rights on the tables than on Landing
doctor-access-accepted = accepted: { $what }

doctor-alerts-none = no channel is configured in [alert]: leadbridge itself tells nobody about trouble
doctor-alerts-unreadable = alerts cannot be sent: { $wrong }
doctor-alerts-unreadable-remedy = correct the paths in [alert], and let the daemon's user read the files; is this command run as that user?
doctor-alerts-open-files = other users of this machine may read files with secrets of [alert]: { $keys }
doctor-alerts-open-files-remedy = chmod 0600 the files, and give them to the daemon's user
doctor-alerts-configured = alerts are configured; `leadbridge alert test` tries the channels
doctor-alerts-without-ping = alerts are configured, without a dead man's ping: nobody is told when this machine is gone (ping_url_file in [alert]); `leadbridge alert test` tries the channels

doctor-columns-all = every column of Landing's tables is replicated
doctor-columns-not-replicated = not replicated: { $columns }
doctor-columns-left-out-remedy = run `leadbridge migrate`, which makes places for the columns on Traffic, and then, once rows were copied, `leadbridge resync`; or name the columns under `skip` in [columns] of the configuration

doctor-connections-superuser = a superuser's sessions are not limited
doctor-connections-enough = the limits on connections leave room for the daemon and a command
doctor-connections-remedy = run as an administrator: ALTER { $of } CONNECTION LIMIT { $enough }
doctor-connections-limit = { $of } has CONNECTION LIMIT { $most }, and { $others } sessions of others
doctor-connections-too-low-for-copy = { $has }: a copy needs { $needed } sessions
doctor-connections-too-few-left-for-copy = { $has }: a copy needs { $needed } sessions more
doctor-connections-for-daemon-only = { $has }: enough for the daemon, not for a comparison or a cutover at the same time

doctor-imports-none = Traffic holds no lead of Landing that leadbridge did not bring
doctor-imports-same-id = leads on Traffic that leadbridge did not bring and that have the id of a lead on Landing: { $count }
doctor-imports-same-id-refused = { $found }; a copy would overwrite their name, phone, e-mail, source, UTM, metadata, times and all other columns that come from Landing
doctor-imports-same-id-refused-remedy = set [snapshot] same_id = "landing": Landing's values win, and Traffic's different values are kept in { $notes }; or delete these leads on Traffic; see { $guide }; to list them on Traffic: { $list }
doctor-imports-same-id-landing-wins = { $found }; the copy gives them Landing's values and keeps Traffic's different values in { $notes } ([snapshot] same_id = "landing")
doctor-imports-same-id-landing-wins-remedy = nothing, if that is meant; see { $guide }; to list them on Traffic: { $list }
doctor-imports-other-id = leads on Traffic that leadbridge did not bring and that have the phone or the e-mail of a lead on Landing under another id: { $counted }; after a copy Traffic has these people twice
doctor-imports-other-id-remedy = merge them after the copy, or delete them before, as { $guide } shows; to list them on Traffic: { $list }
doctor-imports-at-least = at least { $count } (only the first { $compared } leads were compared)

doctor-landing-journey = the journey's table is { $table }
doctor-landing-wal-level = wal_level is logical
doctor-landing-wal-level-other = wal_level is { $level }
doctor-landing-wal-level-remedy = run ALTER SYSTEM SET wal_level = logical and restart the server
doctor-landing-slots = { $used } of { $max } replication slots are in use
doctor-landing-including-ours = { $message }, leadbridge's included
doctor-landing-slots-remedy = drop a slot that nobody needs, or raise max_replication_slots and restart
doctor-landing-senders = { $used } of { $max } WAL senders are in use
doctor-landing-including-our-sender = { $message }, leadbridge's included
doctor-landing-senders-remedy = stop a standby or stream that nobody needs, or raise max_wal_senders and restart
doctor-landing-standbys = no commit on Landing waits for the stream
doctor-landing-superuser = { $user } is a superuser
doctor-landing-replication = { $user } has REPLICATION, and may read the changes of every table of this server: guard its password as a superuser's
doctor-landing-replication-by-service = { $user } may replicate by membership in the service's own role
doctor-landing-no-replication = { $user } may not replicate
doctor-landing-no-replication-remedy = run as an administrator: ALTER ROLE "{ $user }" REPLICATION (on Supabase before PostgreSQL 17 use the role postgres)
doctor-landing-replication-connection = a replication connection can be opened (system identifier { $system })
doctor-landing-readable = the existing tables can be read
doctor-landing-fence = the fence is made for these tables
doctor-landing-fence-open = the fence would leave { $tables } open to writers, so no cutover can be made
doctor-landing-fence-not-asked = the fence was not asked for its tables: it is not open to this role yet
doctor-landing-no-cutover = { $message }, so no cutover can be made
doctor-landing-write-not-tried = no write was tried: the fence is not open to this role yet
doctor-landing-sender-timeout-off = wal_sender_timeout is off: a stream whose connection dies silently is never noticed
doctor-landing-sender-timeout-off-remedy = set it to a minute, its default, at least for this role: ALTER ROLE … SET wal_sender_timeout = '1min'
doctor-landing-sender-timeout-short = wal_sender_timeout is { $limit } ms: a short pause of the network cuts the stream
doctor-landing-sender-timeout-short-remedy = raise it to a minute, its default
doctor-landing-sender-timeout = wal_sender_timeout is { $seconds } s
doctor-privileges-missing = privileges are missing: { $list }

doctor-legacy-not-made = the legacy names are not made: after a switch, code that says landing_leads finds no such table on Traffic
doctor-legacy-not-made-remedy = run `leadbridge migrate --legacy`, unless no code uses Landing's names any more
doctor-legacy-early-writers = before the switch nobody may write through a legacy name, but { $what }
doctor-legacy-early-writers-remedy = run on the Traffic DB: { $revoke }
doctor-legacy-may-not-open = this role may not give the rights to write through the legacy names, which the switch does
doctor-legacy-may-not-open-remedy = as the owner of the schema, run on Traffic the SQL of: leadbridge migrate --print=traffic --role ROLE
doctor-legacy-beyond-landing = the switch would give rights that Landing does not give: { $beyond }
doctor-legacy-beyond-landing-remedy = rights or row-level security have changed since `leadbridge migrate`: run it again, because it decides on the rights
doctor-legacy-stale = legacy names that do not have Landing's columns, or are gone: { $stale }
doctor-legacy-stale-remedy = run `leadbridge migrate --legacy`
doctor-legacy-fine = old code finds { $names }; { $writers }
doctor-legacy-nobody-writes = nobody may write through them
doctor-legacy-nobody-will-write = nobody may write through them from the switch on
doctor-legacy-writers = { $roles } may write through them
doctor-legacy-later-writers = { $roles } may write through them from the switch on

doctor-local-state-dir-absent = the state directory { $place } does not exist yet; `leadbridge run` creates it
doctor-local-state-dir-in-use = the state directory { $place } is in use by a running daemon
doctor-local-state-dir-open = the state directory { $place } is open to other users of this machine
doctor-local-state-dir-open-remedy = chmod 0700 { $place }; a directory that others need as well should not be the state directory
doctor-local-state-dir = the state directory { $place } can be written to
doctor-local-state-dir-closed = the state directory { $place } cannot be written to: { $error }
doctor-local-state-dir-closed-remedy = give it to the daemon's user, or set LEADBRIDGE_STATE_DIR; is this command run as that user?
doctor-local-http-off = HTTP is switched off
doctor-local-http-free = the HTTP address { $address } is free
doctor-local-http-daemon = a daemon answers at the HTTP address { $address }
doctor-local-http-token-local = status, metrics and page are read on this machine alone
doctor-local-http-token-absent = { $address } answers other machines with /healthz and /readyz alone, because no token is configured
doctor-local-http-token-absent-remedy = set http_token_file for readers on other machines (docs/page.md), or listen on 127.0.0.1
doctor-local-http-token-unreadable = status, metrics and page are closed: { $why }
doctor-local-http-token-unreadable-remedy = write a token of 16 characters or more into the file, and let the daemon's user read the file; is this command run as that user?
doctor-local-http-token-open = other users of this machine may read the token in { $file }
doctor-local-http-token-open-remedy = chmod 0600 the file, and give it to the daemon's user
doctor-local-http-token-asked = status, metrics and page ask their readers for the token of http_token_file

doctor-locks-held = { $right } is held by { $holder }
doctor-locks-free = no session holds a lock of leadbridge's

doctor-notifications-absent = Landing has no { $name }
doctor-notifications-unreadable = this role may not read the column status of { $name }: whether notifications are pending is not known
doctor-notifications-none = no notification is pending on Landing
doctor-notifications-pending = notifications pending on Landing and not replicated: { $pending }; Landing's scheduler goes on sending them, also after a cutover, and Traffic knows none of them
doctor-notifications-pending-remedy = to carry them along, set scheduled_notifications = true, then run `leadbridge migrate` and `leadbridge resync`, and let only one scheduler run; or stop Landing's scheduler once they are sent

doctor-own-no-foreign-rights = nobody else has a right in leadbridge's schema
doctor-own-schema = leadbridge's schema is as `leadbridge migrate` has made it
doctor-own-served = leadbridge's functions serve this role

doctor-publication-absent = publication { $name } does not exist
doctor-publication-all-tables = publication { $name } is FOR ALL TABLES: the LMS's changes would all be decoded and sent
doctor-publication-all-tables-remedy = DROP PUBLICATION { $name } and run `leadbridge migrate`, or choose another name in [names]
doctor-publication-table-missing = { $table } is missing
doctor-publication-table-extra = { $table } does not belong there
doctor-publication-table-in-part = { $table } has a column list or a row filter
doctor-publication-operations = not every operation is published
doctor-publication-fits = publication { $name } has exactly the wanted tables
doctor-publication-unfit-remedy = run ALTER PUBLICATION "{ $name }" SET TABLE { $tables }; ALTER PUBLICATION "{ $name }" SET (publish = 'insert, update, delete, truncate')
doctor-publication-unfit = publication { $name } does not fit: { $wrong }

doctor-server-connected = connected as { $user } to { $hosts }/{ $database }
doctor-server-connected-locally = { $message }, on this machine
doctor-server-connected-in-clear = { $message }, not encrypted
doctor-server-connected-in-clear-remedy = use sslmode=verify-full with sslrootcert, unless the network is private
doctor-server-version-old = PostgreSQL { $major } is too old
doctor-server-version-old-remedy = upgrade the server to PostgreSQL 15 or later
doctor-server-standby = the server is a standby
doctor-server-standby-remedy = point the URL to the primary, not to a read replica
doctor-server-primary = the server is a primary
doctor-server-encoding = server_encoding is UTF8
doctor-server-encoding-other = server_encoding is { $encoding }
doctor-server-encoding-remedy = the database must be in UTF8: make a new one with ENCODING 'UTF8' and move the data there
doctor-server-no-statement-timeout = the role has no statement_timeout
doctor-server-statement-timeout = the role's statement_timeout is { $limit } ms; leadbridge sets its own sessions' to 0
doctor-server-row-security = row-level security hides nothing from this role
doctor-server-row-security-remedy = run as an administrator: ALTER ROLE "{ $user }" BYPASSRLS (or connect as a role that has it)
doctor-server-schemas = the schemas are open to this role
doctor-server-row-security-hides = row-level security would hide rows of: { $list }
doctor-server-schemas-closed = this role lacks USAGE on schemas: { $list }
doctor-server-connected-encrypted = { $message }, { $version }

doctor-privileges-landing-remedy = run as an administrator what `leadbridge migrate --print=landing --role ROLE` shows at its end
doctor-privileges-traffic-remedy = run as an administrator what `leadbridge migrate --print=traffic --role ROLE` shows at its end

doctor-log-without-rows = the server's log gets no refused row of this role
doctor-log-with-rows = the server's log gets each row that it refuses to this role, with name and phone (log_error_verbosity is `{ $verbosity }`)
doctor-log-with-rows-remedy = run as a superuser: ALTER ROLE { $role } SET log_error_verbosity = 'terse'; where the platform allows only that, ALTER ROLE { $role } SET log_min_messages = 'fatal', which hides all errors of this role there; else limit who reads the server's log and how long it is kept

doctor-slot-absent = slot { $name } does not exist yet; `leadbridge run` creates it
doctor-slot-lost = slot { $name } is lost: Landing has dropped WAL that it needed
doctor-slot-lost-remedy = run `leadbridge resync`, and raise max_slot_wal_keep_size
doctor-slot-unreserved = slot { $name } will be lost at Landing's next checkpoint: it keeps { $kept }
doctor-slot-unreserved-remedy = start the daemon now, and raise max_slot_wal_keep_size
doctor-slot-not-read = slot { $name } is not read and keeps { $kept } of WAL on Landing's disk
doctor-slot-not-read-remedy = start the daemon; if the replication is over, drop the slot
doctor-slot-in-use = slot { $name } is in use and keeps { $kept } of WAL
doctor-slot-idle = slot { $name } is there, not in use, and keeps { $kept } of WAL
doctor-slot-failover-version = [snapshot] slot_failover needs PostgreSQL 17 or later on Landing
doctor-slot-failover-version-remedy = set slot_failover = false, or upgrade Landing
doctor-slot-failover-differs = slot { $slot } has failover = { $actual }, the configuration says slot_failover = { $wanted }
doctor-slot-failover-differs-remedy = stop the daemon and run ALTER_REPLICATION_SLOT { $slot } (FAILOVER { $wanted }) in psql "… replication=database" on Landing, or run `leadbridge resync`
doctor-slot-failover-on = standbys of Landing may keep a copy of the slot
doctor-slot-failover-off = the slot does not survive a failover of Landing (slot_failover is off)
doctor-slot-standbys-absent = the stream waits for standbys that are not connected: { $unused } (synchronized_standby_slots)
doctor-slot-standbys-absent-remedy = start these standbys, or take their slots out of synchronized_standby_slots on Landing
doctor-slot-standbys-empty = synchronized_standby_slots is empty: Traffic may get what no standby of Landing has yet, and a failover to it then needs a resync
doctor-slot-standbys-empty-remedy = set it on Landing to the physical slots of its standbys
doctor-slot-standbys = the stream waits for the standbys of { $slots }
doctor-slot-keep-unlimited = max_slot_wal_keep_size is unlimited: a long outage fills Landing's disk instead
doctor-slot-keep = a slot that keeps more than { $size } of WAL is invalidated (max_slot_wal_keep_size)
doctor-slot-keep-remedy = raise it to the WAL of one day, as far as the disk allows
doctor-slot-forward = the slot, which the daemon keeps active after a cutover, too,
doctor-slot-reverse = the slot of reverse replication
doctor-slot-idle-timeout = { $slot } is invalidated when the daemon is down for { $seconds } s (idle_replication_slot_timeout)
doctor-slot-idle-timeout-remedy = set it to 0 on the { $side } DB, or to longer than any outage of the daemon or of a database
doctor-slot-idle-timeout-off = a slot is not invalidated for being idle
doctor-slot-no-old-transaction = no old transaction is seen that would delay the slot's creation
doctor-slot-old-transactions = transactions that the slot's creation must wait for: { $list }
doctor-slot-old-transactions-remedy = let them end, or end them with pg_terminate_backend(pid)
doctor-slot-nothing-prepared = no transaction is left prepared
doctor-slot-prepared = prepared transactions that the slot's creation must wait for: { $list }
doctor-slot-prepared-remedy = COMMIT PREPARED or ROLLBACK PREPARED them; see pg_prepared_xacts

doctor-positions-nothing-yet = nothing was replicated yet
doctor-positions-snapshot = `leadbridge run` begins with a snapshot
doctor-positions-stream = `leadbridge run` continues from { $lsn }
doctor-positions-reverse = `leadbridge run` replicates Traffic's changes to Landing

doctor-tables-no-cutover = { $what } (a cutover will be refused)
doctor-tables-absent-columns = { $fine }; without { $absent }: what these columns become is Traffic's own, in every direction

doctor-traffic-finished = the move was finished at { $at }: slots and publications are dropped, nothing is left to examine
doctor-traffic-installation = the schema belongs to no other installation
doctor-traffic-schema = the schema is there
doctor-traffic-writable = the existing tables can be written to
doctor-traffic-superuser = { $user } is a superuser, and may do everything on Traffic
doctor-traffic-replication = { $user } has REPLICATION for reverse replication, and may read the changes of every table on Traffic; `leadbridge finish` takes it away
doctor-traffic-replication-early = { $user } has REPLICATION, and may read the changes of every table on Traffic; before a cutover nothing needs that
doctor-traffic-replication-early-remedy = run as an administrator: ALTER ROLE "{ $user }" NOREPLICATION; the dry run of the cutover says when to give it
doctor-traffic-no-replication = { $user } has no REPLICATION on Traffic: only a cutover needs it, and the cutover's dry run names the SQL
doctor-traffic-triggers-kept = the role may keep Traffic's ordinary triggers from firing
doctor-traffic-triggers-fire = the role may not set session_replication_role: Traffic's triggers fire for replicated rows, and leadbridge's own pair of triggers keeps updated_at
doctor-traffic-triggers-fire-remedy = run as a superuser: GRANT SET ON PARAMETER session_replication_role TO "{ $user }"
doctor-traffic-indexes-kept = a snapshot has to keep up every index of an empty table, which takes longer
doctor-traffic-indexes-kept-remedy = run `leadbridge migrate`, or { $privileges }
doctor-traffic-indexes = no index waits to be made
doctor-traffic-indexes-missing = missing until a snapshot is complete: { $missing }
doctor-traffic-indexes-missing-remedy = `leadbridge run` makes them; by hand: SELECT { $make }(), again until it names none
doctor-traffic-standbys = no commit on Traffic waits, or will wait, for the stream of reverse replication
doctor-traffic-standbys-cutover = Traffic would take reverse replication for a synchronous standby, so no cutover can be made (synchronous_standby_names = '{ $list }')
doctor-traffic-schema-lacks = tables are missing: { $list }

doctor-writable = this role may write on the { $side } DB
doctor-writable-read-only = transactions of this role on the { $side } DB are read-only: no fence can be closed there
doctor-writable-role-remedy = run as an administrator: ALTER ROLE { $role } RESET default_transaction_read_only
doctor-writable-role-in-database-remedy = run as an administrator: ALTER ROLE { $role } IN DATABASE { $database } RESET default_transaction_read_only
doctor-writable-database-remedy = is the disk full, or the project paused? Otherwise run as an administrator: ALTER DATABASE { $database } RESET default_transaction_read_only
doctor-writable-client-remedy = take default_transaction_read_only out of the options in the database URL
doctor-writable-system-remedy = is the disk full, or the project paused? Otherwise run as an administrator: ALTER SYSTEM RESET default_transaction_read_only, SELECT pg_reload_conf()
