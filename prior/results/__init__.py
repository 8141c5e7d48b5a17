"""What a run emits for readers: one long table, tables, plots and the page."""
