"""All that is meant by "prior": what a user states, what is learned of it, and its densities."""
