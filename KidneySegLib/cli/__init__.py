"""The command ``kidneyseg``: one file a subcommand. Nothing else in the package imports from here."""
