### Что печатают сами команды.

commands-doctor-clear = препятствий нет
commands-doctor-clear-with-warnings = препятствий нет; предупреждений: { $warnings }
commands-doctor-errors = ошибок: { $errors }, предупреждений: { $warnings }
commands-finding-ok = ok
commands-finding-warning = внимание
commands-finding-error = ОШИБКА

commands-cutover-question = Landing ({ $landing }) будет отказывать в любой записи лидов, главной базой станет Traffic ({ $traffic }). Отменить это можно командой `leadbridge rollback`.
commands-rollback-question = Landing ({ $landing }) снова начнёт принимать запись лидов, а Traffic ({ $traffic }) будет отказывать в ней ещё { $time }.
commands-resync-question = Новый снимок: слот `{ $slot }` на { $landing } будет удалён и создан заново, все лиды и записи об их пути будут скопированы ещё раз, а строки, которые пришли с Landing и которых там больше нет, удалены из { $traffic }. Строки и столбцы, которые принадлежат Traffic, останутся.
commands-resync-done = Снимок завершён. Запустите демон снова: он продолжит с этого места.
commands-discard-question = Отказ от строк карантина ({ $rows }): в { $traffic } они не попадут.
commands-orphan = Landing ({ $landing }) закрыт ограждением переключения { $id }, о котором Traffic не знает, а строки Landing на Traffic есть
commands-orphan-dry-run = { $found }: `leadbridge rollback` открыл бы Landing. Ничего не изменено.
commands-orphan-question = { $found }. Landing снова начнёт принимать запись лидов.
commands-orphan-opened = Landing снова принимает запись лидов.
commands-hook-settled = записано: hook последнего переключения или отката выполнен вручную
commands-cutover-ready = Готово: `leadbridge { $direction }` пройдёт. Ничего не изменено.
commands-cutover-not-ready = НЕ ГОТОВО: ничего не изменено.
commands-cutover-not-carried = Изменения, сделанные потом на Traffic, возвращаются на Landing, кроме:
commands-confirm-prompt = Чтобы продолжить, введите yes:

commands-label-state = состояние
commands-label-lease = аренда
commands-label-lag = отставание
commands-label-slot = слот
commands-label-rate = скорость
commands-label-survival = запас
commands-label-catching-up = догоняет
commands-label-blocked = БЛОКИРОВКА
commands-label-reverse = обратно
commands-label-new-slot = новый слот
commands-label-publication = публикация
commands-label-quarantine = карантин
commands-label-left-out = пропущено
commands-label-attention = ВНИМАНИЕ
commands-label-alerts = оповещения
commands-label-last-error = ошибка
commands-label-what-to-do = что делать
commands-label-copied = скопировано
commands-label-indexes = индексы
commands-state-finished = FINISHED — все лиды на Traffic с { $at }; реплицировать больше нечего
commands-state-stopped-or-elsewhere = здесь демон не отвечает; возможно, он работает на другой машине
commands-state-stopped = демон не работает; запустите его командой `leadbridge run`
commands-state-elsewhere = демон работает на другой машине или с выключенным HTTP
commands-state-starting = демон сверяет свои позиции
commands-state-snapshot = идёт первое копирование
commands-state-up-to-date = всё на месте, отставания нет
commands-state-streaming = изменения идут потоком
commands-state-standby = резерв: реплицирует другой демон; когда он завершится, этот его сменит
commands-state-undecided = переключение или откат начаты, но не решены; здесь нет демона, который бы их завершил: запустите `leadbridge run`
commands-state-under-way = идёт переключение или откат
commands-state-switched-alone = главная база теперь Traffic; ни один демон не реплицирует его изменения на Landing: запустите `leadbridge run`
commands-state-switched = главная база теперь Traffic
commands-state-error = репликация не идёт
commands-lease-process = у процесса { $pid }
commands-lease-prepared = у подготовленной транзакции
commands-session-role = (роль { $role })
commands-lag-bytes = отстаёт на { $bytes }
commands-lag-none = нет
commands-lag-exact = { $time } ({ $bytes })
commands-lag-at-most = не больше { $time } ({ $bytes }, включая запись в другие таблицы)
commands-slot-none = на Landing его нет
commands-slot-in-use = используется
commands-slot-not-in-use = не используется
commands-slot-lost = { $slot }: ПОТЕРЯН, { $side } удалил WAL, который был ему нужен
commands-slot-keeps = { $slot }: { $usage }, удерживает { $bytes } WAL на { $side }
commands-slot-plain = { $slot }: { $usage }
commands-slot-reverse-gone = { $slot }: его нет, обратная репликация теперь невозможна
commands-slot-reverse-quarantined = в leadbridge.reverse_quarantine { $rows ->
        [one] ждёт { $rows } строка
        [few] ждут { $rows } строки
       *[many] ждут { $rows } строк
    }
commands-slot-made-again-since = слот Landing потерян и создаётся заново с { $at }
commands-slot-made-again-at = слот Landing был потерян и создан заново { $at }
commands-quarantine-notes = { $notes ->
        [one] { $notes } значение изменено
        [few] { $notes } значения изменены
       *[many] { $notes } значений изменено
    } по пути
commands-quarantine-empty = пуст
commands-quarantine-rows = { $rows ->
        [one] ждёт { $rows } строка
        [few] ждут { $rows } строки
       *[many] ждут { $rows } строк
    }: см. `leadbridge quarantine list`
commands-snapshot-indexes = на Traffic их пока нет: { $left }, они появятся, когда скопируются все строки
commands-snapshot-part = { $rows } примерно из { $expected } строк ({ $percent } %)
commands-alerts-failing = { $channel } не работает: { $failure }; ждут отправки: { $waiting }, не отправлено: { $failed }
commands-error-retrying = { $error } (демон повторит попытку сам)
commands-outlook-far = больше чем через 30 д
commands-outlook-within = через { $time }
commands-outlook-source = источник
commands-outlook-applied = применяется { $rows } строк/с; { $written }
commands-outlook-if-stopped = { $says }; остановись репликация сейчас, предел наступил бы { $within }
commands-outlook-lost = нет: { $side } удалил WAL, который нужен слоту; запустите `leadbridge resync`
commands-outlook-unreserved = ИСЧЕРПАН: при следующей контрольной точке { $side } может удалить WAL, который нужен слоту; увеличьте там max_slot_wal_keep_size и дайте потоку догнать
commands-outlook-no-limit = на { $side } не задан max_slot_wal_keep_size: предел — диск, а свободного места на нём не видит ни одна роль
commands-outlook-growing = { $says }; удерживаемый WAL растёт на { $bytes } в минуту
commands-outlook-unknown = осталось { $safe } из { $limit }; рост ещё не измерен
commands-outlook-not-filling = осталось { $safe } из { $limit }, не заполняется
commands-outlook-filling = при такой скорости предел { $limit } наступит { $within }, осталось { $safe }
commands-outlook-filling-alone = если не запустить демон, предел { $limit } наступит { $within }, осталось { $safe }
commands-outlook-catching-up = догонит: { $text }
commands-outlook-done-within = при такой скорости { $within }
commands-outlook-never = при такой скорости никогда, отставание не сокращается
commands-blocked-process = процесс { $pid }
commands-blocked-prepared = подготовленная транзакция (pg_prepared_xacts)
commands-blocked-transaction = в транзакции { $time }

commands-label-different = РАЗЛИЧИЯ
commands-label-verified = сверено
commands-verified-none-yet = ни об одном круге ещё не известно
commands-verified-equal = различий нет
commands-verified-open = различий нет, но о строках { $ranges ->
        [one] { $ranges } диапазона, который
        [few] { $ranges } диапазонов, которые
       *[many] { $ranges } диапазонов, которые
    } всё время меняются, ничего не известно
commands-verified-differ = отличаются: { $rows }
commands-verified-repaired = исправлено: { $rows }
commands-verified-ended = { $rows ->
        [one] { $rows } строка
        [few] { $rows } строки
       *[many] { $rows } строк
    }, { $result }: круг { $round } закончен { $ago } назад
commands-verified-progress = круг { $round }, сверено { $percent } %
commands-verified-begins = начинается круг
commands-verified-repairing = строки исправляются
commands-verified-rests = пауза: { $why }
commands-verified-next = следующий круг начнётся через { $time }
commands-verified-off = фоновая сверка выключена ([verify] every)
commands-verified-stopped = нет демона, который бы сверял
commands-verified-differing = { $rows ->
        [one] отличается { $rows } строка { $table }
        [few] отличаются { $rows } строки { $table }
       *[many] отличаются { $rows } строк { $table }
    } ({ $kinds })
commands-verified-missing = нет на Traffic: { $rows }
commands-verified-extra = есть только на Traffic: { $rows }
commands-verified-different = с другими значениями: { $rows }
commands-verified-refused = не помещаются в столбцы Traffic: { $rows }
commands-verified-example = например, { $id }
commands-verified-see = см. `leadbridge explain ID`
commands-verified-not-repaired = не исправлено: { $why }

commands-remedy-not-proven = где именно, сказано в акте; `leadbridge rollback` возвращает назад и ничего не теряет
commands-remedy-certificate-directory = укажите каталог, в который этому пользователю можно писать
commands-remedy-not-in-quarantine = см. `leadbridge quarantine list`; строка, которую уже можно применить, уходит оттуда сама
commands-remedy-no-thread = увеличьте TasksMax в unit systemd, предел процессов контейнера или `ulimit -u` пользователя
commands-remedy-panicked = сообщите об этом и приложите журнал; ничего не потеряно, следующий запуск продолжит с записанной позиции
commands-remedy-no-channel = задайте telegram_token_file и telegram_chat_file, webhook_url_file или smtp_url_file с mail_from и mail_to: см. docs/alerting.md
commands-remedy-token-unreadable = запустите эту команду от имени пользователя демона или исправьте http_token_file
commands-remedy-yes = передайте --yes, чтобы не было вопроса о подтверждении
commands-remedy-not-replicated = задайте в конфигурации scheduled_notifications = true или укажите другую таблицу
commands-remedy-copy-again = запустите `leadbridge resync`: он скопирует заново
