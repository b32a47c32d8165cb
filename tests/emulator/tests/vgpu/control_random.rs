//! Random programs of branches, loops, tables, calls, returns and exits, against the same programs run thread by thread.

use std::fmt::Write as _;

use crate::ptx::{HEAD, launch};

/// A condition of the value: `value >> shift & mask == wanted`.
#[derive(Debug, Clone, Copy)]
struct Condition {
    shift: u32,
    mask: u32,
    wanted: u32,
}

#[derive(Debug)]
enum Statement {
    /// `x = x * factor + term`
    Change(u32, u32),
    If(Condition, Vec<Statement>, Vec<Statement>),
    /// As many turns as `x >> shift & 3` says when it begins.
    Loop(u32, Vec<Statement>),
    Break(Condition),
    Continue(Condition),
    Return(Condition),
    Exit(Condition),
    /// One of four by `x >> shift & 3`, some of which are the same.
    Table(u32, [usize; 4], Vec<Vec<Statement>>),
    /// Of a function, if the depth allows it; through a register where lanes call one of two.
    Call(usize, Option<(usize, Condition)>),
}

use Statement::{Break, Call, Change, Continue, Exit, If, Loop, Return, Table};

const FUNCTIONS: usize = 3;
const THREADS: u32 = 70;
const DEPTH: u32 = 3;
const EXITED: u32 = 0xffff_fff1;

struct Generator {
    source: fastrand::Rng,
    left: usize,
}

impl Generator {
    fn condition(&mut self) -> Condition {
        let mask = self.source.choice([1, 1, 3, 7]).unwrap_or(1);
        Condition { shift: self.source.u32(..28), mask, wanted: self.source.u32(..=mask) }
    }

    /// As [`condition`](Self::condition), one that holds seldom.
    fn seldom(&mut self) -> Condition {
        Condition { shift: self.source.u32(..24), mask: 15, wanted: self.source.u32(..16) }
    }

    fn block(&mut self, nesting: u32, in_loop: bool) -> Vec<Statement> {
        let mut block = vec![];
        for _ in 0..self.source.usize(1..4) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            block.push(self.statement(nesting, in_loop));
        }
        block.push(Change(self.source.u32(..) | 1, self.source.u32(..)));
        block
    }

    fn statement(&mut self, nesting: u32, in_loop: bool) -> Statement {
        let inside = nesting < 4;
        match self.source.u32(..12) {
            0..3 if inside => {
                let other = if self.source.bool() { self.block(nesting + 1, in_loop) } else { vec![] };
                If(self.condition(), self.block(nesting + 1, in_loop), other)
            }
            3..5 if inside => Loop(self.source.u32(..28), self.block(nesting + 1, true)),
            5 if inside => {
                let cases = (0..self.source.usize(2..5)).map(|_| self.block(nesting + 1, in_loop)).collect::<Vec<_>>();
                let entries = std::array::from_fn(|_| self.source.usize(..cases.len()));
                Table(self.source.u32(..28), entries, cases)
            }
            6 if in_loop => Break(self.condition()),
            7 if in_loop => Continue(self.condition()),
            8 => Return(self.seldom()),
            9 if self.source.u32(..4) == 0 => Exit(self.seldom()),
            9 | 10 => {
                let other = self.source.bool().then(|| (self.source.usize(..FUNCTIONS), self.condition()));
                Call(self.source.usize(..FUNCTIONS), other)
            }
            _ => Change(self.source.u32(..) | 1, self.source.u32(..)),
        }
    }
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Through,
    Broke,
    Continued,
    Returned,
    Exited,
    /// It takes too long.
    Tired,
}

struct Thread<'p> {
    functions: &'p [Vec<Statement>],
    x: u32,
    depth: u32,
    steps: u32,
}

impl Thread<'_> {
    fn holds(&self, condition: Condition) -> bool {
        self.x >> condition.shift & condition.mask == condition.wanted
    }

    fn call(&mut self, function: usize) -> End {
        if self.depth == 0 {
            return End::Through;
        }
        self.depth -= 1;
        let end = self.run(&self.functions[function]);
        self.depth += 1;
        if end == End::Returned { End::Through } else { end }
    }

    fn run(&mut self, block: &[Statement]) -> End {
        for statement in block {
            self.steps += 1;
            if self.steps > 5000 {
                return End::Tired;
            }
            let end = match statement {
                Change(factor, term) => {
                    self.x = self.x.wrapping_mul(*factor).wrapping_add(*term);
                    End::Through
                }
                If(condition, then, other) => {
                    if self.holds(*condition) {
                        self.run(then)
                    } else {
                        self.run(other)
                    }
                }
                Loop(shift, body) => {
                    let mut end = End::Through;
                    for _ in 0..self.x >> shift & 3 {
                        end = self.run(body);
                        if !matches!(end, End::Through | End::Continued) {
                            break;
                        }
                    }
                    if matches!(end, End::Broke | End::Continued) { End::Through } else { end }
                }
                Break(condition) if self.holds(*condition) => End::Broke,
                Continue(condition) if self.holds(*condition) => End::Continued,
                Return(condition) if self.holds(*condition) => End::Returned,
                Exit(condition) if self.holds(*condition) => End::Exited,
                Break(_) | Continue(_) | Return(_) | Exit(_) => End::Through,
                Table(shift, entries, cases) => self.run(&cases[entries[(self.x >> shift & 3) as usize]]),
                Call(function, None) => self.call(*function),
                Call(function, Some((other, condition))) => {
                    let which = if self.holds(*condition) { *other } else { *function };
                    self.call(which)
                }
            };
            if end != End::Through {
                return end;
            }
        }
        End::Through
    }
}

/// Writes the PTX of a function.
struct Writer {
    text: String,
    labels: u32,
}

impl Writer {
    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    /// Leaves in `%p` whether a condition holds.
    fn condition(&mut self, condition: Condition) {
        let Condition { shift, mask, wanted } = condition;
        let text = format!("shr.u32 %c, %x, {shift};\nand.b32 %c, %c, {mask};\nsetp.eq.u32 %p, %c, {wanted};");
        self.line(&text);
    }

    /// `around` are the labels of the loop that the block is in: of its next turn, of its end. `counters` tells apart
    /// the counters of loops.
    fn block(&mut self, block: &[Statement], around: Option<(&str, &str)>, counters: u32) {
        for statement in block {
            match statement {
                Change(factor, term) => self.line(&format!("mad.lo.u32 %x, %x, {factor}, {term};")),
                If(condition, then, other) => {
                    let (otherwise, join) = (self.label(), self.label());
                    self.condition(*condition);
                    self.line(&format!("@!%p bra {otherwise};"));
                    self.block(then, around, counters);
                    self.line(&format!("bra {join};\n{otherwise}:"));
                    self.block(other, around, counters);
                    self.line(&format!("{join}:"));
                }
                Loop(shift, body) => {
                    let (head, next, end) = (self.label(), self.label(), self.label());
                    let n = counters;
                    self.line(&format!("shr.u32 %n{n}, %x, {shift};\nand.b32 %n{n}, %n{n}, 3;\n{head}:"));
                    self.line(&format!("setp.eq.u32 %p, %n{n}, 0;\n@%p bra {end};"));
                    self.block(body, Some((&next, &end)), counters + 1);
                    self.line(&format!("{next}:\nsub.u32 %n{n}, %n{n}, 1;\nbra {head};\n{end}:"));
                }
                Break(condition) => {
                    self.condition(*condition);
                    self.line(&format!("@%p bra {};", around.expect("in a loop").1));
                }
                Continue(condition) => {
                    self.condition(*condition);
                    self.line(&format!("@%p bra {};", around.expect("in a loop").0));
                }
                Return(condition) => {
                    self.condition(*condition);
                    self.line("@%p st.param.b32 [result], %x;\n@%p ret;");
                }
                Exit(condition) => {
                    self.condition(*condition);
                    self.line("@%p exit;");
                }
                Table(shift, entries, cases) => {
                    let labels: Vec<String> = cases.iter().map(|_| self.label()).collect();
                    let (table, join) = (self.label(), self.label());
                    let targets = entries.map(|entry| labels[entry].clone()).join(", ");
                    self.line(&format!("{table}: .branchtargets {targets};"));
                    self.line(&format!("shr.u32 %c, %x, {shift};\nand.b32 %c, %c, 3;\nbrx.idx %c, {table};"));
                    for (case, label) in cases.iter().zip(labels) {
                        self.line(&format!("{label}:"));
                        self.block(case, around, counters);
                        self.line(&format!("bra {join};"));
                    }
                    self.line(&format!("{join}:"));
                }
                Call(function, other) => {
                    let target = match other {
                        None => format!("(out), f{function}, (in, less)"),
                        Some((other, condition)) => {
                            self.condition(*condition);
                            self.line(&format!("mov.u64 %f0, f{function};\nmov.u64 %f1, f{other};"));
                            self.line("selp.u64 %f0, %f1, %f0, %p;");
                            "(out), %f0, (in, less), prototype".to_owned()
                        }
                    };
                    self.line("setp.ne.u32 %p, %depth, 0;\nsub.u32 %c, %depth, 1;\n{\n.param .b32 in, less, out;");
                    self.line("prototype: .callprototype (.param .b32 _) _ (.param .b32 _, .param .b32 _);");
                    self.line("st.param.b32 [in], %x;\nst.param.b32 [less], %c;");
                    self.line(&format!("@%p call {target};\n@%p ld.param.b32 %x, [out];\n}}"));
                }
            }
        }
    }
}

fn module(functions: &[Vec<Statement>]) -> String {
    let head = |n: usize| format!(".func (.param .b32 result) f{n}(.param .b32 value, .param .b32 depth)");
    let mut text = HEAD.to_owned();
    for n in 0..functions.len() {
        writeln!(text, "{};", head(n)).expect("a string takes it");
    }
    for (n, function) in functions.iter().enumerate() {
        let mut writer = Writer { text: String::new(), labels: 0 };
        writer.block(function, None, 0);
        writeln!(
            text,
            "{}\n{{\n.reg .b32 %x, %depth, %c, %n<16>;\n.reg .b64 %f<2>;\n.reg .pred %p;\n\
             ld.param.b32 %x, [value];\nld.param.b32 %depth, [depth];\n{}\
             st.param.b32 [result], %x;\nret;\n}}",
            head(n),
            writer.text
        )
        .expect("a string takes it");
    }
    text + ".visible .entry test(.param .u64 data)\n{
        .reg .b32 %t, %x, %depth, %together;
        .reg .b64 %at;
        .reg .pred %p;
        .param .b32 in, less, out;
        mov.u32 %t, %tid.x;
        ld.param.u64 %at, [data];
        mad.wide.u32 %at, %t, 4, %at;
        ld.global.u32 %x, [%at];
        st.param.b32 [in], %x;
        mov.u32 %depth, 3;
        st.param.b32 [less], %depth;
        mov.u32 %x, 0xfffffff1;
        st.global.u32 [%at], %x;
        call (out), f0, (in, less);
        ld.param.b32 %x, [out];
        st.global.u32 [%at], %x;
        ret;\n}\n"
}

#[test]
fn as_one_thread_after_the_other() {
    let (mut programs, mut exited) = (0, 0);
    for seed in 0..600 {
        let mut generator = Generator { source: fastrand::Rng::with_seed(seed), left: 0 };
        let functions: Vec<Vec<Statement>> = (0..FUNCTIONS)
            .map(|_| {
                generator.left = 12;
                generator.block(0, false)
            })
            .collect();
        let inputs: Vec<u32> = (0..THREADS).map(|_| generator.source.u32(..)).collect();
        let mut expected = vec![];
        for input in &inputs {
            let mut thread = Thread { functions: &functions, x: *input, depth: DEPTH, steps: 0 };
            expected.push(match thread.run(&functions[0]) {
                End::Tired => break,
                End::Exited => EXITED,
                End::Through | End::Returned => thread.x,
                End::Broke | End::Continued => panic!("outside of a loop"),
            });
        }
        if expected.len() < inputs.len() {
            continue;
        }
        programs += 1;
        exited += expected.iter().filter(|x| **x == EXITED).count();
        let ptx = module(&functions);
        let words = launch(&ptx, [1; 3], [THREADS, 1, 1], &inputs).clean();
        assert_eq!(words, expected, "seed {seed}\n{ptx}");
    }
    assert!(programs > 300 && exited > 100, "{programs} programs, {exited} exits");
}
