"""Usage: authlib_provider.py PORT. An issuer made with Authlib's server for Flask, as its documentation shows it. It knows nothing
of Crossfade. A line of JSON sets its one client, and is answered when it is served: {client_id, client_secret}."""

import sys

import authlib.oauth2.rfc6749 as oauth2
import flask
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import ECKey, KeySet

from issuers import serve_beside
from lines import serve

port = int(sys.argv[1])
issuer = f"http://127.0.0.1:{port}"
keys = KeySet([ECKey.generate_key("P-256", {"kid": "the-key", "use": "sig", "alg": "ES256"}, private=True)])
client = None
tokens = {}


class Client(oauth2.ClientMixin):
    def __init__(self, client_id, client_secret):
        self.client_id, self.client_secret = client_id, client_secret

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_client_secret(self, client_secret):
        return client_secret == self.client_secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method in ("client_secret_basic", "client_secret_post")

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials"


class Token(dict, oauth2.TokenMixin):
    def check_client(self, asking):
        return self["client_id"] == asking.get_client_id()

    def get_expires_in(self):
        return self["expires_in"]

    def is_expired(self):
        return False

    def is_revoked(self):
        return self["revoked"]


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self):
        return keys

    def get_audiences(self, client, user, scope):
        return ["https://api.example.com"]


class ClientCredentials(oauth2.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class OfTokens:
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, token, hint):
        return tokens.get(token)


class Revocation(OfTokens, RevocationEndpoint):
    def revoke_token(self, token, request):
        token["revoked"] = True


class Introspection(OfTokens, IntrospectionEndpoint):
    def check_permission(self, token, client, request):
        return token.check_client(client)

    def introspect_token(self, token):
        return {"active": True, "client_id": token["client_id"], "iss": issuer}


app = flask.Flask(__name__)
server = AuthorizationServer(
    app,
    query_client=lambda client_id: client if client and client.client_id == client_id else None,
    save_token=lambda token, request: tokens.update({
        token["access_token"]: Token(token, client_id=request.client.client_id, revoked=False),
    }),
)
server.register_token_generator("default", Tokens(issuer=issuer, alg="ES256"))
server.register_grant(ClientCredentials)
server.register_endpoint(Revocation)
server.register_endpoint(Introspection)


@app.post("/oauth/token")
def token():
    return server.create_token_response()


@app.post("/oauth/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.post("/oauth/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


def set_client(given):
    global client
    client = Client(**given)
    return {"issuer": issuer}


serve_beside(app, port)
serve(set_client, lambda error: {"error": str(error)})
