### Один лид от начала до конца: что говорит `leadbridge explain`.

explain-verdict-equal = одинаков
explain-verdict-touched = одинаков, на Traffic его касались
explain-verdict-changed = изменён на Traffic
explain-verdict-traffic-only = только на Traffic
explain-verdict-finished = на Traffic; переезд завершён
explain-verdict-different = ОТЛИЧАЕТСЯ
explain-verdict-missing = НЕ ХВАТАЕТ
explain-verdict-extra = ЛИШНИЙ
explain-verdict-quarantined = В КАРАНТИНЕ
explain-verdict-on-its-way = В ПУТИ
explain-verdict-not-copied = ЕЩЁ НЕ СКОПИРОВАН
explain-verdict-gone = НЕТ ни на одной стороне
explain-verdict-unknown = НЕИЗВЕСТНО

explain-finished-since = на Landing больше ничего не переносится, с { $at }
explain-on-landing-only = есть на Landing, нет на Traffic
explain-not-compared = одна из баз не отвечает: стороны не сверены
explain-copy-under-way = идёт копирование: строки сверяются, когда оно закончено
explain-nothing-copied = ещё ничего не скопировано: копирует `leadbridge run`
explain-waiting = { $table } { $id }: { $why }; { $tries }; `leadbridge quarantine show { $entry }`
explain-waiting-reverse = Landing не принимает { $table } { $id }: { $why }; { $tries }
explain-tried-once = одна попытка, { $since }
explain-tried = попыток с { $since }: { $attempts }, последняя { $last }
explain-discarded = оператор отказался от лида в карантине: лид придёт со своим следующим изменением
explain-passed = поток прошёл все изменения лида на { $from }
explain-touched = `updated_at` поставил триггер Traffic; следующее изменение на Landing вернёт значение Landing
explain-metadata = изменено на Traffic: останется, пока Landing снова не пришлёт metadata
explain-own-lead = на Traffic под id с Landing есть собственный лид: см. docs/imports.md
explain-on-one-side = есть на { $from }, нет на { $to }: { $passed }
explain-refused = в столбцы Traffic он не помещается
explain-records-only = лид есть только в записях leadbridge
explain-made-by-traffic = создан собственным кодом Traffic: на Landing он не попадёт никогда
explain-made-through-names = родился на Traffic через имена Landing: на Landing он попадёт после переключения, когда изменится
explain-came-from-landing = пришёл с Landing
explain-later = { $columns }: потом изменено на Traffic; значения Landing вернёт следующее изменение лида на Landing или `leadbridge verify --repair`
explain-differs = на { $side } отличается в столбцах: { $columns }
explain-repair = значения Landing запишет `leadbridge verify --repair`, при остановленном демоне
explain-children = { $table }: { $counts }; всего строк: { $rows }
explain-count-missing = не хватает: { $count }
explain-count-extra = лишних: { $count }
explain-count-different = отличаются: { $count }
explain-count-refused = не помещаются на Traffic: { $count }
explain-stream-at = поток на { $position }
explain-stream-nowhere = у потока ещё нет позиции
explain-source-at = { $side } на { $position }
explain-no-daemon = демон не читает поток: запустите `leadbridge run` ({ $position })
explain-not-applied = изменение на { $from }, возможно, ещё не применено ({ $position })

explain-column-quarantined = лид в карантине
explain-column-on-its-way = изменение может быть ещё в пути
explain-column-no-place = для значения Traffic на Landing нет места
explain-column-stamped = поставлено триггером Traffic
explain-column-meanwhile = изменилось, пока лид читали
explain-column-later = потом изменено на Traffic
explain-column-differs = не то, что даёт отображение, хотя поток уже прошёл

explain-no-source = у лида нет utm_source
explain-no-binding = ни у одной привязки нет utm_source и воронки лида
explain-inactive = привязка или её таргетолог не активны

explain-silent = { $side } не отвечает
explain-given-up = поиск на { $side } длился дольше { $seconds } с, для него нет индекса: спросите по id лида
explain-incomplete = не полностью: { $what }

explain-nothing = нет лида с таким { $kind ->
        [phone] телефоном
        [email] e-mail
       *[id] id
    }: { $place }
explain-nowhere = ни на Landing, ни на Traffic, ни в карантине
explain-nowhere-searched = там, где поиск закончен, ничего не найдено
explain-phones = Телефоны сравниваются по цифрам и знаку +, как введены: 8701… и +7701… — разные номера, попробуйте и другой вид.
explain-emails = E-mail сравнивается точно, с учётом регистра букв.
explain-leads = подходит лидов: { $count }, сначала самые старые:
explain-leads-more = подходит лидов: больше { $count }, сначала самые старые:
explain-ask-one = Спросите об одном из них по id: `leadbridge explain ID`.
explain-lead = лид { $id }: { $verdict }
explain-cut = … (символов: { $count }; --json покажет все)

explain-there = есть
explain-yes = да
explain-no = нет
explain-no-answer = не отвечает
explain-created = создан
explain-last-changed = изменён
explain-committed = зафиксирован
explain-from-landing = с Landing
explain-born = родился
explain-born-through-names = на Traffic, через имена Landing
explain-born-traffic = на Traffic, создан его кодом
explain-writes = запись идёт в
explain-record = { $side }, главную базу
explain-record-unknown = неизвестно: Traffic не отвечает
explain-stream = поток
explain-ended = завершён командой `leadbridge finish` { $at }
explain-no-position = позиции ещё нет
explain-applied = применён до { $position }
explain-source = источник на { $position }
explain-none-on-its-way = в пути ничего нет
explain-no-daemon-streams = демон его не читает

explain-table = { $table }: на Landing { $landing }, на Traffic { $traffic }
explain-more-equal = ещё одинаковых строк: { $count }
explain-more-not-compared = ещё строк, которые не сверялись: { $count }
explain-row-quarantined = в карантине
explain-row-on-its-way = в пути
explain-row-touched = на Traffic её касались
explain-row-own = собственность Traffic
explain-row-changed = на Traffic изменены: { $columns }
explain-row-differs = отличается в столбцах: { $columns }
explain-row-missing = нет
explain-row-extra = лишняя
explain-row-refused = не помещается на Traffic
explain-row-not-compared = не сверена

explain-credit = таргетолог: { $who }
explain-credit-nobody = никто: { $reason }
explain-credited = { $id }, { $team }, { $binding }
explain-no-team = без команды
explain-team = команда { $team }
explain-binding = по привязке к utm_source и воронке лида
explain-binding-other-case = по привязке к воронке лида и к его utm_source в другом регистре
explain-more-bindings = подходит ещё привязок: { $count }
explain-credited-values = { $name }, привязка { $source }

explain-notes = значения, изменённые по пути
explain-note = { $column }: { $says }, { $at }
explain-own-value = собственное значение Traffic, которое заменило первое копирование: { $reason }
explain-original = было { $value }
explain-quarantine = карантин
explain-entry = { $id } { $table } { $row }: { $state }; { $message }, { $at }
explain-entry-discarded = оператор от неё отказался
explain-entry-waits = ждёт
explain-held-under = на Traffic она под ключом { $key }
explain-left = осталось на Traffic от прерванного переключения: перенесите строки на Landing вручную
explain-left-row = { $table } { $row }, { $at }, переключение { $cutover }
explain-left-deleted = { $table } { $row }, там удалена, { $at }, переключение { $cutover }

explain-columns = столбцы traffic_leads: { $what }
explain-columns-equal = одинаковых { $equal }
explain-columns-different = отличаются { $different }, одинаковых { $equal }
explain-no-row = на Landing нет строки
explain-rule = правило: { $rule }
explain-column-note = по пути изменено: { $note }
explain-given = отображение даёт { $value }
explain-held = на Traffic        { $value }
explain-own-columns = без правила, собственность Traffic: { $columns }

explain-remedy-argument = назовите лида по id, по телефону в любой записи или по e-mail
