### Что делать, когда `leadbridge import` отказывает.

import-remedy-no-export = укажите каталог, в который писал `leadbridge export`; прерванный экспорт запустите снова
import-remedy-read-with-psql = прочитайте файлы через psql в пустые таблицы Traffic:
import-remedy-other-first = сначала доведите до конца импорт из { $from }; или начните с первой строки этого экспорта, поверх того, что есть: --restart
import-remedy-older = импортируйте самый новый экспорт; или запишите эти старые значения поверх новых: --restart
import-remedy-same-id = задайте [snapshot] same_id = "landing": останутся значения экспорта, а отличающиеся значения Traffic сохранятся в { $notes }; или удалите этих лидов на Traffic; см. docs/imports.md
import-remedy-no-notifications = экспортируйте снова с scheduled_notifications = true или импортируйте с выключенной настройкой
import-remedy-no-place = запустите `leadbridge migrate` с Landing, в котором есть этот столбец, он создаст место; или пропустите столбец: [columns.{ $table }] skip = ["{ $column }"]
import-remedy-column-missing = он нужен отображению: экспортируйте снова из Landing, в котором этот столбец есть
import-remedy-column-type = измените тип на Landing и экспортируйте снова
import-remedy-daemon-runs = остановите его и каждый резерв, затем снова запустите `leadbridge import`
import-remedy-unresolved = снова запустите `leadbridge { $direction }`: он доведёт дело до конца или всё вернёт
import-remedy-being-copied = снова запустите демон, он скопирует всё, что есть на Landing
import-remedy-switched = импорт вернул бы старые строки Landing: импортируйте в другой Traffic
import-remedy-replicated = чтобы скопировать Landing снова, запустите `leadbridge resync`; если импорт всё же нужен, импортируйте в другой Traffic
