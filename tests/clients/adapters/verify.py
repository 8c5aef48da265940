"""Usage: verify.py jwcrypto|pyjwt. See README.md for the requests and answers."""

import json
import sys

from lines import serve

REQUIRED = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "crossfade_secret"]


class WrongType(Exception):
    """Neither library checks `typ` itself."""


def with_jwcrypto():
    import requests
    from jwcrypto.jwk import JWKSet
    from jwcrypto.jwt import JWT

    def verify(request):
        keys = JWKSet.from_json(requests.get(request["jwks_uri"], timeout=10).text)
        expected = {**dict.fromkeys(REQUIRED), "iss": request["issuer"], "aud": request["audience"]}
        token = JWT(algs=[request["alg"]], check_claims=expected, expected_type="JWS")
        token.leeway = -request["seconds_ahead"]
        token.deserialize(request["token"], keys)
        return json.loads(token.header), json.loads(token.claims)

    return verify


def with_pyjwt():
    import jwt

    def verify(request):
        key = jwt.PyJWKClient(request["jwks_uri"]).get_signing_key_from_jwt(request["token"])
        token = jwt.decode_complete(
            request["token"],
            key.key,
            algorithms=[request["alg"]],
            issuer=request["issuer"],
            audience=request["audience"],
            leeway=-request["seconds_ahead"],  # moves the clock, for `exp`
            options={"require": REQUIRED, "verify_iat": request["seconds_ahead"] == 0},
        )
        return token["header"], token["payload"]

    return verify


verify = {"jwcrypto": with_jwcrypto, "pyjwt": with_pyjwt}[sys.argv[1]]()


def handle(request):
    header, claims = verify(request)
    if header.get("typ") != request["typ"]:
        raise WrongType(header.get("typ"))
    return {"claims": claims, "header": header}


serve(handle, lambda error: {})
