### Что печатают сами команды.

commands-doctor-clear = препятствий нет
commands-doctor-clear-with-warnings = препятствий нет; предупреждений: { $warnings }
commands-doctor-errors = ошибок: { $errors }, предупреждений: { $warnings }
commands-finding-ok = ok
commands-finding-warning = внимание
commands-finding-error = ОШИБКА
commands-finding-remedy = что делать: { $remedy }
