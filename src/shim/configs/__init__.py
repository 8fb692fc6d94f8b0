"""Find an optimizer's null ``weight_decay`` in config files, and mend it, before a job starts."""
