"""Files for other systems: each module renders text, and knows nothing of how a project is run."""
