"""What a model is: its signature, its versions, and the registry they are kept in."""
