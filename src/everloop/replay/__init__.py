"""Play history: the demo over HTTP and the backtest in process, on the same decisions."""
