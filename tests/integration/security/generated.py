"""Protobuf messages of any kind, made up from their descriptors.

Every field may be left out, have a plausible value, an extreme one or any
other; words that the API knows are mixed in, so that what is generated gets
past the first check often enough to reach the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

LIST_MAX = 4

# By field name: what the API has a meaning for.
KNOWN: dict[str, tuple[str, ...]] = {
    "model": ("bytes", "../../etc/passwd", "tiny"),
    "role": ("system", "developer", "user", "assistant", "tool"),
    "content": ("Hi", "{{ 7 * 7 }}", "<|im_end|>"),
    "request_class": ("interactive", "agent", "batch"),
    "json_schema": ('{"type": "object"}', "{}", "[]", "7", '{"$ref": "#"}', '{"type": 3}'),
    "regex": ("a+", "(", "(a{9}){9}", "\\ud800", "(?=a)b"),
    "grammar": ('start: "a"', "start: start", "%import common.WS", ""),
    "texts": ("a", "", "a|b"),
    "text": ("Say", "{% for x in y %}"),
}
NUMBERS = (0, 1, 2, 3, 5, 16, 17, 100, 258, 259, 4096)
EXTREMES = (0.0, 0.5, 1.0, 2.0, -2.0, 2.5, float("nan"), float("inf"), -1e308, 5e-324)


def messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Instances of it."""
    return _instances(kind.DESCRIPTOR)


def _instances(descriptor: Any) -> st.SearchStrategy[Message]:
    make: Callable[..., Message] = GetMessageClass(descriptor)
    fields = {field.name: _values(field) for field in descriptor.fields if _is_alone(field)}
    chosen = [
        st.sampled_from(list(oneof.fields)).flatmap(_one_field)
        for oneof in descriptor.oneofs
        if len(oneof.fields) > 1
    ]
    return st.builds(
        lambda plain, *ones: make(**plain, **{k: v for one in ones for k, v in one.items()}),
        st.fixed_dictionaries({}, optional=fields),
        *(st.one_of(st.just({}), one) for one in chosen),
    )


def _is_alone(field: Any) -> bool:
    """No alternative to others; an `optional` one is, to protobuf, an alternative to nothing."""
    return field.containing_oneof is None or len(field.containing_oneof.fields) == 1


def _one_field(field: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field.name: _values(field)})


def _values(field: Any) -> st.SearchStrategy[Any]:
    return st.lists(_value(field), max_size=LIST_MAX) if field.is_repeated else _value(field)


def _value(field: Any) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return _instances(field.message_type)
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return st.binary(max_size=64)
        case FieldDescriptor.CPPTYPE_STRING:
            known = KNOWN.get(field.name, ("", "a"))
            words = [word for word in known if word.isprintable()]
            return st.one_of(st.sampled_from(words), st.text(max_size=300))
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return st.one_of(st.sampled_from(EXTREMES), st.floats())
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.sampled_from([value.number for value in field.enum_type.values])
        case FieldDescriptor.CPPTYPE_UINT32:
            return st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1))
        case FieldDescriptor.CPPTYPE_INT32:
            return st.one_of(st.sampled_from(NUMBERS), st.integers(-(2**31), 2**31 - 1))
        case FieldDescriptor.CPPTYPE_UINT64:
            return st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**64 - 1))
        case _:
            return st.one_of(st.sampled_from(NUMBERS), st.integers(-(2**63), 2**63 - 1))
