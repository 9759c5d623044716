"""Searches the mesh, rematerialization and accumulation with which a run fits."""
