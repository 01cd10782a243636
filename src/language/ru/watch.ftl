### Полный экран `leadbridge status --watch`.

watch-label-steps = шаги
watch-label-ready = готовность
watch-label-in-the-way = мешает
watch-label-error = ошибка
watch-label-snapshot = копирование

watch-head = ответы { $at }, сейчас { $now }
watch-head-asking = сейчас { $now }
watch-legend = q выход   столбец графика: { $seconds } с   ? неизвестно   время UTC
watch-more = не поместилось: { $count }; увеличьте окно или см. `leadbridge status`
watch-too-small = окно мало: нужно { $needed }, сейчас { $size }

watch-ago = { $at }, { $time } назад
watch-old = УСТАРЕЛО, { $ago }: { $text }
watch-state-asking = ПОКА НЕИЗВЕСТНО — жду ответов с { $at }, { $time }
watch-state-unknown = НЕИЗВЕСТНО — ни демон здесь, ни Landing не отвечают
watch-state-last = последнее: { $state }, { $ago }
watch-silent-daemon = от демона { $since }
watch-silent-side = от { $side } { $since }
watch-silent-always = с начала наблюдения, { $at }

watch-over = БОЛЬШЕ предела { $limit }
watch-rate-window = { $rows } строк/с за последние { $time }
watch-rate-next = строк/с: неизвестно до следующего ответа демона
watch-rate-unknown = строк/с: неизвестно
watch-rate-wal = WAL: Landing пишет { $written }/с, применяется { $applied }/с
watch-rate-since = { $rows } с { $at }

watch-ready-unknown = неизвестно: здесь демон не отвечает на GET /readyz
watch-ready-yes = да, ответил GET /readyz
watch-ready-no = НЕТ: { $why }
watch-way-clear = { $change ->
        [rollback] откату
       *[cutover] переключению
    }: помех не видно; всё проверит `{ $change } --dry-run`
watch-way-blocked = { $change ->
        [rollback] откату
       *[cutover] переключению
    }: { $what }
watch-way-state = состояние { $state }
watch-way-lag = отставание
watch-way-quarantine = строк в карантине: { $rows }
watch-way-differing = отличающихся строк: { $rows }
watch-way-reverse-slot = обратная репликация невозможна
watch-way-landing-slot = слот Landing создаётся заново
watch-way-landing-publication = публикация Landing
watch-way-attention = ВНИМАНИЕ ниже: { $count }

watch-left-out = столбцов Landing: { $count }; см. `leadbridge status`

watch-copied-of = { $rows } примерно из { $expected } ({ $percent } %)
watch-copied-table = таблица
watch-copied-rows = строк
watch-copied-expected = примерно из
watch-copied-rate = строк/с
watch-copied-left = осталось
watch-copied-done = готово
watch-copied-waits = ждёт

watch-chart-lag = отставание
watch-chart-rows = строк/с
watch-chart-bytes = отстав., байты
watch-chart-max = до { $value }
watch-chart-begin = { $time } назад
watch-chart-now = сейчас

watch-change = { $change ->
        [rollback] откат
       *[cutover] переключение
    }
watch-hook-begun = hook запущен ({ $after }) и ещё не завершился успешно
watch-hook-ended = hook завершился успешно ({ $after })
watch-undecided = не решено уже { $time }; { $fenced }; { $deadline }
watch-fenced-nothing = ещё ничего не ограждено
watch-fenced = { $side } ограждён
watch-decided = { $what } через { $took }, { $ago } назад: { $record }
watch-aborted = ПРЕРВАНО
watch-reason = причина: { $reason }
