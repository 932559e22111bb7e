"""Small, general helpers without business: settings, logging, redaction, metrics, time, ids."""
