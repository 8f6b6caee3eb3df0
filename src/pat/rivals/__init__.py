"""The methods of others, one file each, through the same groups and the same surgery."""
