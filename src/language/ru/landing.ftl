### Таблицы и столбцы Landing.

landing-left-out-skipped = { $table }.{ $column } (пропущен в конфигурации)
landing-left-out-generated = { $table }.{ $column } (вычисляется PostgreSQL)
landing-left-out-not-copied = { $table }.{ $column } (ещё не копируется)
