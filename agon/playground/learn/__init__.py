"""The live game of the Learn room: Agon's own games and trainer on points in the plane, a step at a time."""
