"""The state file keeps databases, their backups and agents over a restart."""

from pathlib import Path

from cpm.simulator.process import Simulator
from tests.simulator import databases, test_dynamodb, test_redshift, test_ssm
from tests.simulator.resources import connect


def test_snapshots_backups_and_agents_survive_a_restart(tmp_path: Path) -> None:
    state_file = tmp_path / "aws.state"
    with Simulator(tmp_path, state_file=state_file) as first:
        key = first.account("111122223333")
        rds = connect(first, "rds", key)
        databases.make_instance(rds, StorageEncrypted=True)
        databases.snapshot(rds, "s-1")
        redshift = connect(first, "redshift", key)
        test_redshift.make_cluster(redshift)
        test_redshift.snapshot(redshift)
        dynamodb = connect(first, "dynamodb", key)
        test_dynamodb.make_table(dynamodb)
        backup = test_dynamodb.back_up(dynamodb)
        first.seed(account=key.account, instances=1)
        agents = first.agents(key.account)
        command_id = test_ssm.send(connect(first, "ssm", key), *agents)
    with Simulator(tmp_path, state_file=state_file) as second:
        assert databases.look_at(connect(second, "rds", key), "s-1")["Status"] == "available"
        shown = test_redshift.look(connect(second, "redshift", key), "s-1")
        assert shown["Status"] == "available"
        assert test_dynamodb.status(connect(second, "dynamodb", key), backup) == "AVAILABLE"
        ssm = connect(second, "ssm", key)
        assert list(test_ssm.inventory(ssm)) == agents
        assert test_ssm.look(ssm, command_id, agents[0])["Status"] == "Success"
