### Условия и состояния переключения и отката.

cutover-sent-again-none = на Traffic все строки такие, какими их даёт Landing
cutover-sent-again = на Traffic есть строки со значениями, которых Landing не даёт (не больше чем { $rows }); Landing отправит их ещё раз, пока запись приложений ждёт, это ещё около { $milliseconds } мс
cutover-sent-again-remedy = разрешите более долгую паузу (--max-pause)

cutover-compared-backward = { $rows ->
        [one] { $rows } строка на Landing такая же, как на Traffic
        [few] все { $rows } строки на Landing такие же, как на Traffic
       *[many] все { $rows } строк на Landing такие же, как на Traffic
    }
cutover-compared = { $rows ->
        [one] { $rows } строка равна
        [few] все { $rows } строки равны
       *[many] все { $rows } строк равны
    } ({ $seconds } с)
cutover-compared-by-round = круг { $round } фоновой сверки закончен { $at }, все строки были равны; сейчас строк { $rows }: этот пробный запуск сравнил их ключи и значения тех, что записаны с тех пор ({ $read }): различий нет. Переключение само сравнит каждую строку
cutover-compared-but-for-changed = { $rows ->
        [one] { $rows } строка равна
        [few] все { $rows } строки равны
       *[many] все { $rows } строк равны
    }, кроме изменённых на Traffic, такими они и останутся: { $changed } ({ $seconds } с)

cutover-differs-backward = { $rows ->
        [one] { $rows } строка отличается или её не удалось сравнить
        [few] { $rows } строки отличаются или их не удалось сравнить
       *[many] { $rows } строк отличаются или их не удалось сравнить
    }
cutover-differs-backward-remedy = смотрите журнал демона и то, что ждёт в leadbridge.reverse_quarantine на Traffic
cutover-differs-in-table = { $count } в { $table }
cutover-differs = строки отличаются или их не удалось сравнить: { $tables }
cutover-differs-remedy = см. `leadbridge verify`

cutover-state-streaming = снимок завершён, изменения идут потоком
cutover-state-switched = уже переключено: главная база — Traffic
cutover-state-other = состояние: `{ $state }`
cutover-state-other-remedy = дайте `leadbridge run` дойти до `streaming`
cutover-state-nothing-copied = через слот `{ $slot }` ещё ничего не скопировано
cutover-state-nothing-copied-remedy = сначала дайте `leadbridge run` скопировать таблицы
cutover-state-reverse = главная база — Traffic, идёт обратная репликация
cutover-state-not-switched = переключения не было: главная база — Landing
cutover-state-not-switched-remedy = делать ничего не надо; `leadbridge rollback` отменяет переключение

cutover-slot-absent = слота `{ $name }` нет
cutover-slot-unused = ни один сеанс не читает поток из слота `{ $name }`
cutover-slot-unused-remedy = запустите демон
cutover-slot-losing = слот `{ $name }` теряет нужный ему WAL
cutover-slot-losing-remedy = увеличьте max_slot_wal_keep_size на { $side }; см. `leadbridge doctor`
cutover-slot-in-use = демон читает поток из слота `{ $name }`
cutover-slot-creation = на Traffic можно создать слот
cutover-slot-creation-slow = создание слота на Traffic длится дольше { $patience }: оно ждёт { $blocker }
cutover-slot-creation-slow-remedy = дайте этой транзакции завершиться или завершите её: переключение будет ждать её до --timeout

cutover-forward-slot-foreign = слот `{ $name }` на Landing создан не leadbridge
cutover-forward-slot-made-again = слот `{ $name }` на Landing создаётся заново
cutover-forward-slot-made-again-remedy = дождитесь демона: он запишет позицию слота, и её покажет `leadbridge status`; создание ждёт открытых транзакций на Landing
cutover-forward-slot-lost = слота `{ $name }` на Landing больше нет или он потерял нужный ему WAL
cutover-forward-slot-lost-remedy = дайте демону поработать: он за секунды создаст новый слот, потому что Landing ограждён
cutover-forward-slot-losing = слот `{ $name }` на Landing теряет нужный ему WAL
cutover-forward-slot-losing-remedy = пока демон работает, он двигает слот: см. `leadbridge doctor`
cutover-forward-slot-healthy = из слота `{ $name }` на Landing снова можно читать поток
cutover-forward-publication-fits = дальнейшие изменения Landing можно реплицировать на Traffic
cutover-forward-publication = публикация Landing та же, что до переключения
cutover-forward-publication-altered = { $what }: в потоке с Landing было бы отказано
cutover-forward-publication-altered-remedy = исправьте Landing командой `leadbridge migrate` (что не так, скажет `leadbridge doctor`); когда всё исправлено, демон запишет публикацию, потому что Landing ограждён

cutover-reverse-publication = публикация Traffic та же, что при переключении
cutover-reverse-quarantine-empty = Landing принял все строки обратной репликации
cutover-reverse-quarantine = { $waiting ->
        [one] { $waiting } строка Traffic в карантине: Landing её не принял
        [few] { $waiting } строки Traffic в карантине: Landing их не принял
       *[many] { $waiting } строк Traffic в карантине: Landing их не принял
    }
cutover-reverse-quarantine-remedy = смотрите { $table } на Traffic, исправьте строки там, и демон их применит
cutover-reverse-wal-level = Traffic не может декодировать свой WAL: обратная репликация была бы невозможна
cutover-reverse-wal-level-remedy = задайте wal_level = logical на Traffic и перезапустите его
cutover-reverse-role = роль { $user } не может реплицировать с Traffic: обратная репликация была бы невозможна
cutover-reverse-role-remedy = только на время переключения выполните на Traffic от имени администратора, потому что роль не может сама выдать себе REPLICATION: ALTER ROLE "{ $user }" REPLICATION; после отката или если переключение отложено: ALTER ROLE "{ $user }" NOREPLICATION (на Supabase до PostgreSQL 17 реплицировать может только роль postgres: пусть демон и команды используют её на Traffic)
cutover-reverse-no-slot-left = на Traffic не осталось свободных слотов репликации
cutover-reverse-no-slot-left-remedy = увеличьте max_replication_slots на Traffic или удалите слот, которым никто не пользуется
cutover-reverse-possible = дальнейшие изменения Traffic можно реплицировать на Landing
cutover-reverse-slot-free = имя слота обратной репликации на Traffic свободно

cutover-quarantine-empty = карантин пуст; { $notes ->
        [one] { $notes } значение изменено
        [few] { $notes } значения изменены
       *[many] { $notes } значений изменено
    } по пути
cutover-quarantine = { $waiting ->
        [one] { $waiting } строка ждёт в карантине: на Traffic её нет
        [few] { $waiting } строки ждут в карантине: на Traffic их нет
       *[many] { $waiting } строк ждут в карантине: на Traffic их нет
    }
cutover-quarantine-remedy = `leadbridge quarantine list`, затем исправьте их, повторите (retry) или откажитесь от них (discard)

cutover-fence-absent = на { $side } не установлено ограждение
cutover-fence-closed-to-role = эта роль не может закрыть ограждение на { $side }
cutover-fence-no-record = обратная репликация не сможет записывать на Landing изменённые ключи: не хватает таблиц или прав
cutover-fence-no-record-remedy = запустите `leadbridge migrate`, а затем { $privileges }
cutover-fence-lacks-owner = ограждению на { $side } не хватает прав владельца таблиц: { $tables }
cutover-fence-lacks-owner-remedy = запустите `leadbridge migrate` от имени владельца таблиц или суперпользователя
cutover-fence-of-others = вокруг таблиц на { $side } стоит ограждение другой установки: { $others }
cutover-fence-of-others-remedy = сначала завершите или откатите переключение другой установки; снятое ограждение убирает её демон
cutover-fence-installed = ограждение установлено
cutover-fence-other-tables = ограждение рассчитано на таблицы с другими именами и оставит открытыми для записи: { $list }

cutover-held-no-fence = долгих транзакций, которые удерживают таблицы, нет
cutover-held-no-writers = долгих транзакций, которые закрывают таблицы для записи, нет
cutover-held-no-readers = долгих транзакций, которые закрывают таблицы для чтения, нет
cutover-held-remedy = дайте этим транзакциям завершиться или завершите их (pg_terminate_backend; COMMIT PREPARED или ROLLBACK PREPARED)
cutover-held-fence = таблицы удерживаются, и ограждению пришлось бы ждать: { $list }
cutover-held-writers = таблицы закрыты для записи: { $list }
cutover-held-readers = таблицы закрыты для чтения: { $list }

cutover-standbys = ни одна фиксация на { $side } не будет ждать потока

cutover-triggers-kept = обратная репликация не вызовет обычных триггеров Landing
cutover-triggers-fire = роль не может менять session_replication_role на Landing: триггеры Landing сработают и на строки обратной репликации и изменят updated_at
cutover-triggers-fire-remedy = выполните на Landing от имени суперпользователя: GRANT SET ON PARAMETER session_replication_role TO эта роль

cutover-columns-all = на Landing есть все столбцы
cutover-columns-traffic-owned = на Landing нет источника для { $columns }: эти столбцы принадлежат Traffic, их не пишет ни одно направление

cutover-tables-writable = в таблицы можно писать в обоих направлениях

cutover-pause-every-row = сравниваются все строки
cutover-pause-keys = сравниваются ключи и недавние строки
cutover-pause = запись ждала бы около { $milliseconds } мс: пока доходит поток и { $what }
cutover-pause-too-long = { $says }; это дольше, чем { $budget } с (--max-pause)
cutover-pause-too-long-remedy = попробуйте в более тихий момент или разрешите более долгую паузу (--max-pause)

cutover-no-other-writers = запись в другие таблицы не затрагивает эти таблицы через внешние ключи

cutover-other-writers = запись в другие таблицы затрагивает эти таблицы, и ограждение в ней откажет: { $reached }
cutover-other-writers-remedy = измените приложения, которые так пишут, или заранее уберите действия внешних ключей

cutover-lag = { $markers ->
        [one] { $markers } маркер дошёл
        [few] { $markers } маркера дошли
       *[many] { $markers } маркеров дошли
    }: p50 { $p50 } мс, p99 { $p99 } мс
cutover-lag-too-large = маркер не дошёл за { $seconds } с (--max-lag-seconds)
cutover-lag-too-large-remedy = дождитесь, пока `leadbridge status` не покажет отставания

cutover-stream = поток с { $side } можно открыть
cutover-stream-no-sender = на { $side } не осталось walsender для потока (max_wal_senders): { $error }
cutover-stream-no-sender-remedy = увеличьте max_wal_senders на { $side } или закройте соединение для репликации, которым никто не пользуется

cutover-publication-remedy = запустите `leadbridge migrate` или верните публикацию в прежний вид
cutover-publication-absent = публикации `{ $name }` на { $side } нет
cutover-publication-operations = публикация `{ $name }` на { $side } отправляет не все операции
cutover-publication-operations-remedy = выполните ALTER PUBLICATION "{ $name }" SET (publish = 'insert, update, delete, truncate')
cutover-publication-lacks = публикация `{ $name }` на { $side } отправляет не целиком или не содержит: { $list }

cutover-own-tables = у этой роли есть права на таблицы leadbridge на { $side }
cutover-own-tables-lacks = на { $side } этой роли не хватает: { $list }

cutover-role-same = на { $side } и демон, и эта команда работают под ролью { $ours }
cutover-role-differs = на { $side } демон работает под ролью { $theirs }, а эта команда — под { $ours }: ограждение пропустило бы { $ours }, а демон не смог бы писать
cutover-role-differs-remedy = запустите эту команду с { $variable } демона, под { $theirs }; или перезапустите демон с этим значением, под { $ours }
cutover-role-unknown = у демона сейчас нет сеанса на { $side }
cutover-role-unknown-remedy = дождитесь, пока демон читает поток (`leadbridge status`), и попробуйте снова

cutover-notifications-none = ожидающих уведомлений нет
cutover-notifications-pending = ожидающих уведомлений в обеих базах: { $all } (просрочено: { $overdue }; { $due }); их отправил бы планировщик любой из баз
cutover-notifications-soon = в ближайшие { $minutes ->
        [one] { $minutes } минуту
        [few] { $minutes } минуты
       *[many] { $minutes } минут
    }: { $soon }
cutover-notifications-next = следующее { $at }
cutover-notifications-pending-remedy = остановите планировщик { $left } до { $direction ->
        [rollback] отката
       *[cutover] переключения
    }, дайте завершиться его последнему запуску, а после запустите планировщик { $taken }. Ограждение откажет планировщику { $left } только в UPDATE на `sent`: если он сначала отправляет, а потом помечает, он будет отправлять заново при каждом запуске, вдобавок к планировщику { $taken }

cutover-attention-log-remedy = смотрите журнал демона
cutover-attention-abandoned = { $direction ->
        [rollback] откат
       *[cutover] переключение
    } { $id }: состояние `{ $state }`, а команда уже завершилась
cutover-attention-abandoned-remedy = запустите демон, он разберётся с этим за секунды, или запустите команду ещё раз
cutover-attention-left = { $kept ->
        [one] { $kept } строки, которую
        [few] { $kept } строк, которые
       *[many] { $kept } строк, которые
    } приложения записали на Traffic из-за hook прерванного переключения { $id }, нет на Landing
cutover-attention-left-remedy = перенесите строки из { $table } на Traffic в Landing и удалите их там
cutover-attention-hook-undone = { $direction ->
        [rollback] откат { $id } прерван
       *[cutover] переключение { $id } прервано
    } после запуска hook: приложения могут быть направлены на { $to }, а главная база — { $from }
cutover-attention-hook-undone-remedy = запустите hook с LEADBRIDGE_EVENT=abort { $variables }; перенесите строки из leadbridge.left_on_traffic на Traffic в { $from }; затем запустите `leadbridge { $direction } --hook-settled`
cutover-attention-hook-unfinished = hook { $direction ->
        [rollback] отката
       *[cutover] переключения
    } { $id } не завершился успешно: приложения могут ещё использовать { $from }
cutover-attention-hook-unfinished-remedy = запустите hook с LEADBRIDGE_EVENT=switch { $variables }; затем `leadbridge { $direction } --hook-settled`
cutover-attention-orphan = Landing закрыт ограждением переключения { $id }, о котором Traffic не знает: Traffic восстановлен из более раннего состояния
cutover-attention-orphan-remedy = восстановите самое новое состояние Traffic, если оно есть; иначе запустите `leadbridge resync`, он скопирует строки Landing на Traffic, а затем `leadbridge rollback`, он откроет Landing

cutover-hook = hook отвечает на LEADBRIDGE_EVENT=check

cutover-certificate-title = АКТ { $direction ->
        [rollback] ОБ ОТКАТЕ
       *[cutover] О ПЕРЕКЛЮЧЕНИИ
    } { $id }
cutover-certificate-cutover-done = Лиды теперь пишутся в Traffic; Landing в записи отказывает.
cutover-certificate-rollback-done = Лиды теперь пишутся в Landing; Traffic некоторое время отказывает в записи.
cutover-certificate-database = { $database } на { $host }, PostgreSQL { $version }, system identifier { $system }
cutover-certificate-configuration = конфигурация
cutover-step-started = начато
cutover-step-fenced = ограждено
cutover-step-drained = всё дошло
cutover-step-verified = сверено
cutover-step-switched = переключено
cutover-step-rolled-back = откат выполнен
cutover-certificate-decided = решено
cutover-certificate-write-pause = пауза записи
cutover-certificate-until-decided = до решения
cutover-certificate-marker = маркер
cutover-certificate-decided-at = позиция решения
cutover-certificate-changed = изменено значений по пути
cutover-certificate-traffic-owned = принадлежат Traffic
cutover-certificate-left-out = не сверялись, Landing
cutover-certificate-tried = ограждение проверено как
cutover-certificate-without-privilege = нет права
cutover-certificate-not-tried = действует, не проверено
cutover-certificate-rows = строки
cutover-certificate-keys = ключи
cutover-certificate-contents = содержимое
cutover-certificate-differences = различия
cutover-certificate-came-through = { $position } в WAL { $from }, дошёл
cutover-certificate-position = { $position } в WAL { $to }
cutover-certificate-row-counts = на Landing { $landing }, на Traffic { $traffic }
cutover-certificate-hashes = { $landing } и { $traffic }
cutover-certificate-comparing = Ключи и недавние строки равны. Сверка всех значений ещё идёт.
cutover-certificate-equal = Каждое значение каждой строки на обеих сторонах одинаково.
cutover-certificate-equal-where-replicated = Каждое значение каждой строки на обеих сторонах одинаково, во всех реплицируемых столбцах.
cutover-certificate-equal-backward = На Landing есть каждое значение каждой строки, которую переносит обратная репликация.
cutover-certificate-not-equal = НЕ РАВНЫ: см. выше.
cutover-deadline = до крайнего срока { $time }
cutover-deadline-over = КРАЙНИЙ СРОК ПРОШЁЛ: решить уже нельзя, будет прервано
cutover-record-traffic = главная база — Traffic
cutover-record-landing = главная база — Landing
cutover-record-traffic-still = главная база по-прежнему Traffic
cutover-record-landing-still = главная база по-прежнему Landing
cutover-fence-lifted = ограждение снято: { $time }
cutover-fence-not-lifted = СНЯТИЕ ОГРАЖДЕНИЯ ЕЩЁ НЕ ЗАПИСАНО
cutover-remedy-nothing-to-do = делать ничего не надо
cutover-remedy-quieter-moment = попробуйте снова в более тихий момент
cutover-remedy-longer-pause = попробуйте снова в более тихий момент или разрешите более долгую паузу (--max-pause)
cutover-remedy-decided-elsewhere = решил другой процесс: см. `leadbridge status`, затем попробуйте снова
cutover-remedy-see-status = см. `leadbridge status`
cutover-remedy-nothing-changed = ничего не изменено: см. `leadbridge { $look }`
cutover-remedy-hook-failed = запустите hook вручную, исправьте его и попробуйте снова; что делать, говорит ему LEADBRIDGE_EVENT
cutover-remedy-still-in-use = попробуйте снова чуть позже; что осталось, скажет `leadbridge status`
cutover-remedy-command-lives = завершите её и процессы её hook, затем попробуйте снова
cutover-remedy-in-the-middle = дождитесь её конца; если она зависла, завершите её: то, что она начала, тогда будет прервано
cutover-remedy-dry-run = сделайте пробный запуск (--dry-run)
cutover-remedy-marker-late = работает ли демон и мало ли его отставание (`leadbridge status`)?
cutover-remedy-certificate-on-traffic = акт всё равно есть на Traffic, в столбце certificate таблицы leadbridge.cutover
