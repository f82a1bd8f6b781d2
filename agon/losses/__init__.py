"""Objectives and penalties as pure functions, usable without Agon's trainer."""
