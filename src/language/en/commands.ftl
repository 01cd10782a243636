### What the commands themselves print.

commands-doctor-clear = nothing stands in the way
commands-doctor-clear-with-warnings = nothing stands in the way; warnings: { $warnings }
commands-doctor-errors = errors: { $errors }, warnings: { $warnings }
commands-finding-ok = ok
commands-finding-warning = warning
commands-finding-error = ERROR
commands-finding-remedy = what to do: { $remedy }
