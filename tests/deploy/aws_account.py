"""An AWS account for Terraform: Moto, with the calls of EKS that it lacks, and with failures on demand.

Run as a program it prints its port, and serves until it is ended. `PUT /drydock/failures` takes a list of rules:
{"match": REGEX, "status": 400, "code": "Throttling", "times": 3}; the regex is searched in method, path and body.
"""

import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

CONTROL = "/drydock/failures"
_SECURITY_GROUP = "clusterSecurityGroupId"

Answer = tuple[int, Mapping[str, str], str]


class EksCalls:
    """Add-ons, Pod Identity associations, access entries: kept as they were sent, with the fields that AWS adds."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}

    def collection(self, kind: str, answer: str, identifier: Callable[[Mapping[str, Any], int], str]) -> Any:
        """Create and list."""

        def respond(request: Any, url: str, _headers: Any) -> Answer:
            cluster = re.search(r"/clusters/([^/]+)/", url)
            assert cluster
            if request.method == "POST":
                content = json.loads(request.data)
                name = identifier(content, len(self.kept))
                if (kind, f"{cluster[1]}/{name}") in self.kept:
                    return _refused(409, "ResourceInUseException", f"{kind} {name} exists already")
                entity = self._entity(kind, cluster[1], name, content)
                self.kept[kind, f"{cluster[1]}/{name}"] = entity
                return _json({answer: entity})
            listed = [entity for (of, _), entity in self.kept.items() if of == kind]
            names = [key.partition("/")[2] for of, key in self.kept if of == kind]
            several = re.sub("ys$", "ies", f"{answer}s")
            return _json({several: listed if answer == "association" else names})

        return respond

    def item(self, kind: str, answer: str) -> Any:
        """Describe, update and delete."""

        def respond(request: Any, url: str, _headers: Any) -> Answer:
            found = re.search(r"/clusters/([^/]+)/[^/]+/([^?]+?)(/update)?(\?|$)", url)
            assert found
            from urllib.parse import unquote

            key = (kind, f"{found[1]}/{unquote(found[2])}")
            if key not in self.kept:
                return _refused(404, "ResourceNotFoundException", f"No {kind} found for name: {found[2]}")
            entity = self.kept.pop(key) if request.method == "DELETE" else self.kept[key]
            if request.method == "POST":
                entity.update(json.loads(request.data or "{}"))
            return _json({answer: entity})

        return respond

    def entry(self, request: Any, url: str, headers: Any) -> Answer:
        """One access entry, or its policies; the entry's ARN may hold slashes."""
        if "/access-policies" in url:
            return self.policies(request, url, headers)
        respond: Callable[[Any, str, Any], Answer] = self.item("accessentry", "accessEntry")
        return respond(request, url, headers)

    def policies(self, request: Any, url: str, _headers: Any) -> Answer:
        """Access policies of an entry."""
        found = re.search(r"/clusters/([^/]+)/access-entries/(.+)/access-policies(?:/([^?]+))?", url)
        assert found
        from urllib.parse import unquote

        key = ("policies", f"{found[1]}/{unquote(found[2])}")
        listed = self.kept.setdefault(key, {"policies": []})["policies"]
        if request.method == "POST":
            content = json.loads(request.data)
            listed.append({**content, "associatedAt": 0, "modifiedAt": 0})
            return _json({"associatedAccessPolicy": listed[-1]})
        if request.method == "DELETE":
            listed[:] = [each for each in listed if each["policyArn"] != unquote(found[3])]
            return _json({})
        return _json({"associatedAccessPolicies": listed})

    def nodes_join(self, cluster: str, role: str) -> None:
        """The access entry that EKS makes for the role of a managed node group, unless there is one."""
        key = ("accessentry", f"{cluster}/{role}")
        if key not in self.kept:
            self.kept[key] = {**self._entity("accessentry", cluster, role, {"principalArn": role}), "type": "EC2_LINUX"}

    def versions(self, _request: Any, url: str, _headers: Any) -> Answer:
        """The default version of an add-on for a Kubernetes version."""
        asked = parse_qs(urlsplit(url).query)
        compatible = [
            {"clusterVersion": asked["kubernetesVersion"][0], "defaultVersion": True, "platformVersions": ["*"]}
        ]
        version = {"addonVersion": "v1.0.0-eksbuild.1", "compatibilities": compatible}
        return _json({"addons": [{"addonName": asked["addonName"][0], "addonVersions": [version]}]})

    def _entity(self, kind: str, cluster: str, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        arn = f"arn:aws:eks:us-west-2:123456789012:{kind}/{cluster}/{name}/a"
        entity = {**content, "clusterName": cluster, "createdAt": 0, "modifiedAt": 0, "tags": content.get("tags", {})}
        if kind == "addon":
            asked = content.get("podIdentityAssociations", ())
            made = [self._associate(cluster, f"{name}-{number}", each) for number, each in enumerate(asked)]
            entity |= {"addonArn": arn, "status": "ACTIVE", "addonVersion": "v1.0.0-eksbuild.1"}
            entity |= {"podIdentityAssociations": made, "health": {"issues": []}}
        elif kind == "podidentityassociation":
            entity |= {"associationArn": arn.removesuffix("/a"), "associationId": name}
        else:
            usual = {"type": "STANDARD", "kubernetesGroups": [], "username": name}
            entity = {**usual, **entity, "accessEntryArn": arn}
        return entity

    def _associate(self, cluster: str, name: str, content: Mapping[str, Any]) -> str:
        """An association that belongs to an add-on; gives its ARN."""
        kind = "podidentityassociation"
        self.kept[kind, f"{cluster}/{name}"] = self._entity(kind, cluster, name, content)
        return str(self.kept[kind, f"{cluster}/{name}"]["associationArn"])


class Failures:
    """Wraps an application: rules decide which calls fail."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.rules: list[dict[str, Any]] = []

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        if request.path == CONTROL:
            self.rules = json.loads(request.get_data())
            return Response("ok")(environ, start_response)
        body = request.get_data()
        said = f"{request.method} {request.path} {body.decode(errors='replace')}"
        for rule in self.rules:
            if rule["times"] > 0 and re.search(rule["match"], said):
                rule["times"] -= 1
                return _refusal(rule)(environ, start_response)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return self.application(environ, start_response)  # type: ignore[no-any-return]


def _refusal(rule: Mapping[str, Any]) -> Response:
    """An error in the shapes of every protocol of AWS at once: XML in the body, the code in a header for JSON."""
    xml = (
        f"<Response><Errors><Error><Code>{rule['code']}</Code><Message>on demand</Message></Error></Errors>"
        f"<Error><Code>{rule['code']}</Code><Message>on demand</Message></Error></Response>"
    )
    return Response(xml, status=rule["status"], headers={"x-amzn-errortype": rule["code"]}, mimetype="text/xml")


def _refused(status: int, code: str, message: str) -> Answer:
    return status, {"x-amzn-errortype": code}, json.dumps({"__type": code, "message": message})


def _json(content: Mapping[str, Any]) -> Answer:
    return 200, {}, json.dumps(content)


def add_eks_calls() -> EksCalls:
    """Teach this process's Moto the calls of EKS that it lacks, before it serves."""
    from moto.eks import urls

    calls = EksCalls()
    identity = calls.collection("podidentityassociation", "association", lambda _content, number: f"a-{number}")
    urls.url_paths.update(
        {
            "{0}/addons/supported-versions$": calls.versions,
            "{0}/clusters/(?P<name>[^/]+)/addons$": calls.collection("addon", "addon", lambda it, _n: it["addonName"]),
            "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addon>.+)$": calls.item("addon", "addon"),
            "{0}/clusters/(?P<name>[^/]+)/pod-identity-associations$": identity,
            "{0}/clusters/(?P<name>[^/]+)/pod-identity-associations/(?P<id>[^/]+)$": calls.item(
                "podidentityassociation", "association"
            ),
            "{0}/clusters/(?P<name>[^/]+)/access-entries$": calls.collection(
                "accessentry", "accessEntry", lambda it, _n: it["principalArn"]
            ),
            "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<arn>.+)$": calls.entry,
        }
    )
    return calls


def main() -> None:
    """Serve."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    from moto.eks import models, responses
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    calls = add_eks_calls()
    _keep_more(models, responses, calls)
    application = Failures(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


def _default_rules(ec2: Any, group: str) -> None:
    """What EKS gives the group of a cluster: all traffic from and to itself (the latter since 1.33), and all out.

    Source: EKS User Guide, "View Amazon EKS security group requirements for clusters". EC2 refuses a rule twice.
    """
    itself = [{"GroupId": group}]
    ec2.authorize_security_group_ingress(group, "-1", None, None, [], source_groups=itself)
    ec2.authorize_security_group_egress(group, "-1", None, None, [], source_groups=itself)


def _keep_more(models: Any, responses: Any, calls: EksCalls) -> None:
    """What EKS keeps of a cluster or makes for it, and Moto forgets."""
    from moto.ec2 import models as ec2_models
    from moto.ec2.models import ec2_backends

    create, delete = responses.EKSResponse.create_cluster, models.EKSBackend.delete_cluster

    def created(self: Any) -> Any:
        answer = create(self)
        cluster = self.eks_backend.clusters[self._get_param("name")]
        cluster.access_config = self._get_param("accessConfig")
        cluster.compute_config = self._get_param("computeConfig")
        cluster.storage_config = self._get_param("storageConfig")
        cluster.upgrade_policy = self._get_param("upgradePolicy")
        ec2 = ec2_backends[self.current_account][self.region]
        subnet = ec2.get_subnet(cluster.resources_vpc_config["subnetIds"][0])
        group = ec2.create_security_group(f"eks-cluster-sg-{cluster.name}", "EKS", vpc_id=subnet.vpc_id)
        cluster.resources_vpc_config |= {_SECURITY_GROUP: group.id, "vpcId": subnet.vpc_id}
        _default_rules(ec2, group.id)
        return answer

    def deleted(self: Any, name: str) -> Any:
        cluster = delete(self, name)
        group = cluster.resources_vpc_config[_SECURITY_GROUP]
        ec2_backends[self.account_id][self.region_name].delete_security_group(group_id=group)
        return cluster

    make_nodes = responses.EKSResponse.create_nodegroup

    def nodes_made(self: Any) -> Any:
        answer = make_nodes(self)
        calls.nodes_join(self._get_param("name"), self._get_param("nodeRole"))
        cluster = self.eks_backend.clusters[self._get_param("name")]
        group = cluster.nodegroups[self._get_param("nodegroupName")]
        group.update_config = self._get_param("updateConfig")
        group.node_repair_config = self._get_param("nodeRepairConfig")
        return answer

    responses.EKSResponse.create_nodegroup = nodes_made
    make_template = ec2_models.EC2Backend.create_launch_template

    def template_made(self: Any, name: str, description: str, data: dict[str, Any], tags: Any) -> Any:
        """Tags of the template itself are none of its instances."""
        listed = data.get("TagSpecifications", [])
        data["TagSpecifications"] = [each for each in listed if each["ResourceType"] != "launch-template"]
        return make_template(self, name, description, data, tags)

    ec2_models.EC2Backend.create_launch_template = template_made
    responses.EKSResponse.create_cluster, models.EKSBackend.delete_cluster = created, deleted
    models.DEFAULT_REMOTE_ACCESS = None


if __name__ == "__main__":
    main()
