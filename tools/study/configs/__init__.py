"""Studies as configuration files, for `clinometer study --config FILE`."""
