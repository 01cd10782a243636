### Что демон сообщает другим.

telemetry-remedy-filter = задайте, например, info
telemetry-remedy-token = дайте этой команде конфигурацию демона: http_token_file там и здесь должен указывать на один и тот же токен
telemetry-remedy-address-in-use = не работает ли другой leadbridge? Если нет, выберите другой порт в LEADBRIDGE_HTTP_LISTEN или off
telemetry-remedy-address-wrong = исправьте LEADBRIDGE_HTTP_LISTEN
telemetry-remedy-address-not-ours = исправьте LEADBRIDGE_HTTP_LISTEN, если только машина не получит этот адрес вскоре
telemetry-remedy-descriptors = увеличьте ограничение на открытые файлы (LimitNOFILE, `ulimit -n`) или освободите память
telemetry-remedy-port-privilege = выберите в LEADBRIDGE_HTTP_LISTEN порт больше 1023
