"""From a solved definition to an image: its layers, config and manifest."""
