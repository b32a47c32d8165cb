//! Declarations of variables and parameters, and what they start with.

use super::ReadError;
use super::constant::{self, Constant};
use super::cursor::{Cursor, shown};
use super::module::Globals;
use super::syntax::{Space, Type, Variable};

/// The most dimensions of an array.
const DIMENSIONS: usize = 8;

/// The largest alignment, bytes.
const ALIGN: u32 = 1 << 16;

/// The most bytes of a module that initialisers may leave between the rows of arrays.
pub(super) const GAPS: u64 = 16 << 20;

/// The largest variable of a space, bytes: what the largest device has of it; 4 GiB of global memory.
fn limit(space: Space) -> u64 {
    match space {
        Space::Global | Space::Generic => 4 << 30,
        Space::Const => 64 << 10,
        Space::Shared => 227 << 10,
        Space::Local | Space::Param => 512 << 10,
    }
}

/// What stands between the state space and the name.
struct Declared {
    align: u32,
    ty: Type,
    /// 2 or 4 for `.v2` and `.v4`, else 1.
    lanes: u64,
}

/// Reads what follows the state space, up to the semicolon: one variable or several. `declare` is told each name and
/// its line, and says what to call it.
pub(super) fn declaration<'a>(
    cursor: &mut Cursor<'a>,
    space: Space,
    external: bool,
    globals: &mut Globals<'a>,
    mut declare: impl FnMut(&'a str, u32, &mut Globals<'a>) -> Result<String, ReadError>,
) -> Result<Vec<Variable>, ReadError> {
    let declared = declared(cursor)?;
    let mut variables = Vec::new();
    loop {
        let line = cursor.line();
        let name = cursor.word("the name of a variable")?;
        let name = declare(name, line, globals)?;
        let mut shape = shape(cursor)?;
        if declared.lanes > 1 {
            shape.push(Some(declared.lanes));
        }
        let mut initial = Initial::default();
        if cursor.take_mark('=') {
            if !matches!(space, Space::Global | Space::Const) {
                return Err(ReadError::new(line, "only `.global` and `.const` variables may have an initialiser"));
            }
            initial.read(cursor, declared.ty, &mut shape, globals)?;
        }
        if let Some(first) = shape.first_mut().filter(|first| first.is_none()) {
            if !external {
                return Err(ReadError::new(line, "only an `.extern` variable may be an array without a size"));
            }
            *first = Some(0);
        }
        let size = size(declared.ty, &shape, space, line)?;
        let Initial { bytes, addresses, .. } = initial;
        let align = declared.align;
        variables.push(Variable { name, space, align, size, initial: bytes, addresses, external, line });
        if !cursor.take_mark(',') {
            break;
        }
    }
    cursor.mark(';')?;
    Ok(variables)
}

/// Reads a parameter or a return value, `.param` included.
pub(super) fn parameter<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Variable), ReadError> {
    if cursor.peek_suffix() == Some("reg") {
        return Err(cursor.error("parameters in registers aren't supported, only `.param`"));
    }
    if !cursor.take_suffix("param") {
        return Err(cursor.unexpected("`.param`"));
    }
    let declared = declared(cursor)?;
    let line = cursor.line();
    let name = cursor.word("the name of a parameter")?;
    let mut shape = shape(cursor)?;
    if shape.first() == Some(&None) {
        return Err(ReadError::new(line, "a parameter must have a size"));
    }
    if declared.lanes > 1 {
        shape.push(Some(declared.lanes));
    }
    let size = size(declared.ty, &shape, Space::Param, line)?;
    let variable = Variable {
        name: name.to_owned(),
        space: Space::Param,
        align: declared.align,
        size,
        initial: Vec::new(),
        addresses: Vec::new(),
        external: false,
        line,
    };
    Ok((name, variable))
}

/// Reads alignment, attributes and type.
fn declared(cursor: &mut Cursor<'_>) -> Result<Declared, ReadError> {
    let mut align = None;
    let mut lanes = 1;
    let ty = loop {
        let line = cursor.line();
        match cursor.suffix("a type")? {
            "align" => align = Some(alignment(cursor)?),
            "attribute" => attribute(cursor)?,
            "v2" => lanes = 2,
            "v4" => lanes = 4,
            name => match Type::from_suffix(name) {
                Some(Type::Pred) => return Err(ReadError::new(line, "a predicate can't be in memory")),
                Some(ty) => break ty,
                None => return Err(ReadError::new(line, format!("expected a type, found `.{}`", shown(name)))),
            },
        }
    };
    // `.ptr .global .align 4` says what a pointer points to, which nothing depends on.
    if cursor.take_suffix("ptr") {
        while let Some(name @ ("global" | "const" | "shared" | "local" | "align")) = cursor.peek_suffix() {
            cursor.advance();
            if name == "align" {
                alignment(cursor)?;
            }
        }
    }
    let natural = ty.size() * u32::try_from(lanes).unwrap_or(1);
    Ok(Declared { align: align.unwrap_or(natural), ty, lanes })
}

fn alignment(cursor: &mut Cursor<'_>) -> Result<u32, ReadError> {
    let line = cursor.line();
    let align = cursor.number("an alignment")?;
    if align.is_power_of_two() && align <= ALIGN {
        Ok(align)
    } else {
        Err(ReadError::new(line, format!("an alignment must be a power of two up to {ALIGN}, found {align}")))
    }
}

/// `(.managed)`, `(.unified(1, 2))`: where memory is placed, which nothing depends on.
pub(super) fn attribute(cursor: &mut Cursor<'_>) -> Result<(), ReadError> {
    cursor.mark('(')?;
    loop {
        cursor.suffix("an attribute")?;
        if cursor.take_mark('(') {
            constant::integer(cursor, "an argument of the attribute")?;
            while cursor.take_mark(',') {
                constant::integer(cursor, "an argument of the attribute")?;
            }
            cursor.mark(')')?;
        }
        if !cursor.take_mark(',') {
            return cursor.mark(')');
        }
    }
}

/// Reads the extents of an array; none for a scalar. The first may be left open.
fn shape(cursor: &mut Cursor<'_>) -> Result<Vec<Option<u64>>, ReadError> {
    let mut shape = Vec::new();
    while cursor.take_mark('[') {
        if shape.len() == DIMENSIONS {
            return Err(cursor.error(format!("an array has at most {DIMENSIONS} dimensions")));
        }
        if shape.is_empty() && cursor.take_mark(']') {
            shape.push(None);
            continue;
        }
        shape.push(Some(constant::integer(cursor, "the extent of an array")?));
        cursor.mark(']')?;
    }
    Ok(shape)
}

/// Size of a variable in bytes.
fn size(ty: Type, shape: &[Option<u64>], space: Space, line: u32) -> Result<u64, ReadError> {
    let mut extents = shape.iter().map(|extent| extent.unwrap_or(0));
    let size = extents.try_fold(u64::from(ty.size()), u64::checked_mul);
    size.filter(|&size| size <= limit(space))
        .ok_or_else(|| ReadError::new(line, format!("the variable is larger than {} bytes", limit(space))))
}

/// What an initialiser says.
#[derive(Default)]
struct Initial {
    bytes: Vec<u8>,
    addresses: Vec<(u64, String, i64)>,
    /// How many bytes of the last address were given, where its bytes are given one by one.
    begun: Option<u32>,
}

/// An element of an initialiser.
enum Element {
    Constant(Constant),
    /// A variable or function, and what is added to its address.
    Address(String, i64),
    /// `0xFF00(NAME + 4)`: one byte of an address, and which one.
    AddressByte(String, i64, u32),
}

impl Initial {
    /// Reads the initialiser of a variable and closes an extent that was left open.
    fn read(
        &mut self,
        cursor: &mut Cursor<'_>,
        ty: Type,
        shape: &mut [Option<u64>],
        globals: &mut Globals<'_>,
    ) -> Result<(), ReadError> {
        let count = self.rows(cursor, ty, shape, 0, globals)?;
        if let Some(first) = shape.first_mut() {
            first.get_or_insert(count);
        }
        self.end_address(cursor.line())
    }

    /// Reads the elements of `shape`, the first of which is at byte `at`; gives how many rows there were.
    fn rows(
        &mut self,
        cursor: &mut Cursor<'_>,
        ty: Type,
        shape: &[Option<u64>],
        at: u64,
        globals: &mut Globals<'_>,
    ) -> Result<u64, ReadError> {
        let Some((&extent, inner)) = shape.split_first() else {
            self.element(cursor, ty, at, globals)?;
            return Ok(1);
        };
        cursor.mark('{')?;
        let mut count = 0;
        if cursor.take_mark('}') {
            return Ok(count);
        }
        let row = size(ty, inner, Space::Global, cursor.line())?;
        loop {
            if extent.is_some_and(|extent| count >= extent) {
                return Err(cursor.error("the initialiser has more elements than the array"));
            }
            let offset = row.checked_mul(count).and_then(|offset| offset.checked_add(at));
            let offset = offset.filter(|&offset| offset <= limit(Space::Global));
            let offset = offset.ok_or_else(|| cursor.error("the initialiser is too large"))?;
            self.rows(cursor, ty, inner, offset, globals)?;
            count += 1;
            if !cursor.take_mark(',') {
                cursor.mark('}')?;
                return Ok(count);
            }
        }
    }

    fn element(
        &mut self,
        cursor: &mut Cursor<'_>,
        ty: Type,
        at: u64,
        globals: &mut Globals<'_>,
    ) -> Result<(), ReadError> {
        let line = cursor.line();
        let gap = at.saturating_sub(self.bytes.len() as u64);
        globals.gaps = globals
            .gaps
            .checked_sub(gap)
            .ok_or_else(|| ReadError::new(line, format!("initialisers leave more than {GAPS} bytes between rows")))?;
        self.bytes.resize(self.bytes.len() + usize::try_from(gap).unwrap_or(0), 0);
        let element = element(cursor, globals)?;
        if !matches!(&element, Element::AddressByte(..)) {
            self.end_address(line)?;
        }
        match element {
            Element::Constant(constant) => {
                let bits = bits(constant, ty).ok_or_else(|| ReadError::new(line, "the value doesn't fit the type"))?;
                let count = usize::try_from(ty.size()).unwrap_or(0);
                self.bytes.extend(bits.to_le_bytes().into_iter().take(count));
            }
            Element::Address(name, addend) => {
                if !matches!(ty, Type::B64 | Type::U64 | Type::S64) {
                    return Err(ReadError::new(line, "an address needs a type of 64 bits"));
                }
                self.addresses.push((at, name, addend));
                self.bytes.extend([0; 8]);
            }
            Element::AddressByte(name, addend, byte) => {
                if ty.size() != 1 {
                    return Err(ReadError::new(line, "a byte of an address needs a type of 8 bits"));
                }
                if byte == 0 {
                    self.end_address(line)?;
                    self.addresses.push((at, name, addend));
                } else {
                    let first = at.checked_sub(u64::from(byte));
                    let follows = self.begun == Some(byte)
                        && self.addresses.last().is_some_and(|(offset, last, plus)| {
                            Some(*offset) == first && *last == name && *plus == addend
                        });
                    if !follows {
                        return Err(ReadError::new(line, "the bytes of an address must follow each other"));
                    }
                }
                self.begun = if byte == 7 { None } else { Some(byte + 1) };
                self.bytes.push(0);
            }
        }
        Ok(())
    }

    /// Checks that all bytes of the last address were given.
    fn end_address(&self, line: u32) -> Result<(), ReadError> {
        match self.begun {
            None => Ok(()),
            Some(_) => Err(ReadError::new(line, "expected the next byte of an address")),
        }
    }
}

/// Reads an element.
fn element(cursor: &mut Cursor<'_>, globals: &Globals<'_>) -> Result<Element, ReadError> {
    let line = cursor.line();
    if !constant::begins(cursor) {
        let (name, addend) = address(cursor, globals)?;
        return Ok(Element::Address(name, addend));
    }
    let value = constant::constant(cursor)?;
    if !cursor.take_mark('(') {
        return Ok(Element::Constant(value));
    }
    let byte = (0..8).find(|byte| value == Constant::Integer(0xFF << (8 * byte)));
    let byte = byte.ok_or_else(|| ReadError::new(line, "the mask of an address must cover one byte"))?;
    let (name, addend) = address(cursor, globals)?;
    cursor.mark(')')?;
    Ok(Element::AddressByte(name, addend, byte))
}

/// Reads `NAME`, `NAME + 4`, `generic(NAME) + 4`.
fn address(cursor: &mut Cursor<'_>, globals: &Globals<'_>) -> Result<(String, i64), ReadError> {
    let line = cursor.line();
    let mut name = cursor.word("a value")?;
    if name == "generic" && cursor.take_mark('(') {
        name = cursor.word("a variable or function")?;
        cursor.mark(')')?;
    }
    if globals.get(name).is_none() {
        return Err(ReadError::new(line, format!("`{}` isn't declared", shown(name))));
    }
    Ok((name.to_owned(), constant::offset(cursor)?))
}

/// The bits of a constant in a type, if they fit.
fn bits(constant: Constant, ty: Type) -> Option<u128> {
    let size = ty.size();
    match constant {
        Constant::Integer(value) => {
            let float = matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::F32 | Type::F64);
            // As a signed number or as an unsigned one.
            let unused = 64_u32.saturating_sub(8 * size);
            let fits = (value << unused) >> unused == value
                || ((value << unused).cast_signed() >> unused).cast_unsigned() == value;
            if float || !fits { None } else { Some(u128::from(value)) }
        }
        Constant::F32(bits) => match size {
            4 => Some(u128::from(bits)),
            _ => None,
        },
        Constant::F64(bits) => match (ty, size) {
            #[expect(clippy::cast_possible_truncation, reason = "PTX rounds a decimal fraction to the type")]
            (Type::F32, _) => Some(u128::from((f64::from_bits(bits) as f32).to_bits())),
            (_, 8) => Some(u128::from(bits)),
            _ => None,
        },
    }
}
