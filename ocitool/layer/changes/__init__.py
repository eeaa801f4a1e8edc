"""What a step changed in a tree, as a layer; and whether a tree is what its layers say."""
