### Изменения из потока.

capture-remedy-identity-on-traffic = выполните на Traffic: ALTER TABLE { $name } REPLICA IDENTITY DEFAULT (с первичным ключом по id); удаления, сделанные в это время, неизвестны
capture-remedy-identity = выполните на Landing: ALTER TABLE { $name } REPLICA IDENTITY DEFAULT (с первичным ключом по id). { $meanwhile }
capture-remedy-needed = столбец нужен для отображения: верните его под этим именем. { $meanwhile }
capture-remedy-dropped = запустите `leadbridge resync`, вернув столбец или без него: строки, записанные с тех пор, перевести нельзя, и ни одна из них не применена
capture-remedy-type = верните столбцу прежний тип. { $meanwhile }
capture-remedy-meanwhile = Если поток работал, затем запустите `leadbridge resync`: строки, записанные с тех пор, перевести нельзя, и ни одна из них не применена
capture-remedy-renamed = верните таблицу под прежним именем, затем запустите `leadbridge resync`; ни одна строка, записанная с тех пор, не применена
