### Что находит `leadbridge doctor`.

doctor-access-no-api-role = ролей API здесь нет
doctor-access-fine = { $roles }: прав на таблицы не больше, чем на Landing
doctor-access-accepted = принято: { $what }

doctor-alerts-none = в [alert] не настроен ни один канал: сам leadbridge о беде никому не сообщит
doctor-alerts-unreadable = оповещения отправить нельзя: { $wrong }
doctor-alerts-unreadable-remedy = исправьте пути в [alert] и дайте пользователю демона право читать эти файлы; эта команда запущена от его имени?
doctor-alerts-open-files = другие пользователи этой машины могут прочитать файлы с секретами из [alert]: { $keys }
doctor-alerts-open-files-remedy = выполните для этих файлов chmod 0600 и сделайте владельцем пользователя демона
doctor-alerts-configured = оповещения настроены; `leadbridge alert test` проверит каналы
doctor-alerts-without-ping = оповещения настроены, но без контрольного сигнала (dead man's ping): если пропадёт эта машина, никто не узнает (ping_url_file в [alert]); `leadbridge alert test` проверит каналы

doctor-columns-all = все столбцы таблиц Landing реплицируются
doctor-columns-not-replicated = не реплицируются: { $columns }
doctor-columns-left-out-remedy = запустите `leadbridge migrate`, который создаст место для этих столбцов на Traffic, а если строки уже скопированы, затем `leadbridge resync`; или назовите столбцы в `skip` раздела [columns] конфигурации

doctor-connections-superuser = число сеансов суперпользователя не ограничено
doctor-connections-enough = ограничений на число соединений хватает для демона и одной команды
doctor-connections-remedy = выполните от имени администратора: ALTER { $of } CONNECTION LIMIT { $enough }
doctor-connections-limit = у { $of } задан CONNECTION LIMIT { $most }, чужих сеансов: { $others }
doctor-connections-too-low-for-copy = { $has }: копированию нужно сеансов: { $needed }
doctor-connections-too-few-left-for-copy = { $has }: копированию нужно ещё сеансов: { $needed }
doctor-connections-for-daemon-only = { $has }: хватит демону, но не сверке и не переключению одновременно с ним

doctor-imports-none = на Traffic нет лидов Landing, которые принёс не leadbridge
doctor-imports-same-id = лидов на Traffic, которые принёс не leadbridge и id которых есть на Landing: { $count }
doctor-imports-same-id-refused = { $found }; копирование перезапишет их имя, телефон, e-mail, источник, UTM, metadata, времена и все прочие столбцы, которые приходят с Landing
doctor-imports-same-id-refused-remedy = задайте [snapshot] same_id = "landing": останутся значения Landing, а отличающиеся значения Traffic сохранятся в { $notes }; или удалите этих лидов на Traffic; см. { $guide }; их список на Traffic: { $list }
doctor-imports-same-id-landing-wins = { $found }; копирование запишет им значения Landing, а отличающиеся значения Traffic сохранит в { $notes } ([snapshot] same_id = "landing")
doctor-imports-same-id-landing-wins-remedy = ничего, если так и задумано; см. { $guide }; их список на Traffic: { $list }
doctor-imports-other-id = лидов на Traffic, которые принёс не leadbridge и телефон или e-mail которых есть на Landing под другим id: { $counted }; после копирования эти люди будут на Traffic дважды
doctor-imports-other-id-remedy = объедините их после копирования или удалите до него, как показано в { $guide }; их список на Traffic: { $list }
doctor-imports-at-least = не меньше { $count } (сравнивались только первые { $compared } лидов)

doctor-landing-journey = таблица пути лида: { $table }
doctor-landing-wal-level = wal_level = logical
doctor-landing-wal-level-other = wal_level = { $level }
doctor-landing-wal-level-remedy = выполните ALTER SYSTEM SET wal_level = logical и перезапустите сервер
doctor-landing-slots = занято слотов репликации: { $used } из { $max }
doctor-landing-including-ours = { $message }, включая слот leadbridge
doctor-landing-slots-remedy = удалите слот, который никому не нужен, или увеличьте max_replication_slots и перезапустите сервер
doctor-landing-senders = занято процессов walsender: { $used } из { $max }
doctor-landing-including-our-sender = { $message }, включая процесс leadbridge
doctor-landing-senders-remedy = остановите реплику или поток, которые никому не нужны, или увеличьте max_wal_senders и перезапустите сервер
doctor-landing-standbys = ни одна фиксация на Landing не ждёт потока
doctor-landing-superuser = { $user } — суперпользователь
doctor-landing-replication = у роли { $user } есть REPLICATION, она может читать изменения всех таблиц этого сервера: берегите её пароль, как пароль суперпользователя
doctor-landing-replication-by-service = роль { $user } может реплицировать как участник служебной роли платформы
doctor-landing-no-replication = роль { $user } не может реплицировать
doctor-landing-no-replication-remedy = выполните от имени администратора: ALTER ROLE "{ $user }" REPLICATION (на Supabase до PostgreSQL 17 используйте роль postgres)
doctor-landing-replication-connection = соединение для репликации открывается (system identifier { $system })
doctor-landing-readable = существующие таблицы доступны на чтение
doctor-landing-fence = ограждение рассчитано на эти таблицы
doctor-landing-fence-open = ограждение оставит открытыми для записи таблицы: { $tables }, поэтому переключение невозможно
doctor-landing-fence-not-asked = таблицы ограждения не проверены: оно ещё недоступно этой роли
doctor-landing-no-cutover = { $message }, поэтому переключение невозможно
doctor-landing-write-not-tried = пробной записи не было: ограждение ещё недоступно этой роли
doctor-landing-sender-timeout-off = wal_sender_timeout выключен: если соединение потока молча оборвётся, этого никто не заметит
doctor-landing-sender-timeout-off-remedy = верните значение по умолчанию, одну минуту, хотя бы для этой роли: ALTER ROLE … SET wal_sender_timeout = '1min'
doctor-landing-sender-timeout-short = wal_sender_timeout = { $limit } мс: поток оборвётся от короткой паузы в сети
doctor-landing-sender-timeout-short-remedy = увеличьте до минуты, это значение по умолчанию
doctor-landing-sender-timeout = wal_sender_timeout = { $seconds } с
doctor-privileges-missing = не хватает прав: { $list }

doctor-legacy-not-made = прежних имён нет: после переключения код, который называет landing_leads, не найдёт такой таблицы на Traffic
doctor-legacy-not-made-remedy = запустите `leadbridge migrate --legacy`, если имена Landing ещё использует хоть какой-то код
doctor-legacy-early-writers = до переключения никто не должен писать через прежние имена, но { $what }
doctor-legacy-early-writers-remedy = выполните на Traffic: { $revoke }
doctor-legacy-may-not-open = эта роль не может выдать права на запись через прежние имена, а переключение их выдаёт
doctor-legacy-may-not-open-remedy = от имени владельца схемы выполните на Traffic SQL, который печатает: leadbridge migrate --print=traffic --role ROLE
doctor-legacy-beyond-landing = переключение выдало бы права, которых на Landing нет: { $beyond }
doctor-legacy-beyond-landing-remedy = после `leadbridge migrate` изменились права или row-level security: запустите его ещё раз, права определяет он
doctor-legacy-stale = прежние имена, столбцы которых не совпадают с Landing или которых больше нет: { $stale }
doctor-legacy-stale-remedy = запустите `leadbridge migrate --legacy`
doctor-legacy-fine = прежний код найдёт { $names }; { $writers }
doctor-legacy-nobody-writes = писать через них не может никто
doctor-legacy-nobody-will-write = после переключения писать через них не сможет никто
doctor-legacy-writers = писать через них могут { $roles }
doctor-legacy-later-writers = после переключения писать через них смогут { $roles }

doctor-local-state-dir-absent = каталога состояния { $place } ещё нет; его создаст `leadbridge run`
doctor-local-state-dir-in-use = каталог состояния { $place } занят работающим демоном
doctor-local-state-dir-open = каталог состояния { $place } открыт другим пользователям этой машины
doctor-local-state-dir-open-remedy = выполните chmod 0700 { $place }; каталог, который нужен и другим, не должен быть каталогом состояния
doctor-local-state-dir = в каталог состояния { $place } можно писать
doctor-local-state-dir-closed = в каталог состояния { $place } писать нельзя: { $error }
doctor-local-state-dir-closed-remedy = отдайте его пользователю демона или задайте LEADBRIDGE_STATE_DIR; эта команда запущена от имени этого пользователя?
doctor-local-http-off = HTTP выключен
doctor-local-http-free = адрес HTTP { $address } свободен
doctor-local-http-daemon = по адресу HTTP { $address } отвечает демон
doctor-local-http-token-local = состояние, метрики и страницу читают только на этой машине
doctor-local-http-token-absent = { $address } отвечает другим машинам только на /healthz и /readyz, потому что токен не задан
doctor-local-http-token-absent-remedy = задайте http_token_file для читателей на других машинах (docs/page.md) или слушайте 127.0.0.1
doctor-local-http-token-unreadable = состояние, метрики и страница закрыты: { $why }
doctor-local-http-token-unreadable-remedy = запишите в файл токен не короче 16 символов и дайте пользователю демона его читать; команда запущена от этого пользователя?
doctor-local-http-token-open = токен в { $file } могут прочесть другие пользователи этой машины
doctor-local-http-token-open-remedy = chmod 0600 на файл, владельцем сделайте пользователя демона
doctor-local-http-token-asked = состояние, метрики и страница спрашивают у читателей токен из http_token_file

doctor-locks-held = { $right }: удерживает { $holder }
doctor-locks-free = ни один сеанс не удерживает блокировок leadbridge

doctor-notifications-absent = на Landing нет таблицы { $name }
doctor-notifications-unreadable = эта роль не может читать столбец status таблицы { $name }: есть ли ожидающие уведомления, неизвестно
doctor-notifications-none = на Landing нет ожидающих уведомлений
doctor-notifications-pending = на Landing есть ожидающие уведомления, которые не реплицируются: { $pending }; планировщик Landing продолжит их отправлять и после переключения, а Traffic о них не знает
doctor-notifications-pending-remedy = чтобы перенести их, задайте scheduled_notifications = true, затем запустите `leadbridge migrate` и `leadbridge resync` и оставьте работать только один планировщик; или остановите планировщик Landing, когда они будут отправлены

doctor-own-no-foreign-rights = ни у кого больше нет прав в схеме leadbridge
doctor-own-schema = схема leadbridge такая, какой её создал `leadbridge migrate`
doctor-own-served = функции leadbridge обслуживают эту роль

doctor-publication-absent = публикации { $name } нет
doctor-publication-all-tables = публикация { $name } создана FOR ALL TABLES: декодировались и отправлялись бы и все изменения LMS
doctor-publication-all-tables-remedy = выполните DROP PUBLICATION { $name } и запустите `leadbridge migrate` или выберите другое имя в [names]
doctor-publication-table-missing = нет { $table }
doctor-publication-table-extra = лишняя { $table }
doctor-publication-table-in-part = для { $table } задан список столбцов или фильтр строк
doctor-publication-operations = публикуются не все операции
doctor-publication-fits = в публикации { $name } ровно нужные таблицы
doctor-publication-unfit-remedy = выполните ALTER PUBLICATION "{ $name }" SET TABLE { $tables }; ALTER PUBLICATION "{ $name }" SET (publish = 'insert, update, delete, truncate')
doctor-publication-unfit = публикация { $name } не подходит: { $wrong }

doctor-server-connected = соединение: { $user } на { $hosts }/{ $database }
doctor-server-connected-locally = { $message }, на этой машине
doctor-server-connected-in-clear = { $message }, без шифрования
doctor-server-connected-in-clear-remedy = используйте sslmode=verify-full с sslrootcert, если сеть не частная
doctor-server-version-old = PostgreSQL { $major } слишком старый
doctor-server-version-old-remedy = обновите сервер до PostgreSQL 15 или новее
doctor-server-standby = сервер — реплика (standby)
doctor-server-standby-remedy = укажите в URL главный сервер (primary), а не реплику для чтения
doctor-server-primary = сервер главный (primary)
doctor-server-encoding = server_encoding = UTF8
doctor-server-encoding-other = server_encoding = { $encoding }
doctor-server-encoding-remedy = база должна быть в UTF8: создайте новую с ENCODING 'UTF8' и перенесите данные туда
doctor-server-no-statement-timeout = у роли нет statement_timeout
doctor-server-statement-timeout = statement_timeout роли: { $limit } мс; для своих сеансов leadbridge ставит 0
doctor-server-row-security = row-level security ничего не скрывает от этой роли
doctor-server-row-security-remedy = выполните от имени администратора: ALTER ROLE "{ $user }" BYPASSRLS (или подключайтесь ролью, у которой он есть)
doctor-server-schemas = схемы открыты этой роли
doctor-server-row-security-hides = row-level security скрыла бы строки таблиц: { $list }
doctor-server-schemas-closed = у этой роли нет USAGE на схемы: { $list }
doctor-server-connected-encrypted = { $message }, { $version }

doctor-privileges-landing-remedy = выполните от имени администратора то, что печатает в конце `leadbridge migrate --print=landing --role ROLE`
doctor-privileges-traffic-remedy = выполните от имени администратора то, что печатает в конце `leadbridge migrate --print=traffic --role ROLE`

doctor-log-without-rows = в журнал сервера не попадают отвергнутые строки этой роли
doctor-log-with-rows = в журнал сервера попадает каждая строка, которую он отверг у этой роли, с именем и телефоном (log_error_verbosity = `{ $verbosity }`)
doctor-log-with-rows-remedy = выполните от имени суперпользователя: ALTER ROLE { $role } SET log_error_verbosity = 'terse'; если платформа разрешает только это, ALTER ROLE { $role } SET log_min_messages = 'fatal', тогда там не будет видно никаких ошибок этой роли; иначе ограничьте, кто читает журнал сервера и как долго он хранится

doctor-slot-absent = слота { $name } ещё нет; его создаст `leadbridge run`
doctor-slot-lost = слот { $name } потерян: Landing удалил WAL, который был ему нужен
doctor-slot-lost-remedy = запустите `leadbridge resync` и увеличьте max_slot_wal_keep_size
doctor-slot-unreserved = слот { $name } будет потерян при следующей контрольной точке Landing: он удерживает { $kept }
doctor-slot-unreserved-remedy = запустите демон сейчас же и увеличьте max_slot_wal_keep_size
doctor-slot-not-read = слот { $name } никто не читает, он удерживает { $kept } WAL на диске Landing
doctor-slot-not-read-remedy = запустите демон; если репликация больше не нужна, удалите слот
doctor-slot-in-use = слот { $name } используется и удерживает { $kept } WAL
doctor-slot-idle = слот { $name } есть, не используется и удерживает { $kept } WAL
doctor-slot-failover-version = [snapshot] slot_failover требует на Landing PostgreSQL 17 или новее
doctor-slot-failover-version-remedy = задайте slot_failover = false или обновите Landing
doctor-slot-failover-differs = у слота { $slot } failover = { $actual }, а в конфигурации slot_failover = { $wanted }
doctor-slot-failover-differs-remedy = остановите демон и выполните ALTER_REPLICATION_SLOT { $slot } (FAILOVER { $wanted }) в psql "… replication=database" на Landing или запустите `leadbridge resync`
doctor-slot-failover-on = реплики Landing могут хранить копию слота
doctor-slot-failover-off = слот не переживёт аварийного переключения Landing на реплику (slot_failover выключен)
doctor-slot-standbys-absent = поток ждёт реплик, которые не подключены: { $unused } (synchronized_standby_slots)
doctor-slot-standbys-absent-remedy = запустите эти реплики или уберите их слоты из synchronized_standby_slots на Landing
doctor-slot-standbys-empty = synchronized_standby_slots пуст: на Traffic может попасть то, чего ещё нет ни на одной реплике Landing, и после аварийного переключения на неё понадобится resync
doctor-slot-standbys-empty-remedy = укажите в нём на Landing физические слоты его реплик
doctor-slot-standbys = поток ждёт реплик со слотами { $slots }
doctor-slot-keep-unlimited = max_slot_wal_keep_size не ограничен: долгий простой заполнит диск Landing
doctor-slot-keep = слот, который удерживает больше { $size } WAL, становится недействительным (max_slot_wal_keep_size)
doctor-slot-keep-remedy = увеличьте до объёма WAL за сутки, насколько позволяет диск
doctor-slot-forward = слот, который демон держит активным и после переключения,
doctor-slot-reverse = слот обратной репликации
doctor-slot-idle-timeout = { $slot } станет недействительным, если демон простоит { $seconds } с (idle_replication_slot_timeout)
doctor-slot-idle-timeout-remedy = задайте на { $side } 0 или больше, чем может длиться простой демона или базы
doctor-slot-idle-timeout-off = слот не становится недействительным из-за простоя
doctor-slot-no-old-transaction = не видно старых транзакций, которые задержали бы создание слота
doctor-slot-old-transactions = транзакции, завершения которых будет ждать создание слота: { $list }
doctor-slot-old-transactions-remedy = дайте им завершиться или завершите их через pg_terminate_backend(pid)
doctor-slot-nothing-prepared = подготовленных транзакций не осталось
doctor-slot-prepared = подготовленные транзакции, завершения которых будет ждать создание слота: { $list }
doctor-slot-prepared-remedy = завершите их: COMMIT PREPARED или ROLLBACK PREPARED; см. pg_prepared_xacts

doctor-positions-nothing-yet = ещё ничего не реплицировано
doctor-positions-snapshot = `leadbridge run` начнёт со снимка
doctor-positions-stream = `leadbridge run` продолжит с { $lsn }
doctor-positions-reverse = `leadbridge run` реплицирует изменения Traffic на Landing

doctor-tables-no-cutover = { $what } (в переключении будет отказано)
doctor-tables-absent-columns = { $fine }; без { $absent }: то, чем становятся эти столбцы, принадлежит Traffic в обоих направлениях

doctor-traffic-finished = переезд завершён { $at }: слоты и публикации удалены, проверять больше нечего
doctor-traffic-installation = схема не принадлежит другой установке
doctor-traffic-schema = схема на месте
doctor-traffic-writable = в существующие таблицы можно писать
doctor-traffic-superuser = { $user } — суперпользователь и может на Traffic всё
doctor-traffic-replication = у роли { $user } есть REPLICATION для обратной репликации, она может читать изменения всех таблиц на Traffic; `leadbridge finish` его отберёт
doctor-traffic-replication-early = у роли { $user } есть REPLICATION, она может читать изменения всех таблиц на Traffic; до переключения это никому не нужно
doctor-traffic-replication-early-remedy = выполните от имени администратора: ALTER ROLE "{ $user }" NOREPLICATION; когда его выдать, скажет пробный запуск переключения
doctor-traffic-no-replication = у роли { $user } нет REPLICATION на Traffic: он нужен только для переключения, SQL назовёт его пробный запуск
doctor-traffic-triggers-kept = роль может не давать срабатывать обычным триггерам Traffic
doctor-traffic-triggers-fire = роль не может менять session_replication_role: триггеры Traffic срабатывают и на реплицированные строки, а updated_at сохраняет пара собственных триггеров leadbridge
doctor-traffic-triggers-fire-remedy = выполните от имени суперпользователя: GRANT SET ON PARAMETER session_replication_role TO "{ $user }"
doctor-traffic-indexes-kept = снимку придётся обновлять каждый индекс пустой таблицы, это дольше
doctor-traffic-indexes-kept-remedy = запустите `leadbridge migrate` или { $privileges }
doctor-traffic-indexes = несозданных индексов нет
doctor-traffic-indexes-missing = до конца снимка не созданы: { $missing }
doctor-traffic-indexes-missing-remedy = их создаёт `leadbridge run`; вручную: SELECT { $make }(), повторять, пока не перестанет называть индексы
doctor-traffic-standbys = ни одна фиксация на Traffic не ждёт и не будет ждать потока обратной репликации
doctor-traffic-standbys-cutover = Traffic примет обратную репликацию за синхронную реплику, поэтому переключение невозможно (synchronous_standby_names = '{ $list }')
doctor-traffic-schema-lacks = не хватает таблиц: { $list }

doctor-writable = эта роль может писать на { $side }
doctor-writable-read-only = транзакции этой роли на { $side } только для чтения: закрыть там ограждение нельзя
doctor-writable-role-remedy = выполните от имени администратора: ALTER ROLE { $role } RESET default_transaction_read_only
doctor-writable-role-in-database-remedy = выполните от имени администратора: ALTER ROLE { $role } IN DATABASE { $database } RESET default_transaction_read_only
doctor-writable-database-remedy = не заполнен ли диск, не приостановлен ли проект? Если нет, выполните от имени администратора: ALTER DATABASE { $database } RESET default_transaction_read_only
doctor-writable-client-remedy = уберите default_transaction_read_only из options в URL базы
doctor-writable-system-remedy = не заполнен ли диск, не приостановлен ли проект? Если нет, выполните от имени администратора: ALTER SYSTEM RESET default_transaction_read_only, SELECT pg_reload_conf()
