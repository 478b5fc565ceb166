"""A setting as it is declared: found by its path in the annotations that pydantic reads too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Member:
    """A setting as it is declared."""

    annotation: Any
    default: Any = None

    @property
    def bare(self) -> Any:
        """Its type without annotations and None."""
        return _bare(self.annotation)[0]

    @property
    def marks(self) -> tuple[Any, ...]:
        """What its annotation says beside the type."""
        return _bare(self.annotation)[1]

    @property
    def is_table(self) -> bool:
        """Whether it is written as a table only."""
        return is_table(self.bare) and not any(hasattr(mark, "words") for mark in self.marks)


def allowed_keys(kind: Any, loc: Sequence[Any]) -> list[str]:
    """The keys that a table takes; none where it takes any."""
    member = member_at(kind, loc)
    hidden = {n for n, m in members_of(member).items() if any(_is_elsewhere(k) for k in m.marks)}
    keys = sorted(set(members_of(member)) - (hidden if loc else set()))
    if keys or get_origin(member.bare) is not dict:
        return keys
    of_key = Member(get_args(member.bare)[0])
    return [a for mark in of_key.marks for a in getattr(mark, "allowed", ())]


def member_at(kind: Any, loc: Sequence[Any]) -> Member:
    """The setting at a place of what was to be built."""
    member = Member(kind)
    for part in loc:
        members = members_of(member)
        if part in members:
            member = members[part]
        elif arguments := get_args(member.bare):
            member = Member(arguments[-1] if arguments[-1] is not Ellipsis else arguments[0])
        else:
            return Member(Any)
    return member


def members_of(member: Member) -> dict[str, Member]:
    """The settings of a table; none of another value."""
    for mark in member.marks:
        if members := getattr(mark, "members", None):
            return {name: Member(kind, mark.defaults.get(name)) for name, kind in members.items()}
    if not is_dataclass(member.bare):
        return {}
    hints = get_type_hints(member.bare, include_extras=True)
    return {f.name: Member(hints[f.name], _default(f)) for f in fields(member.bare)}


def _default(field: Any) -> Any:
    factory: Callable[[], Any] | Any = field.default_factory
    if factory is not MISSING:
        return None
    return None if field.default is MISSING else field.default


def _is_elsewhere(mark: Any) -> bool:
    return bool(getattr(mark, "elsewhere", False))


def is_table(bare: Any) -> bool:
    """Whether a type is a table of settings."""
    return is_dataclass(bare) or bare is dict or get_origin(bare) is dict


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without None, and what is annotated of it."""
    if get_origin(annotation) is Annotated:
        inner, marks = _bare(get_args(annotation)[0])
        return inner, (*marks, *get_args(annotation)[1:])
    if get_origin(annotation) in (Union, UnionType):
        kept = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _bare(kept[0])
    return annotation, ()
