"""Engine. What threads share, passed to compiled functions by its address instead of field by field.

A named tuple of forty arrays is three hundred numbers, and Numba hands each of them to each function: LLVM spends most
of its time on reading that. `Shared` lays the tuple out in memory once. Inside compiled code `s.field` is what the
tuple has there: arrays and numbers are loaded where they are used, a tuple in the tuple is an address again. The layout
is not written after it was made, so a load may be moved out of any loop.

This module imports Numba at once; only modules that are themselves imported late may import it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.core.typing.typeof import typeof_impl
from numba.extending import NativeValue, intrinsic, lower_getattr_generic, models, register_model, unbox

from scratchvae.engine.jit import jit


class SharedType(types.Type):  # type: ignore[misc]
    """The address of a named tuple of that type."""

    def __init__(self, of: Any) -> None:
        self.of = of
        super().__init__(name=f"Shared({of})")

    def field(self, name: str) -> tuple[int, Any]:
        """Its number and its type; (−1, None) for none of that name."""
        if name not in self.of.fields:
            return -1, None
        i = self.of.fields.index(name)
        return i, self.of.types[i]


class Shared:
    """A named tuple of arrays, numbers and such tuples, for compiled functions; it keeps the arrays alive."""

    def __init__(self, fields: Any) -> None:
        self.fields, self.kind = fields, SharedType(typeof(fields))
        self.block = np.zeros(lay_out(fields, np.zeros(0, np.uint8)), np.uint8)
        self.address = self.block.ctypes.data
        lay_out(fields, self.block)

    def __getattr__(self, name: str) -> Any:
        if name == "fields":  # not there yet, as in a copy
            raise AttributeError(name)
        return getattr(self.fields, name)

    def _replace(self, **changed: Any) -> "Shared":
        return Shared(self.fields._replace(**changed))


@typeof_impl.register(Shared)  # type: ignore[untyped-decorator]
def typeof_shared(value: Shared, context: Any) -> SharedType:
    """For calls from Python."""
    return value.kind


@register_model(SharedType)
class SharedModel(models.PrimitiveModel):  # type: ignore[misc]
    """An address."""

    def __init__(self, dmm: Any, fe_type: SharedType) -> None:
        super().__init__(dmm, fe_type, ir.IntType(8).as_pointer())


@unbox(SharedType)  # type: ignore[untyped-decorator]
def unbox_shared(typ: Any, obj: Any, c: Any) -> Any:
    """The attribute `address`."""
    address = c.pyapi.object_getattr_string(obj, "address")
    number = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    return NativeValue(c.builder.inttoptr(number, ir.IntType(8).as_pointer()), c.pyapi.c_api_error())


@infer_getattr
class SharedFields(AttributeTemplate):  # type: ignore[misc]
    """s.field has the type that the tuple says, a tuple in the tuple is shared as well."""

    key = SharedType

    def generic_resolve(self, typ: Any, attr: str) -> Any:
        """Of an attribute, or None for no field."""
        found = typ.field(attr)[1]
        return SharedType(found) if isinstance(found, types.NamedTuple) else found


def struct_of(context: Any, typ: Any) -> Any:
    """How a value of that type lies in memory: tuples as structures of their fields, all else as Numba has it."""
    if isinstance(typ, types.NamedTuple):
        return ir.LiteralStructType([struct_of(context, field) for field in typ.types])
    return context.get_value_type(typ)


def load_parts(builder: Any, pointer: Any) -> Any:
    """What lies there, a structure number by number, so that what is not used is not loaded."""
    kind = pointer.type.pointee
    if not isinstance(kind, ir.LiteralStructType | ir.ArrayType):
        value = builder.load(pointer)
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value
    found = ir.Constant(kind, ir.Undefined)
    for i in range(len(kind.elements) if isinstance(kind, ir.LiteralStructType) else kind.count):
        found = builder.insert_value(found, load_parts(builder, cgutils.gep_inbounds(builder, pointer, 0, i)), i)
    return found


@lower_getattr_generic(SharedType)  # type: ignore[untyped-decorator]
def lower_field(context: Any, builder: Any, typ: Any, value: Any, attr: str) -> Any:
    """A load, or the address within."""
    i, kind = typ.field(attr)
    pointer = builder.bitcast(value, struct_of(context, typ.of).as_pointer())
    place = cgutils.gep_inbounds(builder, pointer, 0, i)
    if isinstance(kind, types.NamedTuple):
        return builder.bitcast(place, value.type)
    return load_parts(builder, place)


@intrinsic  # type: ignore[untyped-decorator]
def put(typingctx: Any, fields: Any, memory: Any) -> Any:
    """Write the tuple into memory, if there is any; returns its size in bytes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind, array = struct_of(context, fields), context.make_array(memory)(context, builder, args[1])
        size = ir.Constant(ir.IntType(64), context.get_abi_sizeof(kind))
        with builder.if_then(builder.icmp_signed(">=", array.nitems, size)):
            store_parts(context, builder, fields, args[0], builder.bitcast(array.data, kind.as_pointer()))
        return size

    return types.intp(fields, memory), codegen


def store_parts(context: Any, builder: Any, typ: Any, value: Any, to: Any) -> None:
    """Field by field."""
    for i, field in enumerate(typ.types):
        part, place = builder.extract_value(value, i), cgutils.gep_inbounds(builder, to, 0, i)
        if isinstance(field, types.NamedTuple):
            store_parts(context, builder, field, part, place)
        else:
            if isinstance(field, types.Array):  # Python holds it: nobody here may count references
                part = builder.insert_value(part, ir.Constant(part.type.elements[0], None), 0)
            builder.store(part, place)


@jit
def lay_out(fields: Any, memory: Any) -> int:
    """Write the tuple into memory, if that is large enough; returns its size in bytes."""
    size: int = put(fields, memory)
    return size
