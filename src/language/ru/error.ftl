### Что делать при ошибках, которые бывают в любом разделе.

error-what-to-do = что делать: { $remedy }
error-server-log = посмотрите журнал этого сервера: там есть само сообщение, в котором могут быть личные данные
error-remedy-login = проверьте пользователя и пароль в URL базы и pg_hba.conf сервера
error-remedy-database-name = проверьте имя базы в URL
error-remedy-privilege = выдайте недостающее право: какое — скажет `leadbridge doctor`, готовый SQL даёт `leadbridge migrate --print --role ROLE`
error-remedy-object-missing = выполните `leadbridge migrate` и проверьте имена схем в конфигурации
error-remedy-column-type = у столбца другой тип, или теперь он вычисляемый: верните его к виду, в котором его создал `leadbridge migrate`, и запустите снова
error-remedy-read-only = сервер — реплика, его диск полон или включён default_transaction_read_only? Что именно, скажет `leadbridge doctor`; демон продолжит сам
error-remedy-disk-full = освободите место на диске этого сервера; демон продолжит сам
error-remedy-too-many-connections = увеличьте CONNECTION LIMIT роли или базы, если он задан, иначе max_connections, либо закройте простаивающие сеансы; демон продолжит сам
error-remedy-tls = проверьте sslmode и sslrootcert в URL базы и сертификат сервера
error-remedy-resync = запустите `leadbridge resync`
error-remedy-forward-slot-foreign = выясните, кто создал слот; когда его удалят или переименуют, демон создаст свой
error-missed-in-function = объекта не хватило внутри триггера или функции этой базы ({ $name }), которая выполняется с пустым search_path: напишите в ней имена со схемой или выполните ALTER FUNCTION { $name } SET search_path = public; затем запустите снова
error-remedy-more-time = попробуйте снова с более долгим --timeout или с более быстрым hook (--hook)
error-remedy-commit-waits = фиксация там ждёт синхронную реплику? Попробуйте снова, при необходимости с более долгим --timeout
error-remedy-held-nothing-changed = дождитесь конца этой транзакции или завершите её, затем попробуйте снова; ничего не изменено
error-remedy-export-again = экспортируйте снова в другой каталог
error-remedy-export-with-this-version = экспортируйте снова этой версией leadbridge
error-remedy-migrate-and-run = запустите `leadbridge migrate`, затем `leadbridge run`
error-remedy-run-on = выполните на { $side }: { $sql }
