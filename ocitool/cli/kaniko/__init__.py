"""kaniko's executor: its options, and the call of ``ocitool build`` that they come to."""
