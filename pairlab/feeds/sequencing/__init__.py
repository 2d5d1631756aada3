"""Trade ids in order: duplicates dropped, gaps found, filled over REST or given up."""
