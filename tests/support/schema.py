"""JSON Schema 2020-12, as far as the API's document uses it.

    errors = schema.check(document, {"$ref": "#/components/schemas/TaskInfo"}, value)

Stricter than the standard on purpose: a property that no schema of its object names is an error, so that a
field which the document does not know is noticed; and a word that is not implemented here raises.
"""

import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
# Said to people, or checked together with another word.
WORDS = {"description", "examples", "title", "default", "format", "writeOnly", "discriminator", "required", "properties",
         "additionalProperties", "unevaluatedProperties", "$ref", "type", "enum", "const", "allOf", "anyOf", "oneOf", "items",
         "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "minProperties"}


def check(document, schema, value, at="$", known=None):
    """What is wrong, as texts. known: properties that a schema around this one names."""
    unknown = set(schema) - WORDS
    if unknown:
        raise ValueError("%s: this checker does not know %s" % (at, sorted(unknown)))
    if "$ref" in schema:
        return check(document, resolve(document, schema["$ref"]), value, at, known)
    known = (known or set()) | names(document, schema)
    errors = []
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(is_a(value, word) for word in types):
        return ["%s: %r is not %s" % (at, value, " or ".join(types))]
    if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
        errors.append("%s: %r is not allowed" % (at, value))
    for part in schema.get("allOf", []):
        errors += check(document, part, value, at, known)
    for word, least, most in (("anyOf", 1, 99), ("oneOf", 1, 1)):
        if word in schema:
            found = [check(document, part, value, at, known) for part in schema[word]]
            if not least <= found.count([]) <= most:
                errors.append("%s: %d of %s fit: %s" % (at, found.count([]), word, found))
    return errors + check_bounds(schema, value, at) + check_parts(document, schema, value, at, known)


def check_bounds(schema, value, at):
    size = value if is_a(value, "number") else None
    length = len(value) if isinstance(value, str) else None
    bounds = (("minimum", size, 1), ("maximum", size, -1), ("minLength", length, 1), ("maxLength", length, -1),
              ("minItems", len(value) if isinstance(value, list) else None, 1),
              ("maxItems", len(value) if isinstance(value, list) else None, -1),
              ("minProperties", len(value) if isinstance(value, dict) else None, 1))
    errors = ["%s: %r breaks %s %r" % (at, value, word, schema[word]) for word, measure, sign in bounds
              if word in schema and measure is not None and sign * (measure - schema[word]) < 0]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        errors.append("%s: %r does not match %s" % (at, value, schema["pattern"]))
    forms = {"uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"}
    if isinstance(value, str) and not re.fullmatch(forms.get(schema.get("format"), "(?s).*"), value):
        errors.append("%s: %r is no %s" % (at, value, schema["format"]))
    return errors


def check_parts(document, schema, value, at, known):
    errors = []
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            errors += check(document, schema["items"], item, "%s[%d]" % (at, i))
    if not isinstance(value, dict):
        return errors
    errors += ["%s: %s is missing" % (at, name) for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in schema.get("properties", {}):
            errors += check(document, schema["properties"][name], item, "%s.%s" % (at, name))
        elif isinstance(schema.get("additionalProperties"), dict):
            errors += check(document, schema["additionalProperties"], item, "%s.%s" % (at, name))
        elif "properties" in schema and name not in known and schema.get("additionalProperties") is not True:
            errors.append("%s: %s is not in the document" % (at, name))
    return errors


def names(document, schema):
    """The properties that a schema and what it is made of name."""
    found = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= names(document, resolve(document, part["$ref"]) if "$ref" in part else part)
    return found


def resolve(document, link):
    for word in link.removeprefix("#/").split("/"):
        document = document[word]
    return document


def is_a(value, word):
    if word in ("number", "integer"):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and (word == "number" or value == int(value))
    return isinstance(value, TYPES[word])
