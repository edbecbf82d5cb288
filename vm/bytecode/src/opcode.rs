//! The one opcode table. From it come the enum, the names and the operand shapes
//! that the encoder, the verifier and the disassembler walk.
//!
//! An instruction is one 64-bit word:
//!
//! ```text
//!  63           48 47           32 31           16 15     8 7      0
//! +---------------+---------------+---------------+--------+--------+
//! |       c       |       b       |       a       |   n    |   op   |
//! +---------------+---------------+---------------+--------+--------+
//! |        bx (u32) or sbx (i32)  |       a       |   n    |   op   |
//! +-------------------------------+---------------+--------+--------+
//! ```
//!
//! `r[x]` is register x of the frame's window: `r[0]` is `this`, `r[1]..` are the
//! parameters, then locals and temporaries. The machine has no operand stack.
//!
//! **Calls.** `Call` finds the callee in `r[b]`, `this` in `r[b+1]` and `n`
//! arguments from `r[b+2]`; the callee's window starts at `r[b+1]` of the
//! caller, so that nothing is copied. Registers of the window from the first
//! missing argument on are undefined at entry; surplus arguments are dropped, or
//! collected into the rest parameter.
//!
//! **Jumps** are relative to the instruction after the jump, in instructions.
//! Backwards goes only `Loop`: it is the safepoint, charges fuel, and may end
//! the slice.
//!
//! **Numbers are for ever**: saved bytecode and snapshots carry them. Append; never
//! renumber, never reuse. This is the canonical, unfused form: what an engine
//! fuses at load never reaches a file, and pc and fuel count these instructions.

/// What an operand is: how the verifier checks it and the disassembler prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// Register that is written.
    Dst,
    /// Register that is read.
    Src,
    /// First of three registers that an iterator occupies: iterator or array,
    /// next method or position, value.
    Iter,
    /// First register of a call: callee, this, then `n` arguments.
    CallBase,
    /// First register of a call with spread: callee, this, array of arguments.
    SpreadBase,
    /// First of `n` registers that are read.
    Range,
    /// Two registers that are written: callee, this.
    DstPair,
    /// Two registers that are read: receiver, and the object that is asked in its stead (`super`).
    SuperPair,
    /// bx: index of a constant of any kind.
    Const,
    /// bx: index of a string constant.
    Name,
    /// bx: index of a function.
    Function,
    /// bx: index of a module variable.
    ModuleSlot,
    /// bx: index of a handler of the module.
    HandlerSlot,
    /// bx: number of a [`crate::builtin::Global`].
    Global,
    /// c: number of a [`crate::builtin::HostFn`].
    HostFn,
    /// b: index of an upvalue of this closure.
    Upvalue,
    /// c: property site of this function (index from its `site_base`).
    Site,
    /// sbx: jump forwards, to an instruction of this function.
    Jump,
    /// sbx: jump backwards (Loop only).
    JumpBack,
    /// sbx: a 32-bit integer.
    Int,
    /// bx: a capacity hint; any value is safe.
    Hint,
}

/// Where in the word an operand stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Bits 16 to 31.
    A,
    /// Bits 32 to 47.
    B,
    /// Bits 48 to 63.
    C,
    /// Bits 32 to 63.
    Bx,
}

macro_rules! opcodes {
    (fused { $($fnum:literal $fname:ident ($first:ident $(, $next:ident)*) $fdoc:literal;)* }
     $($num:literal $name:ident ($($field:ident $kind:ident),*) $doc:literal;)*) => {
        /// An operation. The doc comment of each is its meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Op { $(#[doc = $doc] $name = $num,)* $(#[doc = $fdoc] $fname = $fnum),* }

        /// What an engine may fuse when it loads a module: the operation, and the canonical ones that it
        /// stands for. Longer runs first, so that the first that fits is the best.
        pub const FUSED: &[(Op, &[Op])] = &[$((Op::$fname, &[Op::$first $(, Op::$next)*])),*];

        impl Op {
            /// All canonical ones, in the order of their numbers.
            pub const ALL: &'static [Op] = &[$(Op::$name),*];

            /// The name as the disassembler prints it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Op::$name => stringify!($name),)* $(Op::$fname => stringify!($fname)),* }
            }

            /// One line: what it does.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Op::$name => $doc,)* $(Op::$fname => $fdoc),* }
            }

            /// Its operands, in the order in which they are printed; a fused one has those of its first part.
            #[must_use]
            pub const fn operands(self) -> &'static [(Field, Operand)] {
                match self {
                    $(Op::$name => &[$((Field::$field, Operand::$kind)),*],)*
                    $(Op::$fname => Op::$first.operands()),*
                }
            }

            /// The canonical operation whose word it stands in: itself, unless it is fused.
            #[must_use]
            pub const fn canonical(self) -> Op {
                match self { $(Op::$fname => Op::$first,)* other => other }
            }

            /// The fused operation with this number.
            #[must_use]
            pub const fn fused_from_u8(number: u8) -> Option<Op> {
                match number { $($fnum => Some(Op::$fname),)* _ => None }
            }

            /// The canonical operation with this number.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Op> {
                match number { $($num => Some(Op::$name),)* _ => None }
            }
        }
    };
}

// Fused operations take numbers from the top, as they never reach a file. Only the operation's number in the
// first word changes: every word keeps its operands, no pc moves, and a jump into the middle of a run finds
// what it always found. So a fused operation whose operands are not what it hopes for does its first part
// alone, and the rest follows. All results that the parts write are written.
opcodes! {
    fused {
        255 IntLtJump (LoadInt, Lt, JumpIfFalse) "jump unless r[b] < constant: loop heads";
        254 IntLeJump (LoadInt, Le, JumpIfFalse) "jump unless r[b] <= constant";
        253 IntGtJump (LoadInt, Gt, JumpIfFalse) "jump unless r[b] > constant";
        252 IntGeJump (LoadInt, Ge, JumpIfFalse) "jump unless r[b] >= constant";
        251 IntEqJump (LoadInt, StrictEq, JumpIfFalse) "jump unless r[b] === constant";
        250 IntNeJump (LoadInt, StrictNe, JumpIfFalse) "jump unless r[b] !== constant";
        249 UndefinedJump (LoadUndefined, StrictEq, JumpIfFalse) "jump unless r[b] === undefined";
        248 DefinedJump (LoadUndefined, StrictNe, JumpIfFalse) "jump unless r[b] !== undefined";
        247 Move3 (Move, Move, Move) "three moves: arguments";
        246 LtJump (Lt, JumpIfFalse) "jump unless r[b] < r[c]";
        245 LeJump (Le, JumpIfFalse) "jump unless r[b] <= r[c]";
        244 GtJump (Gt, JumpIfFalse) "jump unless r[b] > r[c]";
        243 GeJump (Ge, JumpIfFalse) "jump unless r[b] >= r[c]";
        242 EqJump (StrictEq, JumpIfFalse) "jump unless r[b] === r[c]";
        241 NeJump (StrictNe, JumpIfFalse) "jump unless r[b] !== r[c]";
        240 IntAdd (LoadInt, Add) "r[b] + constant";
        239 IntSub (LoadInt, Sub) "r[b] - constant";
        238 IntMul (LoadInt, Mul) "r[b] * constant";
        237 IntRem (LoadInt, Rem) "r[b] % constant";
        236 IntAnd (LoadInt, BitAnd) "r[b] & constant";
        235 IncLoop (Inc, Loop) "the end of a counting loop";
        234 PostInc (ToNumeric, Inc) "x++ of which the old value is used";
        233 ModuleThis (GetModule, LoadUndefined) "a module variable and the `this` of its call";
        232 MoveThis (Move, LoadUndefined) "a callee and the `this` of its call";
        231 Move2 (Move, Move) "two moves";
        230 FieldReturn (GetField, Return) "return r[b].key";
        229 AddReturn (Add, Return) "return r[b] + r[c]";
        228 ConstMethod (GetMethod, LoadConst, Call) "r[b].key(constant), a string's method";
    }

    // Loads
    0  LoadUndefined (A Dst) "r[a] = undefined";
    1  LoadNull (A Dst) "r[a] = null";
    2  LoadTrue (A Dst) "r[a] = true";
    3  LoadFalse (A Dst) "r[a] = false";
    4  LoadInt (A Dst, Bx Int) "r[a] = sbx";
    5  LoadConst (A Dst, Bx Const) "r[a] = constants[bx]";
    6  LoadEmpty (A Dst) "r[a] = the marker of a binding that is not initialised yet (temporal dead zone)";
    7  Move (A Dst, B Src) "r[a] = r[b]";
    8  CheckInit (A Src, Bx Name) "throw ReferenceError naming constants[bx] if r[a] is the marker of LoadEmpty";
    9  LoadGlobal (A Dst, Bx Global) "r[a] = a global of the language (Math, Array, parseInt, ...)";

    // Variables beyond the frame
    10 NewCell (A Dst, B Src) "r[a] = a new cell that holds r[b]; cells hold captured variables that change";
    11 GetCell (A Dst, B Src) "r[a] = content of cell r[b]; ReferenceError if not initialised";
    12 SetCell (A Src, B Src) "content of cell r[a] = r[b]; ReferenceError if not initialised";
    13 InitCell (A Src, B Src) "content of cell r[a] = r[b], its first value";
    14 Closure (A Dst, Bx Function) "r[a] = a function over this frame; what it captures is in the function's `captures`";
    15 GetUpvalue (A Dst, B Upvalue) "r[a] = upvalue b, captured by value";
    16 GetUpCell (A Dst, B Upvalue) "r[a] = content of the cell that is upvalue b; ReferenceError if not initialised";
    17 SetUpCell (A Src, B Upvalue) "content of the cell that is upvalue b = r[a]; ReferenceError if not initialised";
    18 GetModule (A Dst, Bx ModuleSlot) "r[a] = a module variable; ReferenceError if not initialised";
    19 SetModule (A Src, Bx ModuleSlot) "a module variable = r[a]; only while the module loads";
    20 SetHandler (A Src, Bx HandlerSlot) "handler bx of the module = function r[a]; only while the module loads";

    // Arithmetic and comparison, as ECMAScript defines the operators
    21 Add (A Dst, B Src, C Src) "r[a] = r[b] + r[c]";
    22 Sub (A Dst, B Src, C Src) "r[a] = r[b] - r[c]";
    23 Mul (A Dst, B Src, C Src) "r[a] = r[b] * r[c]";
    24 Div (A Dst, B Src, C Src) "r[a] = r[b] / r[c]";
    25 Rem (A Dst, B Src, C Src) "r[a] = r[b] % r[c]";
    26 Pow (A Dst, B Src, C Src) "r[a] = r[b] ** r[c]";
    27 BitAnd (A Dst, B Src, C Src) "r[a] = r[b] & r[c]";
    28 BitOr (A Dst, B Src, C Src) "r[a] = r[b] | r[c]";
    29 BitXor (A Dst, B Src, C Src) "r[a] = r[b] ^ r[c]";
    30 Shl (A Dst, B Src, C Src) "r[a] = r[b] << r[c]";
    31 Shr (A Dst, B Src, C Src) "r[a] = r[b] >> r[c]";
    32 UShr (A Dst, B Src, C Src) "r[a] = r[b] >>> r[c]";
    33 Neg (A Dst, B Src) "r[a] = -r[b]";
    34 ToNumber (A Dst, B Src) "r[a] = +r[b]";
    35 ToNumeric (A Dst, B Src) "r[a] = r[b] as Number or BigInt (the old value of x++)";
    36 Inc (A Dst, B Src) "r[a] = r[b] + 1, r[b] being numeric after ToNumeric";
    37 Dec (A Dst, B Src) "r[a] = r[b] - 1, r[b] being numeric after ToNumeric";
    38 BitNot (A Dst, B Src) "r[a] = ~r[b]";
    39 Not (A Dst, B Src) "r[a] = !r[b]";
    40 TypeOf (A Dst, B Src) "r[a] = typeof r[b]";
    41 Eq (A Dst, B Src, C Src) "r[a] = r[b] == r[c]";
    42 Ne (A Dst, B Src, C Src) "r[a] = r[b] != r[c]";
    43 StrictEq (A Dst, B Src, C Src) "r[a] = r[b] === r[c]";
    44 StrictNe (A Dst, B Src, C Src) "r[a] = r[b] !== r[c]";
    45 Lt (A Dst, B Src, C Src) "r[a] = r[b] < r[c]";
    46 Le (A Dst, B Src, C Src) "r[a] = r[b] <= r[c]";
    47 Gt (A Dst, B Src, C Src) "r[a] = r[b] > r[c]";
    48 Ge (A Dst, B Src, C Src) "r[a] = r[b] >= r[c]";
    49 In (A Dst, B Src, C Src) "r[a] = r[b] in r[c]; n = 1 (for-in): r[b] is a string, and true if r[c] is no object";
    50 InstanceOf (A Dst, B Src, C Src) "r[a] = r[b] instanceof r[c]";
    51 Concat (A Dst, B Range) "r[a] = the n values from r[b] as strings, joined (template literal)";

    // Control
    52 Jump (Bx Jump) "pc += sbx, sbx >= 0";
    53 Loop (Bx JumpBack) "pc += sbx, sbx < 0: safepoint, charges -sbx fuel, may end the slice";
    54 JumpIfTrue (A Src, Bx Jump) "if r[a] is truthy, pc += sbx";
    55 JumpIfFalse (A Src, Bx Jump) "if r[a] is falsy, pc += sbx";
    56 JumpIfNullish (A Src, Bx Jump) "if r[a] is undefined or null, pc += sbx";
    57 JumpIfNotNullish (A Src, Bx Jump) "if r[a] is neither undefined nor null, pc += sbx";
    58 JumpIfNotUndefined (A Src, Bx Jump) "if r[a] is not undefined, pc += sbx (default values)";
    59 Return (A Src) "return r[a]; n = 1: r[a] is an object literal written in the return itself";
    60 Throw (A Src) "throw r[a]";
    61 ThrowTypeError (Bx Name) "throw new TypeError(constants[bx])";
    62 Await (A Dst, B Src) "park the fiber until promise r[b] is settled; r[a] = its value, or throw its reason";

    // Properties
    63 GetField (A Dst, B Src, C Site) "r[a] = r[b].key";
    64 SetField (A Src, B Src, C Site) "r[a].key = r[b]";
    65 GetElem (A Dst, B Src, C Src) "r[a] = r[b][r[c]]";
    66 SetElem (A Src, B Src, C Src) "r[a][r[b]] = r[c]";
    67 DeleteField (A Dst, B Src, C Site) "r[a] = delete r[b].key (TypeError where that is not possible)";
    68 DeleteElem (A Dst, B Src, C Src) "r[a] = delete r[b][r[c]]";
    69 GetMethod (A DstPair, B Src, C Site) "r[a] = r[b].key, r[a+1] = r[b]: callee and this of the call that follows";
    70 NewObject (A Dst, Bx Hint) "r[a] = {}, with room for bx properties";
    71 DefField (A Src, B Src, C Site) "define own property key of object r[a] as r[b]";
    72 DefElem (A Src, B Src, C Src) "define own property r[b] of object r[a] as r[c]; n = 1: not enumerable (a class's method)";
    73 DefGetter (A Src, B Src, C Src) "define accessor r[b] of object r[a] with getter r[c]; n = 1: not enumerable";
    74 DefSetter (A Src, B Src, C Src) "define accessor r[b] of object r[a] with setter r[c]; n = 1: not enumerable";
    75 ObjectSpread (A Src, B Src) "copy the own enumerable properties of r[b] to object r[a]; nothing for undefined and null";
    76 ObjectRest (A Dst, B Src, C Range) "r[a] = a new object with the own enumerable properties of r[b] but the n keys from r[c]";
    77 NewArray (A Dst, Bx Hint) "r[a] = [], with room for bx elements";
    78 ArrayPush (A Src, B Src) "append r[b] to array r[a]";
    79 ArrayHole (A Src) "append a hole to array r[a]";
    80 ArraySpread (A Src, B Src) "append what iterating r[b] gives to array r[a]";

    // Iteration
    81 GetIterator (A Iter, B Src) "r[a..a+2] = an iterator over r[b]";
    82 IteratorNext (A Iter, Bx Jump) "r[a+2] = its next value, or pc += sbx if there is none";
    83 IteratorClose (A Iter) "call its return method, if there is one; keeps a pending exception out of it";
    84 ForInKeys (A Dst, B Src) "r[a] = array of the keys that for-in over r[b] visits";

    // Calls
    85 Call (A Dst, B CallBase) "r[a] = r[b](r[b+2] .. n arguments) with this = r[b+1]";
    86 CallSpread (A Dst, B SpreadBase) "r[a] = r[b](...r[b+2]) with this = r[b+1]";
    87 New (A Dst, B CallBase) "r[a] = new r[b](r[b+2] .. n arguments); r[b+1] is free";
    88 NewSpread (A Dst, B SpreadBase) "r[a] = new r[b](...r[b+2]); r[b+1] is free";
    89 HostCall (A Dst, B Range, C HostFn) "r[a] = host function c of the n arguments from r[b]; parks the fiber if it must wait";
    90 QueryEnd (A Dst, B Src) "r[a] = r[b] executed if it is a query whose verb waits for the end of its chain, else r[b]";
    91 ThrowIfNotObject (A Src) "throw TypeError if r[a] is undefined or null (destructuring)";
    92 ToPropertyKey (A Dst, B Src) "r[a] = r[b] as property key: string or symbol (computed keys are evaluated once); n = 1: of r[c], TypeError if that is undefined or null and the key an object";
    93 ThrowReferenceError (Bx Name) "throw new ReferenceError(constants[bx])";
    94 JumpIfEmpty (A Src, Bx Jump) "if r[a] is the marker of LoadEmpty, pc += sbx";
    95 LoadCallee (A Dst) "r[a] = the function that runs in this frame (a function that refers to itself)";

    // Names of the global object: only where the compiler's conformance mode is on
    96 GetName (A Dst, Bx Name) "r[a] = property constants[bx] of the global object; if there is none ReferenceError, or undefined with n = 1";
    97 SetName (A Src, Bx Name) "property constants[bx] of the global object = r[a]; ReferenceError if there is none";
    98 DeclareName (A Src, Bx Name) "declare global variable constants[bx], undefined if it is new; n = 1: a function, with value r[a]";
    99 NewRegExp (A Dst, Bx Name) "r[a] = a new regular expression; constants[bx] is the literal: /source/flags";

    // Classes (docs/decisions/0120-classes.md)
    100 CheckThis (A Src) "throw ReferenceError if r[a], or the captured variable that it is, holds the marker: super() was not called";
    101 BindThis (A Dst, B Src) "r[a], or the captured variable that it is, = r[b]; ReferenceError unless it holds the marker: super() was called before";
    102 CheckReturn (A Dst, B Src, C Src) "r[a] = r[b] if that is an object, else the `this` in r[c], as CheckThis; n = 1: TypeError unless r[b] is undefined or an object";
    103 CreateThis (A Dst, B Src) "r[a] = a new object, made from constructor r[b]'s prototype, with room for n properties";
    104 GetProto (A Dst, B Src) "r[a] = the prototype of object r[b], or null";
    105 SetProto (A Src, B Src) "prototype of object r[a] = r[b], if that is an object or null (`__proto__: value` in a literal)";
    106 GetSuper (A Dst, B SuperPair, C Src) "r[a] = property r[c] of r[b+1], a getter called on r[b]";
    107 GetSuperField (A Dst, B SuperPair, C Site) "r[a] = property key of r[b+1], a getter called on r[b]";
    108 SetSuper (A SuperPair, B Src, C Src) "property r[b] of r[a], looked up in r[a+1], = r[c]";
    109 SuperCall (A Dst, B CallBase) "r[a] = what constructor r[b] makes of n arguments from r[b+2] for new.target r[b+1]";
    110 SuperCallSpread (A Dst, B SpreadBase) "the same with the elements of array r[b+2] as arguments";
    111 CheckHeritage (A Src) "throw TypeError unless r[a] is null or a constructor (`extends`)";
    112 NewProto (A Dst, B Src) "r[a] = a new object whose prototype is r[b]; TypeError unless that is an object or null";
    113 DefClass (A Src, B Src, C Src) "make function r[a] the constructor of prototype object r[b]; n = 1: it extends r[c], a constructor or null";
    114 NameFunction (A Src, B Src) "name of function r[a] = property key r[b]; n = 1: of a getter, n = 2: of a setter";
    115 NewPrivate (A Dst, Bx Name) "r[a] = a new private name, written constants[bx]";
    116 GetPrivate (A Dst, B Src, C Src) "r[a] = private member r[c] of r[b]; TypeError if it has none";
    117 SetPrivate (A Src, B Src, C Src) "private member r[b] of r[a] = r[c]; TypeError if it has none or it can't be set";
    118 DefPrivate (A Src, B Src, C Src) "add private member r[b] to object r[a]: field with value r[c], n = 1: method, 2: getter, 3: setter; TypeError if it has it";
    119 HasPrivate (A Dst, B Src, C Src) "r[a] = whether object r[c] has private member r[b]; TypeError if it is no object";

    // Generators and asynchronous iteration
    120 StartGenerator () "r[behind the parameters] = a new generator that goes on here; the caller gets it as the call's result";
    121 Yield (A DstPair, B Src) "the caller gets {value: r[b], done: false}; r[a] = what it sends, r[a+1] = 0 (next), 1 (return); throw throws here; n = 1 (yield*): it gets r[b] itself, and r[a+1] = 2 for throw";
    122 EndGenerator (A Dst, B Src) "r[a] = {value: r[b], done: true}, to be returned: the generator is over";
    123 GetIteratorObject (A Iter, B Src) "r[a..a+1] = an iterator over r[b] and its next method, never a shortcut; n = 1: an async one";
    124 IteratorResult (A Src) "throw TypeError if r[a], which an iterator has answered, is not an object";
}

/// One instruction: a 64-bit word (see the module's diagram).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Instr(pub u64);

#[expect(clippy::cast_possible_truncation, reason = "fields are taken out of the word by their width")]
impl Instr {
    /// An instruction with three 16-bit operands.
    #[must_use]
    #[inline(always)]
    pub const fn abc(op: Op, n: u8, a: u16, b: u16, c: u16) -> Self {
        Self(op as u64 | (n as u64) << 8 | (a as u64) << 16 | (b as u64) << 32 | (c as u64) << 48)
    }

    /// An instruction with a 16-bit and an unsigned 32-bit operand.
    #[must_use]
    #[inline(always)]
    pub const fn abx(op: Op, a: u16, bx: u32) -> Self {
        Self(op as u64 | (a as u64) << 16 | (bx as u64) << 32)
    }

    /// An instruction with a 16-bit and a signed 32-bit operand.
    #[must_use]
    #[inline(always)]
    pub const fn asbx(op: Op, a: u16, sbx: i32) -> Self {
        Self::abx(op, a, sbx.cast_unsigned())
    }

    /// The same with another 8-bit count or flag.
    #[must_use]
    pub const fn with_n(self, n: u8) -> Self {
        Self(self.0 & !0xff00 | (n as u64) << 8)
    }

    /// The operation's number; not checked (files come from outside).
    #[must_use]
    #[inline(always)]
    pub const fn op_byte(self) -> u8 {
        self.0 as u8
    }

    /// The operation, if its number is known.
    #[must_use]
    #[inline(always)]
    pub const fn op(self) -> Option<Op> {
        Op::from_u8(self.op_byte())
    }

    /// The 8-bit count or flag.
    #[must_use]
    #[inline(always)]
    pub const fn n(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Operand a.
    #[must_use]
    #[inline(always)]
    pub const fn a(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Operand b.
    #[must_use]
    #[inline(always)]
    pub const fn b(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Operand c.
    #[must_use]
    #[inline(always)]
    pub const fn c(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Operands b and c as one.
    #[must_use]
    #[inline(always)]
    pub const fn bx(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Operands b and c as one, signed.
    #[must_use]
    #[inline(always)]
    pub const fn sbx(self) -> i32 {
        self.bx().cast_signed()
    }
}

impl std::fmt::Debug for Instr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.op().map_or("?", Op::name);
        write!(f, "{name} n={} a={} b={} c={}", self.n(), self.a(), self.b(), self.c())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_stable() {
        for (number, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, number, "{} has moved", op.name());
            assert_eq!(Op::from_u8(*op as u8), Some(*op));
        }
        assert_eq!(Op::NewRegExp as u8, 99, "append only");
        assert_eq!(Op::HasPrivate as u8, 119, "append only");
        assert_eq!(Op::IteratorResult as u8, 124, "append only");
    }

    #[test]
    fn fused_ones_are_never_canonical() {
        for (op, parts) in FUSED {
            assert_eq!(Op::from_u8(*op as u8), None, "{}", op.name());
            assert_eq!(op.canonical(), parts[0], "{}", op.name());
            assert!(*op as usize > Op::ALL.len() && parts.len() > 1);
        }
    }

    #[test]
    fn fields_come_back() {
        let i = Instr::abc(Op::Add, 9, 1, u16::MAX, 3);
        assert_eq!((i.op(), i.n(), i.a(), i.b(), i.c()), (Some(Op::Add), 9, 1, u16::MAX, 3));
        let j = Instr::asbx(Op::Loop, 0, -5);
        assert_eq!((j.op(), j.sbx()), (Some(Op::Loop), -5));
    }
}
