"""JSON Schemas of what is sent and answered: rows, tensors, MLflow's payloads, facts, errors.

For each thing that may be sent, a schema has one plain way, in full: whoever follows it is
answered. The protocols take a few more, which descriptions name. JSON Schema can't say that lists
must be equally long, nor that a tensor's shape must fit its data; descriptions do.
"""

from __future__ import annotations

from typing import Any

from twofold.model.rows import MAX_INT64, within_years
from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Contract
from twofold.wire.statuses import STATUSES
from twofold.wire.v2_datatypes import DATATYPES, OF_FIELD, OF_OUTPUT

Schema = dict[str, Any]

JSON_TYPES = {
    "bool": "boolean",
    "int64": "integer",
    "float32": "number",
    "float64": "number",
    "string": "string",
    "timestamp": "string",
    "tensor": "array",
}
MAX_FLOAT32 = float.fromhex("0x1.fffffep127")
_DAY = (
    "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)-"
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_FOURTH = "(0[48]|[2468][048]|[13579][26])"
_LEAP_DAY = f"([0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
LOCAL_TIMESTAMP = f"^({_DAY}|{_LEAP_DAY})T{_TIME}$"
"""ISO 8601 without a zone; other forms of it are taken, too."""
FLAG: Schema = {"type": ["boolean", "null"]}
TEXT: Schema = {"type": "string"}


def closed(**members: Any) -> Schema:
    """An object of exactly these members."""
    return {**opened(**members), "additionalProperties": False}


def opened(**members: Any) -> Schema:
    """An object of these members; others are ignored."""
    return {"type": "object", "properties": members, "required": list(members)}


def many(items: Schema, most: int, least: int = 1) -> Schema:
    """A list of so many items."""
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


# Rows and predictions


def row_schema(signature: Signature) -> Schema:
    """One row: an object by field name, or a list in the signature's order."""
    return {"oneOf": [named_row_schema(signature), _listed_row_schema(signature)]}


def named_row_schema(signature: Signature) -> Schema:
    """One row by field name."""
    fields = {field.name: field_schema(field) for field in signature.fields}
    ignored: Schema = {
        name: {"description": "Not used by the model; may be sent."} for name in signature.ignored
    }
    return {
        "type": "object",
        "properties": fields | ignored,
        "required": list(fields),
        "additionalProperties": signature.extra_fields == "ignore",
    }


def _listed_row_schema(signature: Signature) -> Schema:
    fields = signature.fields
    return {
        "type": "array",
        "prefixItems": [field_schema(field) for field in fields],
        "minItems": len(fields),
        "maxItems": len(fields),
    }


def field_schema(field: Field) -> Schema:
    """One value of a field."""
    kind = JSON_TYPES[field.type]
    schema: Schema = {"type": [kind, "null"] if field.nullable else kind}
    if field.type == "int64":
        schema |= {"format": "int64", "minimum": -MAX_INT64 - 1, "maximum": MAX_INT64}
    elif field.type == "float32":
        schema |= {"format": "float", "minimum": -MAX_FLOAT32, "maximum": MAX_FLOAT32}
    elif field.type == "float64":
        schema["format"] = "double"
    elif field.type == "tensor":
        length = field.length or 0
        schema |= {"items": {"type": "number"}, "minItems": length, "maxItems": length}
    elif field.type == "timestamp":
        schema["description"] = within_years(field)
        schema |= {"format": "date-time"} if field.zoned else {"pattern": LOCAL_TIMESTAMP}
    elif field.categories is not None and field.unknown_categories == "refuse":
        schema["enum"] = [*field.categories, None] if field.nullable else list(field.categories)
    return schema


def prediction_schema(output: Output) -> Schema:
    """One prediction: a value, or an object by output name if there are several."""
    one = _value_schema(output)
    if len(output.names) == 1:
        return one
    return opened(**dict.fromkeys(output.names, one))


def _value_schema(output: Output) -> Schema:
    one: Schema = {"type": JSON_TYPES[output.type]}
    if output.kind == "probability":
        one |= {"minimum": 0, "maximum": 1}
    return one


# twofold's own protocol


def predict_schema(row: Schema, *, max_rows: int) -> Schema:
    """The body of a predict request, given the schema of a row."""
    return {"oneOf": [closed(row=row), closed(rows=many(row, max_rows, 0))]}


def predicted_schema(served: Contract) -> Schema:
    """The answer to a predict request."""
    source = {
        "model": {"const": served.name},
        "version": {"const": served.version},
        "source": {"const": "live"},
    }
    one = prediction_schema(served.output)
    several = {"type": "array", "items": one}
    return {"oneOf": [closed(prediction=one, **source), closed(predictions=several, **source)]}


# Answers by key

KEY: Schema = {
    "type": ["string", "integer"],
    "description": "The key as it stands in the batch's key column; a number without fraction.",
}
AGE: Schema = {
    "type": ["number", "null"],
    "minimum": 0,
    "description": "Age in seconds up to which a stored prediction is fresh.",
}

PUBLISHED: Schema = {
    **FLAG,
    "description": "Whether the features that the batch had are answered, too.",
}


def ask_schema(signature: Signature, row: Schema, *, max_keys: int) -> Schema:
    """The body of a request by key: for one key, or for many."""
    one = closed(key=KEY)
    one["properties"] |= {
        "row": {"anyOf": [row, {"type": "null"}]},
        "changes": {
            "type": ["object", "null"],
            "properties": {field.name: field_schema(field) for field in signature.fields},
            "additionalProperties": False,
            "description": (
                "Fields that have other values now than in the row, or than in the batch, if its "
                "features were published."
            ),
        },
        "max_age_s": AGE,
        "row_as_of": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When the row was true; by default now.",
        },
        "keep": {
            **FLAG,
            "description": "Whether a live prediction is kept for all until the next batch.",
        },
        "features": PUBLISHED,
    }
    several = closed(keys=many(KEY, max_keys, 0))
    several["properties"] |= {"max_age_s": AGE, "features": PUBLISHED}
    return {"oneOf": [one, several]}


def answer_schema(served: Contract) -> Schema:
    """The answer for a key."""
    prediction = prediction_schema(served.output)
    what = "One that is stored by another version is as that version gives it."
    answer = closed(
        key=KEY,
        prediction={**prediction, "description": what},
        model={"const": served.name},
        version=TEXT,
        source={"enum": ["batch", "live"]},
        as_of={
            "type": "string",
            "format": "date-time",
            "description": "When what was predicted from was true.",
        },
        age_s={"type": "number", "minimum": 0, "description": "Seconds since then."},
        fresh={"type": "boolean", "description": "Whether that is as young as was asked for."},
    )
    answer["properties"] |= {
        "why": {**TEXT, "description": "Why it isn't simply what is stored, if it isn't."},
        "run_id": {**TEXT, "description": "The batch run, of what is stored by one."},
        "features": {
            "type": "object",
            "description": "Those the batch had, if they are asked for and were published.",
        },
    }
    return answer


def answers_schema(answer: Schema) -> Schema:
    """The answer for many keys: one for each, or what is wrong with it."""
    failed = closed(key=KEY, error=TEXT, code={"enum": sorted(STATUSES)})
    return closed(answers={"type": "array", "items": {"anyOf": [answer, failed]}})


MODELS = closed(
    models={
        "type": "array",
        "items": closed(name=TEXT, version=TEXT, default={"type": "boolean"}),
    }
)
MODEL = closed(
    name=TEXT,
    version=TEXT,
    digest=TEXT,
    framework=TEXT,
    created_at={"type": "string", "format": "date-time"},
    runtimes=closed(batch=TEXT, real_time=TEXT),
    inputs={
        "type": "array",
        "items": opened(name=TEXT, type={"enum": list(JSON_TYPES)}, nullable={"type": "boolean"}),
    },
    ignored={"type": "array", "items": TEXT},
    extra_fields={"enum": ["refuse", "ignore"]},
    output=closed(
        kind={"enum": ["probability", "label", "value"]},
        type={"enum": list(OF_OUTPUT)},
        names={"type": "array", "items": TEXT},
        classes={"type": ["array", "null"], "items": TEXT},
    ),
)

# The Open Inference Protocol


def infer_schema(served: Contract, *, max_rows: int) -> Schema:
    """The JSON of an infer request: a tensor per field, or all numbers in one."""
    fields, outputs = served.signature.fields, served.output.names
    tensors: Schema = {
        "type": "array",
        "prefixItems": [_tensor_schema(field, max_rows) for field in fields],
        "minItems": len(fields),
        "maxItems": len(fields),
        "description": "A tensor per field, in this order or another; all of as many rows.",
    }
    table = _table_schema(served.signature, max_rows)
    asked: Schema = {
        "type": "object",
        "properties": {
            "name": {"enum": list(outputs)},
            "parameters": _parameters("binary_data", "Whether it is answered as raw bytes."),
        },
        "required": ["name"],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"], "description": "It is given back."},
            "parameters": _parameters(
                "binary_data_output", "Whether outputs are answered as raw bytes."
            ),
            "inputs": tensors if table is None else {"anyOf": [tensors, table]},
            "outputs": {
                "type": ["array", "null"],
                "items": asked,
                "maxItems": len(outputs),
                "description": "Those that are wanted, each once; without it all.",
            },
        },
        "required": ["inputs"],
    }


def _parameters(name: str, what: str) -> Schema:
    return {"type": ["object", "null"], "properties": {name: {**FLAG, "description": what}}}


def _tensor_schema(field: Field, max_rows: int) -> Schema:
    length = (field.length or 0) if field.type == "tensor" else 1
    values = {"type": "number"} if field.type == "tensor" else field_schema(field)
    return opened(
        name={"const": field.name},
        datatype={
            "const": OF_FIELD[field.type],
            "description": "Another one whose values fit is taken, too.",
        },
        shape={
            "type": "array",
            "prefixItems": [_rows(max_rows), {"const": length}],
            "minItems": 2 if field.type == "tensor" else 1,
            "maxItems": 2,
        },
        data={
            **many(values, max_rows * length, length),
            "description": "Its values row by row, as many as the shape says.",
        },
    )


def _table_schema(signature: Signature, max_rows: int) -> Schema | None:
    """All fields in one tensor, a column each; None if they aren't all numbers."""
    fields = signature.fields
    width = len(fields)
    kinds = {field.type for field in fields}
    if width < 2 or not kinds <= {"float32", "float64"}:  # noqa: PLR2004 - one field is a tensor
        return None
    kind = "FP32" if kinds == {"float32"} else "FP64"
    bound = MAX_FLOAT32 if "float32" in kinds else None
    number: Schema = {"type": ["number", "null"] if _all_nullable(fields) else "number"}
    if bound is not None:
        number |= {"minimum": -bound, "maximum": bound}
    tensor = opened(
        name={
            "type": "string",
            "not": {"enum": [*signature.names, *signature.ignored]},
            "description": "Any but a field's.",
        },
        datatype={"const": kind, "description": "Another one whose values fit is taken, too."},
        shape={
            "type": "array",
            "prefixItems": [_rows(max_rows), {"const": width}],
            "minItems": 2,
            "maxItems": 2,
        },
        data={
            **many(number, max_rows * width, width),
            "description": f"Rows of {width} values: {', '.join(signature.names)}.",
        },
    )
    return {**many(tensor, 1), "description": "One tensor, with a column per field."}


def _all_nullable(fields: tuple[Field, ...]) -> bool:
    return all(field.nullable for field in fields)


def _rows(max_rows: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": max_rows}


def inferred_schema(served: Contract) -> Schema:
    """The JSON answer to an infer request."""
    output = served.output
    tensor = closed(
        name={"enum": list(output.names)},
        datatype={"const": OF_OUTPUT[output.type].name},
        shape=many({"type": "integer", "minimum": 1}, 1),
        data={"type": "array", "items": _value_schema(output), "minItems": 1},
    )
    answer = closed(
        model_name={"const": served.name},
        model_version={"const": served.version},
        outputs=many(tensor, len(output.names)),
    )
    answer["properties"]["id"] = TEXT
    return answer


DATATYPE: Schema = {"enum": list(DATATYPES)}
SHAPE: Schema = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}
TENSORS: Schema = {
    "type": "array",
    "items": closed(name=TEXT, datatype=DATATYPE, shape=SHAPE),
}
SERVER = closed(name=TEXT, version=TEXT, extensions={"type": "array", "items": TEXT})
METADATA = closed(
    name=TEXT,
    versions={"type": "array", "items": TEXT, "minItems": 1},
    platform=TEXT,
    inputs=TENSORS,
    outputs=TENSORS,
)
_CONFIGURED: Schema = {
    "type": "array",
    "items": closed(
        name=TEXT,
        data_type={"type": "string", "pattern": "^TYPE_"},
        dims=many({"type": "integer", "minimum": 1}, 1),
    ),
}
CONFIG = closed(
    name=TEXT,
    platform=TEXT,
    backend=TEXT,
    max_batch_size={"type": "integer", "minimum": 1},
    input=_CONFIGURED,
    output=_CONFIGURED,
)
INDEX: Schema = {
    "type": "array",
    "items": closed(
        name=TEXT,
        version=TEXT,
        state={"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
        reason=TEXT,
    ),
}
READY_ONLY: Schema = {
    "type": "object",
    "properties": {"ready": {**FLAG, "description": "Whether to leave out what can't predict."}},
}

# MLflow


def invocations_schema(served: Contract, *, max_rows: int) -> Schema:
    """The JSON of an MLflow request: rows under one of four names."""
    signature = served.signature
    named, listed = named_row_schema(signature), _listed_row_schema(signature)
    row: Schema = {"oneOf": [named, listed]}
    split = closed(data=many(listed, max_rows))
    split["properties"] |= {
        "columns": {
            "anyOf": [{"const": list(signature.names)}, {"type": "null"}],
            "description": "The fields, in this order or another, and columns that are ignored.",
        },
        "index": {"description": "Ignored."},
    }
    columns = opened(**{field.name: _column_schema(field, max_rows) for field in signature.fields})
    columns |= {
        "additionalProperties": signature.extra_fields == "ignore",
        "description": "A list for each field, all of the same length; or one row's values.",
    }
    rows = many(row, max_rows)
    payloads: Schema = {
        "dataframe_split": split,
        "dataframe_records": many(named, max_rows),
        "instances": rows,
        "inputs": {"anyOf": [columns, rows]},
    }
    ignored: Schema = {"params": {}, "signature_name": {}}
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: payload, **ignored},
                "required": [name],
                "additionalProperties": False,
            }
            for name, payload in payloads.items()
        ]
    }


def _column_schema(field: Field, max_rows: int) -> Schema:
    one = field_schema(field)
    return {"anyOf": [one, many(one, max_rows)]}


def invoked_schema(served: Contract) -> Schema:
    """The JSON answer to an MLflow request."""
    return closed(
        predictions={"type": "array", "items": prediction_schema(served.output), "minItems": 1}
    )


# Refusals

ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "where: expected X, got Y. Fix."},
        "code": {"enum": sorted(STATUSES)},
        "field": {"type": "string", "description": "The field at fault, if one is."},
        "request_id": {"type": "string", "description": "To ask the operator about."},
    },
    "required": ["error", "code"],
}
