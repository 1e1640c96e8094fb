"""What a person reads: summaries, tables of hyperparameters, evidence profiles, pictures."""
