"""Usage: client.py authlib|requests-oauthlib. See README.md for the requests and answers."""

import os
import sys

from lines import serve


class Library:
    status = None

    def answer(self, request):
        self.status = None
        return self.handle(request)

    def remember(self, response):
        """The errors do not tell the status, or that which their class stands for instead of the one that was sent."""
        self.status = response.status_code
        return response

    def describe(self, error):
        return {"status": self.status, "error": getattr(error, "error", None)}


class Authlib(Library):
    def __init__(self):
        from authlib.integrations.requests_client import OAuth2Session

        self.session_class = OAuth2Session

    def handle(self, request):
        method = f"client_secret_{request['method']}"
        session = self.session_class(
            request["client_id"],
            request["client_secret"],
            scope=request.get("scope"),
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
        )
        session.register_compliance_hook("access_token_response", self.remember)
        if request["op"] == "introspect":
            answer = session.introspect_token(request["introspection_endpoint"], token=request["token"])
            return {**answer.json(), "status": answer.status_code}
        if request["op"] == "revoke":
            answer = session.revoke_token(request["revocation_endpoint"], token=request["token"])
            return {"status": answer.status_code}
        return dict(session.fetch_token(request["token_endpoint"], grant_type="client_credentials"))


class RequestsOauthlib(Library):
    def __init__(self):
        # It refuses plain http, which is all that a server on loopback has.
        os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
        from oauthlib.oauth2 import BackendApplicationClient
        from requests.auth import HTTPBasicAuth
        from requests_oauthlib import OAuth2Session

        self.client_class = BackendApplicationClient
        self.basic_class = HTTPBasicAuth
        self.session_class = OAuth2Session

    def handle(self, request):
        client_id, secret = request["client_id"], request["client_secret"]
        session = self.session_class(client=self.client_class(client_id, scope=request.get("scope")))
        session.register_compliance_hook("access_token_response", self.remember)
        if request["method"] == "basic":
            credentials = {"auth": self.basic_class(client_id, secret)}
        else:
            credentials = {"include_client_id": True, "client_secret": secret}
        return dict(session.fetch_token(request["token_endpoint"], **credentials))


library = {"authlib": Authlib, "requests-oauthlib": RequestsOauthlib}[sys.argv[1]]()
serve(library.answer, library.describe)
