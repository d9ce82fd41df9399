"""Cloud Protection Manager: backup and disaster recovery for AWS."""
