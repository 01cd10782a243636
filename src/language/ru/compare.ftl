### Сверка обеих сторон.

compare-remedy-repair-switched = исправление вернуло бы старые строки Landing: ничего не сделано; обратную репликацию показывает `leadbridge status`
compare-remedy-daemon-runs = остановите демон, выполните `leadbridge verify --repair` и запустите его снова
compare-remedy-verify-switched = обратную репликацию показывает `leadbridge status`; откат сверит обе стороны перед переключением
compare-remedy-nothing-yet = сверять пока нечего: дайте `leadbridge run` сначала скопировать таблицы
compare-remedy-again = запустите `leadbridge verify` без --resume
