"""Find an optimizer's null ``weight_decay`` in config files, and fix it, before a job starts."""
