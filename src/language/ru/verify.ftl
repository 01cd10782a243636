### Что говорит `leadbridge verify`.

verify-column-table = таблица
verify-column-missing = нет
verify-column-extra = лишние
verify-column-different = отличаются
verify-column-refused = не помещаются
verify-column-changed = изменены на Traffic
verify-column-orphaned = без лида
verify-column-quarantined = в карантине
verify-missing = { $table } { $id }: на Traffic нет
verify-extra = { $table } { $id }: есть только на Traffic
verify-different = { $table } { $id }: отличается в столбцах: { $columns }
verify-changed = { $table } { $id }: на Traffic изменены { $columns }
verify-leads-of-nobody = лиды без таргетолога: на Landing { $landing }, на Traffic { $traffic }
verify-leads-of = лиды таргетолога { $id }: на Landing { $landing }, на Traffic { $traffic }
verify-leads-of-team = лиды таргетолога { $id } ({ $team }): на Landing { $landing }, на Traffic { $traffic }
verify-sum = Строк в карантине: { $quarantined }, изменено значений по пути: { $notes }; { $seconds } с, строк в секунду: { $rate }.
verify-resumed = Часть сверена предыдущим запуском, который был прерван; лиды по таргетологам не посчитаны.
verify-equal = Равно: на Traffic есть всё, что зафиксировано на Landing до { $position }.
verify-not-equal = НЕ РАВНО.
verify-moving = Меняются слишком часто, и сверить их не удалось, строк: { $rows }. Запустите команду ещё раз в более тихий момент.
verify-on-their-way = Поток за это время не прошёл отличающиеся строки, возможно, они ещё в пути: работает ли демон (`leadbridge status`)?
verify-repaired = Исправлено. Записано строк, как на Landing: { $written }; удалено строк, которых там нет: { $deleted }; уже равны: { $unchanged }; в карантине: { $quarantined }. Запустите демон, затем ещё раз `leadbridge verify`.
verify-progress = строк { $rows } из { $expected }, { $rate } в секунду, осталось { $left }
