### Правила отображения столбцов.

mapping-not-carried-every-column = каждый столбец
mapping-not-carried-own-lead = лида, которого создал собственный код Traffic (форма Facebook): лид остаётся на Traffic, и его путь тоже
mapping-not-carried-landing-lead = всегда: он говорит, что лид родился на Traffic через имена Landing
mapping-not-carried-no-such-column = всегда: на Landing нет такого столбца
mapping-not-carried-synced-at = всегда: он говорит, когда строка последний раз пришла с Landing
mapping-not-carried-phone-normalized = если это не то, что даёт телефон: значение вычисляется из телефона
mapping-not-carried-source = если ни одно значение Landing его не даёт: null, twland, более длинный текст с facebook, tiktok или google внутри
mapping-not-carried-landing-source = если он не соответствует source: на Landing для обоих один столбец
mapping-not-carried-utm = если значение заменено на null или пустой текст, а metadata его ещё содержит; если metadata не объект
mapping-not-carried-funnel-type = если source лида требует другого; если значение null; если metadata не объект
mapping-not-carried-facebook = если значение заменено на null, а metadata его ещё содержит; если metadata не объект
mapping-not-carried-amocrm = если значение отрицательное: оно приходит текстом, а текст со знаком — не число
mapping-not-carried-null-flags = если значение null: это false или 0
mapping-not-carried-null-texts = если значение null: на Landing там NOT NULL, придёт пустой текст
mapping-not-carried-metadata = получает utm_*, funnel_type и fb_*, если из него не следует то, что есть на Traffic в этих столбцах
