"""The phantom: a simulated hospital that writes real raw formats (DESIGN 5). No evidence."""
