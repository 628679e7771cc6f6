"""Real traffic: sites in network namespaces, Envoy Gateway with Envoy before them, a load generator, Prometheus beside them."""
