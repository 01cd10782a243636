### Общее для всех проверок.

report-server-log = смотрите журнал сервера
report-migrate = запустите `leadbridge migrate`
report-migrate-or-print = запустите `leadbridge migrate` или попросите DBA выполнить то, что печатает `leadbridge migrate --print`
report-see-doctor = см. `leadbridge doctor`
