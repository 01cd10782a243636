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

postgres-remedy-server-log = посмотрите журнал сервера; не слушает ли на этом порту прокси или другая служба?
postgres-remedy-no-answer-supabase = проверьте, что у этой машины есть IPv6 (без дополнения IPv4 у прямого хоста проекта нет адреса IPv4) и что проект не приостановлен
postgres-remedy-no-answer = проверьте хост, порт, брандмауэр и security groups; предел ожидания задаёт connect_timeout в URL
postgres-remedy-no-tls = включите на сервере `ssl = on` или задайте в URL sslmode=prefer или disable
postgres-remedy-no-password = впишите пароль пользователя { $user } в { $variable }
postgres-remedy-authentication = используйте на сервере для этого пользователя SCRAM-SHA-256 (password_encryption)
postgres-remedy-no-name = проверьте, правильно ли написан хост в { $variable }, работает ли DNS на этой машине и не приостановлен ли проект Supabase
postgres-remedy-not-postgresql = проверьте хост и порт; нет ли на пути прокси, брандмауэра или другой службы?
postgres-remedy-wrong-password = исправьте пароль пользователя { $user } в { $variable }
postgres-remedy-tls-wanted = задайте в { $variable } sslmode=require или строже: сервер требует TLS
postgres-remedy-not-admitted = проверьте, что пользователь { $user } существует и может входить и что pg_hba.conf пускает его с этой машины в базу { $database }
postgres-remedy-database-name = исправьте имя базы в { $variable }
postgres-remedy-replica-role = с таким значением по умолчанию у этой роли не сработает ни один каскад удаления: выполните от имени суперпользователя ALTER ROLE "{ $user }" RESET session_replication_role (и ALTER ROLE "{ $user }" IN DATABASE "{ $database }" RESET …) или GRANT SET ON PARAMETER session_replication_role TO "{ $user }"
postgres-remedy-connect-right = от имени администратора: GRANT CONNECT ON DATABASE "{ $database }" TO "{ $user }"; если отказано соединению для репликации, ALTER ROLE "{ $user }" REPLICATION
postgres-remedy-wrong-options = исправьте options в { $variable } и настройки пользователя { $user } на этом сервере
postgres-remedy-turned-away = сервер или пулер перед ним не принял соединение: не заполнен ли пулер (его pool_size, другие клиенты режима session)? Если нет, посмотрите его журнал и проверьте пользователя { $user } в { $variable }
postgres-remedy-too-many-of-role = выполните от имени администратора: ALTER ROLE { $user } CONNECTION LIMIT … (сколько, скажет `leadbridge doctor`) или закройте другие сеансы этой роли; демон продолжит сам
postgres-remedy-too-many-in-database = выполните от имени администратора: ALTER DATABASE { $database } CONNECTION LIMIT … или закройте другие сеансы в этой базе; демон продолжит сам
postgres-remedy-too-many = увеличьте там max_connections или закройте простаивающие сеансы; демон продолжит сам
postgres-remedy-unknown-ca = укажите в sslrootcert в { $variable } файл того CA, который подписал сертификат
postgres-remedy-other-host = укажите в { $variable } имя хоста, которое стоит в сертификате; sslmode=verify-ca проверяет только CA
postgres-remedy-expired = обновите сертификат сервера и проверьте часы этой машины
postgres-remedy-clock = проверьте часы этой машины
postgres-remedy-roots-out-of-date = получите новый сертификат CA и проверьте часы этой машины
postgres-remedy-old-form = укажите в sslrootcert файл нужного CA; если сертификат выдал промежуточный CA, выпустите сертификат сервера заново с subjectAltName: тогда он будет версии 3
postgres-remedy-common-name = выпустите сертификат сервера заново с именем хоста в subjectAltName
postgres-remedy-other-purpose = выпустите сертификат сервера заново для serverAuth, без критических расширений других видов
postgres-remedy-refused = проверьте, что сервер работает и слушает этот адрес и порт (listen_addresses)
postgres-remedy-no-socket = проверьте каталог в параметре host в URL, порт и что сервер работает
postgres-remedy-socket-closed = проверьте права на каталог сокета (unix_socket_permissions)
postgres-remedy-no-route-supabase = дайте этой машине IPv6 или купите для проекта дополнение IPv4: у прямого хоста есть только IPv6
postgres-remedy-no-route = проверьте сеть и маршруты этой машины (не IPv6 ли единственный адрес хоста?)
postgres-remedy-unreachable = проверьте хост, порт и сеть

postgres-remedy-variable = уберите { $variable } из окружения leadbridge или задайте параметр в URL: URL важнее окружения
postgres-remedy-url = формат: postgresql://user:password@host:5432/database?sslmode=verify-full; в пароле замените @ : / ? # % на %40 %3A %2F %3F %23 %25
postgres-remedy-url-parameter = исправьте параметр или уберите его, если подходит значение по умолчанию; чего leadbridge не умеет, сказано в docs/design.md
postgres-remedy-tls-versions = разрешите TLSv1.2 или TLSv1.3 в URL или в PGSSLMINPROTOCOLVERSION и PGSSLMAXPROTOCOLVERSION
postgres-remedy-verify-full = задайте sslmode=verify-full, этого требует libpq
postgres-remedy-root-certificate = добавьте в URL &sslrootcert=/path/to/ca.crt (Supabase: скачайте его в dashboard, Database Settings) или &sslrootcert=system, если CA публичный
postgres-remedy-revocations = уберите этот файл и доверяйте в sslrootcert только CA, все сертификаты которого действительны
postgres-remedy-system-bundle = установите ca-certificates, задайте SSL_CERT_FILE или укажите файл в sslrootcert
postgres-remedy-pem-file = укажите файл PEM с сертификатом CA, который может читать пользователь демона
postgres-remedy-direct = укажите прямое соединение, db.<project>.supabase.co:5432 (это IPv6, если проект не купил дополнение IPv4)
postgres-remedy-no-pooler = в { $variable } { $direct }
postgres-remedy-pooler-mode = в { $variable } используйте режим session пулера, порт 5432, или { $direct }
postgres-remedy-standby = сделайте реплику главным сервером или укажите главный сервер в { $variable }; демон продолжит сам
postgres-remedy-history-gone = неизвестно, есть ли ещё на Landing всё, что есть на Traffic: верните файл истории из архива в pg_wal или запустите `leadbridge resync`
postgres-remedy-history-unreadable = неизвестно, есть ли ещё на Landing всё, что есть на Traffic: запустите `leadbridge resync`
postgres-remedy-landing-behind = Landing восстановлен в более раннем состоянии или аварийно переключён на реплику, на которой не было WAL, уже попавшего на Traffic: часть изменений Landing была бы пропущена, а другие там и не происходили. Проверьте, что URL указывает на нужный сервер, затем запустите `leadbridge resync`

postgres-remedy-end-transaction = завершите эту транзакцию или подождите: leadbridge повторит попытку
postgres-remedy-wal-level = задайте на Landing wal_level = logical и перезапустите его
postgres-remedy-slots = увеличьте на Landing max_replication_slots или удалите слот, который никому не нужен
postgres-remedy-slot-in-use = повторите через несколько секунд; если не поможет, выясните, какой процесс читает поток этого слота
postgres-remedy-foreign-slot = выясните, чей это слот, и, если он никому не нужен, удалите его там через pg_drop_replication_slot
postgres-remedy-open-transactions = слот ждёт завершения всех открытых там транзакций: дайте долгим завершиться и повторите
postgres-remedy-oldest-transaction = дайте ей завершиться (самая старая в pg_stat_activity и pg_prepared_xacts) и повторите
postgres-remedy-table-lock = подождите, пока эта транзакция завершится, или завершите её и повторите
postgres-remedy-synchronous = назовите нужные реплики в synchronous_standby_names на { $side } (`*` и "{ $stream_name }" означают и leadbridge): ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (…)', SELECT pg_reload_conf()
postgres-remedy-foreign-lock = завершите то, что её удерживает, на { $side }: { $how }; advisory-блокировку может взять любая роль, которой можно подключаться: если это повторится, отберите у роли CONNECT или LOGIN; leadbridge продолжит, как только блокировка освободится
postgres-remedy-end-session = SELECT pg_terminate_backend({ $pid }) от имени { $role }, от имени участника pg_signal_backend (сеанс суперпользователя: от имени суперпользователя)
postgres-remedy-rollback-prepared = ROLLBACK PREPARED { $name } от имени { $role } или суперпользователя
postgres-remedy-rollback-shown = ROLLBACK PREPARED для транзакции, которую показывает pg_prepared_xacts
postgres-remedy-holder-role = роли, которая её удерживает
postgres-remedy-past-on-landing = запустите `leadbridge resync`: он скопирует таблицы заново и начнёт поток с нового слота после этого места
postgres-remedy-past-on-traffic = более поздние изменения на Landing реплицировать нельзя, и откат потерял бы их: на Traffic есть всё, он остаётся главной базой; остановите демон
postgres-remedy-long-row = имя таблицы даст SELECT { $relation }::regclass: сократите в ней эту строку, затем { $way_past }
postgres-remedy-long-message = найдите программу, которая вызывает pg_logical_emit_message; затем { $way_past }
