"""A Prometheus that scrapes a server with a token: its rules are silent, and every panel shows something."""

import contextlib
import subprocess
import tempfile

import requests
import yaml

from deployed import RULES, alerts, filled, queries
from instance import end, eventually, free_port, instance, require, token_of

# What a healthy server without TLS does not show.
EMPTY = {
    "Server errors by operation": "no request failed",
    "TLS certificate ends in": "no TLS",
    "Failed handshakes": "one of its queries needs TLS",
    "Since the last loss of evidence": "no evidence was lost",
    "Disk of the SQLite database": "on PostgreSQL",
}


def play(checks, arguments):
    with instance(arguments) as server, tempfile.TemporaryDirectory() as directory:
        with prometheus(server, directory) as (url, scraped):
            property_id = server.api("POST", "/properties", {"name": "Shop"})["id"]
            body = {"name": "Billing", "property_id": property_id, "environments": ["production"]}
            [registration] = server.api("POST", "/clients", body)["registrations"]

            def scraped_twice():
                requests.post(f"{server.issuer('production')}/oauth2/token", timeout=30,
                              auth=(registration["client_id"], registration["secret"]["value"]),
                              data={"grant_type": "client_credentials"})
                found = ask(url, 'rate(crossfade_http_requests_total{operation="token", status="200"}[1m])')
                require(found and float(found[0]["value"][1]) > 0, "no token was counted yet")

            checks.run("Prometheus scrapes the server with a token of an account without roles", eventually,
                       scraped_twice, 40)

            def evaluated():
                loaded = requests.get(f"{url}/api/v1/rules", timeout=30).json()["data"]["groups"]
                names = {rule["name"]: rule for group in loaded for rule in group["rules"]}
                require(all(rule["health"] != "unknown" for rule in names.values()), "a rule was not evaluated yet")
                return names

            names = eventually(evaluated, 60)
            checks.run("Prometheus has loaded every rule", require, set(names) == set(alerts()), str(set(names)))
            for name, rule in names.items():
                quiet = rule["state"] == "inactive" and rule["health"] == "ok"
                checks.run(f"{name} is silent for a healthy server", require, quiet, str(rule))
            for title, query in queries():
                found = ask(url, filled(query, scraped))
                checks.run(f"the panel {title} shows something", require, found or title in EMPTY, query)
        checks.run("the scraper cannot change anything", scrapes_only, server)


def scrapes_only(server):
    answer = requests.get(f"{server.url}/api/v1/clients", timeout=30,
                          headers={"Authorization": f"Bearer {server.scraper}"})
    require(answer.status_code in (200, 403) and not answer.json().get("items"), answer.text)


def ask(url, query):
    answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=30).json()
    require(answer["status"] == "success", f"{query}: {answer.get('error')}")
    return answer["data"]["result"]


@contextlib.contextmanager
def prometheus(server, directory):
    """Runs Prometheus; yields its URL and the name of the scraped instance."""
    account = server.api("POST", "/users", {"kind": "program", "name": "Prometheus"})
    server.scraper = token_of(server, account["id"])
    with open(f"{directory}/token", "w") as file:
        file.write(server.scraper)
    scraped = server.url.removeprefix("http://")
    job = {"job_name": "crossfade", "scrape_interval": "1s", "static_configs": [{"targets": [scraped]}],
           "authorization": {"credentials_file": f"{directory}/token"}}
    settings = {"global": {"evaluation_interval": "1s"}, "rule_files": [str(RULES)], "scrape_configs": [job]}
    with open(f"{directory}/prometheus.yml", "w") as file:
        yaml.safe_dump(settings, file)
    address = f"127.0.0.1:{free_port()}"
    with open(f"{directory}/log", "w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address={address}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(lambda: is_ready(address), 30)
        yield f"http://{address}", scraped
    finally:
        end(process)


def is_ready(address):
    try:
        status = requests.get(f"http://{address}/-/ready", timeout=5).status_code
    except requests.ConnectionError:
        status = None
    require(status == 200, f"Prometheus answers {status}")
