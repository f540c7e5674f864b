"""Where rows come from: one small file a kind of source."""
