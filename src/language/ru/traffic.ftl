### Строки на Traffic.

traffic-remedy-index = строка на Traffic не проходит в индекс, который снимок отложил: измените её или уберите индекс из { $deferred } и запустите снова
traffic-remedy-verify = запустите `leadbridge verify`
traffic-remedy-truncate = ничего не применено; чтобы удалить и на Traffic строки, пришедшие с Landing, задайте on_truncate = "apply" и запустите снова
traffic-remedy-truncate-in-part = ничего не применено; запустите `leadbridge resync`: строки, потерявшие своего лида, будут ждать в карантине
traffic-remedy-not-a-row = из этой транзакции ничего не применено; уберите на Traffic то, что этому мешает, и запустите снова
traffic-remedy-not-replicated = задайте scheduled_notifications = true и запустите `leadbridge migrate` или уберите таблицу из публикации
traffic-remedy-snapshot = повторите, когда `leadbridge status` покажет `streaming`
traffic-remedy-retry-switched = повтор вернул бы старую строку Landing: ничего не сделано; от того, что ещё ждёт, откажитесь
