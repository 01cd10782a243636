### Что сделал или сделал бы `leadbridge migrate`.

migrate-step = { $side }: { $step }: { $effect }
migrate-up-to-date = уже в нужном виде
migrate-applied = применено
migrate-renewed = обновлено
migrate-would-be-applied = будет применено
migrate-would-be-renewed = будет обновлено
migrate-note = примечание: { $note }
migrate-api = Traffic: роли API: { $says }
migrate-ran = выполнено: { $statement }
migrate-would-run = будет выполнено: { $statement }
migrate-left-open = остаётся открытым: { $what }
migrate-tried = { $side }: до и после каждого шага проверена запись (с откатом) под ролями: { $roles }
migrate-tried-as-nobody = нет таких ролей
migrate-not-tried = не проверено, этому сеансу нельзя, под ролями: { $roles }
migrate-replicating = Traffic: у роли { $role } есть REPLICATION, она может читать изменения всех таблиц; до переключения это никому не нужно

migrate-remedy-lock-held = { $lock } занята, её держит { $holder }: запустите снова, когда он закончит, или завершите его: { $end }
migrate-remedy-sessions = запустите снова, когда эти сеансы закончат свои транзакции, или завершите сеансы: { $sessions }
migrate-remedy-long-transaction = запустите снова, когда таблицу не будет держать ни одна долгая транзакция
migrate-remedy-step-failed = названный выше шаг ничего не изменил, только индекса может не быть; прежние шаги остаются и записаны. Измените объект, который назван в сообщении, или попросите его владельца и снова запустите `leadbridge migrate`; вся команда SQL есть в журнале сервера
migrate-remedy-name = используйте от 1 до 63 байтов: буквы, цифры, подчёркивания и дефисы
migrate-remedy-schema-altered = выясните, кто это сделал; от имени владельца объектов удалите то, что создал не leadbridge, и верните изменённому прежний вид; затем запустите `leadbridge migrate`. Подойдёт и другая схема: [names] schema
migrate-remedy-column-name = исправьте имя в { $place } конфигурации или уберите его
migrate-remedy-column-rename = выберите имя в конфигурации: [columns.{ $table }] { $rename }; или skip = ["{ $column }"]
migrate-remedy-publication-wide = удалите её или выберите в конфигурации другое имя для публикации leadbridge
migrate-remedy-publication-foreign-table = выполните ALTER PUBLICATION … DROP TABLE или выберите другое имя для публикации leadbridge
migrate-remedy-publication-partial = выполните для неё ALTER PUBLICATION … DROP TABLE и снова запустите `leadbridge migrate`
migrate-remedy-public-view = уберите --public-view или укажите представление Landing: { $view }
migrate-remedy-writes-would-fail = шаг ничего не изменил. Выдайте роли право, названное в сообщении, или измените названные в нём функцию или триггер так, чтобы они приняли изменение, и снова запустите `leadbridge migrate`
