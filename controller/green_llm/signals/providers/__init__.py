"""One module per source. Providers do not know each other."""
