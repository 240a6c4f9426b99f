"""Annotations of parameters: defaults, limits, widget hints."""

import typing
from dataclasses import dataclass


def splitAnnotations(possiblyAnnotated):
    if typing.get_origin(possiblyAnnotated) is typing.Annotated:
        plain, *annotations = typing.get_args(possiblyAnnotated)
        return plain, tuple(annotations)
    return possiblyAnnotated, ()


def unannotatedType(possiblyAnnotated):
    return splitAnnotations(possiblyAnnotated)[0]


def findFirstAnnotation(annotations, kind):
    return next((a for a in annotations if isinstance(a, kind)), None)


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


class Default:
    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


class Validator:
    def validate(self, value):
        raise NotImplementedError("validate is not implemented")


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


@dataclass
class IsInstance(Validator):
    classtype: type | tuple

    def validate(self, value):
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type '{self.classtype}', is type '{type(value)}' value '{value}'")


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass
class Choice(Validator):
    choices: list

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


@dataclass
class Exclude(Validator):
    excludedValues: list

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"Value is {value}, but must not be an excluded value: {self.excludedValues}")
