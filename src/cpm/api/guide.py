"""The 177 operations of the published guide, and the version that introduced each.

An operation that is not here is the product's own; it answers under every version.
"""

from cpm.api.versions import Version

_GUIDE = {
    Version.V1_0: """
        GET             /accounts/
        GET POST        /accounts/backup/
        GET PUT DELETE  /accounts/backup/{id}/
        DELETE          /accounts/backup/{id}/snapshots/
        GET POST        /accounts/dr/
        GET PUT DELETE  /accounts/dr/{id}/
        DELETE          /accounts/dr/{id}/snapshots/
        GET             /backups/
        DELETE          /backups/{backup_id}/snapshots/
        POST            /backups/{backup_id}/to_freezer/
        GET POST        /delegates/
        GET PUT DELETE  /delegates/{id}/
        POST            /delegates/{id}/reset_password/
        GET             /freezer/
        GET POST        /policies/
        GET PUT DELETE  /policies/{id}/
        POST            /policies/{id}/backups/
        GET PUT         /policies/{id}/dr/
        GET PUT         /policies/{id}/options/
        DELETE          /policies/{id}/snapshots/
        GET             /policies/{policy_id}/run_times/
        GET POST        /policies/{policy_id}/targets/instances/
        GET PUT DELETE  /policies/{policy_id}/targets/instances/{id}/
        GET POST        /policies/{policy_id}/targets/instances/{instance_id}/volumes/
        GET DELETE      /policies/{policy_id}/targets/instances/{instance_id}/volumes/{id}/
        GET POST        /policies/{policy_id}/targets/rds_databases/
        GET DELETE      /policies/{policy_id}/targets/rds_databases/{id}/
        GET POST        /policies/{policy_id}/targets/volumes/
        GET DELETE      /policies/{policy_id}/targets/volumes/{id}/
        GET             /recoveries/
        GET DELETE      /recoveries/{id}/
        GET             /recoveries/{id}/logs/
        GET             /regions/
        GET             /reports/audit/
        GET             /reports/backups/
        GET             /reports/protected-resources/
        GET             /reports/snapshots/
        GET             /reports/usage/
        GET             /reports/usage/anonymized/
        GET POST        /schedules/
        GET PUT DELETE  /schedules/{id}/
        GET POST        /settings/identity_provider/
        GET POST        /settings/proxy/
        POST            /token/obtain/api_key/
        POST            /token/refresh/
        GET POST        /users/
        POST            /users/me/change_password/
        GET PUT DELETE  /users/{id}/
        POST            /users/{id}/reset_password/
    """,
    Version.V1_1: """
        GET             /agents/
        GET             /backups/{backup_id}/snapshots/
        GET             /backups/{backup_id}/snapshots/copy_to_s3/
        GET             /backups/{backup_id}/snapshots/copy_to_s3/{id}/
        GET             /backups/{backup_id}/snapshots/dr_initial_amis/
        GET DELETE      /backups/{backup_id}/snapshots/dr_initial_amis/{id}/
        GET             /backups/{backup_id}/snapshots/dr_rds_clusters/
        GET DELETE      /backups/{backup_id}/snapshots/dr_rds_clusters/{id}/
        POST            /backups/{backup_id}/snapshots/dr_rds_clusters/{snapshot_id}/recover/
        GET             /backups/{backup_id}/snapshots/dr_rds_databases/
        GET DELETE      /backups/{backup_id}/snapshots/dr_rds_databases/{id}/
        POST            /backups/{backup_id}/snapshots/dr_rds_databases/{snapshot_id}/recover/
        GET             /backups/{backup_id}/snapshots/dr_volumes/
        GET DELETE      /backups/{backup_id}/snapshots/dr_volumes/{id}/
        GET             /backups/{backup_id}/snapshots/dynamodb_tables/
        GET DELETE      /backups/{backup_id}/snapshots/dynamodb_tables/{id}/
        POST            /backups/{backup_id}/snapshots/dynamodb_tables/{snapshot_id}/recover/
        GET             /backups/{backup_id}/snapshots/initial_amis/
        GET DELETE      /backups/{backup_id}/snapshots/initial_amis/{id}/
        GET             /backups/{backup_id}/snapshots/only_amis/
        GET DELETE      /backups/{backup_id}/snapshots/only_amis/{id}/
        GET             /backups/{backup_id}/snapshots/only_dr_amis/
        GET DELETE      /backups/{backup_id}/snapshots/only_dr_amis/{id}/
        GET             /backups/{backup_id}/snapshots/rds_clusters/
        GET DELETE      /backups/{backup_id}/snapshots/rds_clusters/{id}/
        POST            /backups/{backup_id}/snapshots/rds_clusters/{snapshot_id}/recover/
        GET             /backups/{backup_id}/snapshots/rds_databases/
        GET DELETE      /backups/{backup_id}/snapshots/rds_databases/{id}/
        POST            /backups/{backup_id}/snapshots/rds_databases/{snapshot_id}/recover/
        GET             /backups/{backup_id}/snapshots/redshift_clusters/
        GET DELETE      /backups/{backup_id}/snapshots/redshift_clusters/{id}/
        POST            /backups/{backup_id}/snapshots/redshift_clusters/{snapshot_id}/recover/
        GET             /backups/{backup_id}/snapshots/volumes/
        GET DELETE      /backups/{backup_id}/snapshots/volumes/{id}/
        GET PUT DELETE  /backups/{id}/
        GET             /backups/{id}/logs/
        GET PUT         /policies/{id}/copy_to_s3/
        GET             /policies/{policy_id}/targets/
        GET POST        /policies/{policy_id}/targets/dynamodb_tables/
        GET DELETE      /policies/{policy_id}/targets/dynamodb_tables/{id}/
        GET POST        /policies/{policy_id}/targets/rds_clusters/
        GET DELETE      /policies/{policy_id}/targets/rds_clusters/{id}/
        GET POST        /policies/{policy_id}/targets/redshift_clusters/
        GET DELETE      /policies/{policy_id}/targets/redshift_clusters/{id}/
        GET POST        /s3_repositories/
        GET PUT DELETE  /s3_repositories/{id}/
        GET POST        /settings/cleanup/
        GET             /settings/cleanup/logs/
        POST            /settings/cleanup/run/
        GET POST        /settings/identifier/
        GET             /settings/identity_provider/groups/
        GET POST        /settings/identity_provider/groups/delegates/
        GET PUT DELETE  /settings/identity_provider/groups/delegates/{id}/
        GET POST        /settings/identity_provider/groups/users/
        GET PUT DELETE  /settings/identity_provider/groups/users/{id}/
        GET POST        /settings/tagscan/
        GET             /settings/tagscan/logs/
        GET             /system/support_logs/
        GET POST        /workers/
        GET PUT DELETE  /workers/{id}/
    """,
}

# By method and path, as the guide writes it.
OPERATIONS = {
    (method, path): version
    for version, listing in _GUIDE.items()
    for *methods, path in (line.split() for line in listing.split("\n") if line.strip())
    for method in methods
}

_SINCE = {
    (method, tuple("{}" if part.startswith("{") else part for part in path.split("/"))): version
    for (method, path), version in OPERATIONS.items()
}


def since(method: str, path: str) -> Version:
    """The version that introduced an operation, whatever its path calls the ids."""
    parts = tuple("{}" if part.startswith("{") else part for part in path.split("/"))
    return _SINCE.get((method, parts), Version.V1_0)
