### Страница состояния.

## Величины

page-far = более 30 д

## Рамка

page-skip = Перейти к состоянию
page-languages = Язык
page-as-of = по состоянию на { $at }
page-footer = Страница только читает: с неё ничего нельзя изменить. Имён, телефонов и адресов лидов на ней нет. Всё время указано по UTC.
page-no-script = Без JavaScript страница сама не обновляется: чтобы увидеть текущее состояние, загрузите её заново.
page-lost = Демон не отвечает.
page-lost-old = Данные ниже устарели. Страница продолжает попытки.
page-ended = Демон штатно остановлен и больше не отвечает.
page-refused = Демон отвечает, но не шлёт этой странице новостей: открыто столько страниц, сколько он обслуживает, или сменился токен (тогда загрузите страницу заново).
page-lost-since = Ничего не известно с
page-announce-state = Состояние: { $state }.
page-announce-attention =
    { $count ->
        [one] { $count } состояние ждёт вмешательства оператора.
        [few] { $count } состояния ждут вмешательства оператора.
       *[many] { $count } состояний ждут вмешательства оператора.
    }
page-announce-quarantine = В карантине есть строки.

## Состояние

page-state-starting = ЗАПУСК
page-state-snapshot = ПЕРВОЕ КОПИРОВАНИЕ
page-state-streaming = РЕПЛИКАЦИЯ ИДЁТ
page-state-standby = РЕЗЕРВ
page-state-fenced = ОГРАЖДЕНО
page-state-drained = ВСЁ ДОШЛО
page-state-verified = СВЕРЕНО
page-state-switched = ПЕРЕКЛЮЧЕНО
page-state-stopped = ОСТАНОВЛЕН
page-state-error = ОШИБКА
page-state-finished = ЗАВЕРШЕНО
page-meaning-starting = Демон сверяет свои позиции.
page-meaning-snapshot = Идёт первое копирование.
page-meaning-up-to-date = Traffic полностью догнал Landing.
page-meaning-streaming = Изменения идут с Landing на Traffic.
page-meaning-standby = Реплицирует другой демон; этот подхватит работу, когда тот завершится.
page-meaning-change = Идёт переключение или откат.
page-meaning-switched = Главная база теперь Traffic.
page-meaning-stopped = Демон завершился.
page-meaning-retrying = Репликация стоит; демон сам повторяет попытки.
page-meaning-error = Репликация стоит, пока не вмешается оператор.
page-meaning-finished = Все лиды на Traffic с { $at }; реплицировать больше нечего.

## Что не так

page-attention = Требуется вмешательство оператора
page-remedy = Что делать:
page-last-error = Последняя ошибка, { $at }
page-retrying = Демон сам повторяет попытки.
page-alert-channel = Оповещения через { $channel } не доходят
page-alert-waiting = Сообщений в очереди: { $waiting }; отброшено: { $failed }.
page-blocked = leadbridge ждёт блокировку
page-blocked-process = её держит процесс { $pid } на { $side }
page-blocked-prepared = её держит подготовленная транзакция на { $side } (pg_prepared_xacts)
page-blocked-role = роль { $role }
page-blocked-transaction = транзакция открыта уже { $time }

## Главные величины

page-lag = Отставание
page-lag-none = нет
page-over-limit = БОЛЬШЕ предела { $limit }
page-catch-up = при такой скорости догонит за { $time }
page-catch-up-never = при такой скорости не догонит: отставание не сокращается
page-rate = Скорость
page-rows-since = строк с { $at }: { $rows }
page-survival = Запас до предела слота
page-survival-lost = ПОТЕРЯН
page-survival-lost-remedy = нужного слоту WAL больше нет: запустите `leadbridge resync`
page-survival-unreserved = ИСЧЕРПАН
page-survival-unreserved-remedy = нужный слоту WAL может быть удалён при следующей контрольной точке: увеличьте max_slot_wal_keep_size и дайте потоку догнать
page-survival-no-limit = предел не задан
page-survival-no-limit-note = без max_slot_wal_keep_size пределом служит диск, а свободное место на нём не видно ни одной роли
page-survival-not-filling = не заполняется
page-survival-left = осталось { $safe } из { $limit }
page-survival-if-stopped = если репликация остановится сейчас, предел будет достигнут через { $time }
page-retained = слот удерживает { $wal } WAL на { $side }
page-quarantine = Карантин
page-quarantine-empty = пуст
page-quarantine-remedy = какие и почему: `leadbridge quarantine list`
page-quarantine-reverse =
    { $count ->
        [one] { $rows } строка ждёт в leadbridge.reverse_quarantine
        [few] { $rows } строки ждут в leadbridge.reverse_quarantine
       *[many] { $rows } строк ждут в leadbridge.reverse_quarantine
    }
page-conversion-notes =
    { $count ->
        [one] по пути изменено { $values } значение
        [few] по пути изменено { $values } значения
       *[many] по пути изменено { $values } значений
    }
page-verified = Сверка
page-verified-equal = различий нет
page-verified-differ =
    { $count ->
        [one] отличается { $rows } строка
        [few] отличаются { $rows } строки
       *[many] отличаются { $rows } строк
    }
page-verified-rests = с переключения не ведётся
page-verified-remedy = какие: `leadbridge status`, затем `leadbridge explain ID`
page-verified-round = последний круг: строк { $rows }, закончен в { $at }

## Первое копирование

page-snapshot = Первое копирование
page-snapshot-rows-of = { $rows } примерно из { $expected } строк ({ $part } %)
page-snapshot-waits = ждёт очереди

## Графики

page-charts = Отставание и скорость
page-windows = Промежуток времени на графиках
page-window-minutes = 10 минут
page-window-hours = 3 часа
page-window-day = 24 часа
page-chart-lag = отставание по времени
page-chart-rows = строк в секунду
page-chart-bytes = отставание в байтах
page-chart-max = макс. { $value }
page-chart-unknown = { $name } за { $window }: неизвестно
page-chart-described = { $name } за { $window }: сейчас { $newest }, наибольшее { $highest } ({ $at })
page-table = Графики в виде таблицы
page-table-caption = Каждая строка — { $time }: наибольшее отставание и среднее число строк в секунду. Вопросительный знак: неизвестно.
page-table-until = до

## Переключение и откат

page-cutover = Последнее переключение
page-rollback = Последний откат
page-step-fenced-landing = Landing ограждён
page-step-fenced-traffic = Traffic ограждён
page-step-next = выполняется
page-step-later = ещё впереди
page-step-not-reached = не достигнуто
page-nothing-fenced = Ещё ничего не ограждено
page-landing-fenced = Landing ограждён: в записи отказано
page-traffic-fenced = Traffic ограждён: в записи отказано
page-decided = Решено через { $time }, { $at }: { $record }
page-aborted = ПРЕРВАНО через { $time }, { $at }: { $record }
page-aborted-reason = Причина:
page-hook-begun = Hook запущен ({ $time }) и ещё не завершился успешно.
page-hook-ended = Hook завершился успешно ({ $time }).
page-ready-cutover = Готовность к переключению
page-ready-rollback = Готовность к откату
page-ready-cutover-command = `leadbridge cutover --dry-run` проверяет всё и ничего не меняет.
page-ready-rollback-command = `leadbridge rollback --dry-run` проверяет всё и ничего не меняет.
page-met = выполнено
page-not-met = НЕ ВЫПОЛНЕНО
page-condition-stream = Изменения идут
page-condition-lag = Отставание не больше { $time } и { $size }
page-condition-quarantine = Карантин пуст
page-condition-equal = Отличающихся строк нет
page-condition-reverse-slot = У обратной репликации есть слот
page-condition-landing-slot = Слот на Landing не нужно создавать заново
page-condition-publication = Публикация на Landing такая, как записано
page-condition-operator = Вмешательство оператора не требуется

## Подробности

page-details = Подробности
page-slot = Слот на Landing
page-slot-active = { $slot }: используется
page-slot-inactive = { $slot }: не используется
page-slot-lost = { $slot }: ПОТЕРЯН, Landing удалил нужный ему WAL
page-slot-none = нет
page-reverse = Обратный слот на Traffic
page-reverse-lost = { $slot }: ПОТЕРЯН, Traffic удалил нужный ему WAL
page-new-slot = Новый слот на Landing
page-new-slot-since = создаётся взамен потерянного с { $at }
page-publication = Публикация на Landing
page-lease = Кто реплицирует
page-lease-process = процесс { $pid } на Traffic
page-lease-prepared = подготовленная транзакция на Traffic
page-applied = Применено до позиции
page-certificate-landing = Сертификат Landing
page-certificate-traffic = Сертификат Traffic
page-certificate-ends =
    { $days ->
        [one] действует до { $at }, ещё { $days } день
        [few] действует до { $at }, ещё { $days } дня
       *[many] действует до { $at }, ещё { $days } дней
    }
page-certificate-soon = ЗАКАНЧИВАЕТСЯ { $at }, менее чем через сутки
page-started = Демон запущен
page-version = Версия
