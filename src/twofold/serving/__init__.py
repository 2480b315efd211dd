"""Real-time prediction, whatever carries it: models, their health, their workers, no HTTP."""
