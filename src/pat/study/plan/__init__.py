"""What a run is: its spec, and the profiles that say which runs a study has."""
