### Карантин.

quarantine-remedy-image = посмотрите на эту строку командой `leadbridge quarantine show`, затем откажитесь от неё и запустите `leadbridge resync`
