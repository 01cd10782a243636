### Что делать с правами на Traffic, которых Landing не даёт.

access-remedy-foreign-rights = запустите `leadbridge migrate` или выполните на { $side }: { $statement }
access-remedy-migrate-or-run = запустите `leadbridge migrate --api-access` или выполните на { $side }: { $closing }
access-remedy-refused = если так и задумано, задайте accept = ["{ $entry }"] в разделе [privacy] конфигурации; иначе { $close }
access-remedy-accepted = разрешено через [privacy] accept; чтобы закрыть, уберите оттуда "{ $entry }" и { $close }
access-remedy-servers = { $role } — собственные серверы школы: делать ничего не надо; чтобы закрыть: { $closing }
access-remedy-on-landing = решите, задумано ли это; чтобы закрыть, { $close }
