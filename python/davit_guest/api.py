# SPDX-License-Identifier: Apache-2.0
"""What comes back from the API, in the shape hooks know (gen.apache.aurora.api.ttypes)."""


class _Codes:
    """An enum as Thrift makes them: names as class attributes and two tables."""

    _VALUES_TO_NAMES = {}
    _NAMES_TO_VALUES = {}


def enum(name, *pairs):
    by_value = {value: label for label, value in pairs}
    by_name = dict(pairs)
    return type(name, (_Codes,), dict(
        by_name, _VALUES_TO_NAMES=by_value, _NAMES_TO_VALUES=by_name))


ResponseCode = enum("ResponseCode", (
    "INVALID_REQUEST", 0), ("OK", 1), ("ERROR", 2), ("WARNING", 3), ("AUTH_FAILED", 4),
    ("JOB_UPDATING_ERROR", 5), ("ERROR_TRANSIENT", 6))


class View:
    """JSON read through attributes; what is not there is None, as in Thrift structs."""

    def __init__(self, data):
        self._data = data

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return view(self._data.get(name))

    def __getitem__(self, name):
        return view(self._data[name])

    def __contains__(self, name):
        return name in self._data

    def __eq__(self, other):
        return isinstance(other, View) and self._data == other._data

    __hash__ = None

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join(
            "%s=%r" % item for item in self._data.items()))


def view(value):
    if isinstance(value, dict):
        return View(value)
    if isinstance(value, list):
        return [view(each) for each in value]
    return value


class ResponseDetail:
    def __init__(self, message=None):
        self.message = message

    def __repr__(self):
        return "ResponseDetail(message=%r)" % (self.message,)


class Response:
    """Built from plain JSON {code, messages, result, cluster}."""

    def __init__(self, data):
        code = data.get("code", "OK")
        self.responseCode = ResponseCode._NAMES_TO_VALUES.get(code, ResponseCode.ERROR) \
            if isinstance(code, str) else int(code)
        self.details = [ResponseDetail(text) for text in data.get("messages") or []]
        self.result = view(data.get("result") or {})
        self.serverInfo = View({"clusterName": data.get("cluster")})

    @property
    def messageDEPRECATED(self):
        return ", ".join(detail.message for detail in self.details)

    def is_ok(self):
        return self.responseCode == ResponseCode.OK

    def __repr__(self):
        return "Response(responseCode=%s, details=%r, result=%r)" % (
            self.responseCode, self.details, self.result)


class APIError(Exception):
    """What err hooks get for an answer that is not OK: an exception that is also the answer."""

    def __init__(self, response):
        code = ResponseCode._VALUES_TO_NAMES.get(response.responseCode, "UNKNOWN")
        super().__init__("%s: %s" % (
            code, ", ".join(str(detail.message) for detail in response.details)))
        self.response = response
        self.responseCode = response.responseCode
        self.details = response.details
        self.result = response.result
        self.serverInfo = response.serverInfo

    def __str__(self):
        return "APIError: %s" % Exception.__str__(self)


def exception_from(data):
    """An exception like the one the call ended with: {type, message}."""
    kind = str(data.get("type") or "Error")
    klazz = type(kind if kind.isidentifier() else "Error", (Exception,), {
        "response": None, "responseCode": ResponseCode.ERROR,
        "details": [ResponseDetail(data.get("message"))], "result": View({}),
        "serverInfo": View({})})
    return klazz(data.get("message") or "")
