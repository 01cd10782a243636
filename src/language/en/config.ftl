### The configuration.

config-remedy-columns-section = name landing_leads, the journey or scheduled_notifications, each once
config-remedy-retry-pause = the pause between two attempts grows from retry.initial to retry.max
config-remedy-alerting = see docs/alerting.md
config-remedy-line = correct that line; deploy/leadbridge.toml.example shows every key with its default
config-remedy-file = check --config, and that the daemon's user may read the file
config-remedy-variable = see `leadbridge --help`
config-remedy-both-urls = unset one of the two
config-remedy-url-file = check the path, and that the daemon's user may read the file
config-remedy-no-url = set { $variable } or { $file_variable }, as in { $variable }=postgresql://user:password@host:5432/database
config-remedy-journey-there = { $name } is there: remove the setting, or correct it
config-remedy-journey-setting = correct the setting, and check LANDING_DATABASE_URL and [names] landing_schema
config-remedy-journey-name = check LANDING_DATABASE_URL and [names] landing_schema; where the journey is called otherwise, name its table with { $key }
config-remedy-journey-both = name the one that the school's site writes with { $key }
