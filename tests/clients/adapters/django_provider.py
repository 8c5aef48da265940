"""Usage: django_provider.py PORT. An issuer made with django-oauth-toolkit, as its documentation shows it. It knows nothing of
Crossfade. A line of JSON sets its one client, and is answered when it is served: {client_id, client_secret}."""

import pathlib
import secrets
import sys
import tempfile

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from issuers import serve_beside
from lines import serve

port = int(sys.argv[1])
directory = tempfile.TemporaryDirectory(prefix="crossfade-django-")
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": pathlib.Path(directory.name) / "issuer.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    OAUTH2_PROVIDER={"SCOPES": {"read": "Read", "introspection": "Introspect"}},
    ROOT_URLCONF="django_urls",
    SECRET_KEY=secrets.token_hex(),
    USE_TZ=True,
)
django.setup()
call_command("migrate", verbosity=0)

from oauth2_provider.models import Application  # noqa: E402 - models exist after the set-up


def set_client(given):
    Application.objects.all().delete()
    # A hashed secret costs a million iterations for each token.
    Application.objects.create(
        **given, hash_client_secret=False, client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
    return {"issuer": f"http://127.0.0.1:{port}/o"}


serve_beside(get_wsgi_application(), port)
serve(set_client, lambda error: {"error": str(error)})
