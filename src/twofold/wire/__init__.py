"""HTTP: bytes to requests, requests to predictions, predictions to bytes."""
