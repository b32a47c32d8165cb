//! The version of PTX that a text needs.
//!
//! NVRTC writes its own version into PTX, which drivers older than it refuse, whatever the text uses. The kernels here need
//! little: this module says how much, so that the text can ask for no more. It knows what version 7.0 has (the first for
//! `sm_80`), and of what is newer, the version that brought it (NVIDIA's PTX ISA, release notes). A text that uses a word
//! of neither list keeps the version that NVRTC wrote.

use std::collections::BTreeSet;

/// A version: major, minor.
pub type Version = (u32, u32);

/// The first version for `sm_80`: no text asks for less.
pub const BASE: Version = (7, 0);

/// PTX with the lowest version that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// The text.
    pub text: String,
    /// The version that it asks for.
    pub version: Version,
    /// Words that keep it from asking for less; none at [`BASE`].
    pub newer: BTreeSet<String>,
}

/// Rewrites the version of PTX to the lowest that it needs. `None` if the text has no version, or one below [`BASE`].
#[must_use]
pub fn lowered(text: &str) -> Option<Lowered> {
    let (place, written) = version(text)?;
    let mut needed = BASE;
    let mut newer = BTreeSet::new();
    for word in words(text) {
        // A word of no list may be newer than all of them.
        let version = if known(word) { BASE } else { introduced(word).unwrap_or(written) };
        if version > BASE {
            newer.insert(word.to_owned());
            needed = needed.max(version);
        }
    }
    if written < needed {
        return None;
    }
    let (major, minor) = needed;
    let text = format!("{}{major}.{minor}{}", &text[..place.start], &text[place.end..]);
    Some(Lowered { text, version: needed, newer })
}

/// The version that a text asks for, and where it stands.
fn version(text: &str) -> Option<(std::ops::Range<usize>, Version)> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(rest) = line.trim_start().strip_prefix(".version") {
            let value = rest.trim();
            let from = start + line.find(value)?;
            let (major, minor) = value.split_once('.')?;
            return Some((from..from + value.len(), (major.parse().ok()?, minor.parse().ok()?)));
        }
        start += line.len();
    }
    None
}

/// All that decides the version: opcodes (`ld`), what stands behind their dots (`.global`), directives (`.entry`) and
/// special registers (`%tid`). Comments and texts in quotes are none of these.
fn words(text: &str) -> BTreeSet<&str> {
    let mut words = BTreeSet::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        // What is between quotes is every second part.
        for part in line.split('"').step_by(2) {
            for statement in part.split(';') {
                // A brace ahead of a statement is of a block; within one, it is of a vector.
                let is_ahead = |c: char| c.is_whitespace() || matches!(c, '{' | '}');
                words_of(statement.trim_start_matches(is_ahead), &mut words);
            }
        }
    }
    words
}

fn words_of<'t>(statement: &'t str, words: &mut BTreeSet<&'t str>) {
    let separators = |c: char| {
        c.is_whitespace() || matches!(c, ',' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '+' | '=' | '<' | '>')
    };
    let is_declaration = statement.starts_with(".reg");
    let mut is_first = true;
    for token in statement.split(separators).filter(|token| !token.is_empty()) {
        let is_label = token.ends_with(':');
        let is_predicate = is_first && token.starts_with('@');
        if is_label || is_predicate {
            continue;
        }
        if let Some(register) = token.strip_prefix('%') {
            let name = register.split('.').next().unwrap_or_default();
            // The compiler's own registers are numbered (`%rd12`), but not where they are declared.
            if !is_declaration && !name.ends_with(|c: char| c.is_ascii_digit()) {
                words.insert(&token[..=name.len()]);
            }
        } else if token.starts_with('.') {
            push_parts(token, words);
        } else if is_first {
            let root = token.split('.').next().unwrap_or_default();
            words.insert(root);
            push_parts(&token[root.len()..], words);
        }
        is_first = false;
    }
}

/// `.global.v4` as `.global` and `.v4`.
fn push_parts<'t>(token: &'t str, words: &mut BTreeSet<&'t str>) {
    let mut starts = token.match_indices('.').map(|(at, _)| at).peekable();
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(token.len());
        words.insert(&token[start..end]);
    }
}

/// Whether version 7.0 has a word.
fn known(word: &str) -> bool {
    let list = match word.bytes().next() {
        Some(b'.') => {
            // Of line information: the numbers of a file, and sizes of types.
            if word[1..].bytes().all(|byte| byte.is_ascii_digit()) {
                return true;
            }
            DOTTED
        }
        Some(b'%') => REGISTERS,
        // Numbers of `.loc` and of constant tables.
        Some(b'0'..=b'9' | b'-') => return true,
        Some(_) | None => OPCODES,
    };
    list.split_ascii_whitespace().any(|known| known == word.trim_start_matches(['.', '%']))
}

/// Opcodes of version 7.0.
const OPCODES: &str = "\
    abs activemask add addc and atom bar barrier bfe bfi bfind bra brev brkpt brx call clz cnot copysign cos cp cvt cvta div \
    dp2a dp4a ex2 exit fence fma fns isspacep ld ldmatrix ldu lg2 lop3 mad madc match max mbarrier membar min mma mov mul \
    nanosleep neg not or pmevent popc prefetch prefetchu prmt rcp red redux rem ret rsqrt sad selp set setp shf shfl shl shr \
    sin slct sqrt st sub subc tanh testp trap vote wmma xor";

/// Modifiers, types, spaces and directives of version 7.0.
const DOTTED: &str = "\
    version target address_size visible extern entry func param reg shared global const local align maxntid minnctapersm \
    reqntid maxnreg maxnctapersm noreturn pragma loc file section weak common branchtargets callprototype calltargets tex \
    alias ptr \
    b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f16 f16x2 f32 f64 bf16 bf16x2 tf32 pred v2 v4 \
    rn rz rm rp rna rni rzi rmi rpi ftz sat relu approx full wide hi lo cc uni to \
    eq ne lt le gt ge ls hs equ neu ltu leu gtu geu num nan NaN and or xor \
    sync aligned row col trans x1 x2 x4 num m8n8 m16n8k8 m16n8k16 m8n8k4 \
    async ca cg cs cv lu wb wt nc L1 L2 commit_group wait_group wait_all mbarrier arrive noinc \
    bfly up down idx all any ballot warp red popc cta gl sys gpu acquire release acq_rel relaxed volatile sc \
    exch cas inc dec add min max l r wrap clamp x y z w f4e b4e rc8 ecl ecr rc16 shiftamt \
    finite infinite number notanumber normal subnormal extp";

/// Special registers of version 7.0.
const REGISTERS: &str = "\
    tid ntid laneid warpid nwarpid ctaid nctaid smid nsmid gridid lanemask_eq lanemask_le lanemask_lt lanemask_ge \
    lanemask_gt clock clock_hi clock64 globaltimer globaltimer_lo globaltimer_hi total_smem_size dynamic_smem_size SP SPL";

/// Words that came later, by the version that brought them.
const NEWER: [(Version, &str); 8] = [
    ((7, 3), "alloca stackrestore stacksave"),
    (
        (7, 4),
        "applypriority createpolicy discard .L1::evict_last .L1::evict_first .L1::evict_normal .L1::evict_unchanged \
         .L1::no_allocate .L2::cache_hint .L2::64B .L2::128B .L2::256B .L2::evict_last .L2::evict_normal",
    ),
    ((7, 6), "bmsk szext %reserved_smem_offset_begin %reserved_smem_offset_end"),
    (
        (7, 8),
        "stmatrix mapa getctarank griddepcontrol .cluster .explicitcluster .reqnctapercluster .maxclusterrank \
         .shared::cta .shared::cluster .try_wait %clusterid %nclusterid %cluster_ctaid %cluster_nctaid %cluster_ctarank \
         %cluster_nctarank",
    ),
    ((8, 0), "elect setmaxnreg wgmma .bulk .u16x2 .s16x2 .tensor"),
    ((8, 1), "multimem %aggr_smem_size"),
    ((8, 3), ".b128 .param::entry .param::func"),
    ((8, 6), ".f32x2"),
];

/// The version that brought a word.
fn introduced(word: &str) -> Option<Version> {
    let brought = |(_, words): &&(Version, &str)| words.split_ascii_whitespace().any(|newer| newer == word);
    NEWER.iter().find(brought).map(|(version, _)| *version)
}
