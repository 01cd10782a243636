### Один сервер любой стороны.

postgres-right-lease = аренда демона
postgres-right-decision = право решать о переключении или откате
postgres-right-command = блокировка команды переключения или отката
postgres-right-write-landing = право писать в Landing
postgres-right-fence = блокировка ограждения переключения { $id }
postgres-right-migration = блокировка `leadbridge migrate`
postgres-holder-process = процесс { $pid } роли { $role }
postgres-holder-prepared = подготовленная транзакция { $name } роли { $role }
postgres-holder-unknown = (неизвестно)
postgres-holder-application = приложение '{ $application }'
postgres-session-address = с адреса { $address }
postgres-session-application = приложение { $application }
postgres-session-waited = leadbridge ждёт уже { $time }
