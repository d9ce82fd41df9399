"""Django's settings, all derived from `cpm.config.environment`."""

from pathlib import Path

from cpm.config import environment, secrets
from cpm.config.database import connection_settings

ENVIRONMENT = environment.read()

SECRET = ENVIRONMENT.secret_key or secrets.load_or_create(ENVIRONMENT.data)
SECRET_KEY = secrets.derive(SECRET, "django").hex()
TOKEN_KEY = secrets.derive(SECRET, "tokens")
FINGERPRINT_KEY = secrets.derive(SECRET, "fingerprints")
MACHINE_KEY = secrets.derive(SECRET, "machines")
SEALER = secrets.Sealer(SECRET)

DEBUG = False
ALLOWED_HOSTS = list(ENVIRONMENT.hosts)
ROOT_URLCONF = "cpm.config.urls"
WSGI_APPLICATION = "cpm.config.wsgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "cpm.User"
SILENCED_SYSTEM_CHECKS = ["auth.E003"]  # names are unique whatever the case, by a constraint

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "django_htmx",
    "procrastinate.contrib.django",
    "cpm.models.apps.ModelsConfig",
]

MIDDLEWARE = [
    "cpm.config.proxies.middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

DATABASES = {"default": connection_settings(ENVIRONMENT)}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

_CONSOLE = Path(__file__).parent.parent / "console"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_CONSOLE / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"words": "cpm.console.words"},
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [_CONSOLE / "static"]
# The files are found where their packages have put them: nothing has to be collected first.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

LOGIN_URL = "login"
SESSION_COOKIE_NAME = "cpm_session"
SESSION_COOKIE_AGE = 12 * 60 * 60

SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_CONTENT_TYPE_NOSNIFF = True

LOGGING_CONFIG = None  # cpm.config.logs sets logging up for each process
