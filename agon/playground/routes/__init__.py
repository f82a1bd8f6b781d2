"""The API of the playground, a file for each room: typed, described by /openapi.json, the same for pages and programs."""
