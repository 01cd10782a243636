### Работа демона.

replication-remedy-stopped = запустите `leadbridge resync` ещё раз; начатый снимок начинает заново и `leadbridge run`
replication-remedy-daemon-runs = остановите демон, затем запустите `leadbridge resync`
replication-remedy-switched = resync вернул бы старые строки Landing: ничего не сделано
replication-remedy-threads = увеличьте TasksMax и LimitNOFILE юнита или `ulimit -u` и `ulimit -n`
replication-remedy-cut = посмотрите в журнале сервера { $side }, что завершает walsender: ограничение времени, сбой при декодировании, прокси или брандмауэр на пути; попытки тем временем продолжаются
replication-remedy-reverse-unknown = переключать может только `leadbridge cutover`: верните прежнюю запись в leadbridge.checkpoint или восстановите leadbridge.reverse
replication-remedy-traffic-behind = Traffic восстановлен в более раннем состоянии или аварийно переключён на реплику, на которой не было части изменений: восстановите тот Traffic, где они есть; на Landing строки могут быть новее
replication-remedy-truncate = TRUNCATE не применён; чтобы удалить на Landing строки, которых больше нет на Traffic, задайте on_truncate = "apply" и запустите снова
