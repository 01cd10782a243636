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
