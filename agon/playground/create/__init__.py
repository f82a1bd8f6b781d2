"""What the Create room does with trained runs: describe them, draw from them, and put into every file how it was made."""
