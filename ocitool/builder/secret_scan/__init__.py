"""The search of what a build has made for the values of its secrets, before it gets a name."""
