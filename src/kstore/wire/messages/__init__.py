"""The field tables of every API, one module a family. docs/WIRE.md tells how a table reads."""
