"""COPY and ADD: which entries a layer gets, and where their content comes from."""
