"""The manifests for Kubernetes: their schemas, and what makes them fit the program."""

import pathlib
import re

import kubernetes_validate
import yaml

from instance import require

ROOT = pathlib.Path(__file__).resolve().parents[3]
DIRECTORY = ROOT / "deploy/kubernetes"
VERSIONS = ["1.29", "1.33", "1.37"]
KINDS = {"Namespace", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "Secret"}


def play(checks, _):
    found = {}
    for file in sorted(DIRECTORY.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            found.setdefault(document["kind"], []).append(document)
            for version in VERSIONS:
                checks.run(f"{file.name} for Kubernetes {version}", kubernetes_validate.validate, document, version,
                           True)
    checks.run("the kinds", require, set(found) == KINDS, str(set(found)))
    wrong = yaml.safe_load((DIRECTORY / "deployment.yaml").read_text())
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    checks.run("a misspelt member is noticed", is_refused, wrong)

    [deployment], [service], [policy] = found["Deployment"], found["Service"], found["NetworkPolicy"]
    [budget] = found["PodDisruptionBudget"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    checks.run("one pod always serves", one_always_serves, deployment["spec"], budget["spec"])
    checks.run("the pod is restricted", is_restricted, pod, container)
    checks.run("the probes", has_probes, container)
    checks.run("every selector selects the pod", selects, deployment, service, policy, budget)
    checks.run("every secret that is mounted has an example", has_examples, pod, container, found["Secret"])
    checks.run("every object is in the namespace", require, all(
        document["metadata"].get("namespace") == found["Namespace"][0]["metadata"]["name"]
        for kind in KINDS - {"Namespace"} for document in found[kind]), "another namespace")
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    checks.run("the image has the version of the program", require, container["image"].endswith(f":{version}"),
               container["image"])


def is_refused(document):
    try:
        kubernetes_validate.validate(document, VERSIONS[-1], True)
    except kubernetes_validate.ValidationError:
        return
    raise AssertionError("it was accepted")


def one_always_serves(spec, budget):
    rolled = spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    require(rolled and spec["replicas"] > budget["minAvailable"] >= 1, f"{spec['strategy']} {budget}")


def is_restricted(pod, container):
    """The profile `restricted` of the pod security standards, and a root that cannot be written to."""
    of_pod, own = pod["securityContext"], container["securityContext"]
    wanted = [of_pod["runAsNonRoot"], of_pod["runAsUser"] != 0, of_pod["seccompProfile"]["type"] == "RuntimeDefault",
              own["allowPrivilegeEscalation"] is False, own["capabilities"] == {"drop": ["ALL"]},
              own["readOnlyRootFilesystem"], pod["automountServiceAccountToken"] is False]
    require(all(wanted), f"{of_pod} {own}")
    require(all(set(volume) <= {"name", "secret"} for volume in pod["volumes"]), "a volume that is no secret")
    # The user of the image: the mounted secrets belong to its group.
    build = (ROOT / "deploy/container/build.sh").read_text()
    user = f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}"
    require(f"--user {user}" in build, f"the image has not the user {user}")
    require(of_pod["fsGroup"] == of_pod["runAsGroup"], "the mounted secrets have another group")


def has_probes(container):
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    wanted = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    require(probes == wanted, str(probes))


def selects(deployment, service, policy, budget):
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                     policy["spec"]["podSelector"]["matchLabels"], budget["spec"]["selector"]["matchLabels"]]:
        require(selector == labels, str(selector))
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    require({service["spec"]["ports"][0]["targetPort"], policy["spec"]["ingress"][0]["ports"][0]["port"]} == ports,
            str(ports))


def has_examples(pod, container, secrets):
    examples = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in secrets}
    mounted = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"]}
    require(set(mounted.values()) == set(examples), f"{mounted} {examples}")
    places = {mount["mountPath"]: examples[mounted[mount["name"]]] for mount in container["volumeMounts"]}
    files = [pathlib.PurePosixPath(entry["value"]) for entry in container["env"] if entry["name"].endswith("_FILE")]
    require(len(files) == len(places), str(files))
    for file in files:
        require(file.name in places[str(file.parent)], f"{file} is in no secret")
