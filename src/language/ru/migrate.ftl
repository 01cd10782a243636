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
