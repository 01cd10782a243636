### What the daemon tells others.

telemetry-remedy-filter = write for example info
telemetry-remedy-token = let this command use the daemon's configuration: http_token_file there and here must name the same token
telemetry-remedy-address-in-use = is another leadbridge running? Otherwise choose another port with LEADBRIDGE_HTTP_LISTEN, or off
telemetry-remedy-address-wrong = correct LEADBRIDGE_HTTP_LISTEN
telemetry-remedy-address-not-ours = correct LEADBRIDGE_HTTP_LISTEN, unless the machine is about to get the address
telemetry-remedy-descriptors = raise the limit of open files (LimitNOFILE, `ulimit -n`), or free memory
telemetry-remedy-port-privilege = choose a port above 1023 with LEADBRIDGE_HTTP_LISTEN
