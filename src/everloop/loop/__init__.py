"""The wiring of the platform: the retraining pipeline, the controller, its process."""
