"""How results look: for people, for programs, and always with foreign text made safe."""
