### Что делать, когда что-то мешает ограждению.

fence-remedy-lifted = строки, которые пишут там теперь, не попадают ни в какую другую базу: выясните, кто снял ограждение, и перенесите эти строки на Traffic; ограждение — это строка этого переключения в leadbridge.fence на Landing
fence-remedy-other-user = укажите в LANDING_DATABASE_URL пользователя переключения, { $writer }
fence-remedy-damaged = запустите `leadbridge migrate`, он восстановит ограждение; затем `leadbridge rollback --dry-run` скажет, есть ли различия, и такие строки запишите в главную базу
fence-remedy-wait-or-other-user = дождитесь этого; или укажите в TRAFFIC_DATABASE_URL пользователя отката, { $writer }
fence-remedy-standing = завершите или откатите переключение, которому принадлежит это ограждение (его id есть в именах триггеров); снятое ограждение убирает демон его установки
fence-remedy-does-not-hold = какой-то сеанс удалил или отключил триггер leadbridge_fence_…? Запустите `leadbridge migrate` и попробуйте снова
