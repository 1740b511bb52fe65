"""The texts of all replies, in English and in Russian (RFC 6856 section 3).

``{}`` stands for a value. A reply is in English, which is ASCII, until the client chooses another language.
"""

from collections.abc import Callable
from operator import attrgetter

import attrs


@attrs.frozen
class ReplyText:
    """One text in each language; the fields have the language tags as their names."""

    en: str
    ru: str


@attrs.frozen
class Language:
    """A language: its tag (RFC 5646), its own name for itself, and its part of a :class:`ReplyText`."""

    tag: str
    name: str
    of: Callable[[ReplyText], str]


ENGLISH = Language("en", "English", attrgetter("en"))
RUSSIAN = Language("ru", "Русский", attrgetter("ru"))
LANGUAGES = (ENGLISH, RUSSIAN)

_BY_TAG = {language.tag: language for language in LANGUAGES}
# RFC 2277 section 4.5: a language that people who speak English understand.
_BY_TAG["i-default"] = ENGLISH


@attrs.frozen
class Phrase:
    """A text with its values, which may be phrases themselves."""

    text: ReplyText
    values: tuple[object, ...] = ()

    def said_in(self, language: Language) -> str:
        """The phrase in a language."""
        return language.of(self.text).format(
            *[value.said_in(language) if isinstance(value, Phrase) else value for value in self.values]
        )


def look_up(language_range: str, preferred: str) -> Language | None:
    """The language that matches a range best, or None if no language matches (RFC 4647 section 3.4).

    The range "*" stands for the language with the tag ``preferred``.
    """
    subtags = (preferred if language_range == "*" else language_range).lower().split("-")
    while subtags:
        if found := _BY_TAG.get("-".join(subtags)):
            return found
        subtags.pop()
    return None


def messages(count: int) -> ReplyText:
    """The text for a number of messages."""
    return _ONE_MESSAGE if count == 1 else _MESSAGES


def counted(language: Language, count: int) -> str:
    """A number of messages."""
    return language.of(messages(count)).format(count)


_ONE_MESSAGE = ReplyText("{} message", "сообщений: {}")
_MESSAGES = ReplyText("{} messages", "сообщений: {}")

SIGNING_OFF = ReplyText("{} POP3 server signing off", "{} сервер POP3 завершает сеанс")
SIGNING_OFF_EMPTY = ReplyText(
    "{} POP3 server signing off (maildrop empty)", "{} сервер POP3 завершает сеанс (ящик пуст)"
)
SIGNING_OFF_LEFT = ReplyText("{} POP3 server signing off ({} left)", "{} сервер POP3 завершает сеанс ({})")

# Commands in general
UNKNOWN_COMMAND = ReplyText("unknown command", "неизвестная команда")
LINE_TOO_LONG = ReplyText("the command line is too long", "слишком длинная строка команды")
SYNTAX = ReplyText("syntax: {}", "синтаксис: {}")
WRONG_STATE = ReplyText("{} is only allowed in the {} state", "команда {} допустима только в состоянии {}")
TOO_MANY_ERRORS = ReplyText("too many errors", "слишком много ошибок")
HTTP = ReplyText("this is a POP3 server, not a web server", "это сервер POP3, здесь нет веб-сервера")
TOO_BUSY = ReplyText("{}", "превышено ограничение, повторите попытку позже")
ACCOUNT_GONE = ReplyText("the account is no longer available", "учётная запись больше не доступна")

# Before the login
BEGIN_TLS = ReplyText("begin TLS", "начинайте TLS")
NO_TLS = ReplyText("TLS is not available", "TLS недоступен")
TLS_ALREADY = ReplyText("TLS is already active", "TLS уже используется")
STLS_AFTER_UTF8 = ReplyText("STLS must come before UTF8", "STLS должна предшествовать UTF8")
NEEDS_TLS = ReplyText("authentication requires TLS", "для входа требуется TLS")
NO_APOP = ReplyText("APOP is not available", "APOP недоступна")
MECHANISMS = ReplyText("mechanism list follows", "далее список механизмов")
UNKNOWN_MECHANISM = ReplyText(
    "mechanism not supported; AUTH without an argument lists the supported ones",
    "механизм не поддерживается; AUTH без аргумента выводит список поддерживаемых",
)
USER_FIRST = ReplyText("send USER first", "сначала отправьте USER")
SEND_PASSWORD = ReplyText("send the password", "отправьте пароль")

# Logins
WRONG_CREDENTIALS = ReplyText("wrong user name or password", "неверное имя пользователя или пароль")
INVALID_RESPONSE = ReplyText("invalid response; authentication failed", "недопустимый ответ; вход отклонён")
RESPONSE_TOO_LONG = ReplyText(
    "response too long; authentication failed", "ответ слишком длинный; вход отклонён"
)
CANCELLED = ReplyText("authentication cancelled", "вход отменён")
NO_AUTHENTICATION = ReplyText(
    "authentication is temporarily unavailable, try again later",
    "вход временно невозможен, повторите попытку позже",
)
IN_USE = ReplyText("the maildrop is locked by another session", "ящик занят другим сеансом")
TOO_SOON = ReplyText(
    "the time between two logins is too short, try again later",
    "слишком мало времени между входами, повторите попытку позже",
)
NO_MAILDROP = ReplyText(
    "the maildrop is temporarily unavailable, try again later",
    "ящик временно недоступен, повторите попытку позже",
)
BROKEN_MAILDROP = ReplyText(
    "the maildrop cannot be read, contact the administrator",
    "ящик невозможно прочитать, обратитесь к администратору",
)
WELCOME = ReplyText("maildrop has {} ({} octets)", "в ящике {} (октетов: {})")
WELCOME_BY_NAME = ReplyText("{}'s maildrop has {} ({} octets)", "{}: в ящике {} (октетов: {})")

# The maildrop
TOTAL = ReplyText("{} ({} octets)", "{} (октетов: {})")
UNIQUE_IDS = ReplyText("unique-id listing follows", "далее список уникальных идентификаторов")
DELETED = ReplyText("message {} deleted", "сообщение {} удалено")
ALREADY_DELETED = ReplyText("message {} already deleted", "сообщение {} уже удалено")
NO_SUCH_MESSAGE = ReplyText("no such message, only {} in maildrop", "нет такого сообщения, в ящике {}")
OCTETS = ReplyText("{} octets", "октетов: {}")
TOP = ReplyText("top of message follows", "далее начало сообщения")
VANISHED = ReplyText("message {} is no longer in the maildrop", "сообщения {} больше нет в ящике")
UNREADABLE = ReplyText(
    "message {} is temporarily unavailable, try again later",
    "сообщение {} временно недоступно, повторите попытку позже",
)
BROKEN_MESSAGE = ReplyText(
    "message {} cannot be read, contact the administrator",
    "сообщение {} невозможно прочитать, обратитесь к администратору",
)
ONE_NOT_REMOVED = ReplyText(
    "some deleted messages not removed (message {} remains)",
    "некоторые удалённые сообщения остались (сообщение {})",
)
NOT_REMOVED = ReplyText(
    "some deleted messages not removed (messages {} remain)",
    "некоторые удалённые сообщения остались (сообщения {})",
)
MANY_NOT_REMOVED = ReplyText(
    "some deleted messages not removed (messages {} and {} more remain)",
    "некоторые удалённые сообщения остались (сообщения {} и ещё {})",
)

# Extensions
CAPABILITIES = ReplyText("capability list follows", "далее список возможностей")
UTF8_MODE = ReplyText("UTF-8 mode", "режим UTF-8")
LANGUAGE_LIST = ReplyText("language list follows", "далее список языков")
LANGUAGE_CHANGED = ReplyText("{} language changed", "{} язык изменён")
UNKNOWN_LANGUAGE = ReplyText("language not supported", "язык не поддерживается")
