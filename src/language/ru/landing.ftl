### Таблицы и столбцы Landing.

landing-left-out-skipped = { $table }.{ $column } (пропущен в конфигурации)
landing-left-out-generated = { $table }.{ $column } (вычисляется PostgreSQL)
landing-left-out-not-copied = { $table }.{ $column } (ещё не копируется)

landing-remedy-schema = проверьте LANDING_DATABASE_URL и [names] landing_schema
landing-remedy-changed-keys = запустите `leadbridge migrate`, а затем выполните то, что в конце показывает `leadbridge migrate --print=landing --role ROLE`
