//! Reading PTX: what NVRTC emits, and everything that the syntax has.
//!
//! `ptx/*.ptx` is what NVRTC 12.9 and 13.5 make of `ptx/*.cu`: for `compute_80` (`hopper.cu` for `compute_90a`) and, but
//! for `data.cu`, with `-lineinfo`.

use kwc_emulator::ptx::read;
use kwc_emulator::ptx::syntax::{
    Base, Function, Instruction, LabelId, Module, Operand, RegisterId, SourceLine, Space, Statement, Type, Variable,
};

mod errors;

/// Name, and what it compiles to with either version.
const SAMPLES: [(&str, [&str; 2]); 5] = [
    ("calls", [include_str!("ptx/calls-12.9.ptx"), include_str!("ptx/calls-13.5.ptx")]),
    ("data", [include_str!("ptx/data-12.9.ptx"), include_str!("ptx/data-13.5.ptx")]),
    ("flow", [include_str!("ptx/flow-12.9.ptx"), include_str!("ptx/flow-13.5.ptx")]),
    ("tensor", [include_str!("ptx/tensor-12.9.ptx"), include_str!("ptx/tensor-13.5.ptx")]),
    ("hopper", [include_str!("ptx/hopper-12.9.ptx"), include_str!("ptx/hopper-13.5.ptx")]),
];

fn sample(name: &str) -> [Module; 2] {
    let (_, texts) = SAMPLES.iter().find(|(sample, _)| *sample == name).unwrap();
    texts.map(|text| read(text).unwrap())
}

fn function<'a>(module: &'a Module, name: &str) -> &'a Function {
    module.functions.iter().find(|function| function.name == name).unwrap()
}

fn variable<'a>(variables: &'a [Variable], name: &str) -> &'a Variable {
    variables.iter().find(|variable| variable.name == name).unwrap()
}

fn instructions(function: &Function) -> Vec<&Instruction> {
    let instructions = function.body.iter().filter_map(|statement| match statement {
        Statement::Instruction(instruction) => Some(instruction),
        Statement::Label(_) => None,
    });
    instructions.collect()
}

/// A kernel `k` of one statement a line, the first on line 6. It has the registers `%p0` to `%p3`, `%r0` to `%r7`,
/// `%d0` to `%d3` and `%f0` to `%f3`, and the shared variable `tile`.
fn kernel(body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_0) {{ .shared .align 16 .b8 \
         tile[64];\n.reg .pred %p<4>; .reg .b32 %r<8>; .reg .b64 %d<4>; .reg .f32 %f<4>;\n{body}\n}}\n"
    )
}

#[track_caller]
fn read_kernel(body: &str) -> Function {
    read(&kernel(body)).unwrap().functions.remove(0)
}

/// An operand as the text would have it.
fn show_operand(function: &Function, operand: &Operand) -> String {
    let register = |id: &RegisterId| function.registers[id.0 as usize].name.clone();
    let list = |operands: &[Operand]| {
        operands.iter().map(|operand| show_operand(function, operand)).collect::<Vec<_>>().join(",")
    };
    let plus = |offset: i64| if offset == 0 { String::new() } else { format!("{offset:+}") };
    match operand {
        Operand::Register(id) => register(id),
        Operand::Not(id) => format!("!{}", register(id)),
        Operand::Pair(a, b) => format!("{}|{}", show_operand(function, a), show_operand(function, b)),
        Operand::Vector(operands) => format!("{{{}}}", list(operands)),
        Operand::Integer(value) => value.cast_signed().to_string(),
        Operand::F32(bits) => format!("0f{bits:08X}"),
        Operand::F64(bits) => format!("0d{bits:016X}"),
        Operand::Special(name) => name.clone(),
        Operand::Symbol(name, offset) => format!("{name}{}", plus(*offset)),
        Operand::Label(label) => function.labels[label.0 as usize].clone(),
        Operand::BranchTable(table) => function.branch_targets[*table as usize].0.clone(),
        Operand::Address(Base::Register(id), offset) => format!("[{}{}]", register(id), plus(*offset)),
        Operand::Address(Base::Symbol(name), offset) => format!("[{name}{}]", plus(*offset)),
        Operand::Address(Base::None, offset) => format!("[{offset}]"),
        Operand::Sink => "_".to_owned(),
        Operand::List(operands) => format!("({})", list(operands)),
    }
}

/// An instruction as the text would have it, without blanks.
fn show(function: &Function, instruction: &Instruction) -> String {
    let guard = instruction.guard.map_or(String::new(), |guard| {
        let name = &function.registers[guard.register.0 as usize].name;
        format!("@{}{name}", if guard.negated { "!" } else { "" })
    });
    let operands: Vec<_> = instruction.operands.iter().map(|operand| show_operand(function, operand)).collect();
    format!("{guard}{}{};", instruction.opcode.join("."), operands.join(","))
}

/// All instructions of a kernel's body as text.
#[track_caller]
fn shown(body: &str) -> Vec<String> {
    let function = read_kernel(body);
    instructions(&function).into_iter().map(|instruction| show(&function, instruction)).collect()
}

#[test]
fn samples_say_what_their_lines_say() {
    for (name, texts) in SAMPLES {
        for text in texts {
            let module = read(text).unwrap();
            let mut compared = 0;
            for function in &module.functions {
                for instruction in instructions(function) {
                    let line: String = text.lines().nth(instruction.line as usize - 1).unwrap().into();
                    // Inline PTX may have several on a line, and calls are spread over lines.
                    if line.matches(';').count() > 1 || !line.ends_with(';') {
                        continue;
                    }
                    let plain: String = line.split_whitespace().collect::<String>().replace("+0]", "]");
                    let said = show(function, instruction);
                    // `param0.2` is `param0` of another scope.
                    let said = (1..9).fold(said, |said, n| {
                        said.replace(&format!("param0.{n}"), "param0")
                            .replace(&format!("param1.{n}"), "param1")
                            .replace(&format!("retval0.{n}"), "retval0")
                    });
                    assert_eq!(said, plain, "{name}: line {}", instruction.line);
                    compared += 1;
                }
            }
            let written = text.lines().filter(|line| line.ends_with(';') && line.starts_with(['\t', '@'])).count();
            assert!(compared * 10 > written * 7, "{name}: {compared} of {written}");
        }
    }
}

#[test]
fn heads_of_modules() {
    for (name, _) in SAMPLES {
        let modules = sample(name);
        assert_eq!(modules[0].version, (8, 8));
        assert_eq!(modules[1].version, (9, 5));
        for module in modules {
            assert_eq!(module.target, if name == "hopper" { "sm_90a" } else { "sm_80" });
            let files = if name == "data" { vec![] } else { vec![(1, format!("{name}.cu"))] };
            assert_eq!(module.files, files);
        }
    }
}

/// 32-bit words as bytes.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn variables_start_with_what_the_source_says() {
    for module in sample("data") {
        let check = |name: &str, space, align, size: u64, bytes: &[u8], addresses: &[(u64, &str, i64)]| {
            let variable = variable(&module.variables, name);
            assert_eq!((variable.space, variable.align, variable.size), (space, align, size), "{name}");
            let mut initial = variable.initial.clone();
            assert!(initial.len() as u64 <= size, "{name}");
            initial.resize(bytes.len(), 0);
            assert_eq!(initial, bytes, "{name}");
            let expected: Vec<_> = addresses.iter().map(|&(at, to, plus)| (at, to.to_owned(), plus)).collect();
            assert_eq!(variable.addresses, expected, "{name}");
        };
        let minus_two = (-2_i32).cast_unsigned();
        check("numbers", Space::Global, 4, 16, &words(&[1, minus_two, 3, 4]), &[]);
        check("second", Space::Global, 8, 8, &[0; 8], &[(0, "numbers", 8)]);
        let floats: Vec<u8> = [1.5_f32, 2.0, -0.25, 0.0, 1e10, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        check("coefficients", Space::Const, 4, 24, &floats, &[]);
        let mut mixed = vec![];
        mixed.extend(7_i32.to_le_bytes());
        mixed.extend(1.5_f32.to_le_bytes());
        mixed.extend([0; 16]);
        mixed.extend((-2.5_f64).to_le_bytes());
        mixed.extend([1, 0, 2, 0, 3, 0, 0, 0]);
        check("mixed", Space::Global, 8, 40, &mixed, &[(8, "$str", 0), (16, "numbers", 4)]);
        let mut packed = vec![0; 18];
        packed[0] = 1;
        packed[9] = 2;
        check("packed", Space::Global, 1, 18, &packed, &[(1, "numbers", 4), (10, "numbers", 8)]);
        check("ones", Space::Global, 8, 8, &[0xFF; 8], &[]);
        let doubles: Vec<u8> = [1.0_f64, -3.5].iter().flat_map(|x| x.to_le_bytes()).collect();
        check("doubles", Space::Global, 8, 16, &doubles, &[]);
        check("text", Space::Global, 1, 16, b"abc\0\0\0\0\0\0\0\0\0\0\0\0\0", &[]);
        check("$str", Space::Global, 1, 6, b"hello\0", &[]);
        check("managed", Space::Global, 4, 4, &[0; 4], &[]);
        check("dynamic", Space::Shared, 16, 0, &[], &[]);
        assert!(variable(&module.variables, "dynamic").external);
        assert_eq!(module.variables.len(), 11);

        let data = function(&module, "data");
        let tile = variable(&data.variables, "_ZZ4dataE4tile");
        assert_eq!((tile.space, tile.align, tile.size), (Space::Shared, 4, 32 * 33 * 4));
        let depot = variable(&data.variables, "__local_depot0");
        assert_eq!((depot.space, depot.align, depot.size), (Space::Local, 16, 64));
    }
}

#[test]
fn functions_and_their_calls() {
    for module in sample("calls") {
        let names: Vec<_> = module.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["_Z6triplei", "_Z6minus7i", "_Z3fibi", "_Z4bump3Sixi", "calls"]);
        let table = variable(&module.variables, "table");
        assert_eq!(table.addresses, [(0, "_Z6triplei".to_owned(), 0), (8, "_Z6minus7i".to_owned(), 0)]);

        let calls = function(&module, "calls");
        assert!(calls.kernel);
        assert_eq!((calls.max_threads, calls.min_blocks), (Some([128, 1, 1]), Some(4)));
        assert_eq!((calls.required_threads, calls.max_registers), (None, None));
        let parameters: Vec<_> = calls.parameters.iter().map(|parameter| (parameter.size, parameter.align)).collect();
        assert_eq!(parameters, [(8, 8), (24, 4), (4, 4)]);

        let bump = function(&module, "_Z4bump3Sixi");
        assert!(!bump.kernel);
        assert_eq!((bump.returns.len(), bump.returns[0].size, bump.returns[0].align), (1, 24, 4));
        assert_eq!(bump.parameters.len(), 2);

        // Every call names variables of its own.
        let shown: Vec<_> = instructions(calls)
            .into_iter()
            .filter(|instruction| instruction.opcode[0] == "call")
            .map(|instruction| show(calls, instruction))
            .collect();
        assert_eq!(shown[0], "call.uni(retval0),_Z4bump3Sixi,(param0,param1);");
        assert!(shown[1].starts_with("call(retval0.1),%rd") && shown[1].ends_with(",(param0.1);"), "{}", shown[1]);
        assert_eq!(shown[2], "call.uni(retval0.2),_Z3fibi,(param0.2);");
        assert_eq!(shown[3], "call.uni(retval0.3),vprintf,(param0.3,param1.1);");
        let sizes = |name: &str| variable(&calls.variables, name).size;
        assert_eq!(["retval0", "param0", "param0.1", "param0.3"].map(sizes), [24, 24, 4, 8]);
    }
}

#[test]
fn lines_of_the_source() {
    for module in sample("flow") {
        let flow = function(&module, "flow");
        // `s += halve(out[j])` is line 8 of flow.cu; `mov` before the loops has `.loc 1 0 3`, which is no line.
        let load = instructions(flow).into_iter().find(|instruction| instruction.opcode == ["ld", "global", "f32"]);
        assert_eq!(load.unwrap().source, Some(SourceLine { file: 1, line: 8 }));
        let none = instructions(flow).into_iter().filter(|instruction| instruction.source.is_none()).count();
        assert_eq!(none, 3);
    }
    let module =
        ".loc 1 6 2\nbar.sync 0;\n.loc 1 4 33, function_name $L__info_string0+7, inlined_at 1 6 2\nbar.sync 0;";
    let sources: Vec<_> = instructions(&read_kernel(module)).iter().map(|instruction| instruction.source).collect();
    assert_eq!(sources, [6, 4].map(|line| Some(SourceLine { file: 1, line })));
}

#[test]
fn scopes_have_names_of_their_own() {
    for module in sample("flow") {
        let flow = function(&module, "flow");
        // Three scopes of inline PTX have a register `t`, and two of them a label `DONE`.
        assert_eq!(flow.registers.iter().filter(|register| register.name == "t").count(), 3);
        assert_eq!(flow.labels.iter().filter(|label| *label == "DONE").count(), 2);
    }
    let function = read_kernel(
        "bra A;\n{ .reg .b32 t; mov.b32 t, 1; bra A; bra B;\n{ .reg .u64 t; mov.u64 t, 2; bra A; B: bra B; }\n\
         A: mov.b32 t, 3; bra B; }\nA: ret; B: ret;",
    );
    let types: Vec<_> = function.registers.iter().map(|register| (register.name.as_str(), register.ty)).collect();
    assert_eq!(types, [("t", Type::B32), ("t", Type::U64)]);
    // By statement: what it defines or where it goes.
    let labels: Vec<(bool, LabelId)> = function
        .body
        .iter()
        .filter_map(|statement| match statement {
            Statement::Label(label) => Some((true, *label)),
            Statement::Instruction(instruction) => match instruction.operands.as_slice() {
                [Operand::Label(label)] => Some((false, *label)),
                _ => None,
            },
        })
        .collect();
    let [outer_a, inner_a, outer_b, inner_b] = [labels[0].1, labels[1].1, labels[2].1, labels[4].1];
    let expected = [
        (false, outer_a),
        (false, inner_a),
        (false, outer_b),
        (false, inner_a),
        (true, inner_b),
        (false, inner_b),
        (true, inner_a),
        (false, outer_b),
        (true, outer_a),
        (true, outer_b),
    ];
    assert_eq!(labels, expected);
    assert_eq!(function.labels.len(), 4);
    let name = |label: LabelId| function.labels[label.0 as usize].as_str();
    assert_eq!([outer_a, inner_a, outer_b, inner_b].map(name), ["A", "A", "B", "B"]);
}

#[test]
fn variables_that_share_a_name() {
    let function = read_kernel(
        "{ .param .b32 x; st.param.b32 [x], %r0; }\n{ .param .b64 x; st.param.b64 [x+0], %d0;\n\
         { .local .align 4 .b8 x[12]; ld.local.b32 %r0, [x+8]; mov.u64 %d0, x; } }",
    );
    let variables: Vec<_> = function.variables.iter().map(|v| (v.name.as_str(), v.space, v.size)).collect();
    let (param, local) = (Space::Param, Space::Local);
    assert_eq!(variables, [("tile", Space::Shared, 64), ("x", param, 4), ("x.1", param, 8), ("x.2", local, 12)]);
    let shown: Vec<_> = instructions(&function).into_iter().map(|i| show(&function, i)).collect();
    assert_eq!(
        shown,
        ["st.param.b32[x],%r0;", "st.param.b64[x.1],%d0;", "ld.local.b32%r0,[x.2+8];", "mov.u64%d0,x.2;"]
    );
}

#[test]
fn operands() {
    let cases = [
        ("mov.b32 %r0, -5;", "mov.b32%r0,-5;"),
        ("mov.b32 %r0, 0x1F;", "mov.b32%r0,31;"),
        ("mov.b32 %r0, 0X1fU;", "mov.b32%r0,31;"),
        ("mov.b32 %r0, 0b101;", "mov.b32%r0,5;"),
        ("mov.b32 %r0, 017;", "mov.b32%r0,15;"),
        ("mov.b32 %r0, 10U;", "mov.b32%r0,10;"),
        ("mov.b32 %r0, 0;", "mov.b32%r0,0;"),
        ("mov.b64 %d0, 0xFFFFFFFFFFFFFFFF;", "mov.b64%d0,-1;"),
        ("mov.b32 %r0, (1 + 2 * (5 - -3)) * 2;", "mov.b32%r0,34;"),
        ("mov.b32 %r0, 2 - 5 - 1;", "mov.b32%r0,-4;"),
        ("mov.b32 %r0, ~0;", "mov.b32%r0,-1;"),
        ("mov.b32 %r0, WARP_SZ;", "mov.b32%r0,32;"),
        ("mov.f32 %f0, 0f3F800000;", "mov.f32%f0,0f3F800000;"),
        ("mov.f32 %f0, 0d3FF0000000000000;", "mov.f32%f0,0d3FF0000000000000;"),
        ("mov.f32 %f0, 1.5;", "mov.f32%f0,0d3FF8000000000000;"),
        ("mov.f32 %f0, -2.5e-1;", "mov.f32%f0,0dBFD0000000000000;"),
        ("mov.f32 %f0, 1e3;", "mov.f32%f0,0d408F400000000000;"),
        ("mov.u32 %r0, %tid.x;", "mov.u32%r0,%tid.x;"),
        ("mov.u32 %r0, %envreg31;", "mov.u32%r0,%envreg31;"),
        ("mov.u32 %r0, %clock;", "mov.u32%r0,%clock;"),
        ("mov.u32 %r0, %cluster_ctaid.z;", "mov.u32%r0,%cluster_ctaid.z;"),
        ("mov.u32 %r0, tile;", "mov.u32%r0,tile;"),
        ("mov.u32 %r0, tile+8;", "mov.u32%r0,tile+8;"),
        ("ld.shared.u32 %r0, [tile];", "ld.shared.u32%r0,[tile];"),
        ("ld.shared.u32 %r0, [tile+-4];", "ld.shared.u32%r0,[tile-4];"),
        ("ld.shared.u32 %r0, [64];", "ld.shared.u32%r0,[64];"),
        ("ld.u32 %r0, [ %d0 + 0x10 ];", "ld.u32%r0,[%d0+16];"),
        ("ld.u32 %r0, [%d0-16];", "ld.u32%r0,[%d0-16];"),
        ("ld.param.u64 %d0, [k_0];", "ld.param.u64%d0,[k_0];"),
        ("ld.v4.u32 {%r0,%r1, _,%r3}, [%d0];", "ld.v4.u32{%r0,%r1,_,%r3},[%d0];"),
        ("setp.lt.and.s32 %p0|%p1, %r0, 3, !%p2;", "setp.lt.and.s32%p0|%p1,%r0,3,!%p2;"),
        ("setp.eq.s32 _|%p1, %r0, 3;", "setp.eq.s32_|%p1,%r0,3;"),
        ("@!%p0 add.cc.s32 %r0, %r0, 1;", "@!%p0add.cc.s32%r0,%r0,1;"),
        ("@%p0 exit;", "@%p0exit;"),
        (
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%d0], 16, [%r1];",
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes[%r0],[%d0],16,[%r1];",
        ),
        ("tex.1d.v4.f32.s32 {%f0,%f1,%f2,%f3}, tile, {%r0};", "tex.1d.v4.f32.s32{%f0,%f1,%f2,%f3},tile,{%r0};"),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(text), [expected], "{text}");
    }
    // Opcodes are split at dots alone.
    let function = read_kernel("cp.async.cg.shared.global.L2::128B [%r0], [%d0], 16;");
    assert_eq!(instructions(&function)[0].opcode, ["cp", "async", "cg", "shared", "global", "L2::128B"]);
    assert_eq!(instructions(&function)[0].line, 6);
}

#[test]
fn special_registers() {
    let names = "tid.x ntid.y ctaid.z nctaid.w laneid warpid nwarpid smid nsmid gridid is_explicit_cluster clusterid.x \
        nclusterid.x cluster_ctaid.x cluster_nctaid.x cluster_ctarank cluster_nctarank lanemask_eq lanemask_le lanemask_lt \
        lanemask_ge lanemask_gt clock clock_hi clock64 pm0 pm7 pm0_64 envreg0 envreg31 globaltimer globaltimer_lo \
        globaltimer_hi reserved_smem_offset_begin reserved_smem_offset_end reserved_smem_offset_cap \
        reserved_smem_offset_0 total_smem_size aggr_smem_size dynamic_smem_size current_graph_exec";
    for name in names.split_whitespace() {
        let function = read_kernel(&format!("mov.b32 %r0, %{name};"));
        assert_eq!(instructions(&function)[0].operands[1], Operand::Special(format!("%{name}")));
    }
}

#[test]
fn registers() {
    let function = read_kernel(
        ".reg .b32 a, b, %x<3>, %x1<2>; .reg .b128 wide; .reg .f16x2 %h<11>;\n\
         mov.b32 %x2, %x11; mov.b32 b, %h10; mov.b128 wide, wide; mov.b32 %r7, %r0;",
    );
    let registers: Vec<_> = function.registers.iter().map(|register| (register.name.as_str(), register.ty)).collect();
    let expected = [
        ("%x2", Type::B32),
        ("%x11", Type::B32),
        ("b", Type::B32),
        ("%h10", Type::F16x2),
        ("wide", Type::B128),
        ("%r7", Type::B32),
        ("%r0", Type::B32),
    ];
    assert_eq!(registers, expected);
    assert_eq!(function.type_of(RegisterId(4)), Some(Type::B128));
}

#[test]
fn tables_of_branches_and_calls() {
    let text = ".version 8.0 .target sm_80, debug .address_size 64\n\
        .func (.param .b32 r) f (.param .b32 a, .param .b64 b) .noreturn;\n.func g;\n.extern .func h (.param .b32 x)\n;\n\
        .func (.param .b32 r) f (.param .b32 a, .param .b64 b) { ret; }\n.func g { ret; }\n\
        .entry k .reqntid 32, 2 .maxnreg 64 .pragma \"x\"; .maxclusterrank 8 {\n\
        .reg .b32 %i; .reg .b64 %q; .param .b32 o; .param .b32 v; .param .b64 w;\n\
        T: .branchtargets A, B, A;\nP: .callprototype (.param .b32 _) _ (.param .b32 _, .param .align 8 .b8 _[16]) .noreturn;\n\
        Q: .calltargets f, g;\n\
        A: brx.idx.uni %i, T;\nB: call g;\ncall (o), f, (v, w);\ncall (o), %q, (v, w), P;\ncall %q, Q; call h, (v);\n}\n";
    let module = read(text).unwrap();
    assert_eq!(module.target, "sm_80");
    let names: Vec<_> = module.functions.iter().map(|function| (function.name.as_str(), function.line)).collect();
    assert_eq!(names, [("f", 6), ("g", 7), ("k", 8)]);
    let kernel = &module.functions[2];
    assert_eq!(kernel.required_threads, Some([32, 2, 1]));
    assert_eq!(kernel.max_registers, Some(64));
    assert_eq!(kernel.labels, ["A", "B"]);
    assert_eq!(kernel.branch_targets, [("T".to_owned(), vec![LabelId(0), LabelId(1), LabelId(0)])]);
    let shown: Vec<_> = instructions(kernel).into_iter().map(|i| show(kernel, i)).collect();
    assert_eq!(shown, ["brx.idx.uni%i,T;", "callg;", "call(o),f,(v,w);", "call(o),%q,(v,w);", "call%q;", "callh,(v);"]);
}

#[test]
fn variables_of_every_shape() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n\
        .section .debug_str { $L__info: .b8 1, 2\n { .b8 3 } .b64 $L__info }\n/* two\nlines */ .pragma \"x y\";\n\
        .visible .global .u32 a[2][3] = {{1, 2}, {3}};\n.weak .const .f32 b[] = {1.5, 0f40000000, -0.5};\n\
        .global .v2 .f32 c[2];\n.global .s16 d = -2, e[2] = {65535, 0x10};\n.global .f64 f = 0.1;\n\
        .global .b64 g = generic(a)+-4;\n.shared .align 64 .f16 h[3];\n.common .global .b8 i[2][2][2] = {{{1}}, {{}, {2}}};\n\
        .file 1 \"a\\\"b.cu\", 1700000000, 1234\n";
    let module = read(text).unwrap();
    let all: Vec<_> = module
        .variables
        .iter()
        .map(|v| (v.name.as_str(), v.space, v.align, v.size, v.initial.clone(), v.line))
        .collect();
    let floats = [1.5_f32, 2.0, -0.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    let (global, shared) = (Space::Global, Space::Shared);
    let expected = [
        ("a", global, 4, 24, words(&[1, 2, 0, 3]), 8),
        ("b", Space::Const, 4, 12, floats, 9),
        ("c", global, 8, 16, vec![], 10),
        ("d", global, 2, 2, vec![0xFE, 0xFF], 11),
        ("e", global, 2, 4, vec![0xFF, 0xFF, 0x10, 0], 11),
        ("f", global, 8, 8, 0.1_f64.to_le_bytes().to_vec(), 12),
        ("g", global, 8, 8, vec![0; 8], 13),
        ("h", shared, 64, 6, vec![], 14),
        ("i", global, 1, 8, vec![1, 0, 0, 0, 0, 0, 2], 15),
    ];
    assert_eq!(all, expected);
    assert_eq!(module.variables[6].addresses, [(0, "a".to_owned(), -4)]);
    assert_eq!(module.files, [(1, "a\\\"b.cu".to_owned())]);
}

#[test]
fn parameters() {
    let text = ".version 8.0 .target sm_90 .address_size 64 .entry k(.param .u64 .ptr .global .align 1 a,\n\
        .param .align 8 .b8 b[20], .param .u64 .ptr .align 16 c, .param .v4 .f32 d) { ret; }";
    let module = read(text).unwrap();
    let all: Vec<_> = module.functions[0].parameters.iter().map(|v| (v.name.as_str(), v.align, v.size)).collect();
    assert_eq!(all, [("a", 8, 8), ("b", 8, 20), ("c", 8, 8), ("d", 16, 16)]);
}
