"""Reports: view model, charts, rendering. Reads records alone."""
