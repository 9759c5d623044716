"""What the host keeps of a run while the device trains: speed, display, signals."""
