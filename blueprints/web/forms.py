"""The forms of the web pages; every one carries a CSRF token."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import BooleanField, PasswordField, SelectField, StringField
from wtforms.validators import DataRequired, EqualTo, Length, Optional, Regexp

MINIMUM_PASSWORD = 12
_USER_NAME = Regexp(
    r"^[A-Za-z0-9][A-Za-z0-9._@-]*$",
    message="Letters, digits, dot, dash, underscore and @ only; begin with a letter or digit.",
)

_ADDRESS = Regexp(r"^[^@\s]+@[^@\s]+$", message="This is not an e-mail address.")
_NEW = {"autocomplete": "new-password"}


def sent(field: StringField) -> str:
    """What was typed into a field; "" when nothing was."""
    return field.data or ""


class ActionForm(FlaskForm):
    """A form without fields: the CSRF token of a button."""


class SetupForm(FlaskForm):
    """First-run set-up of the administrator."""

    name = StringField("Name", validators=[DataRequired(), Length(max=64), _USER_NAME])
    email = StringField("E-mail", validators=[Optional(), Length(max=254), _ADDRESS])
    password = PasswordField(
        "Password",
        validators=[DataRequired(), Length(min=MINIMUM_PASSWORD, max=256)],
        render_kw=_NEW,
    )
    repeat = PasswordField(
        "Password again",
        validators=[DataRequired(), EqualTo("password", message="The passwords differ.")],
        render_kw=_NEW,
    )


class LoginForm(FlaskForm):
    """Name and password."""

    name = StringField(
        "Name", validators=[DataRequired(), Length(max=64)], render_kw={"autocomplete": "username"}
    )
    password = PasswordField(
        "Password",
        validators=[DataRequired(), Length(max=256)],
        render_kw={"autocomplete": "current-password"},
    )


class KeyForm(FlaskForm):
    """A new API key."""

    name = StringField("Name", validators=[DataRequired(), Length(max=64)])
    scope = SelectField("Scope", default="trade")
    account = SelectField("Default account")


class DownloadForm(FlaskForm):
    """Start a master-contract download."""

    force = BooleanField("Accept a contract that shrank", false_values=("", "no", "false"))
