"""The tables that figures and the page draw from: lists of flat, JSON-like rows."""
