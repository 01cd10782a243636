### Конфигурация.

config-remedy-columns-section = назовите landing_leads, таблицу пути лида или scheduled_notifications, каждую один раз
config-remedy-retry-pause = пауза между двумя попытками растёт от retry.initial до retry.max
config-remedy-alerting = см. docs/alerting.md
config-remedy-line = исправьте эту строку; все ключи и их значения по умолчанию есть в deploy/leadbridge.toml.example
config-remedy-file = проверьте --config и дайте пользователю демона право читать файл
config-remedy-variable = см. `leadbridge --help`
config-remedy-both-urls = уберите одну из двух переменных
config-remedy-url-file = проверьте путь и дайте пользователю демона право читать файл
config-remedy-no-url = задайте { $variable } или { $file_variable }, например { $variable }=postgresql://user:password@host:5432/database
config-remedy-journey-there = { $name } есть: уберите настройку или исправьте её
config-remedy-journey-setting = исправьте настройку и проверьте LANDING_DATABASE_URL и [names] landing_schema
config-remedy-journey-name = проверьте LANDING_DATABASE_URL и [names] landing_schema; если таблица пути лида называется иначе, назовите её в { $key }
config-remedy-journey-both = назовите в { $key } ту таблицу, в которую пишет сайт школы
