### The quarantine.

quarantine-remedy-image = look at it with `leadbridge quarantine show`, then discard it and run `leadbridge resync`
