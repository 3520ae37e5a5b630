"""`eks` in an environment's file: what ci/eks takes, and what the rendered suite has."""

import re
from dataclasses import replace

import pytest

from drydock.deploy.eks.variables import check_variables
from drydock.errors import UsageError
from drydock.project import Project
from drydock.suite.cluster_description import describe
from drydock.suite.environments import environment_names, load_environment
from drydock.testing.pytest_plugin import RenderEnvironment
from tests.conftest import ROOT

EKS = ROOT / "ci" / "eks"
ENVIRONMENTS = environment_names(Project(ROOT, ROOT))
GIVEN = ("account_id", "region")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_auto_mode_and_service_accounts_are_those_of_the_suite(
    drydock_project: Project, render_environment: RenderEnvironment, name: str
) -> None:
    environment, rendered = load_environment(drydock_project, name), render_environment(name)
    target = describe(environment)
    check_variables(environment, EKS, GIVEN, target.terraform_variables())
    auto_mode = any(each.content["apiVersion"] == "eks.amazonaws.com/v1" for each in rendered.of_kind("NodeClass"))
    assert target.auto_mode is auto_mode
    accounts = {(each.namespace or "genai", each.name) for each in rendered.of_kind("ServiceAccount")}
    for named in (one for each in environment.eks.get("service_accounts", {}).values() for one in each):
        namespace, _, account = named.rpartition("/")
        assert (namespace or environment.namespace, account) in accounts


@pytest.mark.parametrize(
    ("eks", "said"),
    [
        ({"public_acces_cidrs": []}, r"dev\.yaml: eks\.public_acces_cidrs: no variable of (?s:.)*public_access_cidrs"),
        ({"account_id": "123456789012"}, r"dev\.yaml: eks\.account_id: the command line says that"),
        ({"auto_mode": True}, r"dev\.yaml: eks\.auto_mode: the target says that(?s:.)*eks-auto-mode"),
    ],
)
def test_a_key_that_is_no_variable_is_named(drydock_project: Project, eks: dict[str, object], said: str) -> None:
    environment = replace(load_environment(drydock_project, "dev"), eks=eks)
    with pytest.raises(UsageError) as wrong:
        check_variables(environment, EKS, GIVEN, describe(environment).terraform_variables())
    assert re.search(said, str(wrong.value))
