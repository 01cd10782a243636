### Что записано о позициях.

checkpoint-remedy-unknown-slot = если Traffic восстановлен из резервной копии, запустите `leadbridge resync`; если слот принадлежит другой установке, выберите другое имя ([names] slot); если он никому не нужен, удалите его через pg_drop_replication_slot
checkpoint-remedy-traffic-behind = Traffic восстановлен из резервной копии после переключения: изменений, которые обратная репликация применила на Landing, на Traffic больше нет. Восстановите самое новое состояние Traffic; если эта потеря допустима, а вместе с ней и более новые значения Landing, очистите LEADBRIDGE_STATE_DIR, удалите слот на Landing через pg_drop_replication_slot и запустите снова: демон создаст новый слот
checkpoint-remedy-landing-behind = Landing восстановлен в более раннем состоянии после переключения: изменений Traffic, которые применила обратная репликация, там больше нет. Проверьте, что URL указывает на нужный сервер; верните прежний Landing или обойдитесь без обратной репликации
checkpoint-remedy-gap = изменения за это время прочитать уже нельзя: запустите `leadbridge resync`
checkpoint-remedy-skipped = Traffic восстановлен из резервной копии, или слот создан заново: изменения за это время были бы пропущены. Запустите `leadbridge resync`
checkpoint-remedy-identity = проверьте оба URL, имена в конфигурации и LEADBRIDGE_STATE_DIR; если Landing действительно заменён, запустите `leadbridge migrate --replace-installation`, затем `leadbridge resync`
checkpoint-remedy-slot-name = выберите для нашего слота другое имя ([names] slot)
checkpoint-remedy-publication = приведите Landing в порядок (всё ли уже так, скажет `leadbridge doctor`), затем запустите `leadbridge resync`
checkpoint-remedy-setting = верните настройку; или, пока главная база Landing, измените то, что реплицируется: `leadbridge migrate`, затем `leadbridge resync`
checkpoint-remedy-daemon-configuration = дайте команде конфигурацию демона (LEADBRIDGE_CONFIG); если меняется конфигурация демона, сначала измените её там и запустите демон снова

checkpoint-remedy-other-traffic = проверьте TRAFFIC_DATABASE_URL; у Traffic, который восстановлен в другой кластер, обратной репликации нет
checkpoint-remedy-foreign-slot = выясните, кто создал слот; leadbridge его не тронет
checkpoint-remedy-traffic-restored = Traffic восстановлен в более раннем состоянии: восстановите самое новое; на Landing строки могут быть новее
checkpoint-remedy-reverse-lost = изменения за это время реплицировать на Landing уже нельзя, и откат потерял бы их. На Traffic есть всё, он остаётся главной базой; остановите демон
checkpoint-remedy-publication-gone = если строки писались, пока публикации не было, сервер не может декодировать эти изменения, и обратная репликация закончена: на Traffic есть всё, он остаётся главной базой; иначе { $accepting }
checkpoint-remedy-publication-partial = приведите публикацию в порядок: `leadbridge migrate` добавит недостающее (ALTER PUBLICATION "{ $publication }" ADD TABLE, DROP TABLE и ADD TABLE для таблицы с фильтром или списком столбцов, SET (publish = 'insert, update, delete, truncate')); затем { $accepting }
checkpoint-remedy-accepting = примите публикацию такой, какая она сейчас, на Traffic: UPDATE { $reverse } SET published = NULL WHERE slot = '{ $slot }'; запустите демон, запишите ещё раз строки, которые писались в это время (UPDATE … SET id = id), и пусть `leadbridge rollback --dry-run` сравнит все строки

checkpoint-remedy-state-dir-shared = остановите другой leadbridge или дайте этому свой LEADBRIDGE_STATE_DIR
checkpoint-remedy-state-dir-full = освободите место на диске этого каталога или разрешите пользователю демона писать туда больше; демон продолжит сам
checkpoint-remedy-state-dir-failed = проверьте диск и права этого каталога; содержимое можно удалить, позиция есть и на Traffic
checkpoint-remedy-state-dir-foreign = укажите в LEADBRIDGE_STATE_DIR другой каталог или очистите этот: позиция есть и на Traffic
checkpoint-remedy-state-dir-in-use = остановите тот leadbridge или дайте этому свой LEADBRIDGE_STATE_DIR: тогда он станет резервом
checkpoint-remedy-state-dir-closed = по этому пути нужен каталог, в который может писать этот пользователь; или укажите в LEADBRIDGE_STATE_DIR другой

checkpoint-remedy-state-unknown = этой версии такое состояние неизвестно: используйте версию, которая его записала
checkpoint-remedy-settings-newer = используйте версию, которая записала эти настройки, или более новую
checkpoint-remedy-reverse-newer = используйте версию, которая это записала, или более новую
checkpoint-remedy-passthrough-newer = используйте версию leadbridge, которая выполнила migrate на Traffic, или более новую
checkpoint-remedy-import-gone = запустите `leadbridge import` ещё раз: команда скажет, что записано на Traffic
checkpoint-remedy-import-newer = используйте версию leadbridge, которая начала импорт, или более новую
checkpoint-remedy-own-schema = дайте этой установке свою схему: `[names] schema` в её конфигурации, затем `leadbridge migrate`; если это та же установка, а её имена или её Landing сменились навсегда, запустите `leadbridge migrate --replace-installation`, затем `leadbridge resync`
checkpoint-remedy-own-tables = пусть эта установка пишет в собственные таблицы: `[names] traffic_schema` или другая база
checkpoint-remedy-finishing = запустите `leadbridge finish` ещё раз: команда продолжит с того места, где остановилась
checkpoint-remedy-finished = выключите демон навсегда (`systemctl disable --now leadbridge`)
checkpoint-remedy-foreign-objects = выясните, чьи они; удалите их или отдайте владельцу реплицируемых таблиц (ALTER … OWNER TO) и запустите `leadbridge migrate`; или выберите другое имя: [names] schema
checkpoint-remedy-schema-differs = запустите `leadbridge migrate`: он создаст своё заново и назовёт остальное
checkpoint-remedy-unserved = выполните там от имени владельца то, что `leadbridge migrate --print={ $side } --role { $role }` показывает для роли
