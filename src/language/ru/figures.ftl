### Величины и слова, общие для команд и страницы состояния.

figures-seconds = { $seconds } с
figures-minutes = { $minutes } мин { $seconds } с
figures-hours = { $hours } ч { $minutes } мин
figures-days = { $days } д { $hours } ч
figures-not-known = неизвестно
figures-rising = растёт на { $time } в минуту
figures-falling = сокращается на { $time } в минуту
figures-steady = не меняется
figures-rows-per-second = { $rows } строк/с
figures-left = осталось около { $time }
figures-wal-per-second = { $source } пишет { $wal } WAL в секунду
figures-rows = { $rows ->
        [one] { $rows } строка
        [few] { $rows } строки
       *[many] { $rows } строк
    }
figures-done = { $what }, готово
figures-indexes =
    { $count ->
        [one] затем { $count } индекс
        [few] затем { $count } индекса
       *[many] затем { $count } индексов
    }
figures-no-answer = НЕТ ОТВЕТА
figures-on = на { $side }
figures-since = с { $since }
