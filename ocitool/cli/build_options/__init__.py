"""The options of ``ocitool build``: callbacks return what the fields of `BuildOptions` take."""
