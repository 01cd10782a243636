### Конец переезда: что сделает `leadbridge finish` и его акт.

finish-object = { $kind ->
        [slot] слот
        [publication] публикация
        [functions] функции
        [rights] права
       *[function] функция
    } { $name } на { $side }

finish-plan-end = Это конец обратной репликации в { $landing }.
finish-plan-continues = Прошлый запуск был прерван: этот его продолжит.
finish-plan-read-back = резервная копия в { $directory } будет прочитана снова
finish-plan-written = { $tables } из { $landing } будут записаны в { $directory } и прочитаны снова
finish-plan-dropped = { $objects }: удалить
finish-plan-taken-away = { $objects }: отобрать
finish-plan-left-to-owner = { $objects }: останется, владелец — другая роль; SQL будет показан в конце
finish-plan-left-to-others = { $objects }: останутся, эта роль не может их отобрать; SQL будет показан в конце
finish-plan-copies = на Traffic будут удалены: { $copies }; удаление человека до них больше не дошло бы
finish-plan-notes = (в записях об изменённом по пути — то, что пришлось изменить отображению, { $table }; оставьте их с --keep-notes или сначала сохраните)
finish-plan-tables-stay = Таблицы Landing останутся, и запись в них останется закрыта; больше на Traffic ничего не изменится.

finish-copies-notes = записи об изменённом по пути ({ $count })
finish-copies-quarantine = строки карантина, от которых отказались ({ $count })
finish-copies-left = строки, оставшиеся от прерванного переключения ({ $count })

finish-done = Переезд завершён ({ $at }, { $operator }).
finish-backup = Резервная копия { $database } с { $host }, по состоянию на { $at }, позиция { $position }:
finish-backup-file = { $file }: строк { $rows }, байтов { $bytes }, SHA-256 { $sha }
finish-backup-generated = без { $column }: это вычисляемый столбец
finish-backup-lacks = В ней может не быть транзакций, зафиксированных на Traffic после { $position } ({ $count }): на Traffic они есть.
finish-backup-may-lack = В ней может не быть того, что зафиксировано на Traffic после { $position }: на Traffic оно есть.
finish-restore = Восстановить её, в psql:
finish-dropped = Удалено или отобрано:
finish-drop-tables =
    Таблицы Landing и ограждение вокруг них остались: в записи отказано, как и раньше. Когда таблицы больше никому
    не нужны, их владелец выполняет на Landing:
finish-persons = Данные людей: удаление на Traffic больше никуда не переносится.
finish-persons-deleted = Удалены из таблиц leadbridge на Traffic: { $copies }.
finish-persons-notes =
    На Traffic остаются записи об изменённом по пути ({ $notes }): удаляя потом лида, удалите и строки с его row_id
    в таблице leadbridge conversion_notes, или все сразу, когда они больше никому не нужны.
finish-persons-backup =
    В резервной копии в { $directory } и в таблицах Landing есть каждый человек по состоянию на сейчас. Файл не узнает
    об удалении: удалите копию и таблицы Landing, когда они больше никому не нужны, а до тех пор удаляйте людей и там.
finish-left =
    Оставлено владельцу: наша роль не может это удалить или отобрать. Роль с REPLICATION по-прежнему может читать
    изменения всех таблиц своего сервера:
finish-left-object = на { $side }, как { $owner }
finish-left-superuser = суперпользователь

finish-remedy-other-version = используйте ту версию leadbridge, которая это начала
finish-remedy-backup-elsewhere = запустите `leadbridge finish` там, где она лежит, или укажите в --backup другой каталог: копия будет снята заново, Landing с тех пор не менялся
finish-remedy-other-directory = укажите другой
finish-remedy-may-lack = на Traffic всё это есть: если в резервной копии Landing этого может не быть, разрешите это через --max-behind
finish-remedy-behind = запустите демон, пусть он их перенесёт, остановите его и сразу запустите `leadbridge finish`; если на Traffic никогда не бывает так долго тихо, с --max-behind 1m в резервной копии может не быть последней минуты
finish-remedy-slot-in-use = остановите демон или того, кто читает поток из этого слота, и запустите снова
finish-remedy-foreign-slot = выясните, чей он, и удалите его там или проверьте slot в [names] конфигурации
finish-remedy-may-not-drop-slot = выполните там от имени суперпользователя: ALTER ROLE … REPLICATION, затем запустите снова
finish-remedy-no-move = проверьте TRAFFIC_DATABASE_URL и [names] в конфигурации
finish-remedy-cutover-first = `leadbridge finish` нужен после переключения: сначала запустите `leadbridge cutover`
finish-remedy-no-reverse = её пишет само переключение: не восстанавливали ли с тех пор Traffic из резервной копии?
finish-remedy-other-landing = проверьте LANDING_DATABASE_URL
finish-remedy-open-fence = выясните, кто его открыл и что с тех пор записано ({ $table } на Landing), затем закройте его снова функцией close_fence
finish-remedy-undecided = дайте этому завершиться или снова запустите `leadbridge { $direction }`: он доведёт дело до конца или всё вернёт
finish-remedy-quarantined = смотрите { $table } на Traffic: исправьте то, что названо в её сообщениях, и дайте демону применить строки, или удалите там то, чего в резервной копии может не быть
finish-remedy-daemon-runs = остановите его и каждый резерв, затем сразу запустите `leadbridge finish`
